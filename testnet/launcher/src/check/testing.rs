//! Histories made by the model itself, one operation after the other, to be spoiled by a test.

use std::time::Duration;

use super::{Done, FinalState, Model, Operation, Outcome, Recorded};

#[derive(Default)]
pub(super) struct Scene {
    model: Model,
    pub(super) history: Vec<Recorded>,
}

impl Scene {
    /// Does an operation, in a batch of its own; gives its place in the history.
    pub(super) fn run(&mut self, operation: Operation) -> usize {
        let observation = self.model.apply(&operation);
        let sequence = self.history.len() as u64 + 1;
        let outcome = Outcome::Done(Done {
            returned: Duration::from_millis(sequence * 10 + 5),
            sequence,
            revision: self.model.revision,
            observation,
        });
        self.record(operation, outcome)
    }

    /// Asks for something that is never done.
    pub(super) fn never(&mut self, operation: Operation) -> usize {
        self.record(operation, Outcome::Unknown)
    }

    fn record(&mut self, operation: Operation, outcome: Outcome) -> usize {
        let invoked = Duration::from_millis((self.history.len() as u64 + 1) * 10);
        self.history.push(Recorded { client: 0, operation, invoked, outcome });
        self.history.len() - 1
    }

    pub(super) fn done(&mut self, index: usize) -> &mut Done {
        match &mut self.history[index].outcome {
            Outcome::Done(done) => done,
            Outcome::Unknown => panic!("operation {index} is unanswered"),
        }
    }

    pub(super) fn end(&self) -> FinalState {
        FinalState {
            first_revision: 1,
            revision: self.model.revision,
            entries: self.model.entries.clone().into_iter().collect(),
            ..FinalState::default()
        }
    }
}

pub(super) fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: key.to_owned().into(), value: value.to_owned().into() }
}

pub(super) fn get(key: &str) -> Operation {
    Operation::Get { key: key.to_owned().into() }
}
