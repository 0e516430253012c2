//! Where a replica's effects pass through on their way out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pbft_crypto::Signer;
use pbft_messages::ReplicaId;
use pbft_protocol::{Effect, Effects, Input, Now};

use crate::deeds::{deeds, differences};
use crate::{Identity, Strategy, UnknownStrategy, strategy};

/// Lets a replica's effects and inputs pass unchanged, until a strategy is set.
pub struct Switch {
    identity: Identity,
    /// What was asked for, and what came of it.
    current: Option<(String, Box<dyn Strategy>)>,
    altered: u64,
}

impl Switch {
    /// A switch that lets everything pass.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, current: None, altered: 0 }
    }

    /// Misbehaves from the next effects on, in the way that [`strategy`] makes of `text`, with these accomplices.
    ///
    /// # Errors
    /// [`UnknownStrategy`]; what was set stays set.
    pub fn set(
        &mut self,
        text: &str,
        accomplices: BTreeMap<ReplicaId, Arc<dyn Signer>>,
    ) -> Result<(), UnknownStrategy> {
        let identity = Identity { accomplices, ..self.identity.clone() };
        self.current = Some((text.to_owned(), strategy(text, &identity)?));
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

    /// How many messages strategies have altered, withheld or made by now: those of the replica, each receiver's for
    /// itself, and those that its core did not hear as they came.
    #[must_use]
    pub fn altered(&self) -> u64 {
        self.altered
    }

    /// What is done in place of `effects`.
    pub fn effects(&mut self, now: Now, effects: Effects) -> Effects {
        let Some((_, strategy)) = &mut self.current else { return effects };
        let wanted = Vec::from(effects);
        let done: Vec<Effect> = strategy.effects(now, wanted.clone().into()).into();
        self.altered += deeds(&self.identity, &wanted, &done);
        done.into()
    }

    /// Pushes what the core hears in place of `input`. What a strategy keeps to itself is gone when another is set.
    pub fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        let Some((_, strategy)) = &mut self.current else { return heard.push_back(input) };
        let (before, came) = (heard.len(), input.clone());
        strategy.hear(now, input, heard);
        self.altered += differences(vec![&came], heard.range(before..).collect());
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::PeerMessage;

    use super::*;
    use crate::testing::{digest, identity, submission};

    #[test]
    fn it_misbehaves_only_while_a_strategy_is_set() {
        let mut switch = Switch::new(identity(4, ReplicaId(0)));
        let effects = || vec![Effect::Broadcast(PeerMessage::FetchBody(digest(b"a")))];
        let passed = |switch: &mut Switch| switch.effects(Now::default(), effects().into());
        assert_eq!((passed(&mut switch), switch.text()), (effects().into(), None));
        switch.set("silent+slow:delay=1s", BTreeMap::new()).unwrap();
        assert_eq!((passed(&mut switch), switch.text()), (Effects::new(), Some("silent+slow:delay=1s")));
        assert!(switch.set("loud", BTreeMap::new()).is_err());
        assert_eq!(switch.text(), Some("silent+slow:delay=1s"));
        switch.clear();
        assert_eq!((passed(&mut switch), switch.text()), (effects().into(), None));
        assert_eq!(switch.altered(), 3);
    }

    #[test]
    fn what_its_core_does_not_hear_counts_too() {
        let mut switch = Switch::new(identity(4, ReplicaId(0)));
        let hear = |switch: &mut Switch| {
            let mut heard = VecDeque::new();
            switch.hear(Now::default(), Input::Submission(submission(1)), &mut heard);
            (heard.len(), switch.altered())
        };
        assert_eq!(hear(&mut switch), (1, 0));
        switch.set("misdate", BTreeMap::new()).unwrap();
        assert_eq!(hear(&mut switch), (1, 0));
        switch.set("slow", BTreeMap::new()).unwrap();
        assert_eq!(hear(&mut switch), (0, 1));
    }
}
