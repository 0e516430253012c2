//! Messages out of a fuzzer's bytes: well-formed and rightly signed, but for what the bytes change. Random bytes fail
//! at the first signature; these reach the rules behind it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, Domain, Hasher, Signature, Signed, Signer, Statement, Verified};
use pbft_messages::{
    Body, Checkpoint, ClientId, Commit, CommittedCertificate, Configuration, Conflict, Endorsed, Evidence,
    NewView, PeerMessage, PrePrepare, Prepare, PreparedCertificate, RecoveryAnswer, RecoveryNonce, ReplicaId,
    RequestNumber, Sequence, SessionId, ShownView, StableCertificate, Submission, Timestamp, View,
    ViewChange, codec,
};

use crate::cluster::{INTERVAL, N, client, client_key, configuration, replica_key};
use crate::draw::Draw;
use crate::law;

/// Makes messages from what it draws.
pub(crate) struct Make<'a> {
    pub(crate) draw: Draw<'a>,
    /// Whose signature is not to be had: all others are liars.
    pub(crate) innocent: Option<ReplicaId>,
}

/// Signs what is no statement of a known shape, as a liar can: any bytes, as those of a statement of kind `K`.
struct Raw<const K: u8>(Vec<u8>);

impl<const K: u8> Statement for Raw<K> {
    type Signer = ReplicaId;
    type Keyring = Configuration;
    const KIND: u8 = K;

    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn decode(payload: &[u8]) -> Result<Self, pbft_crypto::Malformed> {
        Ok(Self(payload.to_vec()))
    }
}

