//! Several strategies at once.

use std::collections::VecDeque;

use pbft_protocol::{Effects, Input, Now};

use crate::Strategy;

/// Strategies one behind the other: what the core hears and what leaves it passes through each in turn.
pub(crate) struct Chain {
    pub(crate) text: String,
    pub(crate) parts: Vec<Box<dyn Strategy>>,
}

impl Strategy for Chain {
    fn name(&self) -> &str {
        &self.text
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        let mut passing = VecDeque::from([input]);
        for part in &mut self.parts {
            for input in std::mem::take(&mut passing) {
                part.hear(now, input, &mut passing);
            }
        }
        heard.append(&mut passing);
    }

    fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        self.parts.iter_mut().fold(effects, |effects, part| part.effects(now, effects))
    }
}
