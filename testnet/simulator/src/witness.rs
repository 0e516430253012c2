//! Who was heard contradicting itself, and whether it was convicted (I9).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, Bound};

use bytes::Bytes;
use serde::Serialize;

use pbft_messages::{
    Accusation, Commit, EvidenceKind, Message, Parameters, PeerMessage, PreparedCertificate, ReplicaId,
    Sequence, ViewChange,
};
use pbft_protocol::Standing;

use crate::InstanceId;
use crate::heard::{Heard, Place, claims};

/// How many pieces of evidence of one kind against one replica it keeps.
const KEPT: usize = 8;

/// Listens at the correct replicas' ears.
#[derive(Default)]
pub(crate) struct Witness {
    /// The first statement that each run of an instance heard at a place, and keeps.
    heard: BTreeMap<(InstanceId, u64, Place), Bytes>,
    /// The places at which one replica heard both of two statements that it was to compare, and had room for the proof.
    reached: BTreeSet<Place>,
    /// Those at which it had no room.
    repeated: BTreeSet<Place>,
    /// The COMMIT of the highest view that each run of an instance heard of a replica at each sequence.
    commits: BTreeMap<(InstanceId, u64, ReplicaId), BTreeMap<Sequence, Commit>>,
    /// Whose VIEW-CHANGE hid, in the hearing of one replica, what it had heard its signer commit to.
    hiders: BTreeSet<ReplicaId>,
    /// What is proven at some correct replica.
    proven: BTreeSet<Place>,
    /// How many pieces of evidence of a kind each instance holds against a replica.
    pieces: BTreeMap<(InstanceId, ReplicaId, EvidenceKind), usize>,
    /// What the correct replicas themselves ever said at a place, restarts and lost disks included.
    said: BTreeMap<Place, Bytes>,
    false_accusations: usize,
}

/// How many contradictions could be noticed, and how many were.
///
/// A contradiction is two different signed statements of one replica at one place: a kind, view and sequence. It has
/// *reached* a correct replica if that was handed both, since it last started: one by itself (or, of a proposal, beside a
/// PREPARE) when it was to keep it, and the other, by itself or as part of a certificate, VIEW-CHANGE or NEW-VIEW that it
/// looks at, while it keeps the first. It keeps what is of its active view and of a sequence above its stable checkpoint
/// within its log; of each sender the first VIEW-CHANGE to its active view and the one to the highest view; and the
/// NEW-VIEW of its active view. What came when it had long left the view or the window, or what different replicas heard
/// one half each of, nobody can prove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contradictions {
    /// Replicas of which a contradiction has reached a correct one, each counted for each kind of statement.
    pub liars: usize,
    /// Those of them that are convicted in that kind.
    pub convicted: usize,
    /// Contradictions that have reached a correct replica which had room for the proof.
    pub reached: usize,
    /// Those of them for which some correct replica holds the proof.
    pub proven: usize,
    /// Contradictions that have reached only replicas which held as much of that kind against the liar as they keep.
    pub repeated: usize,
    /// Contradictions of which different correct replicas heard one half each, by itself, and none heard both.
    pub apart: usize,
    /// Accusations of correct replicas: there must be none.
    pub false_accusations: usize,
}

impl AddAssign for Contradictions {
    fn add_assign(&mut self, other: Self) {
        self.liars += other.liars;
        self.convicted += other.convicted;
        self.reached += other.reached;
        self.proven += other.proven;
        self.repeated += other.repeated;
        self.apart += other.apart;
        self.false_accusations += other.false_accusations;
    }
}