impl<'a> Make<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { draw: Draw::new(bytes), innocent: None }
    }

    pub(crate) fn primary(&self, view: View) -> ReplicaId {
        ReplicaId((view.0 % u64::from(N)) as u16)
    }

    /// Mostly `right`, else some replica, or somebody who is none.
    pub(crate) fn replica(&mut self, right: ReplicaId) -> ReplicaId {
        if self.draw.rarely() { ReplicaId(self.draw.below(u64::from(N) + 2) as u16) } else { right }
    }

    /// Signs a statement, mostly as it should be.
    pub(crate) fn signed<T>(&mut self, value: T, right: ReplicaId) -> Signed<T>
    where
        T: Statement<Signer = ReplicaId, Keyring = Configuration>,
    {
        let signer = self.replica(right);
        let payload = value.encode();
        let flaw = if self.draw.rarely() { 1 + self.draw.below(6) } else { 0 };
        let flaw = if self.innocent == Some(signer) { 1 } else { flaw };
        let own = |payload: &[u8]| sign(T::KIND, payload, signer);
        match flaw {
            // A signature of the right shape by somebody else.
            1 => Signed::from_parts(
                signer,
                payload.clone().into(),
                sign(T::KIND, &payload, ReplicaId((signer.0 + 1) % N)),
            ),
            // The statement passes for one of another kind.
            2 => Signed::from_parts(signer, payload.clone().into(), sign(T::KIND ^ 1, &payload, signer)),
            // One bit of the signature is turned.
            3 => {
                let mut signature = own(&payload).to_bytes();
                signature[self.draw.below(64) as usize] ^= 1 << self.draw.below(8);
                Signed::from_parts(signer, payload.into(), Signature::from_bytes(&signature))
            }
            // One bit of the statement is turned before it is signed.
            4 => {
                let mut payload = payload;
                let place = self.draw.number() as usize % payload.len().max(1);
                if let Some(byte) = payload.get_mut(place) {
                    *byte ^= 1 << self.draw.below(8);
                }
                let signature = own(&payload);
                Signed::from_parts(signer, payload.into(), signature)
            }
            // Bytes are missing, or too many, and signed so.
            5 => {
                let length = payload.len().saturating_sub(self.draw.below(40) as usize);
                let payload = [&payload[..length], self.draw.bytes(20)].concat();
                let signature = own(&payload);
                Signed::from_parts(signer, payload.into(), signature)
            }
            _ => {
                let signature = own(&payload);
                Signed::from_parts(signer, payload.into(), signature)
            }
        }
    }

    /// A body out of a few: the null batch, one of some requests, or rarely of whatever a client may sign.
    pub(crate) fn body(&mut self) -> Arc<Body> {
        match self.draw.below(8) {
            0 => Arc::new(Body::null()),
            7 => self.unverified_body(),
            number => Arc::new(Body::new(Timestamp(number), [&self.submission_of(number)])),
        }
    }

    /// A body of submissions that nobody has verified.
    fn unverified_body(&mut self) -> Arc<Body> {
        let submissions: Vec<_> = (0..self.draw.near(1).min(3)).map(|_| self.submission()).collect();
        let body = codec::decode(&codec::encode(&(1_u32, Timestamp(7), submissions)));
        body.unwrap_or_else(|_| Arc::new(Body::null()))
    }

    /// A valid submission, one for each number: the digests of few bodies meet each other.
    fn submission_of(&self, number: u64) -> Verified<Submission> {
        let operations = vec![Bytes::from(vec![number as u8; 3])];
        let submission = match number {
            1 => Submission::Open { session: SessionId(1) },
            _ => Submission::Requests { session: SessionId(1), first: RequestNumber(number - 1), operations },
        };
        Verified::sign(submission, client(0), &client_key(0), configuration().scope())
    }

    /// A client's submission, whatever is in it.
    pub(crate) fn submission(&mut self) -> Signed<Submission> {
        let session = SessionId(self.draw.near(1));
        let submission = match self.draw.below(3) {
            0 => Submission::Open { session },
            _ => {
                let count = self.draw.near(1).min(70);
                let operations = (0..count).map(|_| Bytes::copy_from_slice(self.draw.bytes(64))).collect();
                Submission::Requests { session, first: RequestNumber(self.draw.near(1)), operations }
            }
        };
        let index = if self.draw.rarely() { self.draw.below(3) as u8 } else { 0 };
        let signed = Verified::sign(submission, client(index), &client_key(index), configuration().scope());
        let signed = signed.signed().clone();
        if self.draw.rarely() {
            let author: ClientId = client(self.draw.below(3) as u8);
            return Signed::from_parts(author, signed.payload().clone(), *signed.signature());
        }
        signed
    }

    pub(crate) fn digest(&mut self) -> Digest {
        if self.draw.rarely() {
            return Digest::of(Domain::Batch, &[self.draw.byte()]);
        }
        self.body().digest()
    }

    /// Signatures of so many voters under a statement, mostly of distinct and right ones.
    fn endorsed<T>(&mut self, statement: T, count: usize, voters: Vec<ReplicaId>) -> Endorsed<T>
    where
        T: Statement<Signer = ReplicaId, Keyring = Configuration> + Clone,
    {
        let count = self.draw.near(count as u64).min(6) as usize;
        let skipped = self.draw.below(u64::from(N)) as usize;
        let voters: Vec<_> = voters.into_iter().filter(|voter| Some(*voter) != self.innocent).collect();
        let mut signatures = Vec::new();
        for index in 0..count {
            let Some(voter) = voters.get((index + skipped) % voters.len()) else { break };
            let vote = self.signed(statement.clone(), *voter);
            signatures.push((vote.claimed_signer(), *vote.signature()));
        }
        Endorsed { statement, signatures }
    }

    pub(crate) fn prepared_at(
        &mut self,
        view: View,
        sequence: Sequence,
        digest: Digest,
    ) -> PreparedCertificate {
        let primary = self.primary(view);
        let header = PrePrepare {
            view: View(self.draw.near(view.0)),
            sequence: Sequence(self.draw.near(sequence.0)),
            digest: if self.draw.rarely() { self.digest() } else { digest },
        };
        let header = self.signed(header, primary);
        let backups = (0..N).map(ReplicaId).filter(|replica| *replica != primary).collect();
        PreparedCertificate {
            header,
            prepares: self.endorsed(Prepare { view, sequence, digest }, 2, backups),
        }
    }

    pub(crate) fn committed_at(
        &mut self,
        view: View,
        sequence: Sequence,
        digest: Digest,
    ) -> CommittedCertificate {
        self.endorsed(Commit { view, sequence, digest }, 3, (0..N).map(ReplicaId).collect())
    }

    pub(crate) fn stable_at(&mut self, sequence: Sequence) -> StableCertificate {
        let root = Digest::of(Domain::MerkleRoot, &[self.draw.below(2) as u8]);
        self.endorsed(Checkpoint { sequence, root }, 3, (0..N).map(ReplicaId).collect())
    }

    fn view_change_value(&mut self, view: View) -> ViewChange {
        let low = match self.draw.below(4) {
            1 => INTERVAL,
            2 => 2 * INTERVAL,
            3 => self.draw.number(),
            _ => 0,
        };
        let stable = (low > 0).then(|| self.stable_at(Sequence(low)));
        let count = self.draw.below(4);
        let mut place = low;
        let mut prepared = Vec::new();
        for _ in 0..count {
            place = place.wrapping_add(self.draw.near(1));
            let distance = 1 + self.draw.below(2);
            let below = self.draw.near(view.0.saturating_sub(distance));
            let digest = self.digest();
            prepared.push(self.prepared_at(View(below), Sequence(place), digest));
        }
        ViewChange { view, stable, prepared }
    }

    pub(crate) fn view_change_to(&mut self, view: View, sender: ReplicaId) -> Signed<ViewChange> {
        let view = View(self.draw.near(view.0));
        let value = self.view_change_value(view);
        self.signed(value, sender)
    }

    pub(crate) fn new_view_of(&mut self, view: View) -> Signed<NewView> {
        let count = self.draw.near(3).min(5);
        let skipped = self.draw.below(u64::from(N));
        let view_changes: Vec<_> = (0..count)
            .map(|index| {
                let sender = ReplicaId(((index + skipped) % u64::from(N)) as u16);
                let sender = self.replica(sender);
                self.view_change_to(view, sender)
            })
            .collect();
        let asked: Vec<ViewChange> = view_changes.iter().filter_map(|it| it.peek().ok()).collect();
        let (low, digests) = law::carried_over(&asked).unwrap_or_default();
        let primary = self.primary(view);
        let mut pre_prepares = Vec::new();
        for (place, right) in (1..).zip(digests.into_iter().take(32)) {
            let digest = if self.draw.rarely() { self.digest() } else { right };
            let sequence = Sequence(self.draw.near(low.wrapping_add(place)));
            let header = PrePrepare { view: View(self.draw.near(view.0)), sequence, digest };
            pre_prepares.push(self.signed(header, primary));
        }
        if self.draw.rarely() {
            pre_prepares.pop();
        }
        let view = View(self.draw.near(view.0));
        self.signed(NewView { view, view_changes, pre_prepares }, primary)
    }

    pub(crate) fn view(&mut self) -> View {
        View(1 + self.draw.below(6))
    }

    pub(crate) fn view_change(&mut self) -> Signed<ViewChange> {
        let view = self.view();
        let sender = ReplicaId(self.draw.below(u64::from(N)) as u16);
        self.view_change_to(view, sender)
    }

    pub(crate) fn new_view(&mut self) -> Signed<NewView> {
        let view = self.view();
        self.new_view_of(view)
    }

    /// Two statements that may contradict each other.
    fn conflict<T: pbft_messages::Exclusive>(
        &mut self,
        mut statement: impl FnMut(&mut Self) -> Signed<T>,
    ) -> Option<Conflict<T>> {
        let pair = (statement(self), statement(self));
        codec::decode(&codec::encode(&pair)).ok()
    }

    pub(crate) fn evidence(&mut self) -> Option<Evidence> {
        let kind = self.draw.below(8);
        let accused = ReplicaId(self.draw.below(u64::from(N)) as u16);
        let view = View(self.draw.below(8));
        let sequence = Sequence(1 + self.draw.below(6));
        Some(match kind {
            0 => Evidence::PrePrepares(self.conflict(|it| {
                let (view, sequence) = (View(it.draw.near(view.0)), Sequence(it.draw.near(sequence.0)));
                let (primary, digest) = (it.primary(view), it.digest());
                it.signed(PrePrepare { view, sequence, digest }, primary)
            })?),
            1 => Evidence::Prepares(self.conflict(|it| {
                let (view, sequence) = (View(it.draw.near(view.0)), Sequence(it.draw.near(sequence.0)));
                let digest = it.digest();
                it.signed(Prepare { view, sequence, digest }, accused)
            })?),
            2 => Evidence::Commits(self.conflict(|it| {
                let (view, sequence) = (View(it.draw.near(view.0)), Sequence(it.draw.near(sequence.0)));
                let digest = it.digest();
                it.signed(Commit { view, sequence, digest }, accused)
            })?),
            3 => Evidence::Checkpoints(self.conflict(|it| {
                let sequence = Sequence(it.draw.near(INTERVAL));
                let root = it.digest();
                it.signed(Checkpoint { sequence, root }, accused)
            })?),
            4 => Evidence::ViewChanges(self.conflict(|it| it.view_change_to(view.next(), accused))?),
            6 => {
                let digest = self.digest();
                let commit = self.signed(Commit { view, sequence, digest }, accused);
                let asked = self.view_change_to(view.next(), accused);
                Evidence::Omission(codec::decode(&codec::encode(&(commit, asked))).ok()?)
            }
            5 => Evidence::NewViews(self.conflict(|it| it.new_view_of(view.next()))?),
            _ => Evidence::WrongNewView(self.new_view_of(view.next())),
        })
    }

    pub(crate) fn recovery_answer(&mut self) -> Signed<RecoveryAnswer> {
        let asker = ReplicaId(self.draw.below(u64::from(N)) as u16);
        let (reached, shown) = match self.draw.below(3) {
            0 => (0, ShownView::Genesis),
            1 => {
                let view = self.view();
                (view.0, ShownView::Opened(self.new_view_of(view)))
            }
            _ => {
                let view = self.view();
                let count = self.draw.near(2).min(4);
                let first = self.draw.below(u64::from(N));
                let asked = (0..count).map(|index| {
                    let sender = ReplicaId(((first + index) % u64::from(N)) as u16);
                    self.view_change_to(view, sender)
                });
                (view.0, ShownView::AskedFor(asked.collect()))
            }
        };
        let stable = (self.draw.below(2) == 1).then(|| {
            let sequence = Sequence(self.draw.near(INTERVAL));
            self.stable_at(sequence)
        });
        let low = stable.as_ref().map_or(0, |it| it.statement.sequence.0);
        let view_change = (self.draw.below(2) == 1).then(|| {
            let view = self.view();
            self.view_change_to(view, asker)
        });
        let view = reached.saturating_add(self.draw.below(4));
        let last_executed = low.saturating_add(self.draw.below(14));
        let value = RecoveryAnswer {
            asker,
            nonce: RecoveryNonce([self.draw.byte(); 32]),
            view: View(self.draw.near(view)),
            shown,
            last_executed: Sequence(self.draw.near(last_executed)),
            stable,
            view_change,
        };
        let signer = ReplicaId((asker.0 + 1) % N);
        self.signed(value, signer)
    }

    /// A vote or a proposal near a place, or anything else that is about a view and a sequence.
    pub(crate) fn message_at(
        &mut self,
        view: View,
        sequence: Sequence,
        sender: ReplicaId,
    ) -> Option<PeerMessage> {
        let view = View(self.draw.near(view.0));
        let sequence = Sequence(self.draw.near(sequence.0));
        let body = self.body();
        let digest = body.digest();
        let primary = self.primary(view);
        Some(match self.draw.below(12) {
            0 => PeerMessage::Proposal(self.signed(PrePrepare { view, sequence, digest }, primary), body),
            1 => {
                let header = self.signed(PrePrepare { view, sequence, digest }, primary);
                PeerMessage::Prepare(
                    self.signed(Prepare { view, sequence, digest }, sender),
                    *header.signature(),
                )
            }
            2 => PeerMessage::Commit(self.signed(Commit { view, sequence, digest }, sender)),
            3 => {
                let sequence = Sequence((1 + self.draw.below(3)) * INTERVAL);
                let root = Digest::of(Domain::MerkleRoot, &[self.draw.below(2) as u8]);
                PeerMessage::Checkpoint(self.signed(Checkpoint { sequence, root }, sender))
            }
            4 => PeerMessage::ViewChange(self.view_change_to(view.next(), sender)),
            5 => PeerMessage::NewView(self.new_view_of(view.next())),
            6 => PeerMessage::Prepared(self.prepared_at(view, sequence, digest), body),
            7 => PeerMessage::Committed(self.committed_at(view, sequence, digest), body),
            8 => PeerMessage::Body(body),
            9 => PeerMessage::Evidence(self.evidence()?),
            10 => PeerMessage::Forward(self.submission()),
            _ => PeerMessage::Stable({
                let sequence = Sequence((1 + self.draw.below(3)) * INTERVAL);
                self.stable_at(sequence)
            }),
        })
    }
}

