//! Who waits for the root of the executed state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use pbft_crypto::Digest;
use pbft_messages::Sequence;
use pbft_protocol::AuditId;

/// The open audits. Cloning gives another handle on them.
#[derive(Clone, Default)]
pub(crate) struct Audits(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    last: u64,
    waiting: BTreeMap<AuditId, oneshot::Sender<(Sequence, Digest)>>,
    /// The last answer. The state is the same until another batch is executed.
    known: Option<(Sequence, Digest)>,
}

impl Audits {
    /// The root of the state after `sequence`, if the last audit was of it.
    pub(crate) fn known(&self, sequence: Sequence) -> Option<Digest> {
        self.open().known.filter(|(at, _)| *at == sequence).map(|(_, root)| root)
    }

    /// Opens an audit: its number for the protocol, and where the answer will come. Forget it with
    /// [`Audits::forget`] if the answer is waited for no more.
    pub(crate) fn ask(&self) -> (AuditId, oneshot::Receiver<(Sequence, Digest)>) {
        let (sender, receiver) = oneshot::channel();
        let mut open = self.open();
        open.last += 1;
        let id = AuditId(open.last);
        open.waiting.insert(id, sender);
        (id, receiver)
    }

    /// Answers an audit.
    pub(super) fn answer(&self, id: AuditId, sequence: Sequence, root: Digest) {
        let mut open = self.open();
        open.known = open.known.max(Some((sequence, root)));
        if let Some(sender) = open.waiting.remove(&id) {
            // Whoever asked may have gone.
            let _ = sender.send((sequence, root));
        }
    }

    /// Forgets an audit.
    pub(crate) fn forget(&self, id: AuditId) {
        self.open().waiting.remove(&id);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing under the lock panics half-way, so a poisoned lock still guards a whole table.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
