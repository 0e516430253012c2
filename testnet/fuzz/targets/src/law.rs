//! What the cluster's rules make of signed statements and certificates, written a second time: from the rules alone,
//! sharing nothing with the code that replicas judge by but the encoding and Ed25519.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use pbft_crypto::{Digest, Domain, Hasher, Keyring as _, PublicKey, Signature, Signed, Statement};
use pbft_messages::{
    Body, Checkpoint, ClientId, Commit, CommittedCertificate, Configuration, Endorsed, Evidence, NewView,
    PeerMessage, PrePrepare, Prepare, PreparedCertificate, RecoveryAnswer, ReplicaId, Sequence, ShownView,
    StableCertificate, Submission, View, ViewChange, codec,
};

use crate::cluster::WINDOW;

/// Judges by the rules of one cluster.
#[derive(Clone, Copy)]
pub(crate) struct Law<'a>(pub(crate) &'a Configuration);

impl Law<'_> {
    fn n(self) -> u64 {
        self.0.n() as u64
    }

    /// The largest number of faults f with 3f < n.
    fn f(self) -> usize {
        (self.0.n() - 1) / 3
    }

    /// The least number of replicas any two sets of which have f+1 in common.
    fn quorum(self) -> usize {
        (self.0.n() + self.f()) / 2 + 1
    }

    fn is_primary(self, replica: ReplicaId, view: View) -> bool {
        u64::from(replica.0) == view.0 % self.n()
    }

    /// The statement, if the signature is its claimed signer's.
    fn signed<T>(self, it: &Signed<T>) -> Option<T>
    where
        T: Statement<Keyring = Configuration>,
        Configuration: pbft_crypto::Keyring<T::Signer>,
    {
        let key = self.0.public_key(it.claimed_signer())?;
        let good = self.is_signed(T::KIND, &key, it.payload(), it.signature());
        good.then(|| T::decode(it.payload()).ok()).flatten()
    }

    fn is_signed(self, kind: u8, key: &PublicKey, payload: &[u8], signature: &Signature) -> bool {
        let scope = self.0.scope();
        let message = [
            b"pbft/statement/1\0",
            &scope.cluster.as_bytes()[..],
            &scope.epoch.to_le_bytes(),
            &[kind],
            key.as_bytes(),
            payload,
        ];
        remembered_verdict(key, &message.concat(), signature)
    }

    pub(crate) fn pre_prepare(self, it: &Signed<PrePrepare>) -> Option<PrePrepare> {
        let of_primary = |value: &PrePrepare| self.is_primary(it.claimed_signer(), value.view);
        self.signed(it).filter(|value| value.sequence.0 > 0 && of_primary(value))
    }

    pub(crate) fn prepare(self, it: &Signed<Prepare>) -> Option<Prepare> {
        self.signed(it).filter(|value| !self.is_primary(it.claimed_signer(), value.view))
    }

    pub(crate) fn commit(self, it: &Signed<Commit>) -> Option<Commit> {
        self.signed(it)
    }

    pub(crate) fn checkpoint(self, it: &Signed<Checkpoint>) -> Option<Checkpoint> {
        let interval = self.0.parameters().checkpoint_interval;
        self.signed(it).filter(|value| value.sequence.0 > 0 && value.sequence.0 % interval == 0)
    }

    /// Exactly so many good votes for the statement, each of another replica.
    fn votes<T>(self, it: &Endorsed<T>, count: usize, vote: impl Fn(Self, &Signed<T>) -> Option<T>) -> bool
    where
        T: Statement<Signer = ReplicaId, Keyring = Configuration>,
    {
        let voters: BTreeSet<ReplicaId> = it.signatures.iter().map(|(voter, _)| *voter).collect();
        let good = |(voter, signature): &(ReplicaId, Signature)| {
            let payload = it.statement.encode();
            vote(self, &Signed::from_parts(*voter, payload.into(), *signature)).is_some()
        };
        it.signatures.len() == count && voters.len() == count && it.signatures.iter().all(good)
    }

    pub(crate) fn prepared(self, it: &PreparedCertificate) -> bool {
        let said = &it.prepares.statement;
        let same = |header: PrePrepare| {
            header.view == said.view && header.sequence == said.sequence && header.digest == said.digest
        };
        self.pre_prepare(&it.header).is_some_and(same)
            && self.votes(&it.prepares, self.quorum() - 1, Self::prepare)
    }

    pub(crate) fn committed(self, it: &CommittedCertificate) -> bool {
        self.votes(it, self.quorum(), Self::commit)
    }

    pub(crate) fn stable(self, it: &StableCertificate) -> bool {
        self.votes(it, self.quorum(), Self::checkpoint)
    }

    /// VC2 and VC3.
    pub(crate) fn view_change(self, it: &Signed<ViewChange>) -> Option<ViewChange> {
        let value = self.signed(it)?;
        let low = value.stable.as_ref().map_or(0, |stable| stable.statement.sequence.0);
        let places: Vec<u64> = value.prepared.iter().map(|it| it.prepares.statement.sequence.0).collect();
        let window = self.0.parameters().window;
        let good = value.view.0 > 0
            && value.stable.as_ref().is_none_or(|stable| self.stable(stable))
            && places.iter().all(|place| *place > low && *place - low <= window)
            && places.windows(2).all(|pair| pair[0] < pair[1])
            && value.prepared.iter().all(|it| it.prepares.statement.view < value.view && self.prepared(it));
        good.then_some(value)
    }

    /// VC4 and VC5.
    pub(crate) fn new_view(self, it: &Signed<NewView>) -> Option<NewView> {
        let value = self.signed(it)?;
        let askers: BTreeSet<ReplicaId> = value.view_changes.iter().map(Signed::claimed_signer).collect();
        let asked: Option<Vec<ViewChange>> =
            value.view_changes.iter().map(|asked| self.view_change(asked)).collect();
        let asked = asked?;
        let (low, digests) = carried_over(&asked)?;
        let follows = |(place, header): (u64, &Signed<PrePrepare>)| {
            self.pre_prepare(header).is_some_and(|header| {
                header.view == value.view
                    && header.sequence.0.checked_sub(low) == Some(place)
                    && header.digest == digests[place as usize - 1]
            })
        };
        let good = self.is_primary(it.claimed_signer(), value.view)
            && asked.len() == self.quorum()
            && askers.len() == asked.len()
            && asked.iter().all(|asked| asked.view == value.view)
            && value.pre_prepares.len() == digests.len()
            && (1..).zip(&value.pre_prepares).all(follows);
        good.then_some(value)
    }

    /// D8: what an answer to a replica that recovers shows.
    pub(crate) fn recovery_answer(self, it: &Signed<RecoveryAnswer>) -> Option<RecoveryAnswer> {
        let value = self.signed(it)?;
        let shown = match &value.shown {
            ShownView::Genesis => 0,
            ShownView::Opened(new_view) => self.new_view(new_view)?.view.0,
            ShownView::AskedFor(asked) => {
                let askers: BTreeSet<ReplicaId> = asked.iter().map(Signed::claimed_signer).collect();
                if asked.len() != self.f() + 1 || askers.len() != asked.len() {
                    return None;
                }
                let views: Option<Vec<u64>> =
                    asked.iter().map(|asked| Some(self.view_change(asked)?.view.0)).collect();
                views?.into_iter().min()?
            }
        };
        let low = value.stable.as_ref().map_or(0, |stable| stable.statement.sequence.0);
        let askers_own = |asked: &Signed<ViewChange>| {
            asked.claimed_signer() == value.asker && self.view_change(asked).is_some()
        };
        let good = it.claimed_signer() != value.asker
            && value.view.0 <= shown.saturating_add(2)
            && value.stable.as_ref().is_none_or(|stable| self.stable(stable))
            && value.last_executed.0 <= low.saturating_add(self.0.parameters().window)
            && value.view_change.as_ref().is_none_or(askers_own);
        good.then_some(value)
    }

    /// N1, and the limits of the configuration.
    pub(crate) fn submission(self, it: &Signed<Submission>) -> Option<Submission> {
        let parameters = self.0.parameters();
        self.signed(it).filter(|value| match value {
            Submission::Open { .. } => true,
            Submission::Requests { first, operations, .. } => {
                let total: usize = operations.iter().map(bytes::Bytes::len).sum();
                (1..=64).contains(&operations.len())
                    && first.0 > 0
                    && first.0 <= u64::MAX - operations.len() as u64
                    && operations.iter().all(|operation| operation.len() <= parameters.operation_bytes)
                    && total <= parameters.batch_bytes
            }
        })
    }

    /// Section E.
    pub(crate) fn evidence(self, it: &Evidence) -> bool {
        match it {
            Evidence::PrePrepares(it) => {
                self.conflict(it, Self::pre_prepare, |value| (value.view, value.sequence))
            }
            Evidence::Prepares(it) => self.conflict(it, Self::prepare, |value| (value.view, value.sequence)),
            Evidence::Commits(it) => self.conflict(it, Self::commit, |value| (value.view, value.sequence)),
            Evidence::Checkpoints(it) => self.conflict(it, Self::checkpoint, |value| value.sequence),
            Evidence::ViewChanges(it) => self.conflict(it, Self::view_change, |value| value.view),
            Evidence::NewViews(it) => self.conflict(it, Self::new_view, |value| value.view),
            Evidence::WrongNewView(it) => self.signed(it).is_some() && self.new_view(it).is_none(),
            Evidence::Omission(it) => {
                let (commit, asked) = (self.commit(it.commit()), self.view_change(it.view_change()));
                let one = it.commit().claimed_signer() == it.view_change().claimed_signer();
                one && commit.zip(asked).is_some_and(|(commit, asked)| is_hidden(&commit, &asked))
            }
        }
    }

    fn conflict<T, P: PartialEq>(
        self,
        it: &pbft_messages::Conflict<T>,
        lawful: impl Fn(Self, &Signed<T>) -> Option<T>,
        place: impl Fn(&T) -> P,
    ) -> bool
    where
        T: pbft_messages::Exclusive,
    {
        let bytes = codec::encode(it);
        let Ok((first, second)) = codec::decode::<(Signed<T>, Signed<T>)>(&bytes) else { return false };
        let (Some(left), Some(right)) = (lawful(self, &first), lawful(self, &second)) else { return false };
        first.claimed_signer() == second.claimed_signer()
            && place(&left) == place(&right)
            && first.payload() != second.payload()
    }

    /// Whether a replica may act on a message.
    pub(crate) fn message(self, it: &PeerMessage) -> bool {
        match it {
            PeerMessage::Proposal(header, body) => {
                self.pre_prepare(header).is_some_and(|header| header.digest == digest_of(body))
                    && self.fresh(body)
            }
            PeerMessage::Prepare(it, _) => self.prepare(it).is_some(),
            PeerMessage::Commit(it) => self.commit(it).is_some(),
            PeerMessage::Checkpoint(it) => self.checkpoint(it).is_some(),
            PeerMessage::ViewChange(it) => self.view_change(it).is_some(),
            // One that is signed and wrong is acted on, as evidence.
            PeerMessage::NewView(it) => self.signed(it).is_some(),
            PeerMessage::Forward(it) => self.submission(it).is_some(),
            PeerMessage::Prepared(it, body) => {
                self.prepared(it) && it.prepares.statement.digest == digest_of(body)
            }
            PeerMessage::Committed(it, body) => self.committed(it) && it.statement.digest == digest_of(body),
            PeerMessage::Stable(it) => self.stable(it),
            PeerMessage::Evidence(it) => self.evidence(it),
            PeerMessage::RecoveryAnswer(it) => self.recovery_answer(it).is_some(),
            PeerMessage::Status(_)
            | PeerMessage::FetchBody(_)
            | PeerMessage::Body(_)
            | PeerMessage::FetchPart(_)
            | PeerMessage::Leaves(_)
            | PeerMessage::Chunk(_)
            | PeerMessage::NoSnapshot(_)
            | PeerMessage::AskRecovery(_) => true,
        }
    }

    /// N2, but for the time.
    fn fresh(self, body: &Body) -> bool {
        let parameters = self.0.parameters();
        let mut named: BTreeSet<(ClientId, u64, u64)> = BTreeSet::new();
        let mut requests = 0;
        for ordered in body.submissions() {
            for request in ordered.submission().requests() {
                requests += 1;
                named.insert((ordered.client(), ordered.submission().session().0, request.number.0));
            }
        }
        named.len() == requests
            && requests <= parameters.batch_requests
            && body.operation_bytes() <= parameters.batch_bytes
            && signed_submissions(body).iter().all(|signed| self.submission(signed).is_some())
    }
}

