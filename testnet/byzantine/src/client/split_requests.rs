use std::time::Duration;

use pbft_messages::{ReplicaId, ReplicaMessage};

use crate::parameters::Values;
use crate::{Description, Parameter, Pause, Proof, Sample, Stage, UnknownStrategy};

use super::pen::{Beat, Pen};
use super::{ClientIdentity, ClientShot, ClientStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "split-requests",
    row: 48,
    parameters: &[Parameter {
        name: "every",
        default: "50ms",
        meaning: "how often it sends what is not answered, and turns to the next number",
    }],
    does: "Sends each replica another request under the same number, all of them well signed, and the next number once \
           any of them is answered.",
    defeated_by: "N8: waiting requests are kept by client, session and number, so whichever is executed clears all of \
                  them, and no timer is left that could end a view; N1: one number executes once.",
    expect: "One request of each number is executed, the others are refused as different; no view change.",
    stage: Stage::Always,
    samples: &Sample::all(
        Proof::Never,
        ["split-requests", "split-requests:every=10ms", "split-requests:every=400ms"],
    ),
    pause: Pause::None,
};

pub(crate) fn make(
    values: &Values<'_>,
    identity: &ClientIdentity,
) -> Result<Box<dyn ClientStrategy>, UnknownStrategy> {
    Ok(Box::new(SplitRequests::new(identity, values.get("every", &identity.configuration)?)))
}

/// `split-requests`: sends each replica another request under the same number, and the next number once any of them
/// is answered.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
struct SplitRequests {
    /// `None` for a client without a key, which can say nothing.
    pen: Option<Pen>,
    beat: Beat,
    /// The number that is split; 0 while the session is not open.
    number: u64,
}

impl SplitRequests {
    /// The strategy for one client, which sends again what is unanswered after each interval.
    fn new(identity: &ClientIdentity, every: Duration) -> Self {
        Self { pen: Pen::all(identity).into_iter().next(), beat: Beat::new(every), number: 0 }
    }
}

impl ClientStrategy for SplitRequests {
    fn name(&self) -> &'static str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: ReplicaId, message: &ReplicaMessage) {
        if self.pen.as_ref().is_some_and(|pen| pen.is_answered(self.number, message)) {
            self.number += 1;
        }
    }

    fn act(&mut self, now: Duration, out: &mut Vec<ClientShot>) {
        let Some(pen) = self.pen.as_mut().filter(|_| self.beat.is_due(now)) else { return };
        if pen.session.0 == 0 {
            pen.begin_session(now);
        }
        match self.number {
            0 => pen.send_all(|_| pen.open(), out),
            number => pen.send_all(|to| pen.put(number, &format!("for {to}")), out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{accepted, act, answer, identity};

    #[test]
    fn each_replica_gets_a_good_request_of_its_own_until_one_is_answered() {
        let mut strategy = SplitRequests::new(&identity(1), Duration::from_millis(50));
        let opening = accepted(&act(&mut strategy, 0));
        assert_eq!(
            opening.iter().map(|it| it.requests().next().unwrap().number.0).collect::<Vec<_>>(),
            [0; 4]
        );
        assert_eq!(act(&mut strategy, 10), []);
        strategy.hear(ReplicaId(2), &answer(&opening[0]));
        let split = accepted(&act(&mut strategy, 50));
        assert!(split.iter().all(|it| it.requests().next().unwrap().number.0 == 1));
        assert!((0..4).all(|one| (0..one).all(|other| split[one] != split[other])));
        assert_eq!(accepted(&act(&mut strategy, 100)), split, "nobody has answered");
        strategy.hear(ReplicaId(3), &answer(&split[0]));
        strategy.hear(ReplicaId(0), &answer(&split[0]));
        let next = accepted(&act(&mut strategy, 150));
        assert!(next.iter().all(|it| it.requests().next().unwrap().number.0 == 2));
    }
}
