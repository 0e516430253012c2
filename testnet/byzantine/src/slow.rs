use std::collections::VecDeque;
use std::time::Duration;

use pbft_protocol::{Effects, Input, Now};

use crate::holding::{Holding, requester};
use crate::parameters::Values;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "slow",
    row: 27,
    parameters: &[Parameter {
        name: "delay",
        default: "75%",
        meaning: "how long it sits on each request; by default so long that no timer ends",
    }],
    does: "As primary, sits on every request for a while before it proposes it. As a backup it only passes on late \
           what reaches the primary anyway.",
    defeated_by: "VC9: backups see requests wait while other primaries did better.",
    expect: "Answers as slow as the delay for about six view timeouts, then a view change for the reason slow-primary. \
             Slowness leaves no evidence.",
    stage: Stage::Primary,
    samples: &Sample::all(Proof::Never, ["slow", "slow:delay=40%", "slow:delay=150%"]),
    pause: Pause::ViewTimeouts(2),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::new(Slow::new(values.get("delay", &identity.configuration)?)))
}

/// `slow`: a primary that sits on every request for some time before it proposes it, and is quick with all else.
///
/// By default the time is three quarters of the view timeout: agreement takes time too, and no timer is to end. While
/// its replica is a backup it only passes on late what reaches the primary anyway.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
pub(crate) struct Slow {
    requests: Holding,
}

impl Slow {
    fn new(delay: Duration) -> Self {
        Self { requests: Holding::new(delay) }
    }
}

impl Strategy for Slow {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        self.requests.release(now, heard);
        match requester(&input) {
            Some(_) => self.requests.hold(now, input),
            None => heard.push_back(input),
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

    #[test]
    fn requests_are_heard_late_and_in_order_and_all_else_at_once() {
        let mut slow = Slow::new(Duration::from_millis(750));
        let direct = Input::Submission(submission(1));
        let forwarded = Input::Message { from: ReplicaId(2), message: Message::Forward(submission(2)) };
        let tick = || Input::Timer(Timer::Status);
        let mut at = |milliseconds, input| {
            let instant = Instant::after_start(Duration::from_millis(milliseconds));
            let mut heard = VecDeque::new();
            slow.hear(Now { instant, ..Now::default() }, input, &mut heard);
            Vec::from(heard)
        };
        assert_eq!(at(0, direct.clone()), []);
        assert_eq!(at(100, forwarded.clone()), []);
        assert_eq!(at(749, tick()), [tick()]);
        assert_eq!(at(750, tick()), [direct, tick()]);
        assert_eq!(at(850, tick()), [forwarded, tick()]);
        assert_eq!(at(851, tick()), [tick()]);
    }
}
