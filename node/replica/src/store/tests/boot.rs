//! What boot tells apart (D6).

use std::fs;

use pbft_messages::{Parameters, View};
use pbft_protocol::Record;

use super::*;
use crate::store::boot::mark_memory_mode;
use crate::testing::configuration_with;

#[test]
fn a_new_store_holds_what_it_was_made_with() {
    let folder = Folder::new();
    assert_eq!(folder.records(), [Record::View(View(0), None), Record::Shutdown(None)]);
}

#[test]
fn init_never_overwrites() {
    let folder = Folder::new();
    assert!(matches!(create(&folder.folder, &binding(), &[]), Err(StoreError::Exists { .. })));
    assert_eq!(folder.records().len(), 2);
}

/// A crash within `init` leaves no store, and `init` can be run again.
#[test]
fn an_unfinished_init_is_none() {
    let folder = Folder::empty();
    folder.folder.create().unwrap();
    fs::write(crate::folder::unfinished(&folder.folder.store()), b"half of a store").unwrap();
    assert!(matches!(folder.open(), Err(StoreError::Absent { .. })));
    create(&folder.folder, &binding(), &[Record::Shutdown(None)]).unwrap();
    assert_eq!(folder.records().len(), 1);
}

/// A lost disk must not look like a first start.
#[test]
fn a_missing_store_is_refused() {
    for folder in [Folder::empty(), Folder::new()] {
        let _ = fs::remove_file(folder.folder.store());
        let error = folder.open().unwrap_err();
        assert!(matches!(error, StoreError::Absent { .. }) && error.to_string().contains("pbft-node init"));
    }
}

#[test]
fn a_store_of_someone_else_is_refused_by_what_differs() {
    let folder = Folder::new();
    let refusal = |configuration: &Configuration, key: u16| {
        let error = open(&folder.folder, &binding_of(configuration, &replica_key(key))).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
        error.to_string()
    };
    let with = |change: &dyn Fn(&mut Parameters)| {
        let mut parameters = Parameters { checkpoint_interval: 4, window: 8, ..Parameters::default() };
        change(&mut parameters);
        configuration_with(4, parameters)
    };
    assert!(refusal(&configuration(4), 1).contains("a replica with key"));
    assert!(refusal(&configuration(5), 0).contains("a cluster of size 4"));
    assert!(
        refusal(&with(&|parameters| parameters.checkpoint_interval = 2), 0).contains("checkpoint_interval 4")
    );
    assert!(refusal(&with(&|parameters| parameters.window = 16), 0).contains("window 8"));
    assert!(refusal(&with(&|parameters| parameters.sessions = 9), 0).contains("the cluster with id"));
    assert!(
        open(&folder.folder, &binding_of(&with(&|parameters| parameters.pipeline = 9), &replica_key(0)))
            .is_ok()
    );
}

/// Whatever else another version wrote, the format comes first.
#[test]
fn a_store_of_another_format_is_refused() {
    let mut stored = binding().encode();
    stored[0] += 1;
    stored.truncate(4);
    let error = binding().check(&stored, std::path::Path::new("data")).unwrap_err();
    assert!(matches!(error, StoreError::Format { .. }));
    assert!(error.to_string().contains("use the version of pbft-node that wrote it"));
}

#[test]
fn two_processes_cannot_share_a_store() {
    let folder = Folder::new();
    let first = folder.open().unwrap();
    assert!(matches!(folder.open(), Err(StoreError::InUse { .. })));
    drop(first);
    assert!(folder.open().is_ok());
}

/// D8: after memory mode a plain start is refused, in either mode, and `init` does not hide it.
#[test]
fn memory_mode_leaves_its_mark() {
    let folder = Folder::new();
    mark_memory_mode(&folder.folder).unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(error, StoreError::Forgotten { .. }));
    assert!(error.to_string().contains("pbft-node recover") && !error.to_string().contains('\n'));
    fs::remove_file(folder.folder.store()).unwrap();
    assert!(matches!(create(&folder.folder, &binding(), &[]), Err(StoreError::Exists { .. })));
}
