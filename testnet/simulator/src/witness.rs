//! Who was heard contradicting itself, and whether it was convicted (I9).

mod ahead;
mod own;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, Bound};

use bytes::Bytes;
use serde::Serialize;

use pbft_crypto::Statement as _;
use pbft_messages::{
    Accusation, Commit, EvidenceKind, Message, Parameters, PreparedCertificate, ReplicaId, Sequence, View,
    ViewChange,
};
use pbft_protocol::Standing;

use crate::InstanceId;
use crate::heard::{Heard, Place, Said};

use ahead::Ahead;

pub(crate) use own::Own;

/// How many pieces of evidence of one kind against one replica it keeps.
const KEPT: usize = 8;

/// A correct replica that hears something, and where it stands.
pub(crate) struct Hearer<'a> {
    pub(crate) at: InstanceId,
    pub(crate) run: u64,
    pub(crate) standing: Standing,
    /// What its stable checkpoint will be once all is written.
    pub(crate) written: Sequence,
    pub(crate) parameters: &'a Parameters,
}

/// Listens at the correct replicas' ears.
#[derive(Default)]
pub(crate) struct Witness {
    /// The first statement that each run of an instance heard at a place, and keeps.
    heard: BTreeMap<(InstanceId, u64, Place), Bytes>,
    /// The views whose NEW-VIEW each run of an instance looked at.
    looked_at: BTreeMap<(InstanceId, u64), BTreeSet<View>>,
    /// What came for views that had not begun.
    ahead: Ahead,
    /// What the message that is being handled has brought.
    met: Met,
    /// The places at which one replica heard both of two statements that it was to compare, and had room for the proof.
    reached: BTreeSet<Place>,
    /// Those at which it had no room.
    repeated: BTreeSet<Place>,
    /// The COMMIT of the highest view that each run of an instance heard of a replica at each sequence.
    commits: BTreeMap<(InstanceId, u64, ReplicaId), BTreeMap<Sequence, Commit>>,
    /// Whose VIEW-CHANGE hid, in the hearing of one replica, what it had heard its signer commit to.
    hiders: BTreeSet<ReplicaId>,
    /// What was ever proven at some correct replica.
    proven: BTreeSet<Place>,
    /// What each instance holds proof of.
    known: BTreeMap<InstanceId, BTreeSet<Place>>,
    false_accusations: usize,
}

/// What one message brought. It counts once it is handled, and not where the power goes meanwhile.
#[derive(Default)]
struct Met {
    places: BTreeSet<Place>,
    hiders: BTreeSet<ReplicaId>,
    /// What whoever enters a view by it keeps of it.
    opens: Option<(View, Vec<Said>)>,
}

