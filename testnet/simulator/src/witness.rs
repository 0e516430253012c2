//! Who was heard contradicting itself, and whether it was convicted (I9).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use pbft_crypto::{Signed, Statement, Verified};
use pbft_messages::{
    Accusation, Commit, EvidenceKind, Exclusive, Message, Parameters, PeerMessage, PreparedCertificate,
    ReplicaId, Sequence, ViewChange,
};
use pbft_protocol::Standing;

use crate::InstanceId;

/// A place at which a correct replica makes one statement at most.
type Place = (ReplicaId, EvidenceKind, u64, u64);

/// Listens at the correct replicas' ears.
#[derive(Default)]
pub(crate) struct Witness {
    /// What each run of an instance has heard.
    ears: BTreeMap<(InstanceId, u64), Ear>,
    /// The places at which one replica heard both of two statements that it was to compare.
    reached: BTreeSet<Place>,
    /// Whose VIEW-CHANGE hid, in the hearing of one replica, what it had heard its signer commit to.
    hiders: BTreeSet<ReplicaId>,
    /// What is proven at some correct replica.
    proven: BTreeSet<Place>,
    /// What the correct replicas themselves ever said at a place, restarts and lost disks included.
    said: HashMap<Place, bytes::Bytes>,
    false_accusations: usize,
}

/// What one run of an instance has heard, as far as it can still be compared with anything.
#[derive(Default)]
struct Ear {
    /// The stable checkpoint and the last execution: votes at or below are not compared any more, those for checkpoints
    /// at or below the first.
    through: (Sequence, Sequence),
    /// The first statement at each place.
    heard: BTreeMap<Place, bytes::Bytes>,
    /// The COMMIT of the highest view of each replica at each sequence.
    commits: BTreeMap<(ReplicaId, Sequence), Commit>,
}

/// How many contradictions could be noticed, and how many were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contradictions {
    /// Places at which one correct replica received two different signed statements of one replica where it was to
    /// compare them: of the view and window that it took part in, or asking for a higher view or opening one.
    pub reached: usize,
    /// Those of them for which some correct replica holds the proof.
    pub proven: usize,
    /// Accusations of correct replicas: there must be none.
    pub false_accusations: usize,
}

impl Witness {
    /// A correct replica, whose stable checkpoint will be `written`, receives a message that it believes.
    pub(crate) fn hears(
        &mut self,
        at: InstanceId,
        run: u64,
        standing: &Standing,
        written: Sequence,
        parameters: &Parameters,
        message: &Message,
    ) {
        let Some((place, payload)) = statement(message) else { return };
        // Of each sender's VIEW-CHANGEs that of the highest view is kept.
        let (replica, kind, view, _) = place;
        let end = |view| (replica, kind, view, u64::MAX);
        let higher = (Bound::Excluded(end(view)), Bound::Included(end(u64::MAX)));
        let ear = self.ears.entry((at, run)).or_default();
        ear.forget_through(standing.stable, standing.last_executed);
        if kind == EvidenceKind::ViewChange && ear.heard.range(higher).next().is_some() {
            return;
        }
        let notices = notices(standing, written, parameters, place);
        match message {
            // Late ones are kept as well, while their view lasts.
            Message::Commit(vote) if takes_part(standing, parameters, place) => {
                let Commit { view, sequence, .. } = *vote.value();
                let before = ear.commits.get(&(replica, sequence));
                if before.is_none_or(|before| before.view < view) {
                    ear.commits.insert((replica, sequence), vote.value().clone());
                }
            }
            // What is at or below h has left the log.
            Message::ViewChange(view_change) if notices => {
                let lowest = standing.stable.max(written).next();
                let mut kept = ear.commits.range((replica, lowest)..=(replica, Sequence(u64::MAX)));
                if kept.any(|(_, commit)| is_hidden(commit, view_change.value())) {
                    self.hiders.insert(replica);
                }
            }
            _ => {}
        }
        if notices && ear.heard.entry(place).or_insert_with(|| payload.clone()) != payload {
            self.reached.insert(place);
        }
    }

    /// A correct replica sends a message; tells whether it contradicts what it sent before.
    pub(crate) fn says(&mut self, replica: ReplicaId, message: &PeerMessage) -> Result<(), String> {
        let own = match message {
            PeerMessage::Proposal(header, _) => signed_place(EvidenceKind::PrePrepare, header),
            PeerMessage::Prepare(vote, _) => signed_place(EvidenceKind::Prepare, vote),
            PeerMessage::Commit(vote) => signed_place(EvidenceKind::Commit, vote),
            _ => None,
        };
        // What is passed on for others is theirs to answer for.
        let Some((place, payload)) = own.filter(|(place, _)| place.0 == replica) else { return Ok(()) };
        let (_, kind, view, sequence) = place;
        let first = self.said.entry(place).or_insert_with(|| payload.clone());
        if first == payload {
            return Ok(());
        }
        Err(format!("contradicts itself ({kind:?}) at {sequence} in view {view}"))
    }

