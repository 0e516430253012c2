//! A cluster of four, its keys and its clients' submissions.

#![allow(dead_code, reason = "each benchmark uses a part of it")]
#![allow(missing_docs)]

use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{SecretKey, Signed, Signer, SimulatedKey, Verified};
use pbft_messages::{
    ClientId, Configuration, Member, Parameters, ReplicaId, RequestNumber, SessionId, Submission,
};

pub(crate) const REPLICAS: u16 = 4;

/// What everybody signs with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// A keyed hash, so that what is left is the work around signatures.
    Simulated,
    /// Ed25519.
    Real,
}

impl Keys {
    fn signer(self, seed: u8) -> Arc<dyn Signer> {
        match self {
            Self::Simulated => Arc::new(SimulatedKey::from_seed(&[seed; 32])),
            Self::Real => Arc::new(SecretKey::from_seed(&[seed; 32])),
        }
    }

    pub(crate) fn replica(self, replica: ReplicaId) -> Arc<dyn Signer> {
        self.signer(replica.0 as u8 + 1)
    }

    pub(crate) fn client(self) -> Arc<dyn Signer> {
        self.signer(200)
    }

    /// A configuration of its own: what one replica has verified is not known to another.
    pub(crate) fn configuration(self, parameters: Parameters) -> Configuration {
        let member = |index: u16| Member {
            key: self.replica(ReplicaId(index)).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        };
        let members = (0..REPLICAS).map(member).collect();
        let clients = [self.client().public_key()];
        Configuration::new("bench".into(), members, clients, parameters).expect("it is a good one")
    }
}

/// A client that signs submissions.
pub(crate) struct Client {
    signer: Arc<dyn Signer>,
    configuration: Configuration,
}

impl Client {
    pub(crate) fn new(keys: Keys, parameters: Parameters) -> Self {
        Self { signer: keys.client(), configuration: keys.configuration(parameters) }
    }

    pub(crate) fn sign(&self, submission: Submission) -> Signed<Submission> {
        self.verified(submission).signed().clone()
    }

    pub(crate) fn verified(&self, submission: Submission) -> Verified<Submission> {
        let client: ClientId = self.signer.public_key().into();
        Verified::sign(submission, client, &*self.signer, self.configuration.scope())
    }

    /// Requests of a session, as many as one submission is to have.
    pub(crate) fn requests(session: u64, first: u64, count: usize) -> Submission {
        let operations = vec![Bytes::from(vec![7; 150]); count];
        Submission::Requests { session: SessionId(session), first: RequestNumber(first), operations }
    }
}