impl Witness {
    /// A correct replica, whose stable checkpoint will be `written`, receives a message that it believes.
    pub(crate) fn hears(
        &mut self,
        (at, run): (InstanceId, u64),
        standing: &Standing,
        written: Sequence,
        parameters: &Parameters,
        message: &Message,
        heard: &Heard,
    ) {
        let looks_within = self.looks_within((at, run), standing, message);
        self.compare_commits((at, run), standing, written, parameters, message);
        let within = heard.within.iter().filter(|_| looks_within).map(|said| (said, false));
        for ((place, payload), alone) in heard.alone.iter().map(|said| (said, true)).chain(within) {
            if !notices(standing, written, parameters, *place) && !self.is_former((at, run), standing, *place)
            {
                continue;
            }
            if place.1 == EvidenceKind::ViewChange && alone {
                if !self.keeps((at, run), standing, *place) {
                    continue;
                }
                self.forget_lower((at, run), standing, *place);
            }
            let key = (at, run, *place);
            match self.heard.get(&key) {
                Some(first) if first != payload => self.contradicts(at, *place),
                None if alone => drop(self.heard.insert(key, payload.clone())),
                _ => {}
            }
        }
    }

    /// Whether a replica looks at what is within a message: of a VIEW-CHANGE if it is new and the highest of its sender,
    /// of a NEW-VIEW if its view has not begun; of a certificate always.
    fn looks_within(&self, (at, run): (InstanceId, u64), standing: &Standing, message: &Message) -> bool {
        match message {
            Message::ViewChange(it) => {
                let place = (it.signer(), EvidenceKind::ViewChange, it.value().view.0, 0);
                it.value().view > standing.view
                    && !self.heard.contains_key(&(at, run, place))
                    && self.keeps((at, run), standing, place)
            }
            Message::NewView(it) => it.value().view > standing.view,
            _ => true,
        }
    }

    /// Whether a replica keeps the first VIEW-CHANGE at this place: the one to its view, and of others that to the highest
    /// view.
    fn keeps(&self, (at, run): (InstanceId, u64), standing: &Standing, place: Place) -> bool {
        let (replica, kind, view, _) = place;
        let end = |view| (at, run, (replica, kind, view, u64::MAX));
        let higher = (Bound::Excluded(end(view)), Bound::Included(end(u64::MAX)));
        view == standing.view.0 || self.heard.range(higher).next().is_none()
    }

    /// Forgets the VIEW-CHANGEs of a replica to views that have not begun, below one that it hears now.
    fn forget_lower(&mut self, (at, run): (InstanceId, u64), standing: &Standing, place: Place) {
        let (replica, kind, view, _) = place;
        let lower = (at, run, (replica, kind, standing.view.0 + 1, 0))..(at, run, (replica, kind, view, 0));
        if !lower.is_empty() {
            self.heard.extract_if(lower, |_, _| true).for_each(drop);
        }
    }

    /// Whether a place is that of the last COMMIT that a replica has heard of another at a sequence, of a view that it has
    /// left.
    fn is_former(&self, (at, run): (InstanceId, u64), standing: &Standing, place: Place) -> bool {
        let (replica, kind, view, sequence) = place;
        let last = || self.commits.get(&(at, run, replica))?.get(&Sequence(sequence));
        kind == EvidenceKind::Commit
            && view < standing.view.0
            && sequence > standing.stable.0
            && last().is_some_and(|last| last.view.0 == view)
    }

    /// Compares the COMMITs that a replica hears with the VIEW-CHANGEs of their signers that it hears then.
    fn compare_commits(
        &mut self,
        (at, run): (InstanceId, u64),
        standing: &Standing,
        written: Sequence,
        parameters: &Parameters,
        message: &Message,
    ) {
        match message {
            Message::Commit(vote) => {
                let Commit { view, sequence, .. } = *vote.value();
                let place = (vote.signer(), EvidenceKind::Commit, view.0, sequence.0);
                if notices(standing, written, parameters, place) {
                    let commits = self.commits.entry((at, run, vote.signer())).or_default();
                    if commits.get(&sequence).is_none_or(|before| before.view < view) {
                        commits.insert(sequence, vote.value().clone());
                    }
                }
            }
            // What is at or below h has left the log.
            Message::ViewChange(it) if self.looks_within((at, run), standing, message) => {
                let commits = self.commits.get(&(at, run, it.signer())).into_iter();
                let from = standing.stable.max(written).next();
                let mut kept = commits.flat_map(|commits| commits.range(from..).map(|(_, commit)| commit));
                if kept.any(|commit| is_hidden(commit, it.value())) {
                    self.hiders.insert(it.signer());
                }
            }
            _ => {}
        }
    }

