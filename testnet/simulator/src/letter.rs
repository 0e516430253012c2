//! A message on its way.

use std::cell::{Cell, OnceCell};

use bytes::Bytes;

use pbft_messages::{Configuration, Message, PeerMessage, ReplicaId};

use crate::heard::Heard;

/// A message on its way, as bytes. Everybody has the same keys and reads the same bytes, so it is read and verified
/// once, when it first arrives, however many receive it.
pub(crate) struct Letter {
    pub(crate) from: ReplicaId,
    frame: Bytes,
    read: OnceCell<Option<Message>>,
    heard: OnceCell<Heard>,
    is_audited: Cell<bool>,
}

impl Letter {
    pub(crate) fn new(from: ReplicaId, message: &PeerMessage) -> Self {
        Self {
            from,
            frame: message.encode(),
            read: OnceCell::new(),
            heard: OnceCell::new(),
            is_audited: Cell::new(false),
        }
    }

    /// What a replica reads, as the real node's workers would: `None` if they would refuse all of it, as may happen to a
    /// malicious replica's message.
    pub(crate) fn open(&self, configuration: &Configuration) -> Option<&Message> {
        let read = self.read.get_or_init(|| {
            // No link carries a frame above the limit.
            if self.frame.len() > configuration.parameters().frame_bytes {
                return None;
            }
            let message = PeerMessage::decode(&self.frame).expect("simulated replicas encode well");
            let header = message.header();
            let refused = || Some(Message::RefusedProposal(header?.verify(configuration).ok()?));
            message.verify(configuration).ok().or_else(refused)
        });
        read.as_ref()
    }

    /// Every statement in what was read.
    pub(crate) fn heard(&self, read: &Message, configuration: &Configuration) -> &Heard {
        self.heard.get_or_init(|| Heard::of(read, configuration))
    }

    /// What was sent, for whoever looks at certificates: only if it holds some, and only once.
    pub(crate) fn certificates(&self, read: &Message) -> Option<PeerMessage> {
        let holds_some = matches!(
            read,
            Message::Prepared(..)
                | Message::Committed(..)
                | Message::Stable(_)
                | Message::ViewChange(_)
                | Message::NewView(_)
                | Message::RecoveryAnswer(_)
        );
        let is_new = holds_some && !self.is_audited.replace(true);
        is_new.then(|| PeerMessage::decode(&self.frame).expect("it was read before"))
    }
}
