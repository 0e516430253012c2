//! A small cluster's keys, and proposals by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, SecretKey, Signed, Signer, Statement, Verified};
use pbft_messages::{
    Body, Checkpoint, Configuration, Endorsed, Member, Parameters, PeerMessage, PrePrepare, Prepare,
    PreparedCertificate, ReplicaId, RequestNumber, Sequence, SessionId, StableCertificate, Submission,
    Timestamp, View, ViewChange,
};
use pbft_protocol::{Effect, Instant, Now};

use crate::{Identity, Strategy, strategy};

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
    Identity {
        replica,
        signer: Arc::new(key(replica)),
        configuration: Arc::new(configuration(n)),
        accomplices: BTreeMap::new(),
    }
}

/// Two replicas that one adversary holds.
pub(crate) fn band(n: u16, replicas: [ReplicaId; 2]) -> [Identity; 2] {
    let [one, other] = replicas;
    [(one, other), (other, one)].map(|(replica, accomplice)| {
        let signer: Arc<dyn Signer> = Arc::new(key(accomplice));
        Identity { accomplices: BTreeMap::from([(accomplice, signer)]), ..identity(n, replica) }
    })
}

/// The strategy that a text names.
pub(crate) fn made(text: &str, identity: &Identity) -> Box<dyn Strategy> {
    strategy(text, identity).expect("there is one")
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

fn signed<T: Statement<Signer = ReplicaId>>(value: T, replica: ReplicaId) -> Signed<T> {
    Verified::sign(value, replica, &key(replica), configuration(4).scope()).signed().clone()
}

/// A good certificate in a cluster of four, for a batch that has a name.
pub(crate) fn prepared(view: u64, sequence: u64, name: &str) -> PreparedCertificate {
    let (view, sequence, digest) = (View(view), Sequence(sequence), digest(name.as_bytes()));
    let configuration = configuration(4);
    let primary = configuration.primary(view);
    let vote = Prepare { view, sequence, digest };
    let backups =
        configuration.replicas().filter(|it| *it != primary).take(configuration.quorum().prepares());
    let signatures = backups.map(|it| (it, *signed(vote.clone(), it).signature())).collect();
    let header = signed(PrePrepare { view, sequence, digest }, primary);
    PreparedCertificate { header, prepares: Endorsed { statement: vote, signatures } }
}

/// A good certificate of a checkpoint.
pub(crate) fn stable(sequence: u64) -> StableCertificate {
    let statement = Checkpoint { sequence: Sequence(sequence), root: digest(b"root") };
    let signers = (0..3).map(ReplicaId);
    let signatures = signers.map(|it| (it, *signed(statement.clone(), it).signature())).collect();
    StableCertificate { statement, signatures }
}

/// A VIEW-CHANGE from genesis on.
pub(crate) fn view_change(replica: u16, view: u64, prepared: Vec<PreparedCertificate>) -> Signed<ViewChange> {
    signed(ViewChange { view: View(view), stable: None, prepared }, ReplicaId(replica))
}

/// What is sent in place of a message to all, and to whom: `None` stands for all.
pub(crate) fn told(
    strategy: &mut dyn Strategy,
    message: PeerMessage,
) -> Vec<(Option<ReplicaId>, PeerMessage)> {
    told_at(strategy, 0, vec![Effect::Broadcast(message)])
}

/// What is sent in place of effects at a time, in milliseconds.
pub(crate) fn told_at(
    strategy: &mut dyn Strategy,
    milliseconds: u64,
    effects: Vec<Effect>,
) -> Vec<(Option<ReplicaId>, PeerMessage)> {
    let instant = Instant::after_start(Duration::from_millis(milliseconds));
    let effects: Vec<_> = strategy.effects(Now { instant, ..Now::default() }, effects.into()).into();
    let told = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => Some((Some(to), message)),
        Effect::Broadcast(message) => Some((None, message)),
        _ => None,
    });
    told.collect()
}