    fn contradicts(&mut self, at: InstanceId, place: Place) {
        let pieces = self.pieces.get(&(at, place.0, place.1)).copied().unwrap_or_default();
        if pieces < KEPT {
            self.reached.insert(place)
        } else {
            self.repeated.insert(place)
        };
    }

    /// A correct replica sends a message; tells whether it contradicts what it sent before.
    pub(crate) fn says(&mut self, replica: ReplicaId, message: &PeerMessage) -> Result<(), String> {
        // What is passed on for others is theirs to answer for.
        let own = claims(message).filter(|(place, _)| place.0 == replica);
        let Some((place, payload)) = own else { return Ok(()) };
        let (_, kind, view, sequence) = place;
        let first = self.said.entry(place).or_insert_with(|| payload.clone());
        if *first == payload {
            return Ok(());
        }
        Err(format!("contradicts itself ({kind:?}) at {sequence} in view {view}"))
    }

    /// A correct replica has found evidence, or been handed some.
    pub(crate) fn convicts(&mut self, at: InstanceId, it: &Accusation) {
        *self.pieces.entry((at, it.accused, it.kind)).or_default() += 1;
        self.proven.insert((it.accused, it.kind, it.view.0, it.sequence.0));
    }

    /// A correct replica accuses another one.
    pub(crate) fn accuses_falsely(&mut self) {
        self.false_accusations += 1;
    }

    pub(crate) fn contradictions(&self) -> Contradictions {
        let (lies, convicted) = (self.lies(), self.convictions());
        Contradictions {
            liars: lies.len(),
            convicted: lies.intersection(&convicted).count(),
            reached: self.reached.len(),
            proven: self.reached.intersection(&self.proven).count(),
            repeated: self.repeated.difference(&self.reached).count(),
            apart: self.apart().difference(&self.reached).filter(|it| !self.repeated.contains(it)).count(),
            false_accusations: self.false_accusations,
        }
    }

    /// Who was heard contradicting itself in which kind of statements, and is not convicted of that.
    pub(crate) fn unconvicted(&self) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        &self.lies() - &self.convictions()
    }

    fn lies(&self) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        let hidden = self.hiders.iter().map(|hider| (*hider, EvidenceKind::Omission));
        self.reached.iter().map(|place| (place.0, place.1)).chain(hidden).collect()
    }

    fn convictions(&self) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        self.proven.iter().map(|place| (place.0, place.1)).collect()
    }

    /// The places at which not all heard the same.
    fn apart(&self) -> BTreeSet<Place> {
        let mut first = BTreeMap::new();
        let heard = self.heard.iter().map(|((_, _, place), payload)| (*place, payload));
        heard
            .filter(|(place, payload)| first.entry(*place).or_insert(*payload) != payload)
            .map(|it| it.0)
            .collect()
    }
}

/// Whether a VIEW-CHANGE keeps back what its signer must show, having sent this COMMIT in an earlier view: the
/// certificate that the COMMIT stands for or one of a later view, unless its checkpoint covers the sequence (VC2).
fn is_hidden(commit: &Commit, view_change: &ViewChange) -> bool {
    let covered =
        view_change.stable.as_ref().is_some_and(|stable| stable.statement.sequence >= commit.sequence);
    let shown = |certificate: &PreparedCertificate| {
        let it = certificate.proposal();
        it.sequence == commit.sequence
            && (it.view > commit.view || it.view == commit.view && it.digest == commit.digest)
    };
    commit.view < view_change.view && !covered && !view_change.prepared.iter().any(shown)
}

