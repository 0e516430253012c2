use std::collections::VecDeque;
use std::time::Duration;

use pbft_protocol::{Effect, Effects, Instant, Now};

use crate::parameters::Values;
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "drip",
    row: 47,
    parameters: &[Parameter {
        name: "delay",
        default: "90%",
        meaning: "how long it takes to serve each part; a source is dropped after ten statuses without one",
    }],
    does: "Serves state, one part at a time, as slowly as a fetching replica just tolerates.",
    defeated_by: "C3: parts are fetched from several sources at a time, and what a slow one owes is asked of another \
                  once nothing else is left to ask for.",
    expect: "A transfer that takes about as long as without this source; no more than that, as it never stalls for long \
             enough to be dropped.",
    stage: Stage::Transfer,
    samples: &Sample::all(Proof::Never, ["drip", "drip:delay=300ms"]),
    pause: Pause::None,
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let delay = values.get("delay", &identity.configuration)?;
    Ok(Box::new(Drip { delay, next: Instant::default(), owed: VecDeque::new() }))
}

/// The most parts owed at a time; later ones are never served.
const OWED: usize = 1024;

/// `drip`: a source of state that takes its time.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Drip {
    delay: Duration,
    /// When the next part may leave.
    next: Instant,
    owed: VecDeque<Effect>,
}

impl Strategy for Drip {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let kept = rewrite(effects, &mut |effect, out| match effect {
            Effect::ServePart { .. } => {
                if self.owed.is_empty() {
                    self.next = self.next.max(now.instant.plus(self.delay));
                }
                if self.owed.len() < OWED {
                    self.owed.push_back(effect);
                }
            }
            other => out.push(other),
        });
        let mut effects: Vec<_> = kept.into();
        // Nothing wakes a strategy up, but a replica's statuses are due all the time.
        if now.instant >= self.next
            && let Some(part) = self.owed.pop_front()
        {
            self.next = now.instant.plus(self.delay);
            effects.push(part);
        }
        effects.into()
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Part, PartId, ReplicaId, Sequence};

    use super::*;
    use crate::testing::{identity, made};

    #[test]
    fn parts_leave_one_at_a_time_and_late() {
        let mut strategy = made("drip:delay=300ms", &identity(4, ReplicaId(1)));
        let part = |index| {
            let id = PartId { sequence: Sequence(8), part: Part::Chunk(index) };
            Effect::ServePart { to: ReplicaId(2), id }
        };
        let mut at = |milliseconds, effects: Vec<Effect>| {
            let instant = Instant::after_start(Duration::from_millis(milliseconds));
            Vec::from(strategy.effects(Now { instant, ..Now::default() }, effects.into()))
        };
        assert_eq!(at(1_000, vec![part(0), part(1)]), []);
        assert_eq!(at(1_299, vec![]), []);
        assert_eq!(at(1_300, vec![part(2)]), [part(0)]);
        assert_eq!(at(1_301, vec![]), []);
        assert_eq!(at(1_700, vec![]), [part(1)]);
        assert_eq!(at(2_000, vec![]), [part(2)]);
        assert_eq!(at(9_000, vec![]), []);
        assert_eq!(at(9_000, vec![part(3)]), []);
        assert_eq!(at(9_300, vec![]), [part(3)]);
    }
}
