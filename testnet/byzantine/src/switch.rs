use std::collections::VecDeque;

use pbft_protocol::{Effects, Input, Now};

use crate::{Identity, Strategy, UnknownStrategy, strategy};

/// Where a replica's effects pass through on their way out: unchanged, until a strategy is set.
pub struct Switch {
    identity: Identity,
    /// What was asked for, and what came of it.
    current: Option<(String, Box<dyn Strategy>)>,
}

impl Switch {
    /// A switch that lets everything pass.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, current: None }
    }

    /// Misbehaves from the next effects on, in the way that [`strategy`] makes of `text`. Setting the strategy that is set already lets it go on undisturbed.
    ///
    /// # Errors
    /// [`UnknownStrategy`]; what was set stays set.
    pub fn set(&mut self, text: &str) -> Result<(), UnknownStrategy> {
        if self.current.as_ref().is_none_or(|(set, _)| set != text) {
            self.current = Some((text.to_owned(), strategy(text, &self.identity)?));
        }
        Ok(())
    }

    /// Behaves from the next effects on.
    pub fn clear(&mut self) {
        self.current = None;
    }

    /// The text of the strategy that is set.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.current.as_ref().map(|(text, _)| text.as_str())
    }

    /// What is done in place of `effects`.
    pub fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        match &mut self.current {
            Some((_, strategy)) => strategy.effects(now, effects),
            None => effects,
        }
    }

    /// Pushes what the core hears in place of `input`. What a strategy keeps to itself is gone when another is set.
    pub fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        match &mut self.current {
            Some((_, strategy)) => strategy.hear(now, input, heard),
            None => heard.push_back(input),
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{PeerMessage, ReplicaId};
    use pbft_protocol::Effect;

    use super::*;
    use crate::testing::{digest, identity};

    #[test]
    fn it_misbehaves_only_while_a_strategy_is_set() {
        let mut switch = Switch::new(identity(4, ReplicaId(0)));
        let effects = || vec![Effect::Broadcast(PeerMessage::FetchBody(digest(b"a")))];
        let passed = |switch: &mut Switch| switch.effects(Now::default(), effects().into());
        assert_eq!((passed(&mut switch), switch.text()), (effects().into(), None));
        switch.set("silent+slow:delay=1s").unwrap();
        assert_eq!((passed(&mut switch), switch.text()), (Effects::new(), Some("silent+slow:delay=1s")));
        assert!(switch.set("loud").is_err());
        assert_eq!(switch.text(), Some("silent+slow:delay=1s"));
        switch.clear();
        assert_eq!((passed(&mut switch), switch.text()), (effects().into(), None));
    }
}