    /// A correct replica holds evidence.
    pub(crate) fn convicts(&mut self, it: &Accusation) {
        self.proven.insert((it.accused, it.kind, it.view.0, it.sequence.0));
    }

    /// A correct replica accuses another one.
    pub(crate) fn accuses_falsely(&mut self) {
        self.false_accusations += 1;
    }

    pub(crate) fn contradictions(&self) -> Contradictions {
        let proven = self.reached.intersection(&self.proven).count();
        Contradictions { reached: self.reached.len(), proven, false_accusations: self.false_accusations }
    }

    /// Who was heard contradicting itself, and is not convicted of anything.
    pub(crate) fn unconvicted(&self) -> BTreeSet<ReplicaId> {
        let contradict = self.reached.iter().map(|place| place.0);
        let liars: BTreeSet<_> = contradict.chain(self.hiders.iter().copied()).collect();
        let convicted = self.proven.iter().map(|place| place.0).collect();
        &liars - &convicted
    }
}

impl Ear {
    /// Forgets what no statement will be compared with again, see [`notices`]: neither of the two falls in a run.
    fn forget_through(&mut self, stable: Sequence, executed: Sequence) {
        if (stable, executed) == self.through {
            return;
        }
        self.heard.retain(|(_, kind, _, sequence), _| match kind {
            EvidenceKind::PrePrepare | EvidenceKind::Prepare | EvidenceKind::Commit => {
                *sequence > stable.max(executed).0
            }
            EvidenceKind::Checkpoint => *sequence > stable.0,
            _ => true,
        });
        if stable > self.through.0 {
            self.commits.retain(|(_, sequence), _| *sequence > stable);
        }
        self.through = (stable, executed);
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

/// Whether a replica that stands so takes part in the view of a statement, and has its sequence in its window.
fn takes_part(standing: &Standing, parameters: &Parameters, (_, _, view, sequence): Place) -> bool {
    let (active, stable) = (standing.view.0, standing.stable.0);
    standing.recovering.is_none()
        && standing.pending.is_none()
        && view == active
        && stable < sequence
        && sequence <= stable + parameters.window
}

/// Whether a replica that stands so looks at statements at this place and compares them with what it has heard before.
fn notices(standing: &Standing, written: Sequence, parameters: &Parameters, place: Place) -> bool {
    let (_, kind, view, sequence) = place;
    let (active, pending, stable) = (standing.view.0, standing.pending.map(|view| view.0), standing.stable.0);
    let in_window = stable < sequence && sequence <= stable + parameters.window;
    standing.recovering.is_none()
        && match kind {
            EvidenceKind::PrePrepare | EvidenceKind::Prepare | EvidenceKind::Commit => {
                takes_part(standing, parameters, place) && sequence > standing.last_executed.0
            }
            // Votes go when a certificate that covers them is on its way to the disk.
            EvidenceKind::Checkpoint => {
                in_window && sequence > written.0 && sequence.is_multiple_of(parameters.checkpoint_interval)
            }
            EvidenceKind::ViewChange => view > active,
            // It enters the view by the first one.
            EvidenceKind::NewView => view >= active && pending.is_none_or(|pending| pending <= view),
            EvidenceKind::Omission => false,
        }
}

fn statement(message: &Message) -> Option<(Place, &bytes::Bytes)> {
    match message {
        Message::Proposal(header, _) => Some(place(EvidenceKind::PrePrepare, header)),
        Message::Prepare(vote, _) => Some(place(EvidenceKind::Prepare, vote)),
        Message::Commit(vote) => Some(place(EvidenceKind::Commit, vote)),
        Message::Checkpoint(vote) => Some(place(EvidenceKind::Checkpoint, vote)),
        Message::ViewChange(view_change) => Some(place(EvidenceKind::ViewChange, view_change)),
        Message::NewView(new_view) => Some(place(EvidenceKind::NewView, new_view)),
        _ => None,
    }
}

/// The place of what somebody claims to say.
fn signed_place<T>(kind: EvidenceKind, vote: &Signed<T>) -> Option<(Place, &bytes::Bytes)>
where
    T: Exclusive + Statement<Signer = ReplicaId>,
{
    let (view, sequence) = vote.peek().ok()?.place();
    Some(((vote.claimed_signer(), kind, view.0, sequence.0), vote.payload()))
}

fn place<T: Exclusive + Statement<Signer = ReplicaId>>(
    kind: EvidenceKind,
    vote: &Verified<T>,
) -> (Place, &bytes::Bytes) {
    let (view, sequence) = vote.value().place();
    ((vote.signer(), kind, view.0, sequence.0), vote.signed().payload())
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Checkpoint, View};

    use super::*;
    use crate::{Cluster, Settings};

    /// Two COMMITs of r1 at one place, heard by r0: it is a liar until somebody proves it.
    #[test]
    fn a_liar_that_nobody_convicts_is_named() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(ReplicaId(1));
        let standing = cluster.standing(ReplicaId(0)).unwrap();
        let mut witness = Witness::default();
        let mut hears = |run, digest: &[u8]| {
            let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, digest);
            let commit = Commit { view: View(0), sequence: Sequence(3), digest };
            let commit =
                Verified::sign(commit, identity.replica, &*identity.signer, identity.configuration.scope());
            witness.hears(
                InstanceId(0),
                run,
                &standing,
                Sequence(0),
                &Parameters::default(),
                &Message::Commit(commit),
            );
            witness.unconvicted().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(hears(1, b"a"), []);
        assert_eq!(hears(1, b"a"), []);
        assert_eq!(hears(2, b"b"), [], "it has started anew since, and forgotten the first");
        assert_eq!(hears(1, b"b"), [ReplicaId(1)]);
        let it = Accusation {
            accused: ReplicaId(1),
            kind: EvidenceKind::Commit,
            view: View(0),
            sequence: Sequence(3),
        };
        witness.convicts(&it);
        assert!(witness.unconvicted().is_empty());
        assert_eq!(witness.contradictions(), Contradictions { reached: 1, proven: 1, false_accusations: 0 });
    }

