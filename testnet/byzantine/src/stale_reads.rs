use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use pbft_messages::{ReadAnswer, ReadId, ReadOutcome};
use pbft_protocol::{Effect, Effects, Now, Query};

use crate::parameters::Values;
use crate::rewrite::rewrite;
use crate::{Description, Identity, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "stale-reads",
    row: 36,
    parameters: &[],
    does: "Answers each unordered read as it answered the same one for the first time, whatever was written since. In \
           everything else it behaves well.",
    defeated_by: "N5: a client believes a quorum of equal results, in which correct replicas stand that wait for all \
                  that they helped to commit.",
    expect: "Reads that are ordered after all when another replica is slow, never a stale value. Nothing is signed, so \
             there is no evidence.",
    stage: Stage::Always,
    samples: &Sample::all(Proof::Never, ["stale-reads"]),
    pause: Pause::None,
};

pub(crate) fn make(_: &Values<'_>, _: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    Ok(Box::<StaleReads>::default())
}

/// How many reads under way, and how many operations with their first results, are remembered.
const REMEMBERED: usize = 1024;

/// `stale-reads`: answers each unordered read as it answered the same one for the first time.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug, Default)]
pub(crate) struct StaleReads {
    /// The reads that the service was asked, oldest first.
    asked: VecDeque<(ReadId, Bytes)>,
    first: BTreeMap<Bytes, ReadOutcome>,
}

impl StaleReads {
    fn on_query(&mut self, query: &Query) {
        if self.asked.len() == REMEMBERED {
            self.asked.pop_front();
        }
        self.asked.push_back((query.read.id, query.read.operation.clone()));
    }

    fn lie(&mut self, answer: &mut ReadAnswer) {
        let place = self.asked.iter().position(|(id, _)| *id == answer.id);
        let Some((_, operation)) = place.and_then(|place| self.asked.remove(place)) else { return };
        if let Some(first) = self.first.get(&operation) {
            answer.outcome = first.clone();
        } else if self.first.len() < REMEMBERED {
            self.first.insert(operation, answer.outcome.clone());
        }
    }
}

impl Strategy for StaleReads {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |mut effect, out| {
            match &mut effect {
                Effect::Query(query) => self.on_query(query),
                Effect::AnswerRead { answer, .. } => self.lie(answer),
                _ => {}
            }
            out.push(effect);
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{ClientId, Read, Sequence, SessionId};

    use super::*;

    #[test]
    fn the_first_answer_is_given_for_ever() {
        let mut strategy = StaleReads::default();
        let mut answer = |id: u64, operation: &'static str, result: &'static str| {
            let read = Read { id: ReadId(id), operation: Bytes::from_static(operation.as_bytes()) };
            let query =
                Query { client: ClientId([1; 32]), session: SessionId(1), sequence: Sequence(id), read };
            let asked = vec![Effect::Query(query.clone())];
            assert_eq!(strategy.effects(Now::default(), asked.clone().into()), asked.into());
            let answered = vec![query.answered(Bytes::from_static(result.as_bytes()))];
            let passed: Vec<Effect> = strategy.effects(Now::default(), answered.into()).into();
            match &passed[..] {
                [Effect::AnswerRead { answer, .. }] => answer.outcome.clone(),
                _ => panic!("{passed:?}"),
            }
        };
        let result = |sequence, result: &'static str| ReadOutcome::Result {
            sequence: Sequence(sequence),
            result: Bytes::from_static(result.as_bytes()),
        };
        assert_eq!(answer(1, "a", "old"), result(1, "old"));
        assert_eq!(answer(2, "b", "other"), result(2, "other"));
        assert_eq!(answer(3, "a", "new"), result(1, "old"));
    }
}
