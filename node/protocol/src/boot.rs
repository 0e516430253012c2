//! Boot: what a replica that starts may do, from its durable records alone (D2 to D6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, Malformed, Rejected, Signer, mutant};
use pbft_messages::{
    Checkpoint, Configuration, PeerMessage, Proven, RecoveryNonce, ReplicaId, Sequence, SlotProgress,
    Timestamp, View,
};

use crate::ahead::Ahead;
use crate::durability::{Awaited, Writes};
use crate::ledger::Ledger;
use crate::log::Log;
use crate::pace::Pace;
use crate::reads::Reads;
use crate::record::CleanShutdown;
use crate::recovery::Courtesy;
use crate::replica::{Fixed, Replica, ViewState};
use crate::silence::Silence;
use crate::state_transfer::SourcePatience;
use crate::status::StatusRound;
use crate::timeouts::Patience;
use crate::timer::Timers;
use crate::vigilance::Vigilance;
use crate::waiting::Waiting;
use crate::{Effect, Effects, Now, Record, Report, ViewChangeReason};

/// Records that do not fit together or do not verify: the store is damaged, or another cluster's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store's records cannot be used: {0}")]
pub struct Unreadable(String);

impl From<Rejected> for Unreadable {
    fn from(error: Rejected) -> Self {
        Self(error.to_string())
    }
}

impl From<Malformed> for Unreadable {
    fn from(error: Malformed) -> Self {
        Self(error.to_string())
    }
}

/// What a replica left behind when it stopped, in whatever way.
#[derive(Clone, Debug, Default)]
pub struct LeftBehind {
    /// Everything that its store holds.
    pub records: Vec<Record>,
    /// The first [`crate::ledger_chunks`] chunks of the snapshot that [`latest_snapshot`] names, which the caller has
    /// checked against its root; empty if there is no snapshot.
    pub ledger: Vec<Bytes>,
    /// The next deadline of the service, restored from the rest of that snapshot (N6).
    pub next_deadline: Option<Timestamp>,
}

/// What the store of a replica that has never run holds.
#[must_use]
pub fn initial_records() -> Vec<Record> {
    vec![Record::View(View(0), None)]
}

/// The snapshot that a replica with these records starts from, and its root; `None` means from the beginning.
#[must_use]
pub fn latest_snapshot(records: &[Record]) -> Option<(Sequence, Digest)> {
    let snapshot = |record: &Record| match record {
        Record::Snapshot(sequence, root) => Some((*sequence, *root)),
        _ => None,
    };
    records.iter().filter_map(snapshot).max_by_key(|(sequence, _)| *sequence)
}

/// The records, sorted out.
#[derive(Default)]
struct Recovered {
    view: Option<View>,
    reservation: Option<(View, Sequence)>,
    shutdown: Option<CleanShutdown>,
    recovery: Option<RecoveryNonce>,
}

