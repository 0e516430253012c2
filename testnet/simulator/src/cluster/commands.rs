//! What is done to a cluster from outside: to its replicas, their clocks and disks, and the network.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pbft_byzantine::{Identity, Strategy};
use pbft_messages::{PeerMessage, RecoveryNonce, ReplicaId};
use pbft_protocol::Input;
use rand::RngExt as _;

use super::{Cluster, Event};
use crate::letter::Letter;
use crate::transcript::Transcript;
use crate::wire::Filter;
use crate::{Faults, InstanceId, WallClock, Wire};

impl Cluster {
    /// Starts an instance that is down, from its disk. If that is damaged it refuses, and stays down.
    pub fn start(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        let (now, replica) = (self.clocks(at), self.instances[at.0].replica);
        self.tell(|| match InstanceId::from(replica) == at {
            true => format!("{at} starts"),
            false => format!("{at} starts, a twin of {replica}"),
        });
        if self.instances[at.0].disk.is_damaged {
            return self.tell(|| format!("{at} refuses: its disk is damaged"));
        }
        self.witness.starts(at, self.instances[at.0].disk.proofs());
        let effects = self.instances[at.0].start(&self.configuration, now);
        self.carry_out(at, effects);
    }

    /// Kills an instance: its memory is gone, and what its disk had not synced.
    pub fn crash(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        self.tell(|| format!("{at} crashes"));
        self.instances[at.0].stop();
    }

    /// Kills an instance and takes its disk away. Started again, it recovers (D8).
    pub fn wipe(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        self.tell(|| format!("{at} loses its disk"));
        let nonce = RecoveryNonce(self.random.random());
        self.instances[at.0].wipe(nonce);
    }

    /// Stops an instance in good order.
    pub fn shut_down(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        self.input(at, Input::Shutdown);
        self.run_for(self.write_latency * 4);
        self.tell(|| format!("{at} stops in good order"));
        self.instances[at.0].stop();
    }

    /// Makes an instance malicious.
    pub fn corrupt(&mut self, instance: impl Into<InstanceId>, strategy: Box<dyn Strategy>) {
        let at = instance.into();
        self.tell(|| format!("{at} turns malicious: {}", strategy.name()));
        self.instances[at.0].strategy = Some(strategy);
        self.count_as_malicious(at);
    }

    /// Takes an instance's strategy away. It still counts as malicious: what it did may show later.
    pub fn behave(&mut self, instance: impl Into<InstanceId>) {
        let at = instance.into();
        self.tell(|| format!("{at} behaves"));
        self.instances[at.0].strategy = None;
    }

    /// From now on an instance is not held to the guarantees.
    pub(super) fn count_as_malicious(&mut self, at: InstanceId) {
        self.instances[at.0].malicious = true;
        // Twins are one replica.
        let malicious = self.instances.iter().filter(|instance| instance.malicious);
        let malicious: BTreeSet<_> = malicious.map(|instance| instance.replica).collect();
        self.checker.beyond_f = malicious.len() > self.configuration.f();
    }

    /// What a strategy needs to know of a replica: its keys among it.
    #[must_use]
    pub fn identity(&self, replica: ReplicaId) -> Identity {
        Identity {
            replica,
            signer: Arc::clone(&self.keys.replicas[replica.index()]),
            configuration: Arc::clone(&self.configuration),
            accomplices: BTreeMap::new(),
        }
    }

    /// The identity of a replica that colludes with others: each holds the keys of all. As anything may be signed in
    /// their names from now on, they all count as malicious.
    #[must_use]
    pub fn colluding_identity(&mut self, replica: ReplicaId, colluders: &[ReplicaId]) -> Identity {
        colluders.iter().for_each(|colluder| self.count_as_malicious((*colluder).into()));
        let key = |replica: ReplicaId| Arc::clone(&self.keys.replicas[replica.index()]);
        let others = colluders.iter().filter(|other| **other != replica);
        let accomplices = others.map(|other| (*other, key(*other))).collect();
        Identity { accomplices, ..self.identity(replica) }
    }

    /// Cuts every link between two groups of instances.
    pub fn partition<I: Into<InstanceId> + Copy>(&mut self, left: &[I], right: &[I]) {
        for from in left {
            for to in right {
                self.cut(*from, *to);
                self.cut(*to, *from);
            }
        }
    }

    /// Cuts the link from one instance to another, in this direction alone.
    pub fn cut(&mut self, from: impl Into<InstanceId>, to: impl Into<InstanceId>) {
        self.network.cut(from.into(), to.into());
    }

    /// Holds back all that is sent over a link, in this direction, for some time; it then comes at once.
    pub fn clog(&mut self, from: impl Into<InstanceId>, to: impl Into<InstanceId>, duration: Duration) {
        self.network.clog(from.into(), to.into(), self.now + duration);
    }

    /// Lets an instance have no link to a client any more; until every link is mended.
    pub fn turn_clients_away(&mut self, instance: impl Into<InstanceId>) {
        self.network.turn_clients_away(instance.into());
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Shows every message to somebody as it is sent, who may lose or change it.
    pub fn set_wire(&mut self, wire: Box<dyn Wire>) {
        self.wire = Some(wire);
    }

    /// Looks at every message between replicas as it is sent; those for which it gives `false` are lost.
    pub fn set_filter(&mut self, passes: impl FnMut(ReplicaId, ReplicaId, &PeerMessage) -> bool + 'static) {
        let replicas = self.instances.iter().map(|instance| instance.replica).collect();
        self.set_wire(Box::new(Filter { replicas, passes }));
    }

    /// Leaves messages alone again.
    pub fn clear_wire(&mut self) {
        self.wire = None;
    }

    /// Lets a message arrive in the name of a replica, as a malicious one would send it.
    pub fn inject(&mut self, from: ReplicaId, to: impl Into<InstanceId>, message: &PeerMessage) {
        let letter = Rc::new(Letter::new(from, message));
        self.plan(Duration::ZERO, Event::Arrival { to: to.into(), letter });
    }

    /// Sets an instance's wall clock, from now on; it survives crashes.
    pub fn set_wall_clock(&mut self, instance: impl Into<InstanceId>, clock: WallClock) {
        self.instances[instance.into().0].clock = WallClock { since: self.now, ..clock };
    }

    /// Makes an instance's monotonic clock too fast by so many millionths, or too slow.
    pub fn set_drift(&mut self, instance: impl Into<InstanceId>, drift: i32) {
        let now = self.now;
        let instance = &mut self.instances[instance.into().0];
        instance.pace = instance.pace.drifting(drift, now);
    }

    /// Changes how long a durable write takes, at every instance.
    pub fn set_write_latency(&mut self, latency: Duration) {
        self.write_latency = latency;
    }

    /// Changes how long an execution, a snapshot or an installation takes, at every instance.
    pub fn set_service_latency(&mut self, latency: Duration) {
        self.service_latency = latency;
    }

    /// Changes the network's faults.
    pub fn set_faults(&mut self, faults: Faults) {
        self.network.faults = faults;
    }

    /// Begins the transcript anew.
    pub fn clear_transcript(&mut self) {
        self.transcript = Some(Transcript::default());
    }
}
