//! A replica by itself, for this crate's tests.

use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, SecretKey, Signer as _, Statement, Verified};
use pbft_messages::{
    Accusation, Body, CarriedOver, Checkpoint, ClientId, Commit, Configuration, Endorsed, EvidenceKind,
    Member, Message, NewView, Parameters, PeerMessage, PrePrepare, Prepare, PreparedCertificate, Proven,
    ReplicaId, RequestNumber, Sequence, SessionId, StableCertificate, Status, Submission, Timestamp, View,
    ViewChange, VoteSet,
};

use crate::replica::Replica;
use crate::{Effect, Effects, Input, Instant, LeftBehind, Now, Record, Timer, Unreadable, initial_records};

pub(crate) const LIAR: ReplicaId = ReplicaId(0);
pub(crate) const ME: ReplicaId = ReplicaId(3);

/// A replica, and what it has done since last asked.
pub(crate) struct Bench {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) replica: Replica,
    pub(crate) now: Now,
    pub(crate) effects: Vec<Effect>,
    /// Whether nothing that is written becomes durable.
    pub(crate) disk_stands_still: bool,
}

pub(crate) fn key(replica: ReplicaId) -> SecretKey {
    SecretKey::from_seed(&[replica.0 as u8 + 1; 32])
}

pub(crate) fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