/// A replica's signature over any bytes, as those of a statement of this kind. Made once, it is remembered.
fn sign(kind: u8, payload: &[u8], replica: ReplicaId) -> Signature {
    thread_local! {
        static SIGNATURES: RefCell<BTreeMap<Digest, Signature>> = const { RefCell::new(BTreeMap::new()) };
    }
    let hasher = Hasher::new(Domain::Answer).number(kind.into()).number(replica.0.into());
    let name = hasher.bytes(payload).finish();
    SIGNATURES.with_borrow_mut(|signatures| {
        if signatures.len() > 1 << 15 {
            signatures.clear();
        }
        *signatures.entry(name).or_insert_with(|| sign_anew(kind, payload, replica))
    })
}

fn sign_anew(kind: u8, payload: &[u8], replica: ReplicaId) -> Signature {
    fn of<const K: u8>(payload: &[u8], replica: ReplicaId, key: &dyn Signer) -> Signature {
        let scope = configuration();
        *Verified::sign(Raw::<K>(payload.to_vec()), replica, key, scope.scope()).signed().signature()
    }
    let key = replica_key(replica);
    match kind {
        2 => of::<2>(payload, replica, &key),
        3 => of::<3>(payload, replica, &key),
        4 => of::<4>(payload, replica, &key),
        5 => of::<5>(payload, replica, &key),
        6 => of::<6>(payload, replica, &key),
        7 => of::<7>(payload, replica, &key),
        8 => of::<8>(payload, replica, &key),
        _ => of::<9>(payload, replica, &key),
    }
}
