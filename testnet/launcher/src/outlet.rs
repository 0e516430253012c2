//! Where a testnet's replica is made to misbehave, and told what is wrong with its links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use pbft_byzantine::{Identity, Switch};
use pbft_crypto::{Signer, key_file};
use pbft_messages::ReplicaId;
use pbft_node::Outlet;
use pbft_protocol::{Effects, Input, Now};

use crate::Folder;
use crate::network::{Direction, Layer};
use crate::order::{Faults, Followed, Order};
use crate::units::Time;

/// Strategies and bad lines, behind the replica's control socket.
pub(crate) struct Afflicted {
    me: ReplicaId,
    /// The testnet's folder, where accomplices' keys are.
    folder: Folder,
    switch: Switch,
    accomplices: BTreeSet<ReplicaId>,
    /// When the replica behaves again by itself.
    until: Option<Instant>,
    layer: Layer,
}

impl Afflicted {
    /// An honest replica with good links.
    pub(crate) fn new(identity: Identity, folder: Folder, layer: Layer) -> Self {
        let (me, switch) = (identity.replica, Switch::new(identity));
        Self { me, folder, switch, accomplices: BTreeSet::new(), until: None, layer }
    }

    fn follow(
        &mut self,
        strategy: &str,
        accomplices: BTreeSet<ReplicaId>,
        last: Option<Duration>,
    ) -> Result<(), String> {
        // One that is followed already goes on undisturbed, for a new time.
        if self.switch.text() != Some(strategy) || self.accomplices != accomplices {
            let keys = self.keys(&accomplices)?;
            self.switch.set(strategy, keys).map_err(|error| error.to_string())?;
            self.accomplices = accomplices;
        }
        self.until = last.and_then(|last| Instant::now().checked_add(last));
        Ok(())
    }

    fn keys(
        &self,
        accomplices: &BTreeSet<ReplicaId>,
    ) -> Result<BTreeMap<ReplicaId, Arc<dyn Signer>>, String> {
        let others = accomplices.iter().filter(|it| **it != self.me);
        let key = |replica: &ReplicaId| {
            let key =
                key_file::read(&self.folder.replica_key(*replica)).map_err(|error| error.to_string())?;
            Ok((*replica, Arc::new(key) as Arc<dyn Signer>))
        };
        others.map(key).collect()
    }

    fn behave(&mut self) {
        self.switch.clear();
        self.until = None;
    }

    /// Behaves again, if it is time to.
    fn expire(&mut self) {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            tracing::info!("the testnet's order has ended: it behaves");
            self.behave();
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), String> {
        let told = order.to_string();
        let time = |last: Option<Time>| last.map(|last| last.0);
        match order {
            Order::Follow { strategy, accomplices, last } => {
                self.follow(&strategy, accomplices, time(last))?;
            }
            Order::Spoil { peers, shape, last } => self.layer.spoil(peers, shape, time(last)),
            Order::Cut { to, from, last } => {
                self.layer.cut(to, Direction::To, time(last));
                self.layer.cut(from, Direction::From, time(last));
            }
            Order::Clear => {
                self.behave();
                self.layer.mend();
            }
            Order::Heal => self.layer.heal(),
        }
        tracing::info!("by order of the testnet: {told}");
        Ok(())
    }

    fn standing(&self) -> Faults {
        let left = self.until.map(|until| Time(until.saturating_duration_since(Instant::now())));
        let following = |text: &str| {
            let (text, accomplices) = (text.to_owned(), self.accomplices.clone());
            Followed { text, accomplices, left }
        };
        let strategy = self.switch.text().map(following);
        Faults { strategy, altered: self.switch.altered(), network: self.layer.faults() }
    }
}

impl Outlet for Afflicted {
    fn pass(&mut self, now: Now, effects: Effects) -> Effects {
        self.expire();
        self.switch.effects(now, effects)
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        self.expire();
        self.switch.hear(now, input, heard);
    }

    fn command(&mut self, command: &Value) -> Result<Value, String> {
        let order = command.get("order").cloned().unwrap_or_default();
        let order = serde_json::from_value(order);
        self.obey(order.map_err(|error| format!("no order that this replica knows: {error}"))?)?;
        Ok(self.faults())
    }

