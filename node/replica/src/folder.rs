//! A replica's data folder: what lies where, and how a file gets there durably.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use pbft_crypto::mutant;

/// Where one replica keeps everything that is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The data folder at `path`, whether or not there is one yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database with the replica's records. Whether it exists is what tells whether `init` was run.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join("store.redb")
    }

    /// The witness of how far the store has come (see [`crate::store`]).
    pub(crate) fn position(&self) -> PathBuf {
        self.0.join("store.position")
    }

    /// The database of snapshots (see [`crate::snapshot`]).
    pub(crate) fn chunks(&self) -> PathBuf {
        self.0.join("chunks.redb")
    }

    /// The typed events of this replica, one JSON object a line; the newest ones.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.0.join("events.jsonl")
    }

    /// The events before those of [`DataFolder::events`]; absent until that file was full once.
    #[must_use]
    pub fn older_events(&self) -> PathBuf {
        self.0.join("events.1.jsonl")
    }

    /// The socket on which a running replica takes commands.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// The mark of a replica that has voted without storing its votes (D8).
    #[must_use]
    pub fn memory_mark(&self) -> PathBuf {
        self.0.join("ran-in-memory-mode")
    }

    /// Makes the folder, which only its owner may enter: the control socket in it obeys whoever reaches it.
    pub(crate) fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let parent = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new(".")))?;
        sync_folder(&self.0)
    }
}

/// The name under which the file that will be `path` is written. What bears it at boot was never finished.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

/// Waits until the names in a folder are on disk. Without it a crash can undo a rename (fault 14).
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if mutant!("rename-not-synced") {
        return Ok(());
    }
    #[cfg(test)]
    tests::note_sync(folder);
    File::open(folder)?.sync_all()
}

/// Writes a file so that after a crash there is the whole of it or nothing under its name.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use rand::RngExt as _;
    use rand::rngs::StdRng;

    use super::*;

    /// Files by their names, with what is in them.
    type Files = BTreeMap<PathBuf, Vec<u8>>;

    thread_local! {
        /// What stood in the folder that was synced last on this thread, when it was.
        static SYNCED: RefCell<Files> = RefCell::default();
    }

    pub(super) fn note_sync(folder: &Path) {
        SYNCED.set(files(folder));
    }

    fn files(folder: &Path) -> Files {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter_map(|path| Some((path.clone(), fs::read(path).ok()?))).collect()
    }

    /// The power goes: which file bears which name is as it was when the folder was last synced.
    fn crash(folder: &Path) {
        files(folder).keys().for_each(|path| fs::remove_file(path).unwrap());
        SYNCED.with_borrow(|synced| {
            synced.iter().for_each(|(path, content)| fs::write(path, content).unwrap())
        });
    }

    /// Fault 14: files are written and written again, and the power goes now and then; what was said to be durable is.
    pub(crate) fn forgets(random: &mut StdRng) {
        let folder = tempfile::tempdir().unwrap();
        note_sync(folder.path());
        let mut durable = Files::new();
        for _ in 0..random.random_range(1..8) {
            let path = folder.path().join(["a", "b", "c"][random.random_range(0..3)]);
            let content = vec![random.random(); random.random_range(0..40)];
            write_durably(&path, &content).unwrap();
            durable.insert(path, content);
            if random.random_bool(0.3) {
                crash(folder.path());
            }
        }
        crash(folder.path());
        assert!(files(folder.path()) == durable, "a crash undoes what was durable");
    }

    /// Fault 14: the folder is synced once the file has its name.
    #[test]
    fn fault_14_a_rename_is_durable() {
        let folder = tempfile::tempdir().unwrap();
        write_durably(&folder.path().join("a"), b"content").unwrap();
        let path = folder.path().join("a");
        assert_eq!(SYNCED.take(), Files::from([(path, b"content".to_vec())]));
    }
}
