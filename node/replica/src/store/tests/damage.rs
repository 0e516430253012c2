//! Faults 14 to 16 of the catalogue: what a damaged store must never do is look sound and say something else.

use std::fs;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::store::read_evidence;

/// A closed store with something of each kind of key in it.
fn filled() -> (Folder, Vec<Record>) {
    let folder = Folder::new();
    write_all(&folder, (1..=40).flat_map(|at| [body(at), reservation(at * 4), snapshot(at)]));
    let records = folder.records();
    (folder, records)
}

/// Opening gives exactly what was written, or says that the store is damaged; it never panics and never gives
/// anything else.
fn check(folder: &Folder, records: &[Record], damage: &str) -> bool {
    match folder.open() {
        Ok(opened) => {
            assert_eq!(opened.records, records, "{damage} went unnoticed");
            false
        }
        Err(StoreError::Unreadable { .. } | StoreError::Format { .. }) => true,
        Err(other) => panic!("{damage}: {other}"),
    }
}

#[test]
fn single_byte_damage_is_noticed_or_harmless() {
    let (folder, records) = filled();
    let path = folder.folder.store();
    let sound = fs::read(&path).unwrap();
    let seed = 0x5eed;
    let mut random = StdRng::seed_from_u64(seed);
    let mut noticed = 0;
    for _ in 0..200 {
        let (at, bits) = (random.random_range(0..sound.len()), random.random_range(1..=255u8));
        let mut damaged = sound.clone();
        damaged[at] ^= bits;
        fs::write(&path, &damaged).unwrap();
        noticed += usize::from(check(&folder, &records, &format!("byte {at} changed by {bits:#x}")));
    }
    // Most of the file is in use, so most damage must be noticed; else the test does not test.
    assert!(noticed > 20, "only {noticed} of 200 were noticed");
    fs::write(&path, &sound).unwrap();
    assert_eq!(folder.records(), records);
}

#[test]
fn a_store_that_is_cut_short_is_noticed() {
    let (folder, records) = filled();
    let path = folder.folder.store();
    let sound = fs::read(&path).unwrap();
    for length in [0, 1, 100, sound.len() / 2, sound.len() - 4096, sound.len() - 1] {
        fs::write(&path, &sound[..length]).unwrap();
        assert!(check(&folder, &records, &format!("cut to {length} bytes")), "{length}");
    }
}

/// redb goes back to the transaction before when the last one is damaged; for acknowledged writes that is a loss of
/// votes, and must not pass for a sound store.
#[test]
fn a_store_that_was_rolled_back_is_noticed() {
    let folder = Folder::new();
    write_all(&folder, [reservation(4)]);
    let old = fs::read(folder.folder.store()).unwrap();
    write_all(&folder, [reservation(8)]);
    fs::write(folder.folder.store(), old).unwrap();
    let error = folder.open().unwrap_err();
    assert!(
        matches!(error, StoreError::Unreadable { .. }) && error.to_string().contains("2 of the 3"),
        "{error}"
    );
}

#[test]
fn a_damaged_position_is_noticed() {
    let folder = Folder::new();
    let path = folder.folder.path().join("store.position");
    let sound = fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(matches!(folder.open(), Err(StoreError::Unreadable { .. })), "byte {at}");
    }
    for content in [&sound[..11], &[&sound[..], &[0]].concat()] {
        fs::write(&path, content).unwrap();
        assert!(matches!(folder.open(), Err(StoreError::Unreadable { .. })));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(folder.open(), Err(StoreError::Unreadable { .. })));
    fs::write(&path, sound).unwrap();
    assert!(folder.open().is_ok());
}

/// The evidence of a replica that was killed can be read, and reading it changes nothing.
#[test]
fn evidence_is_read_from_a_killed_replicas_store() {
    let folder = Folder::new();
    let evidence = crate::testing::evidence();
    let (writer, reports) = folder.writer();
    writer.persist(WriteId(1), vec![Record::Evidence(evidence.clone())], vec![]);
    while !matches!(reports.recv().unwrap(), Written::Durable { .. }) {}
    // The store is still open, so its file is as a kill at this moment would leave it.
    let killed = Folder::new();
    fs::copy(folder.folder.store(), killed.folder.store()).unwrap();
    let before = fs::read(killed.folder.store()).unwrap();
    assert_eq!(read_evidence(&killed.folder).unwrap(), [evidence]);
    assert_eq!(fs::read(killed.folder.store()).unwrap(), before);
    writer.stop();
    assert!(matches!(read_evidence(&Folder::empty().folder), Err(StoreError::Absent { .. })));
}
