//! A malicious client by hand.

use std::sync::Arc;
use std::time::Duration;

use pbft_crypto::{Digest, Domain, SecretKey, Signer};
use pbft_messages::{
    ClientMessage, Configuration, Member, Outcome, Parameters, ReplicaMessage, Reply, Sequence, Submission,
    View,
};

use super::{ClientIdentity, ClientShot, ClientStrategy};

/// A client of a cluster of four with so many keys. Besides, one client is admitted whose key it has not.
pub(crate) fn identity(keys: u8) -> ClientIdentity {
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]);
    let members = (0..4).map(|index| Member {
        key: key(index + 1).public_key(),
        peer_address: ([127, 0, 0, 1], 1000 + u16::from(index)).into(),
        client_address: ([127, 0, 0, 1], 2000 + u16::from(index)).into(),
    });
    let admitted = (0..=keys).map(|index| key(100 + index).public_key());
    let configuration = Configuration::new("test".into(), members.collect(), admitted, Parameters::default());
    let signers: Vec<Arc<dyn Signer>> =
        (0..keys).map(|index| Arc::new(key(100 + index)) as Arc<dyn Signer>).collect();
    ClientIdentity {
        client: key(100).public_key().into(),
        signers,
        configuration: Arc::new(configuration.expect("a good configuration")),
    }
}

/// What a strategy sends at a time, in milliseconds.
pub(crate) fn act(strategy: &mut dyn ClientStrategy, milliseconds: u64) -> Vec<ClientShot> {
    let mut shots = Vec::new();
    // Later than the beginning, as everywhere.
    strategy.act(Duration::from_millis(1_000 + milliseconds), &mut shots);
    shots
}

/// Those of the submissions that a replica would accept, in the order in which they are sent.
pub(crate) fn accepted(shots: &[ClientShot]) -> Vec<Submission> {
    let configuration = identity(3).configuration;
    let submissions = shots.iter().filter_map(|shot| match &shot.message {
        ClientMessage::Submit(signed) => signed.clone().verify(&configuration).ok(),
        ClientMessage::Read(_) => None,
    });
    submissions.map(|verified| verified.value().clone()).collect()
}

/// An answer to the first request of a submission.
pub(crate) fn answer(submission: &Submission) -> ReplicaMessage {
    let number = submission.requests().next().map(|request| request.number).unwrap_or_default();
    ReplicaMessage::Replies(vec![Reply {
        view: View(0),
        session: submission.session(),
        number,
        digest: Digest::of(Domain::Request, b""),
        sequence: Sequence(1),
        outcome: Outcome::Opened,
    }])
}