    /// A COMMIT in view 0 that a VIEW-CHANGE to view 2 does not show, though one to view 1 was never heard.
    #[test]
    fn whoever_hides_what_it_committed_to_is_named() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(ReplicaId(1));
        let scope = identity.configuration.scope();
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, b"a");
        let commit = Commit { view: View(0), sequence: Sequence(3), digest };
        let commit = Message::Commit(Verified::sign(commit, identity.replica, &*identity.signer, scope));
        let value = ViewChange { view: View(2), stable: None, prepared: vec![] };
        let bare = Message::ViewChange(Verified::sign(value, identity.replica, &*identity.signer, scope));
        let named = |later: Standing| {
            let mut witness = Witness::default();
            let mut hears = |standing: &Standing, message| {
                witness.hears(InstanceId(0), 1, standing, Sequence(0), &Parameters::default(), message);
            };
            hears(&cluster.standing(ReplicaId(0)).unwrap(), &commit);
            hears(&later, &bare);
            witness.unconvicted().into_iter().collect::<Vec<_>>()
        };
        let standing = cluster.standing(ReplicaId(0)).unwrap();
        assert_eq!(named(Standing { view: View(1), ..standing.clone() }), [ReplicaId(1)]);
        assert_eq!(named(Standing { stable: Sequence(3), ..standing.clone() }), [], "it has left the log");
        assert_eq!(named(Standing { view: View(2), ..standing }), [], "the view has begun");
    }

    /// Two COMMITs at the place above all that is executed and stable, which were lower when the first was heard.
    #[test]
    fn what_can_still_be_compared_is_not_forgotten() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(ReplicaId(1));
        let at_start = cluster.standing(ReplicaId(0)).unwrap();
        let mut witness = Witness::default();
        let mut hears = |through, digest: &[u8]| {
            let standing = Standing { stable: through, last_executed: through, ..at_start.clone() };
            let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, digest);
            let commit = Commit { view: View(0), sequence: Sequence(5), digest };
            let scope = identity.configuration.scope();
            let commit = Message::Commit(Verified::sign(commit, identity.replica, &*identity.signer, scope));
            witness.hears(InstanceId(0), 1, &standing, Sequence(0), &Parameters::default(), &commit);
            let ear = &witness.ears[&(InstanceId(0), 1)];
            (witness.reached.len(), ear.heard.len(), ear.commits.len())
        };
        assert_eq!(hears(Sequence(0), b"a"), (0, 1, 1));
        assert_eq!(hears(Sequence(4), b"b"), (1, 1, 1));
        assert_eq!(hears(Sequence(5), b"c"), (1, 0, 0));
    }

    /// A VIEW-CHANGE is compared while it is the last one of its sender and the view that it asks for has not begun.
    #[test]
    fn view_changes_are_to_be_compared_while_they_are_kept() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let identity = cluster.identity(ReplicaId(1));
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
            witness.hears(InstanceId(0), 1, standing, Sequence(0), &Parameters::default(), &message);
            witness.reached.len()
        };
        assert_eq!((hears(&standing, 3, false), hears(&standing, 5, false)), (0, 0));
        assert_eq!(hears(&standing, 3, true), 0, "a higher one has taken its place");
        assert_eq!(hears(&standing, 5, true), 1);
        assert_eq!(hears(&standing, 6, false), 1);
        standing.view = View(6);
        assert_eq!(hears(&standing, 6, true), 1, "it may have gone with the entry of its view");
    }
}
