//! What replicas send each other.

use std::fmt::Debug;

use pbft_crypto::{Signed, Statement};
use pbft_messages::{Certificate as _, Configuration, Message, PeerMessage, ReplicaId, Sequence, View};

use crate::cluster::configuration;
use crate::law::Law;
use crate::make::Make;

pub(super) fn message(bytes: &[u8]) {
    let Ok(message) = PeerMessage::decode(bytes) else { return };
    assert_eq!(message.encode(), bytes, "a value has one encoding");
    judge(message);
}

pub(super) fn made(bytes: &[u8]) {
    let mut make = Make::new(bytes);
    let (view, sequence) = (View(make.draw.below(6)), Sequence(1 + make.draw.below(12)));
    let sender = make.replica(ReplicaId(2));
    make.message_at(view, sequence, sender).into_iter().for_each(judge);
}

/// Compares the replica's judgement of a message with the law's, and what comes of it with what came in.
fn judge(message: PeerMessage) {
    let configuration = configuration();
    let _ = (format!("{message:?}"), message.is_bulk());
    let lawful = Law(&configuration).message(&message);
    let verified = message.clone().verify(&configuration);
    assert_eq!(verified.is_ok(), lawful, "{verified:?} of {message:?}");
    match (message, verified) {
        (PeerMessage::NewView(signed), Ok(Message::NewView(_))) => {
            assert!(Law(&configuration).new_view(&signed).is_some(), "a wrong NEW-VIEW passes");
        }
        (PeerMessage::NewView(signed), Ok(Message::Evidence(_))) => {
            assert!(
                Law(&configuration).new_view(&signed).is_none(),
                "a right NEW-VIEW is held against its signer"
            );
        }
        _ => {}
    }
}

/// Compares the two judgements of a signed statement.
fn agree<T>(signed: Signed<T>, lawful: Option<T>)
where
    T: Statement<Signer = ReplicaId, Keyring = Configuration> + Debug + PartialEq,
{
    let verified = signed.clone().verify(&configuration());
    match (&verified, &lawful) {
        (Ok(verified), Some(lawful)) => {
            assert_eq!(verified.value(), lawful);
            assert_eq!(&verified.value().encode(), signed.payload(), "a value has one encoding");
        }
        (Err(_), None) => {}
        _ => panic!("the rules say {lawful:?}, the replica {verified:?}"),
    }
}

pub(super) fn view_change(bytes: &[u8]) {
    let signed = Make::new(bytes).view_change();
    agree(signed.clone(), Law(&configuration()).view_change(&signed));
    judge(PeerMessage::ViewChange(signed));
}

pub(super) fn new_view(bytes: &[u8]) {
    let signed = Make::new(bytes).new_view();
    agree(signed.clone(), Law(&configuration()).new_view(&signed));
    judge(PeerMessage::NewView(signed));
}

pub(super) fn recovery_answer(bytes: &[u8]) {
    let signed = Make::new(bytes).recovery_answer();
    agree(signed.clone(), Law(&configuration()).recovery_answer(&signed));
    judge(PeerMessage::RecoveryAnswer(signed));
}

pub(super) fn evidence(bytes: &[u8]) {
    let Some(evidence) = Make::new(bytes).evidence() else { return };
    let configuration = configuration();
    if evidence.check(&configuration).is_ok() {
        let accused = evidence.accusation().expect("evidence that holds names whom it convicts").accused;
        assert!(configuration.replicas().any(|replica| replica == accused));
    }
    judge(PeerMessage::Evidence(evidence));
}