/// How many contradictions could be noticed, and how many were.
///
/// A contradiction is two different signed statements of one replica at one place: a kind, view and sequence. It has
/// *reached* a correct replica if that was handed both, since it last started, and handled them: one by itself (or, of a proposal, beside a
/// PREPARE) when it was to keep it, and the other, by itself or as part of a certificate, VIEW-CHANGE or NEW-VIEW that it
/// looks at, while it keeps the first. It keeps what is of its active view, the proposals of its NEW-VIEW among that, and
/// of a sequence above its stable checkpoint within its log; of each sender the first VIEW-CHANGE to its active view and the one to the highest view; and the
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
    /// A correct replica receives a message that it believes.
    pub(crate) fn hears(&mut self, hearer: &Hearer<'_>, from: ReplicaId, message: &Message, heard: &Heard) {
        if let Some(view) = ahead::view_of(message).filter(|view| *view > hearer.standing.view) {
            return self.ahead.keep((hearer.at, hearer.run), from, view, message, heard);
        }
        let looks_within = self.looks_within(hearer, message);
        self.compare_commits(hearer, message);
        if let Message::NewView(it) = message
            && looks_within
        {
            self.looked_at.entry((hearer.at, hearer.run)).or_default().insert(it.value().view);
            self.met.opens = Some((it.value().view, heard.opens.clone()));
        }
        let within = heard.within.iter().filter(|_| looks_within).map(|said| (said, false));
        for ((place, payload), alone) in heard.alone.iter().map(|said| (said, true)).chain(within) {
            if !hearer.notices(*place) && !self.is_former(hearer, *place) {
                continue;
            }
            if place.1 == EvidenceKind::ViewChange && alone {
                if !self.keeps(hearer, *place) {
                    continue;
                }
                self.forget_lower(hearer, *place);
            }
            let key = (hearer.at, hearer.run, *place);
            match self.heard.get(&key) {
                Some(first) if first != payload => drop(self.met.places.insert(*place)),
                None if alone => drop(self.heard.insert(key, payload.clone())),
                _ => {}
            }
        }
    }

    /// A correct replica has begun a view: it goes on with what came for it before.
    pub(crate) fn enters(&mut self, hearer: &Hearer<'_>, view: View) {
        for (from, message, heard) in self.ahead.take((hearer.at, hearer.run), view) {
            self.hears(hearer, from, &message, &heard);
        }
    }

    /// A correct replica has handled what it heard, unless it stopped over that; gives the contradictions that it missed.
    pub(crate) fn handled(&mut self, hearer: Option<&Hearer<'_>>) -> Vec<Place> {
        let met = std::mem::take(&mut self.met);
        let Some(hearer) = hearer else { return vec![] };
        if let Some((_, opens)) = met.opens.filter(|(view, _)| *view == hearer.standing.view) {
            let kept = opens.into_iter().filter(|(place, _)| hearer.notices(*place));
            self.heard.extend(kept.map(|(place, payload)| ((hearer.at, hearer.run, place), payload)));
        }
        let known = self.known.entry(hearer.at).or_default();
        let omission = |hider: &ReplicaId| (*hider, EvidenceKind::Omission, 0, 0);
        let is_missed =
            |place: &Place| known.range(place..).next().is_none_or(|it| (it.0, it.1) != (place.0, place.1));
        let mut missed: Vec<_> = met.hiders.iter().map(omission).filter(is_missed).collect();
        self.hiders.extend(met.hiders);
        for place in met.places {
            let (replica, kind, ..) = place;
            let alike = || known.range((replica, kind, 0, 0)..=(replica, kind, u64::MAX, u64::MAX)).count();
            if known.contains(&place) {
                self.reached.insert(place);
            } else if alike() < KEPT {
                self.reached.insert(place);
                missed.push(place);
            } else {
                self.repeated.insert(place);
            }
        }
        missed
    }

    /// Whether something is to be counted once it is handled.
    pub(crate) fn has_met(&self) -> bool {
        !self.met.places.is_empty() || !self.met.hiders.is_empty() || self.met.opens.is_some()
    }

    /// Whether a replica looks at what is within a message: of a VIEW-CHANGE if it is new, and the highest of its sender or
    /// to the view that has begun; of a NEW-VIEW if its view has not begun and is the highest so far; of a certificate
    /// always.
    fn looks_within(&self, hearer: &Hearer<'_>, message: &Message) -> bool {
        let Hearer { at, run, standing, .. } = hearer;
        match message {
            Message::ViewChange(it) => {
                let place = (it.signer(), EvidenceKind::ViewChange, it.value().view.0, 0);
                let view = it.value().view;
                view >= self.first_kept(hearer)
                    && !self.heard.contains_key(&(*at, *run, place))
                    && self.keeps(hearer, place)
            }
            Message::NewView(it) => {
                let highest = self.looked_at.get(&(*at, *run)).and_then(|views| views.last().copied());
                it.value().view > standing.view.max(highest.unwrap_or_default())
            }
            _ => true,
        }
    }

    /// The first view to which the VIEW-CHANGEs that a replica keeps are those that it has heard: the one that it entered
    /// by a NEW-VIEW. After a restart it has the VIEW-CHANGEs that are in that from its disk.
    fn first_kept(&self, hearer: &Hearer<'_>) -> View {
        let Hearer { at, run, standing, .. } = hearer;
        let looked_at = self.looked_at.get(&(*at, *run));
        let has_entered = looked_at.is_some_and(|views| views.contains(&standing.view));
        if has_entered { standing.view } else { standing.view.next() }
    }

    /// Whether a replica keeps the first VIEW-CHANGE at this place: the one to its view, and of others that to the highest
    /// view.
    fn keeps(&self, hearer: &Hearer<'_>, place: Place) -> bool {
        let (replica, kind, view, _) = place;
        let end = |view| (hearer.at, hearer.run, (replica, kind, view, u64::MAX));
        let higher = (Bound::Excluded(end(view)), Bound::Included(end(u64::MAX)));
        view == hearer.standing.view.0 || self.heard.range(higher).next().is_none()
    }

    /// Forgets the VIEW-CHANGEs of a replica to views that have not begun, below one that it hears now.
    fn forget_lower(&mut self, hearer: &Hearer<'_>, place: Place) {
        let (replica, kind, view, _) = place;
        let of = |view| (hearer.at, hearer.run, (replica, kind, view, 0));
        let lower = of(hearer.standing.view.0 + 1)..of(view);
        if !lower.is_empty() {
            self.heard.extract_if(lower, |_, _| true).for_each(drop);
        }
    }

    /// Whether a place is that of the last COMMIT that a replica has heard of another at a sequence, of a view that it has
    /// left.
    fn is_former(&self, hearer: &Hearer<'_>, place: Place) -> bool {
        let Hearer { at, run, standing, .. } = hearer;
        let (replica, kind, view, sequence) = place;
        let last = || self.commits.get(&(*at, *run, replica))?.get(&Sequence(sequence));
        kind == EvidenceKind::Commit
            && view < standing.view.0
            && sequence > standing.stable.0
            && last().is_some_and(|last| last.view.0 == view)
    }

    /// Compares the COMMITs that a replica hears with the VIEW-CHANGEs of their signers, whichever come first.
    fn compare_commits(&mut self, hearer: &Hearer<'_>, message: &Message) {
        match message {
            Message::Commit(vote) => {
                let Commit { view, sequence, .. } = *vote.value();
                self.compare_commit(hearer, vote.signer(), vote.value());
                if hearer.notices((vote.signer(), EvidenceKind::Commit, view.0, sequence.0)) {
                    let of_signer = self.commits.entry((hearer.at, hearer.run, vote.signer()));
                    let commits = of_signer.or_default();
                    if commits.get(&sequence).is_none_or(|before| before.view < view) {
                        commits.insert(sequence, vote.value().clone());
                    }
                }
            }
            Message::Committed(certificate, _) => {
                let certificate = certificate.get();
                if hearer.is_in_log(certificate.statement.sequence.0) {
                    for (signer, _) in &certificate.signatures {
                        self.compare_commit(hearer, *signer, &certificate.statement);
                    }
                }
            }
            Message::ViewChange(it) if self.looks_within(hearer, message) => {
                self.compare_shown(hearer, it.signer(), it.value());
            }
            Message::NewView(it) if self.looks_within(hearer, message) => {
                for signed in &it.value().view_changes {
                    if let Ok(view_change) = signed.peek() {
                        self.compare_shown(hearer, signed.claimed_signer(), &view_change);
                    }
                }
            }
            _ => {}
        }
    }

    /// A COMMIT that is heard is compared with the VIEW-CHANGEs that are kept of its signer.
    fn compare_commit(&mut self, hearer: &Hearer<'_>, signer: ReplicaId, commit: &Commit) {
        let first = self.first_kept(hearer).max(commit.view.next());
        let of = |view| (hearer.at, hearer.run, (signer, EvidenceKind::ViewChange, view, 0));
        let kept = self.heard.range(of(first.0)..=of(u64::MAX));
        let mut kept = kept.filter_map(|(_, payload)| ViewChange::decode(payload).ok());
        if kept.any(|it| is_hidden(commit, &it)) {
            self.met.hiders.insert(signer);
        }
    }

    /// A VIEW-CHANGE that is new is compared with the COMMITs that are kept of its signer.
    fn compare_shown(&mut self, hearer: &Hearer<'_>, signer: ReplicaId, view_change: &ViewChange) {
        let commits = self.commits.get(&(hearer.at, hearer.run, signer)).into_iter();
        // What is at or below h has left the log.
        let from = hearer.standing.stable.max(hearer.written).next();
        let mut kept = commits.flat_map(|commits| commits.range(from..).map(|(_, commit)| commit));
        if kept.any(|commit| is_hidden(commit, view_change)) {
            self.met.hiders.insert(signer);
        }
    }

    /// An instance starts, with what its disk holds proof of.
    pub(crate) fn starts(&mut self, at: InstanceId, proven: impl Iterator<Item = Accusation>) {
        self.known.insert(at, proven.map(|it| accused_at(&it)).collect());
    }

    /// A correct replica has found evidence, or been handed some.
    pub(crate) fn convicts(&mut self, at: InstanceId, it: &Accusation) {
        self.known.entry(at).or_default().insert(accused_at(it));
        self.proven.insert(accused_at(it));
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
    let stable = view_change.stable.as_ref().map_or(Sequence(0), |stable| stable.statement.sequence);
    let covered = stable >= commit.sequence;
    let shown = |certificate: &PreparedCertificate| {
        let it = certificate.proposal();
        it.sequence == commit.sequence
            && (it.view > commit.view || it.view == commit.view && it.digest == commit.digest)
    };
    commit.view < view_change.view && !covered && !view_change.prepared.iter().any(shown)
}

