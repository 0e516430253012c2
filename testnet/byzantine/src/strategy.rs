//! What a strategy is, and whose name it lies in.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use pbft_crypto::Signer;
use pbft_messages::{Configuration, ReplicaId};
use pbft_protocol::{Effects, Input, Now};

/// A way to misbehave. The core behind it stays honest and knows nothing of it; a strategy changes what leaves,
/// and what reaches it.
pub trait Strategy: Send {
    /// The name under which [`crate::strategy`] makes it.
    fn name(&self) -> &'static str;

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
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({} with key {:?})", self.replica, self.signer.public_key())
    }
}
