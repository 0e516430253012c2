//! What clients send replicas.

use pbft_messages::{Body, ClientMessage, Timestamp, codec};

use crate::cluster::configuration;
use crate::law::Law;
use crate::make::Make;

pub(super) fn message(bytes: &[u8]) {
    // Half of the inputs are frames as they stand, the others what a client may sign.
    let message = match bytes.split_first() {
        Some((kind, frame)) if kind % 2 == 0 => {
            let Ok(message) = codec::decode::<ClientMessage>(frame) else { return };
            assert_eq!(codec::encode(&message), frame, "a value has one encoding");
            message
        }
        Some((_, rest)) => ClientMessage::Submit(Make::new(rest).submission()),
        None => return,
    };
    let configuration = configuration();
    match message {
        ClientMessage::Read(read) => {
            let fits = read.operation.len() <= configuration.parameters().operation_bytes;
            assert_eq!(read.check(&configuration).is_ok(), fits);
        }
        ClientMessage::Submit(signed) => {
            let verified = signed.clone().verify(&configuration);
            let lawful = Law(&configuration).submission(&signed);
            assert_eq!(verified.as_ref().ok().map(|it| it.value()), lawful.as_ref());
            let Ok(verified) = verified else { return };
            let body = Body::new(Timestamp(1), [&verified]);
            let read: Body = codec::decode(&body.encode()).expect("a body that was made here is readable");
            assert_eq!((read.digest(), read.encode()), (body.digest(), body.encode()));
            assert!(body.check_fresh(&configuration).is_ok(), "what a replica takes, it can propose");
        }
    }
}