/// Whether a VIEW-CHANGE to a higher view leaves out what its signer committed to: nothing of that view or a later one is
/// shown at the place, and no checkpoint covers it.
fn is_hidden(commit: &Commit, asked: &ViewChange) -> bool {
    let low = asked.stable.as_ref().map_or(Sequence(0), |stable| stable.statement.sequence);
    let shown = asked.prepared.iter().map(|it| &it.prepares.statement).any(|it| {
        let same = it.view == commit.view && it.digest == commit.digest;
        it.sequence == commit.sequence && (same || it.view > commit.view)
    });
    commit.view < asked.view && commit.sequence > low && !shown
}

/// The digest that binds a body: of its time and of each signed submission, in order.
fn digest_of(body: &Body) -> Digest {
    let Some(time) = body.time() else { return Digest::of(Domain::Batch, b"null") };
    let submissions = signed_submissions(body);
    let hasher = Hasher::new(Domain::Batch).bytes(b"ordered").number(time.0).number(submissions.len() as u64);
    let each = |hasher: Hasher, signed: &Signed<Submission>| {
        let submission = Hasher::new(Domain::Submission)
            .bytes(&signed.claimed_signer().0)
            .bytes(&signed.signature().to_bytes())
            .bytes(signed.payload());
        hasher.bytes(submission.finish().as_bytes())
    };
    submissions.iter().fold(hasher, each).finish()
}