impl Bench {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self::starting_with(parameters, []).expect("nothing is wrong with no records")
    }

    /// One that starts again with such records besides the first ones.
    pub(crate) fn starting_with(
        parameters: Parameters,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, Unreadable> {
        let members = (0..4).map(|index| Member {
            key: key(ReplicaId(index)).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        let clients = [client_key().public_key()];
        let configuration = Configuration::new("test".into(), members.collect(), clients, parameters);
        let configuration = Arc::new(configuration.expect("it is a good one"));
        let now = Now { instant: Instant::default(), wall: Timestamp(1) };
        let records = initial_records().into_iter().chain(records).collect();
        let left = LeftBehind { records, ledger: vec![], next_deadline: None };
        let mut effects = Effects::new();
        let signer = Arc::new(key(ME));
        let replica = Replica::start(configuration.clone(), ME, signer, left, now, &mut effects)?;
        Ok(Self { configuration, replica, now, effects: vec![], disk_stands_still: false })
    }

    /// Hands an input in. What is written is durable at once, unless the disk stands still.
    pub(crate) fn input(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut effects = Effects::new();
            self.replica.handle(self.now, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist { .. } if self.disk_stands_still => {}
                    Effect::Persist { id, then, .. } => {
                        next = Some(Input::Durable(id));
                        self.effects.extend(then);
                    }
                    other => self.effects.push(other),
                }
            }
        }
    }

    pub(crate) fn message(&mut self, from: ReplicaId, message: Message) {
        self.input(Input::Message { from, message });
    }

    pub(crate) fn sign<T: Statement<Signer = ReplicaId>>(&self, from: ReplicaId, value: T) -> Verified<T> {
        Verified::sign(value, from, &key(from), self.configuration.scope())
    }

    /// A submission of one operation of so many bytes.
    pub(crate) fn submission(&self, number: u64, bytes: usize) -> Verified<Submission> {
        let (client, operations) =
            (ClientId::from(client_key().public_key()), vec![Bytes::from(vec![0; bytes])]);
        let value = Submission::Requests { session: SessionId(1), first: RequestNumber(number), operations };
        Verified::sign(value, client, &client_key(), self.configuration.scope())
    }

    /// A batch of one operation of so many bytes.
    pub(crate) fn body(&self, number: u64, bytes: usize) -> Arc<Body> {
        Arc::new(Body::new(self.now.wall, &[self.submission(number, bytes)]))
    }

    pub(crate) fn propose(&mut self, from: ReplicaId, view: u64, sequence: u64, bytes: usize) -> Arc<Body> {
        let body = self.body(sequence, bytes);
        let header = PrePrepare { view: View(view), sequence: Sequence(sequence), digest: body.digest() };
        let header = self.sign(from, header);
        self.message(from, Message::Proposal(header, body.clone()));
        body
    }

    /// A COMMIT of a batch of this name.
    pub(crate) fn commit(&self, from: u16, view: u64, sequence: u64, name: u64) -> Verified<Commit> {
        let value = Commit { view: View(view), sequence: Sequence(sequence), digest: digest(name) };
        self.sign(ReplicaId(from), value)
    }

    /// A VIEW-CHANGE that shows nothing.
    pub(crate) fn bare_view_change(&self, from: u16, view: u64) -> Verified<ViewChange> {
        let value = ViewChange { view: View(view), stable: None, prepared: vec![] };
        self.sign(ReplicaId(from), value)
    }

    /// The certificate of a batch of this name.
    pub(crate) fn prepared(&self, view: u64, sequence: u64, name: u64) -> PreparedCertificate {
        self.prepared_batch(view, sequence, digest(name))
    }

    /// The certificate of a batch.
    pub(crate) fn prepared_batch(&self, view: u64, sequence: u64, digest: Digest) -> PreparedCertificate {
        let (view, sequence) = (View(view), Sequence(sequence));
        let primary = self.configuration.primary(view);
        let mut votes = VoteSet::default();
        for backup in self.configuration.replicas().filter(|backup| *backup != primary).take(2) {
            votes.insert(self.sign(backup, Prepare { view, sequence, digest })).expect("a first vote");
        }
        let header = self.sign(primary, PrePrepare { view, sequence, digest });
        Proven::prepared(&header, &votes, self.configuration.quorum()).expect("enough votes").get().clone()
    }

    /// The certificate of a checkpoint.
    pub(crate) fn stable(&self, sequence: u64) -> StableCertificate {
        let statement = Checkpoint { sequence: Sequence(sequence), root: digest(1) };
        let votes = (0..3).map(|index| {
            let vote = self.sign(ReplicaId(index), statement.clone());
            (ReplicaId(index), *vote.signed().signature())
        });
        Endorsed { signatures: votes.collect(), statement: statement.clone() }
    }

    /// The NEW-VIEW that opens a view after these VIEW-CHANGEs.
    pub(crate) fn new_view<const N: usize>(
        &self,
        view: u64,
        view_changes: [Verified<ViewChange>; N],
    ) -> Verified<NewView> {
        let (view, primary) = (View(view), self.configuration.primary(View(view)));
        let carried = CarriedOver::from_view_changes(view_changes.iter().map(Verified::value)).unwrap();
        let pre_prepares = carried.pre_prepares(view).map(|it| self.sign(primary, it).signed().clone());
        let view_changes = view_changes.iter().map(|it| it.signed().clone()).collect();
        self.sign(primary, NewView { view, view_changes, pre_prepares: pre_prepares.collect() })
    }

    /// Enters a view that nothing is carried over into, asked for by these.
    pub(crate) fn enter(&mut self, view: u64, asking: [u16; 3]) {
        let opens = self.new_view(view, asking.map(|it| self.bare_view_change(it, view)));
        self.message(opens.signer(), Message::NewView(opens));
        assert_eq!(self.replica.view.active, View(view));
    }

    /// Who is accused of what, in which view and at which sequence.
    pub(crate) fn accused(&self) -> Vec<(u16, EvidenceKind, u64, u64)> {
        let tell = |it: &Accusation| (it.accused.0, it.kind, it.view.0, it.sequence.0);
        self.replica.evidence.keys().map(tell).collect()
    }

    /// The messages sent since last asked.
    pub(crate) fn sent(&mut self) -> Vec<PeerMessage> {
        let sent = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            _ => None,
        });
        sent.collect()
    }

    pub(crate) fn next_round(&mut self) {
        self.now.instant = self.now.instant.plus(self.configuration.parameters().status_interval);
        self.input(Input::Timer(Timer::Status));
        self.effects.clear();
    }
}

pub(crate) fn digest(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}

/// The status of a replica that has nothing.
pub(crate) fn status(asks: Option<ReplicaId>) -> Status {
    Status {
        view: View(0),
        pending: None,
        stable: Sequence(0),
        last_executed: Sequence(0),
        asks,
        recovering: None,
        slots: vec![],
        proven: vec![],
    }
}
