//! Store files that a disk has damaged.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use pbft_crypto::Signer as _;
use pbft_messages::{Configuration, ReplicaId};
use pbft_node::{DataFolder, Identity, Inspection};
use pbft_protocol::initial_records;

use crate::cluster::{of_keys, real_key};
use crate::draw::Draw;

/// A cluster of keys that a store can be bound to.
fn configuration() -> Arc<Configuration> {
    static CONFIGURATION: LazyLock<Arc<Configuration>> =
        LazyLock::new(|| Arc::new(of_keys(|index| real_key(index as u8).public_key(), [])));
    Arc::clone(&CONFIGURATION)
}

/// The files of a sound store: their names and content.
fn sound() -> &'static [(String, Vec<u8>)] {
    static FILES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("the system has room for a temporary folder");
        let identity = Identity::new(configuration(), Arc::new(real_key(1))).expect("the key is a replica's");
        pbft_node::init(&identity, &DataFolder::new(folder.path()))
            .expect("an empty folder can be initialized");
        let entries = fs::read_dir(folder.path()).expect("the folder was made above");
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().expect("a store's files have plain names");
            (name, fs::read(entry.path()).expect("a store's files can be read"))
        };
        let mut files: Vec<_> = entries.flatten().map(read).collect();
        files.sort();
        files
    });
    &FILES
}

fn inspect(folder: &Path) -> Result<Inspection, pbft_node::StoreError> {
    pbft_node::inspect(&DataFolder::new(folder), &configuration())
}

/// Changes bytes here and there, or cuts a file short. What is then read must be what was written.
pub(super) fn damaged(bytes: &[u8]) {
    static SILENT: std::sync::Once = std::sync::Once::new();
    SILENT.call_once(pbft_node::silence_store_panics);
    let mut draw = Draw::new(bytes);
    let mut files = sound().to_vec();
    while !draw.is_empty() {
        let index = draw.below(files.len() as u64) as usize;
        let content = &mut files[index].1;
        let place = usize::from(u16::from_le_bytes([draw.byte(), draw.byte()]));
        // The first pages hold the most.
        let page = if draw.rarely() { draw.byte() as usize } else { 0 };
        let place = place % 8192 + page * 8192;
        match (draw.below(8), content.get_mut(place)) {
            (0, _) => content.truncate(place),
            (_, Some(byte)) => *byte ^= draw.byte().max(1),
            _ => {}
        }
    }
    let folder = tempfile::tempdir().expect("the system has room for a temporary folder");
    for (name, content) in &files {
        fs::write(folder.path().join(name), content).expect("a temporary folder can be written to");
    }
    match inspect(folder.path()) {
        Ok(inspection) => {
            assert_eq!((inspection.replica, inspection.transactions), (ReplicaId(1), 1));
            assert_eq!(inspection.records, initial_records(), "damage passes for content");
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "an error is one line: {error}"),
    }
}
