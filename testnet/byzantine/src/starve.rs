use std::collections::VecDeque;
use std::time::Duration;

use pbft_messages::ClientId;
use pbft_protocol::{Effects, Input, Now};

use crate::holding::{Holding, requester};
use crate::parameters::Values;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "starve",
    row: 29,
    parameters: &[
        Parameter {
            name: "client",
            default: "first",
            meaning: "whose requests it leaves out: the beginning of a key, or first for the first client's; on a \
                      testnet, load for its own client's, and that is the default",
        },
        Parameter { name: "delay", default: "ever", meaning: "how long it sits on each of them" },
    ],
    does: "As primary, leaves one client's requests out of its proposals, or sits on them for a while, and serves all \
           others well. As a backup it only keeps to itself what reaches the primary anyway.",
    defeated_by: "N8: the timer measures the oldest waiting request whatever else is executed; and VC9 if the delay \
                  stays under the timeout.",
    expect: "One pause of about the view timeout for that client, then a view change. Censorship leaves no evidence.",
    stage: Stage::Primary,
    samples: &Sample::all(Proof::Never, ["starve", "starve:delay=75%"]),
    pause: Pause::ViewTimeouts(2),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    Ok(Box::new(Starve::new(values.get("client", configuration)?, values.get("delay", configuration)?)))
}

/// `starve`: a primary that never proposes one client's requests, or only after some time; all others are served well.
///
/// While its replica is a backup it only keeps to itself what reaches the primary anyway.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
pub(crate) struct Starve {
    client: ClientId,
    /// Without it the client is never heard.
    requests: Option<Holding>,
}

impl Starve {
    /// Starves a client: for ever, or with a delay.
    fn new(client: ClientId, delay: Option<Duration>) -> Self {
        Self { client, requests: delay.map(Holding::new) }
    }
}

impl Strategy for Starve {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        if let Some(requests) = &mut self.requests {
            requests.release(now, heard);
        }
        if requester(&input) != Some(self.client) {
            heard.push_back(input);
        } else if let Some(requests) = &mut self.requests {
            requests.hold(now, input);
        }
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        effects
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Message, ReplicaId};
    use pbft_protocol::{Instant, Timer};

    use super::*;
    use crate::testing::submission;

    fn hear(starve: &mut Starve, milliseconds: u64, input: Input) -> Vec<Input> {
        let instant = Instant::after_start(Duration::from_millis(milliseconds));
        let mut heard = VecDeque::new();
        starve.hear(Now { instant, ..Now::default() }, input, &mut heard);
        heard.into()
    }

    #[test]
    fn one_client_is_not_heard_and_the_others_are() {
        let request = submission(1);
        let forwarded = Input::Message { from: ReplicaId(2), message: Message::Forward(request.clone()) };
        let mut starve = Starve::new(request.signer(), None);
        assert_eq!(hear(&mut starve, 0, Input::Submission(request.clone())), []);
        assert_eq!(hear(&mut starve, 0, forwarded.clone()), []);
        let mut other = Starve::new(ClientId([7; 32]), None);
        assert_eq!(hear(&mut other, 0, forwarded.clone()), [forwarded]);
    }

    #[test]
    fn with_a_delay_it_is_heard_in_the_end() {
        let request = submission(1);
        let (input, tick) = (Input::Submission(request.clone()), Input::Timer(Timer::Status));
        let mut starve = Starve::new(request.signer(), Some(Duration::from_millis(500)));
        assert_eq!(hear(&mut starve, 0, input.clone()), []);
        assert_eq!(hear(&mut starve, 500, tick.clone()), [input, tick]);
    }
}