    fn faults(&mut self) -> Value {
        self.expire();
        // Made of texts and numbers only.
        serde_json::to_value(self.standing()).unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::SecretKey;
    use pbft_messages::{Configuration, Member, Parameters, PeerMessage, Sequence};
    use pbft_protocol::Effect;
    use serde_json::json;

    use super::*;

    fn key(index: u16) -> SecretKey {
        SecretKey::from_seed(&[index as u8 + 1; 32])
    }

    /// r0 of a testnet in a folder in which r2's key is.
    fn outlet(folder: &tempfile::TempDir) -> Afflicted {
        let folder = Folder::at(folder.path()).expect("an absolute path");
        std::fs::create_dir(folder.replica(ReplicaId(2))).expect("a new folder");
        key_file::create(&folder.replica_key(ReplicaId(2)), &key(2)).expect("a new file");
        let members = (0..4).map(|index| Member {
            key: key(index).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        let configuration = Configuration::new("test".into(), members.collect(), [], Parameters::default());
        let configuration = Arc::new(configuration.expect("a sound configuration"));
        let layer = Layer::new(&configuration);
        let identity = Identity {
            replica: ReplicaId(0),
            signer: Arc::new(key(0)),
            configuration,
            accomplices: BTreeMap::new(),
        };
        Afflicted::new(identity, folder, layer)
    }

    fn faults(outlet: &mut Afflicted) -> Faults {
        serde_json::from_value(outlet.faults()).expect("what was written")
    }

    #[test]
    fn strategies_are_followed_until_they_are_cleared_or_their_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut outlet = outlet(&folder);
        assert_eq!(faults(&mut outlet), Faults::default());
        let follow = |text: &str| json!({ "order": { "follow": { "strategy": text } } });
        outlet.command(&follow("silent")).unwrap();
        let following = Followed { text: "silent".into(), accomplices: BTreeSet::new(), left: None };
        assert_eq!(faults(&mut outlet).strategy, Some(following.clone()));
        let complaint = outlet.command(&follow("loud")).unwrap_err();
        assert!(complaint.contains("there are equivocate"), "{complaint}");
        assert!(outlet.command(&json!({ "command": "fault" })).is_err());
        assert_eq!(faults(&mut outlet).strategy, Some(following));
        outlet.command(&json!({ "order": "clear" })).unwrap();
        assert_eq!(faults(&mut outlet).strategy, None);
        let mut short = follow("silent");
        short["order"]["follow"]["last"] = "60s".into();
        outlet.command(&short).unwrap();
        assert!(faults(&mut outlet).strategy.unwrap().left > Some(Time(Duration::from_secs(50))));
        short["order"]["follow"]["last"] = "0ms".into();
        outlet.command(&short).unwrap();
        assert_eq!(faults(&mut outlet).strategy, None);
    }

    #[test]
    fn what_was_altered_is_counted_after_the_strategy_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut outlet = outlet(&folder);
        let pass = |outlet: &mut Afflicted| {
            let effects = vec![Effect::Broadcast(PeerMessage::NoSnapshot(Sequence(1)))];
            drop(outlet.pass(Now::default(), effects.into()));
            faults(outlet).altered
        };
        assert_eq!(pass(&mut outlet), 0);
        for (accomplices, altered) in [(json!([]), 3), (json!(["r2"]), 6)] {
            let follow = json!({ "follow": { "strategy": "silent", "accomplices": accomplices } });
            outlet.command(&json!({ "order": follow })).unwrap();
            assert_eq!(pass(&mut outlet), altered);
        }
        outlet.command(&json!({ "order": "clear" })).unwrap();
        assert_eq!(pass(&mut outlet), 6);
    }

    #[test]
    fn accomplices_lend_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let mut outlet = outlet(&folder);
        let with =
            |who: &str| json!({ "order": { "follow": { "strategy": "silent", "accomplices": [who] } } });
        outlet.command(&with("r2")).unwrap();
        assert_eq!(faults(&mut outlet).strategy.unwrap().accomplices, BTreeSet::from([ReplicaId(2)]));
        assert!(outlet.command(&with("r3")).unwrap_err().contains("r3/replica.key"));
    }

    #[test]
    fn bad_lines_are_cleared_and_partitions_are_healed() {
        let folder = tempfile::tempdir().unwrap();
        let mut outlet = outlet(&folder);
        let spoil = json!({ "spoil": { "peers": ["r1"], "shape": { "loss": "5%" } } });
        outlet.command(&json!({ "order": spoil })).unwrap();
        let cut = json!({ "cut": { "to": ["r2"], "from": ["r2", "r3"], "last": "60s" } });
        outlet.command(&json!({ "order": cut })).unwrap();
        assert_eq!(faults(&mut outlet).network.len(), 4);
        outlet.command(&json!({ "order": "clear" })).unwrap();
        assert_eq!(faults(&mut outlet).network.len(), 3);
        outlet.command(&json!({ "order": "heal" })).unwrap();
        assert_eq!(faults(&mut outlet), Faults::default());
    }
}