/// Whether a replica that stands so looks at a statement by itself at this place, and keeps it or compares it.
fn notices(standing: &Standing, written: Sequence, parameters: &Parameters, place: Place) -> bool {
    let (_, kind, view, sequence) = place;
    let (active, pending, stable) = (standing.view.0, standing.pending.map(|view| view.0), standing.stable.0);
    // What a certificate covers that is on its way to the disk goes already.
    let in_log = stable.max(written.0) < sequence && sequence <= stable + 2 * parameters.window;
    match kind {
        EvidenceKind::PrePrepare | EvidenceKind::Prepare | EvidenceKind::Commit => view == active && in_log,
        EvidenceKind::Checkpoint => in_log && sequence.is_multiple_of(parameters.checkpoint_interval),
        EvidenceKind::ViewChange => view >= active,
        // It enters the view by the first one.
        EvidenceKind::NewView => view >= active && pending.is_none_or(|pending| pending <= view),
        EvidenceKind::Omission => false,
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Verified;
    use pbft_messages::{Body, Checkpoint, PrePrepare, Prepare, Timestamp, View, VoteSet};

    use super::*;
    use crate::{Cluster, Settings};

    const R1: ReplicaId = ReplicaId(1);

    fn sign<T: pbft_crypto::Statement<Signer = ReplicaId>>(
        cluster: &Cluster,
        from: ReplicaId,
        value: T,
    ) -> Verified<T> {
        Verified::sign(value, from, &*cluster.identity(from).signer, cluster.configuration().scope())
    }

    /// r0 hears a message.
    fn hear(witness: &mut Witness, run: u64, standing: &Standing, cluster: &Cluster, message: &Message) {
        let heard = Heard::of(message, cluster.configuration());
        let parameters = Parameters::default();
        witness.hears((InstanceId(0), run), standing, Sequence(0), &parameters, message, &heard);
    }

    /// Two COMMITs of r1 at one place, heard by r0: it is a liar until somebody proves it.
    #[test]
    fn a_liar_that_nobody_convicts_is_named() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(R1);
        let standing = cluster.standing(ReplicaId(0)).unwrap();
        let mut witness = Witness::default();
        let mut hears = |run, digest: &[u8]| {
            let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, digest);
            let commit = Commit { view: View(0), sequence: Sequence(3), digest };
            let commit =
                Verified::sign(commit, identity.replica, &*identity.signer, identity.configuration.scope());
            hear(&mut witness, run, &standing, &cluster, &Message::Commit(commit));
            Vec::from_iter(witness.unconvicted())
        };
        assert_eq!(hears(1, b"a"), []);
        assert_eq!(hears(1, b"a"), []);
        assert_eq!(hears(2, b"b"), [], "it has started anew since, and forgotten the first");
        assert_eq!(hears(1, b"b"), [(R1, EvidenceKind::Commit)]);
        let it = Accusation { accused: R1, kind: EvidenceKind::Commit, view: View(0), sequence: Sequence(3) };
        witness.convicts(InstanceId(0), &it);
        assert!(witness.unconvicted().is_empty());
        let all =
            Contradictions { liars: 1, convicted: 1, reached: 1, proven: 1, ..Contradictions::default() };
        assert_eq!(witness.contradictions(), all);
    }

    /// Two proposals, each beside the PREPARE of another backup; a COMMIT, and another one in a certificate; what is said
    /// when eight pieces are held; and what nobody hears both halves of.
    #[test]
    fn contradictions_are_heard_beside_votes_and_in_certificates() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let standing = cluster.standing(ReplicaId(0)).unwrap();
        let digest = |name: &[u8]| pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
        let prepare = |from: u16, name| {
            let (view, sequence, digest) = (View(0), Sequence(3), digest(name));
            let header = sign(&cluster, ReplicaId(0), PrePrepare { view, sequence, digest });
            let vote = sign(&cluster, ReplicaId(from), Prepare { view, sequence, digest });
            Message::Prepare(vote, *header.signed().signature())
        };
        let vote = |from: u16, sequence, name| {
            let value = Commit { view: View(0), sequence: Sequence(sequence), digest: digest(name) };
            sign(&cluster, ReplicaId(from), value)
        };
        let mut witness = Witness::default();
        hear(&mut witness, 1, &standing, &cluster, &prepare(2, b"a"));
        hear(&mut witness, 1, &standing, &cluster, &prepare(3, b"b"));
        let proposed = (ReplicaId(0), EvidenceKind::PrePrepare, 0, 3);
        assert_eq!(Vec::from_iter(&witness.reached), [&proposed]);

        hear(&mut witness, 1, &standing, &cluster, &Message::Commit(vote(1, 4, b"a")));
        let body = Body::new(Timestamp(1), []);
        let mut votes = VoteSet::default();
        for replica in 1..4 {
            let value = Commit { view: View(0), sequence: Sequence(4), digest: body.digest() };
            votes.insert(sign(&cluster, ReplicaId(replica), value)).unwrap();
        }
        let certificate = votes.quorum(cluster.configuration().quorum()).unwrap();
        let committed = Message::Committed(certificate, body.into());
        hear(&mut witness, 1, &standing, &cluster, &committed);
        assert!(witness.reached.contains(&(R1, EvidenceKind::Commit, 0, 4)));

        witness.pieces.insert((InstanceId(0), R1, EvidenceKind::Commit), KEPT);
        for name in [b"a", b"b"] {
            hear(&mut witness, 1, &standing, &cluster, &Message::Commit(vote(1, 5, name)));
        }
        for (run, name) in [(1, b"a"), (2, b"b")] {
            hear(&mut witness, run, &standing, &cluster, &Message::Commit(vote(1, 6, name)));
        }
        let all = Contradictions { liars: 2, reached: 2, repeated: 1, apart: 1, ..Contradictions::default() };
        assert_eq!(witness.contradictions(), all);
    }

    /// A COMMIT in view 0 that a VIEW-CHANGE to view 2 does not show, though one to view 1 was never heard.
    #[test]
    fn whoever_hides_what_it_committed_to_is_named() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(R1);
        let scope = identity.configuration.scope();
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, b"a");
        let commit = Commit { view: View(0), sequence: Sequence(3), digest };
        let commit = Message::Commit(Verified::sign(commit, identity.replica, &*identity.signer, scope));
        let value = ViewChange { view: View(2), stable: None, prepared: vec![] };
        let bare = Message::ViewChange(Verified::sign(value, identity.replica, &*identity.signer, scope));
        let named = |later: Standing| {
            let mut witness = Witness::default();
            let mut hears = |standing: &Standing, message| hear(&mut witness, 1, standing, &cluster, message);
            hears(&cluster.standing(ReplicaId(0)).unwrap(), &commit);
            hears(&later, &bare);
            Vec::from_iter(witness.unconvicted())
        };
        let standing = cluster.standing(ReplicaId(0)).unwrap();
        assert_eq!(named(Standing { view: View(1), ..standing.clone() }), [(R1, EvidenceKind::Omission)]);
        assert_eq!(named(Standing { stable: Sequence(3), ..standing.clone() }), [], "it has left the log");
        assert_eq!(named(Standing { view: View(2), ..standing }), [], "the view has begun");
    }

    /// A VIEW-CHANGE is compared while it is the last one of its sender and the view that it asks for has not begun.
    #[test]
    fn view_changes_are_to_be_compared_while_they_are_kept() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(R1);
        let mut standing = cluster.standing(ReplicaId(0)).unwrap();
        let mut witness = Witness::default();
        let certificate = pbft_messages::StableCertificate {
            statement: Checkpoint {
                sequence: Sequence(128),
                root: pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, b""),
            },
            signatures: vec![],
        };
        let mut hears = |standing: &Standing, view, stable: bool| {
            let stable = stable.then(|| certificate.clone());
            let value = ViewChange { view: View(view), stable, prepared: vec![] };
            let scope = identity.configuration.scope();
            let message =
                Message::ViewChange(Verified::sign(value, identity.replica, &*identity.signer, scope));
            hear(&mut witness, 1, standing, &cluster, &message);
            witness.reached.len()
        };
        assert_eq!((hears(&standing, 3, false), hears(&standing, 5, false)), (0, 0));
        assert_eq!(hears(&standing, 3, true), 0, "a higher one has taken its place");
        assert_eq!(hears(&standing, 5, true), 1);
        assert_eq!(hears(&standing, 6, false), 1);
        standing.view = View(6);
        assert_eq!(hears(&standing, 6, true), 2, "it is kept with the view");
        standing.view = View(7);
        assert_eq!(hears(&standing, 6, true), 2, "the view is over");
    }
}