/// The submissions of a body as they were signed.
fn signed_submissions(body: &Body) -> Vec<Signed<Submission>> {
    /// A body as it travels.
    type Wire = (u32, u64, Vec<Signed<Submission>>);
    let bytes = codec::encode(body);
    codec::decode::<Wire>(&bytes).map_or(Vec::new(), |(_, _, submissions)| submissions)
}

/// Where O starts, and what it must hold; `None` if two certificates of one view contradict each other, or stand further
/// apart than any window.
pub(crate) fn carried_over(asked: &[ViewChange]) -> Option<(u64, Vec<Digest>)> {
    let low = asked.iter().filter_map(|it| Some(it.stable.as_ref()?.statement.sequence.0)).max().unwrap_or(0);
    let mut certified: BTreeMap<(Sequence, View), Digest> = BTreeMap::new();
    for Prepare { view, sequence, digest } in
        asked.iter().flat_map(|it| &it.prepared).map(|it| &it.prepares.statement)
    {
        if certified.insert((*sequence, *view), *digest).is_some_and(|other| other != *digest) {
            return None;
        }
    }
    let high = certified.keys().map(|(sequence, _)| sequence.0).max().unwrap_or(0).max(low);
    // Lawful VIEW-CHANGEs show no more than their window.
    if high - low > WINDOW {
        return None;
    }
    // Later entries are those of higher views.
    let latest: BTreeMap<u64, Digest> =
        certified.into_iter().map(|((sequence, _), digest)| (sequence.0, digest)).collect();
    let null = Body::null().digest();
    let at = |place: u64| latest.get(&(low + place)).copied().unwrap_or(null);
    Some((low, (1..=high - low).map(at).collect()))
}

/// Whether the key verifies the signature; asked again, it is remembered.
fn remembered_verdict(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    thread_local! {
        static VERDICTS: RefCell<BTreeMap<Digest, bool>> = const { RefCell::new(BTreeMap::new()) };
    }
    let hasher = Hasher::new(Domain::Answer).bytes(key.as_bytes()).bytes(&signature.to_bytes());
    let name = hasher.bytes(message).finish();
    VERDICTS.with_borrow_mut(|verdicts| {
        if verdicts.len() > 1 << 15 {
            verdicts.clear();
        }
        *verdicts.entry(name).or_insert_with(|| key.verifies(message, signature))
    })
}
