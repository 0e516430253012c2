use std::collections::VecDeque;
use std::time::Duration;

use pbft_messages::{ReplicaId, ReplicaMessage, Submission};
use pbft_protocol::{Instant, Now};

use crate::parameters::{Values, choice};
use crate::ticker::Ticker;
use crate::{Description, Parameter, Pause, Proof, Sample, Stage, UnknownStrategy};

use super::pen::Pen;
use super::{ClientIdentity, ClientShot, ClientStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "flood-requests",
    row: 52,
    parameters: &[
        Parameter {
            name: "rate",
            default: "1000",
            meaning: "how many requests a second it sends, of all its identities together",
        },
        Parameter {
            name: "to",
            default: "all",
            meaning: "who gets each request: all, or one replica after the other, so that what waits anywhere waits nowhere \
                      else (one)",
        },
    ],
    does: "Sends good requests to every replica from all the identities it has, and waits for no answer.",
    defeated_by: "R2 and N8: clients have a socket and budgets of their own, and each replica sheds or refuses what is \
                  too much before any timer starts, backups long before the primary; what waits is bounded for all \
                  clients and for each.",
    expect: "Slower answers, and refusals for the flooding identities; no view change for the load alone, and whoever \
             asks again is served.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Never,
        ["flood-requests", "flood-requests:rate=200", "flood-requests:to=one"],
    ),
    pause: Pause::None,
};

pub(crate) fn make(
    values: &Values<'_>,
    identity: &ClientIdentity,
) -> Result<Box<dyn ClientStrategy>, UnknownStrategy> {
    let pens = Pen::all(identity).into_iter().map(|pen| (pen, OPENING)).collect();
    let ticker = Ticker::new(values.get("rate", &identity.configuration)?);
    let to = values.get("to", &identity.configuration)?;
    Ok(Box::new(FloodRequests { pens, ticker, to }))
}

choice! {
    /// Who gets each request.
    To { All = "all", One = "one" }, "all or one"
}

/// The number that opens the next session.
const OPENING: u64 = 0;

/// How many requests a session has. They fit a window, so that none depends on answers.
const OF_A_SESSION: u64 = Submission::MAXIMUM_REQUESTS as u64;

/// `flood-requests`: requests without end from many identities.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
struct FloodRequests {
    /// Each identity, and the number that is its next.
    pens: VecDeque<(Pen, u64)>,
    ticker: Ticker,
    to: To,
}

impl ClientStrategy for FloodRequests {
    fn name(&self) -> &'static str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: ReplicaId, _: &ReplicaMessage) {}

    fn act(&mut self, now: Duration, out: &mut Vec<ClientShot>) {
        let clock = Now { instant: Instant::after_start(now), ..Now::default() };
        for _ in 0..self.ticker.due(clock) {
            // Its identities take turns.
            let Some((mut pen, mut next)) = self.pens.pop_front() else { return };
            let message = match next {
                OPENING => {
                    pen.begin_session(now);
                    pen.open()
                }
                number => pen.put(number, "flood"),
            };
            let mut shots = Vec::new();
            pen.send_all(|_| message.clone(), &mut shots);
            match self.to {
                To::One if next != OPENING => out.extend(shots.into_iter().cycle().nth(next as usize)),
                To::One | To::All => out.append(&mut shots),
            }
            next = (next + 1) % (OF_A_SESSION + 1);
            self.pens.push_back((pen, next));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pbft_messages::ClientMessage;

    use crate::client::testing::{accepted, act, identity};
    use crate::client_strategy;

    #[test]
    fn all_identities_send_at_the_rate_that_was_asked_for() {
        let mut strategy = client_strategy("flood-requests:rate=500", &identity(2)).unwrap();
        assert_eq!(act(&mut *strategy, 0), []);
        let shots: Vec<_> = (1..=100).flat_map(|step| act(&mut *strategy, step * 10)).collect();
        assert_eq!(shots.len(), 4 * 500);
        assert_eq!(accepted(&shots).len(), shots.len());
        let submitters: BTreeSet<_> = shots
            .iter()
            .filter_map(|shot| match &shot.message {
                ClientMessage::Submit(signed) => Some(signed.claimed_signer()),
                ClientMessage::Read(_) => None,
            })
            .collect();
        assert_eq!(submitters.len(), 2);
        let mut one = client_strategy("flood-requests:rate=500,to=one", &identity(1)).unwrap();
        act(&mut *one, 0);
        let shots: Vec<_> = (1..=13).flat_map(|step| act(&mut *one, step * 10)).collect();
        assert_eq!(shots.len(), 4 + 64, "the opening goes to all");
        let mut keyless = client_strategy("flood-requests", &identity(0)).unwrap();
        act(&mut *keyless, 0);
        assert_eq!(act(&mut *keyless, 1_000), []);
    }
}
