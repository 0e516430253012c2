//! A client's message on its way.

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::Bytes;

use pbft_messages::{ClientId, ClientMessage, Configuration, SessionId, codec};
use pbft_protocol::Input;

/// A client's message on its way, as bytes. As with a [`Letter`](crate::letter::Letter), it is read and verified once,
/// however many replicas receive it.
pub(crate) struct Question {
    /// Whose connections it goes over, and for which session.
    connection: (ClientId, SessionId),
    frame: Bytes,
    read: OnceCell<Option<Input>>,
}

impl Question {
    /// `None` if it is more than the replicas' sockets read: a submission, and what is around it.
    pub(crate) fn new(
        connection: (ClientId, SessionId),
        message: &ClientMessage,
        configuration: &Configuration,
    ) -> Option<Rc<Self>> {
        let frame = Bytes::from(codec::encode(message));
        let is_read = frame.len() <= configuration.parameters().batch_bytes + (64 << 10);
        is_read.then(|| Rc::new(Self { connection, frame, read: OnceCell::new() }))
    }

    /// What a replica reads, as the real node's workers would: `None` if they would refuse it.
    pub(crate) fn open(&self, configuration: &Configuration) -> Option<Input> {
        let read = self.read.get_or_init(|| match codec::decode(&self.frame).ok()? {
            ClientMessage::Read(read) => {
                let (client, session) = self.connection;
                read.check(configuration).ok().map(|()| Input::Read { client, session, read })
            }
            ClientMessage::Submit(signed) => signed.verify(configuration).ok().map(Input::Submission),
        });
        read.clone()
    }
}
