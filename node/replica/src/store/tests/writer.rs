//! Group commit: order, durability before effects, and failures.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::store::batch::Batch;
use crate::store::writer::Commit;

/// The writes that a run of reports released, in order, with the first effect inside each.
fn released(reports: &Receiver<Written>) -> Vec<(u64, Vec<Effect>)> {
    reports
        .iter()
        .filter_map(|written| match written {
            Written::Durable { id, then } => Some((id.0, then)),
            _ => None,
        })
        .collect()
}

#[test]
fn records_come_back() {
    let folder = Folder::new();
    let (writer, reports) = folder.writer();
    writer.note(vec![body(1)]);
    writer.persist(WriteId(1), vec![reservation(4)], vec![mark(1)]);
    writer.persist(WriteId(2), vec![reservation(8), body(2)], vec![mark(2)]);
    writer.note(vec![body(3)]);
    writer.stop();
    assert_eq!(released(&reports), [(1, vec![mark(1)]), (2, vec![mark(2)])]);
    let records = folder.records();
    // The later reservation replaced the first, and the note after the last write was written at the end.
    for record in [reservation(8), body(1), body(2), body(3)] {
        assert!(records.contains(&record), "{record:?}");
    }
    assert_eq!(records.len(), 6);
}

/// A note is written even if no write follows and the store is not closed in good order.
#[test]
fn notes_do_not_wait_for_ever() {
    let folder = Folder::new();
    let (writer, reports) = folder.writer();
    writer.note(vec![body(1)]);
    assert!(matches!(reports.recv().unwrap(), Written::Committed { writes: 0, .. }));
    writer.stop();
}

#[test]
fn collecting_forgets_the_log_through_and_snapshots_below() {
    let folder = Folder::new();
    let (writer, reports) = folder.writer();
    writer.persist(WriteId(1), (1..=6).flat_map(|at| [body(at), snapshot(at)]).collect(), vec![]);
    writer.collect(Sequence(4), BTreeSet::new());
    writer.persist(WriteId(2), vec![reservation(12)], vec![]);
    writer.stop();
    assert!(reports.iter().any(|written| matches!(written, Written::Collected(Sequence(4), _))));
    let records = folder.records();
    let kept = |record: &Record| records.contains(record);
    assert!((1..=4).all(|at| !kept(&body(at))) && (5..=6).all(|at| kept(&body(at))));
    assert!((1..=3).all(|at| !kept(&snapshot(at))) && (4..=6).all(|at| kept(&snapshot(at))));
    assert!(kept(&reservation(12)) && kept(&Record::Shutdown(None)));
}

/// In memory mode there is no log to forget, and nothing is written.
#[test]
fn collecting_what_is_not_stored_writes_nothing() {
    let Gated { writer, begun, reports, .. } = gated();
    writer.collect_unstored(Sequence(4), BTreeSet::new());
    writer.stop();
    assert!(matches!(reports.iter().collect::<Vec<_>>()[..], [Written::Collected(Sequence(4), _)]));
    assert!(begun.try_recv().is_err());
}

/// What is written after a collection stays, although it was ordered within one transaction.
#[test]
fn a_record_written_after_its_collection_stays() {
    let mut batch = Batch::default();
    batch.write(&body(2));
    batch.write(&body(5));
    batch.collect(Sequence(4));
    batch.write(&body(3));
    let keys: Vec<_> = batch.records().map(|(key, _)| key.to_vec()).collect();
    assert_eq!(keys, [body(3).key(), body(5).key()]);
}

/// A store whose commits a test lets through one by one.
struct Gate {
    begun: Sender<Vec<Vec<u8>>>,
    allowed: Receiver<bool>,
}

impl Commit for Gate {
    fn folder(&self) -> &Path {
        Path::new("gate")
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.begun.send(batch.records().map(|(key, _)| key.to_vec()).collect()).unwrap();
        if self.allowed.recv().unwrap() {
            return Ok(());
        }
        Err(StoreError::WriteFailed { folder: "gate".into(), why: "the disk is full".into() })
    }
}

struct Gated {
    writer: Writer,
    begun: Receiver<Vec<Vec<u8>>>,
    allow: Sender<bool>,
    reports: Receiver<Written>,
}

fn gated() -> Gated {
    let ((begin, begun), (allow, allowed), (report, reports)) = (channel(), channel(), channel());
    let gate = Gate { begun: begin, allowed };
    let writer = Writer::start_on(gate, move |written| {
        let _ = report.send(written);
    });
    Gated { writer: writer.unwrap(), begun, allow, reports }
}

#[test]
fn one_commit_covers_what_queued_up_and_nothing_leaves_before_it() {
    let Gated { writer, begun, allow, reports } = gated();
    writer.persist(WriteId(1), vec![reservation(1)], vec![mark(1)]);
    assert_eq!(begun.recv().unwrap(), [reservation(1).key()]);
    // These arrive while the first commit is under way.
    for id in 2..=4 {
        writer.persist(WriteId(id), vec![body(id)], vec![mark(id)]);
    }
    writer.note(vec![body(9)]);
    assert!(reports.try_recv().is_err(), "nothing is released before its commit is done");
    allow.send(true).unwrap();
    assert_eq!(begun.recv().unwrap(), [body(2).key(), body(3).key(), body(4).key(), body(9).key()]);
    let mut first = reports.try_iter();
    assert!(matches!(first.next(), Some(Written::Committed { writes: 1, .. })));
    assert!(matches!(first.next(), Some(Written::Durable { id: WriteId(1), .. })));
    assert!(first.next().is_none());
    allow.send(true).unwrap();
    writer.stop();
    assert_eq!(released(&reports), [(2, vec![mark(2)]), (3, vec![mark(3)]), (4, vec![mark(4)])]);
}

/// R1: of large records a transaction covers a few, however many wait.
#[test]
fn one_commit_covers_so_many_bytes() {
    let large = |sequence| large(sequence, 7 << 20);
    let Gated { writer, begun, allow, reports: _reports } = gated();
    writer.persist(WriteId(1), vec![reservation(1)], vec![]);
    begun.recv().unwrap();
    (2..=5).for_each(|id| writer.persist(WriteId(id), vec![large(id)], vec![]));
    for covered in [&[2, 3, 4][..], &[5]] {
        allow.send(true).unwrap();
        let keys: Vec<_> = covered.iter().map(|id| large(*id).key()).collect();
        assert_eq!(begun.recv().unwrap(), keys);
    }
    allow.send(true).unwrap();
    writer.stop();
}

/// D7, and fault 16: after a failed write nothing is released any more.
#[test]
fn fault_16_a_failed_write_releases_nothing() {
    let Gated { writer, begun, allow, reports } = gated();
    writer.persist(WriteId(1), vec![reservation(1)], vec![mark(1)]);
    begun.recv().unwrap();
    writer.persist(WriteId(2), vec![reservation(2)], vec![mark(2)]);
    allow.send(false).unwrap();
    // A writer that goes on all the same finds nobody to wait for.
    drop(allow);
    writer.stop();
    let reports: Vec<_> = reports.iter().collect();
    assert!(
        matches!(&reports[..], [Written::Failed(StoreError::WriteFailed { why, .. })] if why == "the disk is full")
    );
}