impl Replica {
    /// Starts a replica from what it left behind. The effects are to be carried out like those of any input.
    ///
    /// # Errors
    /// [`Unreadable`] if the records are not what a replica of this cluster has written.
    pub fn start(
        configuration: Arc<Configuration>,
        me: ReplicaId,
        signer: Arc<dyn Signer>,
        left: LeftBehind,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Self, Unreadable> {
        let LeftBehind { records, ledger, next_deadline } = left;
        let snapshot = latest_snapshot(&records);
        let base = snapshot.map_or(Sequence(0), |(sequence, _)| sequence);
        let timeout = configuration.parameters().view_timeout;
        let vigilance = Vigilance::new(configuration.n(), configuration.parameters());
        let mut replica = Self {
            configuration: Fixed(configuration),
            me,
            signer: Fixed(signer),
            view: ViewState {
                active: View(0),
                durable: true,
                pending: None,
                max_s: Sequence(0),
                new_view: None,
                missed: None,
                to_active: BTreeMap::new(),
                abstains_through: Sequence(0),
                own_view_change: None,
                view_changes: BTreeMap::new(),
                timeout,
                progressed: true,
                deadline: None,
            },
            log: Log::default(),
            stable: None,
            checkpoints: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            collected: Sequence(0),
            unreachable: Sequence(0),
            last_executed: base,
            executing: None,
            ledger: if snapshot.is_some() { Ledger::from_chunks(&ledger)? } else { Ledger::default() },
            deadline: None,
            audits: Vec::new(),
            transfer: None,
            source_patience: SourcePatience::default(),
            waiting: Waiting::default(),
            reads: Reads::default(),
            next_sequence: Sequence(1),
            pace: Pace::starting_at(now.instant),
            patience: Patience::starting_at(now.instant),
            vigilance,
            silence: Silence::default(),
            served: BTreeMap::new(),
            writes: Writes::default(),
            ahead: Ahead::default(),
            wanted: BTreeSet::new(),
            evidence: BTreeMap::new(),
            timers: Timers::default(),
            status: StatusRound::starting_at(now.instant),
            recovery: None,
            courtesy: Courtesy::default(),
            stopped: false,
        };
        let mut recovered = Recovered::default();
        for record in records {
            replica.restore(record, base, &mut recovered)?;
        }
        replica.resume(&recovered, now, effects)?;
        replica.set_deadline(next_deadline, now);
        replica.watch_window(now);
        // The last run may have ended before its disk had forgotten what its last checkpoint covers.
        replica.collect(now, effects);
        replica.settle(now, effects);
        Ok(replica)
    }

    /// Takes over one record. Certificates are checked again: the disk is not trusted with them.
    fn restore(
        &mut self,
        record: Record,
        base: Sequence,
        recovered: &mut Recovered,
    ) -> Result<(), Unreadable> {
        match record {
            Record::View(view, new_view) => {
                let opens = |it: &pbft_crypto::Verified<pbft_messages::NewView>| it.value().view == view;
                let new_view = new_view.map(|signed| signed.verify(&self.configuration)).transpose()?;
                if !new_view.as_ref().map_or(view == View(0), opens) {
                    return Err(Unreadable(format!("the record of view {view} lacks its NEW-VIEW")));
                }
                self.view.new_view = new_view;
                recovered.view = Some(view);
            }
            Record::Reservation(view, through) => recovered.reservation = Some((view, through)),
            Record::ViewChange(signed) => self.view.own_view_change = Some(signed),
            Record::Prepared(certificate) => {
                let certificate = Proven::new(certificate, &self.configuration)?;
                let sequence = certificate.get().proposal().sequence;
                self.log.slot(sequence).prepared = Some(certificate);
            }
            Record::Committed(certificate) => {
                let certificate = Proven::new(certificate, &self.configuration)?;
                let sequence = certificate.get().statement.sequence;
                self.log.slot(sequence).committed = Some(certificate);
            }
            Record::Body(sequence, body) => self.log.slot(sequence).keep_stored(body),
            Record::Stable(certificate) => self.stable = Some(Proven::new(certificate, &self.configuration)?),
            // Snapshots below the base are about to be collected, and their roots were told to everybody.
            Record::Snapshot(sequence, root) if sequence >= base => {
                self.snapshots.insert(sequence, root);
            }
            Record::Snapshot(..) => {}
            Record::Shutdown(shutdown) => recovered.shutdown = shutdown,
            Record::Recovery(nonce) => recovered.recovery = nonce,
            Record::Evidence(evidence) => {
                let evidence = Proven::new(evidence, &self.configuration)?;
                let accusation = evidence.get().accusation()?;
                if self.lacks_evidence(&accusation) {
                    self.evidence.insert(accusation, evidence);
                }
            }
        }
        Ok(())
    }

    /// Goes on where the last run ended, promising nothing that it may have promised otherwise.
    fn resume(&mut self, recovered: &Recovered, now: Now, effects: &mut Effects) -> Result<(), Unreadable> {
        let view = recovered.view.ok_or_else(|| Unreadable("no record of any view".into()))?;
        let clean = recovered.shutdown.as_ref().filter(|shutdown| shutdown.view == view);
        self.view.active = view;
        self.check_certificates()?;
        if let Some(own) = self.view.own_view_change.take() {
            let own = own.verify(&self.configuration)?;
            let asked = own.value().view;
            if asked > view && !mutant!("pending-view-lost") {
                self.view.pending = Some(asked);
                self.view.own_view_change = Some(own.signed().clone());
                self.view.view_changes.insert(self.me, own);
            }
        }
        self.restore_carried_over()?;
        let reserved =
            recovered.reservation.filter(|(of, _)| *of == view).map_or(Sequence(0), |(_, through)| through);
        self.restore_reservation(reserved);
        self.restore_agreement(now, effects);
        match clean {
            Some(shutdown) => self.resume_cleanly(shutdown, effects)?,
            None => self.view.abstains_through = reserved,
        }
        let abstains = self.view.abstains_through > self.view.max_s;
        effects.report(Report::Started {
            view,
            stable: self.stable_sequence(),
            last_executed: self.executable_through(),
            abstains_through: abstains.then_some(self.view.abstains_through),
        });
        // All that follows comes to nothing in a replica that must keep silent (D8).
        if let Some(nonce) = recovered.recovery.filter(|_| !mutant!("recovered-at-once")) {
            self.start_recovery(nonce, effects);
        }
        self.resend(effects);
        // A primary that does not know what it proposed proposes nothing more, and says so at once (D2).
        if clean.is_none() && self.is_primary() && self.has_run(reserved) && self.view.pending.is_none() {
            self.start_view_change(view.next(), ViewChangeReason::Restarted, now, effects);
        }
        // What the view's NEW-VIEW carried over is prepared again (D3).
        self.revisit_slots(now, effects);
        Ok(())
    }

    /// A prepared certificate is stored after the entry of its view, and after the checkpoint whose window it is in. One
    /// beyond them would make every VIEW-CHANGE of this replica invalid.
    fn check_certificates(&self) -> Result<(), Unreadable> {
        let high = self.high();
        let prepared = self.log.above(self.stable_sequence()).filter_map(|(_, slot)| slot.prepared.as_ref());
        for certificate in prepared {
            let pbft_messages::Prepare { view, sequence, .. } = *certificate.get().proposal();
            if view > self.view.active || sequence > high {
                let place = format!("a certificate of view {view} at {sequence}");
                return Err(Unreadable(format!("{place} is beyond its view, or beyond its window")));
            }
        }
        Ok(())
    }

    /// Whether this replica may have voted before, in whatever view.
    fn has_run(&self, reserved: Sequence) -> bool {
        reserved > Sequence(0) || self.view.active > View(0)
    }

    /// Accepts again what the view's NEW-VIEW carried over.
    fn restore_carried_over(&mut self) -> Result<(), Unreadable> {
        let Some(new_view) = self.view.new_view.clone() else { return Ok(()) };
        let carried = new_view.value().carried_over()?;
        self.view.max_s = carried.max_s();
        self.view.to_active = self.view_changes_in(new_view.value());
        for header in &new_view.value().pre_prepares {
            self.accept_carried(header, carried.min_s());
        }
        Ok(())
    }

    /// Takes the proposals of the view that certificates hold as accepted, and commits again to what is prepared: the
    /// COMMITs may have been lost (C4).
    fn restore_agreement(&mut self, now: Now, effects: &mut Effects) {
        let view = self.view.active;
        let low = self.stable_sequence();
        let slots = self.log.above(low).filter_map(|(_, slot)| slot.prepared_in(view).cloned());
        let certificates: Vec<_> = slots.collect();
        for certificate in certificates {
            let pbft_messages::Prepare { view, sequence, digest } = *certificate.get().proposal();
            // It was checked as part of the certificate.
            let header = certificate.get().header.clone().verify(&self.configuration).ok();
            let commit = self.sign(pbft_messages::Commit { view, sequence, digest });
            effects.broadcast(PeerMessage::Commit(commit.signed().clone()));
            let slot = self.log.slot(sequence);
            slot.accepted = slot.accepted.take().or(header);
            slot.due_since = slot.committed.is_none().then_some(self.patience.at(now.instant));
            // This replica's only vote at this place.
            let _ = slot.commits.insert(commit);
        }
        self.want_decided_bodies();
        self.next_sequence = self.log.highest().max(self.view.max_s).max(low).next();
    }

    /// The last run ended in good order: everything that it voted for is known. The record is void before the first
    /// vote of this run.
    fn resume_cleanly(&mut self, shutdown: &CleanShutdown, effects: &mut Effects) -> Result<(), Unreadable> {
        for header in &shutdown.accepted {
            let header = header.clone().verify(&self.configuration)?;
            let sequence = header.value().sequence;
            if sequence > self.stable_sequence() {
                // Not the certificate's, which may be another where the primary lied: this is what it prepared.
                self.log.slot(sequence).accepted = Some(header);
                self.next_sequence = self.next_sequence.max(sequence.next());
            }
        }
        self.view.durable = false;
        let entered = Awaited::ViewEntered(self.view.active, None);
        self.persist(vec![Record::Shutdown(None)], vec![], [entered], effects);
        Ok(())
    }

    /// Says again what may not have reached the others.
    fn resend(&mut self, effects: &mut Effects) {
        if self.keeps_silent() {
            return;
        }
        for (sequence, root) in self.snapshots.clone() {
            // The stored root is told again, never a recomputed one (C1).
            let vote = self.sign(Checkpoint { sequence, root });
            effects.push(Effect::Broadcast(PeerMessage::Checkpoint(vote.signed().clone())));
            if sequence > self.stable_sequence() {
                // The first vote at this place.
                let _ = self.checkpoints.entry(sequence).or_default().insert(vote);
            }
        }
        if let Some(own) = &self.view.own_view_change {
            effects.broadcast(PeerMessage::ViewChange(own.clone()));
        }
    }

    /// Up to where the log alone lets this replica execute.
    fn executable_through(&self) -> Sequence {
        let view = self.view.active;
        let decided = |sequence: &Sequence| {
            self.log.get(*sequence).is_some_and(|slot| slot.progress(view) == SlotProgress::Committed)
        };
        let next = std::iter::successors(Some(self.last_executed.next()), |sequence| Some(sequence.next()));
        next.take_while(decided).last().unwrap_or(self.last_executed)
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::Parameters;

    use crate::Record;
    use crate::testing::Bench;

    /// Every VIEW-CHANGE that showed one would be refused, so a store that holds one is not gone on from.
    #[test]
    fn certificates_beyond_their_view_or_window_are_refused_at_boot() {
        let start = |view, sequence| {
            let certificate = Bench::new(Parameters::default()).prepared(view, sequence, 1);
            let started = Bench::starting_with(Parameters::default(), [Record::Prepared(certificate)]);
            started.map(drop).map_err(|error| error.0)
        };
        let window = Parameters::default().window;
        assert_eq!(start(0, window), Ok(()));
        let refused =
            |place: &str| Err(format!("a certificate of {place} is beyond its view, or beyond its window"));
        assert_eq!(start(1, 1), refused("view 1 at 1"));
        assert_eq!(start(0, window + 1), refused("view 0 at 513"));
    }
}
