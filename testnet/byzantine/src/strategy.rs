//! What a strategy is, and whose name it lies in.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use pbft_crypto::{Signed, Signer, Statement, Verified};
use pbft_messages::{Configuration, ReplicaId};
use pbft_protocol::{Effects, Input, Now};

use crate::group::Group;

/// A way to misbehave. The core behind it stays honest and knows nothing of it; a strategy changes what leaves,
/// and what reaches it.
pub trait Strategy: Send {
    /// The name under which [`crate::strategy`] makes it; several at once have the whole text for a name.
    fn name(&self) -> &str;

    /// Pushes what the core hears in place of `input`: by default just that. A strategy may keep requests to itself, and
    /// let the core hear them with a later input; timers, writes and executions must come through.
    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        let _ = now;
        heard.push_back(input);
    }

    /// What is done in place of `effects`. Those that wait inside a write ([`pbft_protocol::Effect::Persist`]) are
    /// within its reach too.
    ///
    /// Effects that concern the replica itself (writes, timers, executions, reports) should pass unchanged: a
    /// strategy that damages its own core tests nothing but that core.
    fn effects(&mut self, now: Now, effects: Effects) -> Effects;
}

/// Whom a strategy speaks for: a replica, with its real key.
#[derive(Clone)]
pub struct Identity {
    /// The replica.
    pub replica: ReplicaId,
    /// Its real signer: lies must be signed to be heard at all.
    pub signer: Arc<dyn Signer>,
    /// The cluster it belongs to.
    pub configuration: Arc<Configuration>,
    /// The others that the same adversary holds, with their real signers; the replica itself is not among them.
    pub accomplices: BTreeMap<ReplicaId, Arc<dyn Signer>>,
}

impl Identity {
    /// Signs a statement in the replica's name.
    pub(crate) fn sign<T: Statement<Signer = ReplicaId>>(&self, statement: T) -> Signed<T> {
        self.sign_as(self.replica, &*self.signer, statement)
    }

    /// Signs a statement in the name of a replica whose signer this is: its own, or an accomplice's.
    pub(crate) fn sign_as<T: Statement<Signer = ReplicaId>>(
        &self,
        replica: ReplicaId,
        signer: &dyn Signer,
        statement: T,
    ) -> Signed<T> {
        Verified::sign(statement, replica, signer, self.configuration.scope()).signed().clone()
    }

    /// A statement in the name of whatever replica: under its own signature if the adversary has its key, else under one
    /// that is not its own.
    pub(crate) fn forge<T: Statement<Signer = ReplicaId>>(
        &self,
        replica: ReplicaId,
        statement: T,
    ) -> Signed<T> {
        let signer = self.accomplices.get(&replica).unwrap_or(&self.signer);
        self.sign_as(replica, &**signer, statement)
    }

    /// Every other replica.
    pub(crate) fn others(&self) -> impl Iterator<Item = ReplicaId> + use<'_> {
        self.configuration.replicas().filter(|it| *it != self.replica)
    }

    /// Whether another replica belongs to the second half of the others: the smaller one if their number is odd.
    pub(crate) fn is_in_second_half(&self, other: ReplicaId) -> bool {
        Group::Half.among(self.others(), &self.configuration).contains(&other)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({} with key {:?}", self.replica, self.signer.public_key())?;
        for accomplice in self.accomplices.keys() {
            write!(formatter, ", with {accomplice}")?;
        }
        write!(formatter, ")")
    }
}