impl Hearer<'_> {
    /// Whether it looks at a statement by itself at this place, and keeps it or compares it.
    fn notices(&self, place: Place) -> bool {
        let (_, kind, view, sequence) = place;
        let (active, pending) = (self.standing.view.0, self.standing.pending.map(|view| view.0));
        let stable = self.standing.stable;
        let interval = self.parameters.checkpoint_interval;
        match kind {
            EvidenceKind::PrePrepare | EvidenceKind::Prepare | EvidenceKind::Commit => {
                view == active && self.is_in_log(sequence)
            }
            EvidenceKind::Checkpoint => self.is_above(stable, sequence) && sequence.is_multiple_of(interval),
            EvidenceKind::ViewChange => view >= active,
            // It enters the view by the first one.
            EvidenceKind::NewView => view >= active && pending.is_none_or(|pending| pending <= view),
            EvidenceKind::Omission => false,
        }
    }

    /// Whether a sequence is within its log; what a certificate covers that is on its way to the disk goes already.
    fn is_in_log(&self, sequence: u64) -> bool {
        self.is_above(self.standing.stable.max(self.written), sequence)
    }

    fn is_above(&self, low: Sequence, sequence: u64) -> bool {
        low.0 < sequence && sequence <= self.standing.stable.0 + 2 * self.parameters.window
    }
}

/// Where somebody is accused of having lied.
fn accused_at(it: &Accusation) -> Place {
    (it.accused, it.kind, it.view.0, it.sequence.0)
}
