//! A writer on a disk that may fail, and orders that are drawn.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::*;
use crate::store::batch::Batch;
use crate::store::writer::Commit;

/// What a disk has on it, and the first key at which it fails for good, if it does: that does not depend on which writes
/// are committed together.
struct Disk {
    keys: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    fails_from: Option<Vec<u8>>,
    failed: bool,
}

impl Commit for Disk {
    fn folder(&self) -> &Path {
        Path::new("disk")
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let from = self.fails_from.as_deref();
        self.failed |= batch.records().any(|(key, _)| from.is_some_and(|from| key >= from));
        if self.failed {
            return Err(StoreError::WriteFailed { folder: "disk".into(), why: "it is full".into() });
        }
        self.keys.lock().unwrap().extend(batch.records().map(|(key, _)| key.to_vec()));
        Ok(())
    }
}

/// D7: whatever is released is on the disk, it comes in order, and nothing comes after a failure.
pub(crate) fn writes(random: &mut StdRng) {
    let keys: Arc<Mutex<BTreeSet<Vec<u8>>>> = Arc::default();
    let fails_from = random.random_bool(0.5).then(|| body(random.random_range(4..48)).key());
    let (sender, reports) = channel();
    let on_disk = Arc::clone(&keys);
    let report = move |written| {
        let _ = sender.send((written, on_disk.lock().unwrap().clone()));
    };
    let writer = Writer::start_on(Disk { keys, fails_from, failed: false }, report).unwrap();
    // What must be on the disk when a write is released: its records, and all that was ordered before it.
    let (mut ordered, mut due) = (BTreeSet::new(), Vec::new());
    for id in 1..=random.random_range(1..12) {
        let records: Vec<_> = (0..random.random_range(1..3)).map(|it| body(id * 4 + it)).collect();
        ordered.extend(records.iter().map(Record::key));
        if random.random_bool(0.7) {
            due.push((WriteId(id), ordered.clone()));
            writer.persist(WriteId(id), records, vec![mark(id)]);
        } else {
            writer.note(records);
        }
    }
    writer.stop();
    let (mut due, mut failed) = (due.into_iter(), false);
    for (written, on_disk) in reports {
        assert!(!failed, "something comes after a failure");
        match written {
            Written::Durable { id, then } => {
                let (expected, keys) = due.next().unwrap();
                assert_eq!((id, then), (expected, vec![mark(expected.0)]));
                assert!(keys.is_subset(&on_disk), "a write is released and not on the disk");
            }
            Written::Failed(_) => failed = true,
            Written::Committed { .. } | Written::Collected(..) => {}
        }
    }
    assert!(failed || due.next().is_none(), "a write is never released");
}
