//! A small cluster's keys, and proposals by hand.

use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, SecretKey, Signed, Signer as _, Verified};
use pbft_messages::{
    Body, Configuration, Member, Parameters, PrePrepare, ReplicaId, RequestNumber, Sequence, SessionId,
    Submission, Timestamp, View,
};

use crate::Identity;

fn key(replica: ReplicaId) -> SecretKey {
    SecretKey::from_seed(&[replica.0 as u8 + 1; 32])
}

fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

pub(crate) fn configuration(n: u16) -> Configuration {
    let members = (0..n).map(|index| Member {
        key: key(ReplicaId(index)).public_key(),
        peer_address: ([127, 0, 0, 1], 1000 + index).into(),
        client_address: ([127, 0, 0, 1], 2000 + index).into(),
    });
    let clients = [client_key().public_key()];
    Configuration::new("test".into(), members.collect(), clients, Parameters::default()).unwrap()
}

pub(crate) fn identity(n: u16, replica: ReplicaId) -> Identity {
    Identity { replica, signer: Arc::new(key(replica)), configuration: Arc::new(configuration(n)) }
}

pub(crate) fn digest(name: &[u8]) -> Digest {
    Digest::of(Domain::Batch, name)
}

/// A submission of one request with this number.
pub(crate) fn submission(number: u64) -> Verified<Submission> {
    let key = client_key();
    let operations = vec![Bytes::from_static(b"operation")];
    let submission = Submission::Requests { session: SessionId(1), first: RequestNumber(number), operations };
    // What a signature covers does not depend on addresses or timeouts, and n is that of most tests.
    let scope = configuration(4).scope().clone();
    Verified::sign(submission, key.public_key().into(), &key, &scope)
}

/// A batch of one request.
pub(crate) fn body() -> Body {
    Body::new(Timestamp(5), [&submission(1)])
}

/// A proposal of [`body`] by `primary`.
pub(crate) fn proposal(primary: ReplicaId, view: u64, sequence: u64) -> (Signed<PrePrepare>, Arc<Body>) {
    let body = body();
    let header = PrePrepare { view: View(view), sequence: Sequence(sequence), digest: body.digest() };
    let signed = Verified::sign(header, primary, &key(primary), configuration(4).scope());
    (signed.signed().clone(), Arc::new(body))
}
