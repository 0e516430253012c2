//! The log: what is known about each sequence between the watermarks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pbft_crypto::{Digest, Signed, Verified, mutant};
use pbft_messages::{
    Body, Commit, CommittedCertificate, PrePrepare, Prepare, PreparedCertificate, Proven, ReplicaId,
    Sequence, SlotProgress, View, ViewChange, VoteSet,
};

use crate::Instant;

/// The agreement on one sequence.
///
/// What belongs to the active view is forgotten when a view is entered; certificates, of whatever view, stay.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The active view's proposal that this replica accepted. No other digest is accepted at this place.
    pub(crate) accepted: Option<Verified<PrePrepare>>,
    /// A proposal that cannot be accepted yet, or that is known by a PREPARE only. It is one of the active view at this
    /// place; its signature is not verified: whoever needs it does.
    pub(crate) sighted: Option<Signed<PrePrepare>>,
    /// The digest of a sighted proposal whose body was refused: it is not asked for, nor judged again, until the proposal
    /// comes with a good one, or a certificate wants it.
    pub(crate) refused: Option<Digest>,
    /// The active view's first votes.
    pub(crate) prepares: VoteSet<Prepare>,
    /// The active view's second votes.
    pub(crate) commits: VoteSet<Commit>,
    /// Of each replica the COMMIT of the highest view that was left: its VIEW-CHANGEs must show what it stands for
    /// (section E).
    former_commits: BTreeMap<ReplicaId, Verified<Commit>>,
    /// The prepared certificate of the highest view; its write was issued when it was put here (D1).
    pub(crate) prepared: Option<Proven<PreparedCertificate>>,
    /// Since when, on the clock of patience, it has been due: prepared in the active view, or an empty batch proposed in
    /// it, and not committed.
    pub(crate) due_since: Option<Instant>,
    /// The committed certificate, of whatever view.
    pub(crate) committed: Option<Proven<CommittedCertificate>>,
    /// Bodies held, by digest, and whether their write was issued.
    bodies: BTreeMap<Digest, (Arc<Body>, Stored)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    No,
    Yes,
}

impl Slot {
    /// Accepts a fresh proposal. No client waits for an empty batch, so its place is due by itself: who recovers waits
    /// for it (D8).
    pub(crate) fn accept(&mut self, header: Verified<PrePrepare>, body: &Body, now: Instant) {
        self.due_since = (body.requests() == 0 && self.committed.is_none()).then_some(now);
        self.accepted = Some(header);
    }

    /// The body with this digest, if it is held. The null batch always is.
    pub(crate) fn body(&self, digest: &Digest) -> Option<Arc<Body>> {
        if *digest == Body::null_digest() {
            return Some(Arc::new(Body::null()));
        }
        self.bodies.get(digest).map(|(body, _)| Arc::clone(body))
    }

    /// Keeps a body.
    pub(crate) fn keep(&mut self, body: Arc<Body>) {
        self.bodies.entry(body.digest()).or_insert((body, Stored::No));
    }

    /// Keeps a body that the store holds.
    pub(crate) fn keep_stored(&mut self, body: Arc<Body>) {
        self.bodies.insert(body.digest(), (body, Stored::Yes));
    }

    /// The body with this digest if it has yet to be written; the caller writes it.
    pub(crate) fn body_to_store(&mut self, digest: &Digest) -> Option<Arc<Body>> {
        let (body, stored) = self.bodies.get_mut(digest).filter(|(_, stored)| *stored == Stored::No)?;
        *stored = Stored::Yes;
        Some(Arc::clone(body))
    }

    /// About how many bytes its bodies take.
    fn body_bytes(&self) -> usize {
        self.bodies.values().map(|(body, _)| body.memory_bytes()).sum()
    }

    /// The prepared certificate, if it is of `view`.
    pub(crate) fn prepared_in(&self, view: View) -> Option<&Proven<PreparedCertificate>> {
        self.prepared.as_ref().filter(|certificate| certificate.get().proposal().view == view)
    }

    /// The decided batch, if it is decided and its body held.
    pub(crate) fn decided(&self) -> Option<(&Proven<CommittedCertificate>, Arc<Body>)> {
        let certificate = self.committed.as_ref()?;
        Some((certificate, self.body(&certificate.get().statement.digest)?))
    }

    /// A COMMIT that a VIEW-CHANGE hides, of those that its signer is known to have made here, in whatever view. A vote
    /// in a certificate is claimed until it is verified, which it will be.
    pub(crate) fn commit_hidden_by(&self, view_change: &Verified<ViewChange>) -> Option<Signed<Commit>> {
        let (signer, shown) = (view_change.signer(), view_change.value());
        let mut votes = [self.commits.of(signer), self.former_commits.get(&signer)].into_iter().flatten();
        let vote = votes.find(|vote| shown.hides(vote.value())).map(|vote| vote.signed().clone());
        vote.or_else(|| {
            let certificate = self.committed.as_ref().map(Proven::get);
            certificate.filter(|it| shown.hides(&it.statement))?.vote_of(signer)
        })
    }

