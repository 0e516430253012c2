//! Faults 14 to 17: damage is noticed, or harmless, and never executed on.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use redb::Database;

use super::*;

/// A closed store with two snapshots and a gathering; and the latest snapshot.
fn filled() -> (Folder, Vec<(Sequence, Digest)>, Vec<Bytes>) {
    let folder = Folder::new();
    let store = folder.open(&[]).unwrap();
    let latest = contents(2..=9);
    let named =
        vec![(Sequence(4), put(&store, Sequence(4), &contents(1..=8)).0), (AT, put(&store, AT, &latest).0)];
    store.gather(Sequence(12), leaves(&contents(9..=12)).into()).unwrap();
    (folder, named, latest)
}

fn damaged<T>(result: &Result<T, SnapshotError>) -> bool {
    matches!(result, Err(SnapshotError::Damaged { .. } | SnapshotError::Format { .. }))
}

/// Opening and reading gives exactly what was written, or says that it is damaged; it never panics.
fn check(folder: &Folder, named: &[(Sequence, Digest)], latest: &[Bytes], damage: &str) -> bool {
    let content = folder.open(named).and_then(|store| read(&store, AT));
    match &content {
        Ok(content) => assert_eq!(content, latest, "{damage} went unnoticed"),
        Err(error) => assert!(damaged(&content), "{damage}: {error}"),
    }
    content.is_err()
}

#[test]
fn single_byte_damage_is_noticed_or_harmless() {
    let (folder, named, latest) = filled();
    let path = folder.folder.chunks();
    let sound = fs::read(&path).unwrap();
    let mut random = StdRng::seed_from_u64(0x5eed);
    // Most of the file is unused, and zero.
    let used: Vec<_> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    let mut noticed = 0;
    for _ in 0..200 {
        let (at, bits) = (used[random.random_range(0..used.len())], random.random_range(1..=255u8));
        let mut bytes = sound.clone();
        bytes[at] ^= bits;
        fs::write(&path, bytes).unwrap();
        noticed += usize::from(check(&folder, &named, &latest, &format!("byte {at} changed by {bits:#x}")));
    }
    assert!(noticed > 20, "only {noticed} of 200 were noticed");
    fs::write(&path, &sound).unwrap();
    assert!(!check(&folder, &named, &latest, "nothing"));
}

#[test]
fn a_file_that_is_cut_short_or_gone_is_noticed() {
    let (folder, named, latest) = filled();
    let path = folder.folder.chunks();
    let sound = fs::read(&path).unwrap();
    for length in [0, 1, 100, sound.len() / 2, sound.len() - 1] {
        fs::write(&path, &sound[..length]).unwrap();
        assert!(check(&folder, &named, &latest, &format!("cut to {length} bytes")), "{length}");
    }
    fs::remove_file(&path).unwrap();
    let error = folder.open(&named).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("pbft-node recover"), "{error}");
}

/// Fault 16: a sound file in a wrong place is damage as well, if it is not what the records say.
#[test]
fn another_file_in_its_place_is_noticed() {
    let (folder, named, _) = filled();
    let other = Folder::new();
    let store = other.open(&[]).unwrap();
    let (root, _) = put(&store, AT, &contents(1..=3));
    assert!(damaged(&other.killed().open(&named)));
    // Of the earlier one only others have need.
    let mut wrong = named.clone();
    wrong[0].1 = root;
    let store = folder.open(&wrong).unwrap();
    assert!(!serves(&store, Sequence(4), 0) && serves(&store, AT, 0));
}

#[test]
fn a_rotted_chunk_is_neither_served_nor_restored_from() {
    let (folder, named, latest) = filled();
    let store = folder.open(&named).unwrap();
    store.rot(&latest[3]);
    assert!(serves(&store, AT, 2) && !serves(&store, AT, 3) && serves(&store, AT, 4));
    assert!(damaged(&read(&store, AT)));
}

#[test]
fn another_format_is_refused_with_the_remedy() {
    let (folder, named, _) = filled();
    let database = Database::open(folder.folder.chunks()).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u32>::new("meta");
    transaction.open_table(table).unwrap().insert("format", 9).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = folder.open(&named).unwrap_err();
    assert!(matches!(error, SnapshotError::Format { found: 9, supported: 1, .. }));
    assert!(error.to_string().contains("use the version of pbft-node"), "{error}");
}

/// Fault 14: a crash while the file is made leaves none.
#[test]
fn a_half_made_file_is_none() {
    let folder = Folder::new();
    fs::write(crate::folder::unfinished(&folder.folder.chunks()), b"half of a file").unwrap();
    put(&folder.open(&[]).unwrap(), AT, &contents(1..=3));
}

/// A lock is no damage: whoever is told to recover throws good votes away.
#[test]
fn a_store_in_use_is_not_damaged() {
    let (folder, named, _) = filled();
    let _running = folder.open(&named).unwrap();
    let error = folder.open(&named).unwrap_err();
    assert!(
        matches!(error, SnapshotError::InUse { .. }) && !error.to_string().contains("recover"),
        "{error}"
    );
}

/// Reading a stopped replica's snapshots makes no file, and removes nothing.
#[test]
fn inspection_leaves_the_store_as_it_is() {
    let (folder, named, latest) = filled();
    let named: std::collections::BTreeMap<_, _> = named[1..].iter().copied().collect();
    let store = ChunkStore::inspect(&folder.folder, &named).unwrap();
    assert_eq!(read(&store, AT).unwrap(), latest);
    drop(store);
    // Both snapshots and the gathering are still there: the earlier one was not named.
    let file = crate::snapshot::file::ChunkFile::open(&folder.folder.chunks(), true).unwrap();
    let (snapshots, gatherings) = file.read(crate::snapshot::tables::lists).unwrap();
    assert_eq!((snapshots.len(), gatherings.len()), (2, 1));
    drop(file);
    fs::remove_file(folder.folder.chunks()).unwrap();
    assert!(ChunkStore::inspect(&folder.folder, &named).is_err());
    assert!(!folder.folder.chunks().exists());
}