    /// The COMMIT of the highest view left of a replica.
    pub(crate) fn former_commit_of(&self, replica: ReplicaId) -> Option<&Verified<Commit>> {
        self.former_commits.get(&replica)
    }

    /// Forgets what belonged to the view that is left, but for the COMMITs. Bodies stay that a certificate or the new
    /// view needs.
    fn leave_view(&mut self, carried: &BTreeSet<Digest>) {
        let prepared = self.prepared.as_ref().map(|certificate| certificate.get().proposal().digest);
        let committed = self.committed.as_ref().map(|certificate| certificate.get().statement.digest);
        self.bodies.retain(|digest, _| {
            Some(*digest) == prepared || Some(*digest) == committed || carried.contains(digest)
        });
        (self.accepted, self.sighted, self.refused, self.due_since) = (None, None, None, None);
        self.prepares = VoteSet::default();
        let left = std::mem::take(&mut self.commits);
        if !mutant!("former-commits-dropped") {
            self.former_commits.extend(left);
        }
    }

    /// How far the slot has come, for a status (C4).
    pub(crate) fn progress(&self, view: View) -> SlotProgress {
        if self.decided().is_some() {
            SlotProgress::Committed
        } else if self.prepared_in(view).is_some() {
            SlotProgress::Prepared
        } else if self.accepted.as_ref().is_some_and(|header| self.body(&header.value().digest).is_some()) {
            SlotProgress::Proposed
        } else {
            SlotProgress::Unproposed
        }
    }
}

/// The slots. Whoever adds one has checked that its sequence is within the bound of the log.
#[derive(Debug, Default)]
pub(crate) struct Log(BTreeMap<Sequence, Slot>);

impl Log {
    pub(crate) fn get(&self, sequence: Sequence) -> Option<&Slot> {
        self.0.get(&sequence)
    }

    pub(crate) fn get_mut(&mut self, sequence: Sequence) -> Option<&mut Slot> {
        self.0.get_mut(&sequence)
    }

    pub(crate) fn slot(&mut self, sequence: Sequence) -> &mut Slot {
        self.0.entry(sequence).or_default()
    }

    /// The slots above a sequence, ascending.
    pub(crate) fn above(&self, sequence: Sequence) -> impl Iterator<Item = (Sequence, &Slot)> {
        self.0.range(sequence.next()..).map(|(sequence, slot)| (*sequence, slot))
    }

    /// The number of slots.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The highest sequence with a slot.
    pub(crate) fn highest(&self) -> Sequence {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// The highest sequence with a prepared certificate, of whatever view; 0 if there is none.
    pub(crate) fn highest_prepared(&self) -> Sequence {
        let mut latest_first = self.0.iter().rev();
        latest_first.find(|(_, slot)| slot.prepared.is_some()).map_or(Sequence(0), |(sequence, _)| *sequence)
    }

    /// The body with this digest, if a slot holds it.
    pub(crate) fn body(&self, digest: &Digest) -> Option<Arc<Body>> {
        self.0.values().find_map(|slot| slot.body(digest))
    }

    /// About how many bytes of bodies are held above a sequence.
    pub(crate) fn body_bytes_above(&self, sequence: Sequence) -> usize {
        self.above(sequence).map(|(_, slot)| slot.body_bytes()).sum()
    }

    /// The highest slot from which up to `top` there are more than so many bytes of bodies, if there are so many.
    pub(crate) fn overflows_at(&self, top: Sequence, bytes: usize) -> Option<Sequence> {
        let mut held = 0;
        let mut slots = self.0.range(..=top).rev();
        let overflow = slots.find(|(_, slot)| {
            held += slot.body_bytes();
            held > bytes
        });
        overflow.map(|(sequence, _)| *sequence)
    }

    /// The number of slots above a sequence.
    pub(crate) fn len_above(&self, sequence: Sequence) -> usize {
        self.above(sequence).count()
    }

    /// Forgets the slots above one sequence, up to and including another.
    pub(crate) fn forget(&mut self, above: Sequence, through: Sequence) {
        self.0.retain(|sequence, _| *sequence <= above || *sequence > through);
    }

    /// Forgets the slots up to and including a sequence (C1).
    pub(crate) fn collect(&mut self, through: Sequence) {
        self.0 = self.0.split_off(&through.next());
    }

    /// Forgets what belonged to the view that is left, but for the bodies that the new one carries over. Slots left
    /// with nothing go.
    pub(crate) fn leave_view(&mut self, carried: &BTreeSet<Digest>) {
        self.0.values_mut().for_each(|slot| slot.leave_view(carried));
        self.0.retain(|_, slot| {
            let certified = slot.prepared.is_some() || slot.committed.is_some();
            certified || !slot.bodies.is_empty() || !slot.former_commits.is_empty()
        });
    }
}
