//! A new store for a replica whose votes are lost (D8), in the place of what is left of the old one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pbft_protocol::Record;

use super::boot::{open_whatever_ran, write_new};
use super::{Binding, StoreError};
use crate::folder::{DataFolder, sync_folder};

/// Makes the store of a replica that recovers. An old store that is damaged, or that `discard` gives up, is kept under
/// another name, which is given back. Evidence in an old store that can be read goes into the new one: it is about
/// others, and true whatever this replica has forgotten.
///
/// After a crash within, this can be called again.
///
/// # Errors
/// [`StoreError::Readable`] if there is a store that is sound, unless `discard`; [`StoreError::InUse`],
/// [`StoreError::Mismatch`] or [`StoreError::Format`] if it is not this replica's to discard; [`StoreError::Io`].
pub(crate) fn recreate(
    folder: &DataFolder,
    binding: &Binding,
    mut records: Vec<Record>,
    discard: bool,
) -> Result<Option<PathBuf>, StoreError> {
    let mark = folder.memory_mark();
    let io = |source| StoreError::Io { path: mark.clone(), source };
    let forgotten = mark.try_exists().map_err(io)?;
    let aside = match open_whatever_ran(folder, binding) {
        Ok(opened) => {
            if !discard && !forgotten {
                return Err(StoreError::Readable { folder: folder.path().into() });
            }
            let evidence = opened.records.into_iter().filter(|it| matches!(it, Record::Evidence(_)));
            records.extend(evidence);
            // What ran in memory mode kept nothing else, and is overwritten.
            if forgotten { None } else { Some(set_aside(folder, "discarded")?) }
        }
        Err(StoreError::Absent { .. }) => None,
        Err(StoreError::Unreadable { .. }) => Some(set_aside(folder, "damaged")?),
        Err(other) => return Err(other),
    };
    // The new store names no snapshot: the state is fetched from the others.
    remove(&folder.chunks())?;
    write_new(folder, binding, &records)?;
    // The mark goes last: until then a plain start is refused.
    remove(&mark)?;
    sync_folder(folder.path()).map_err(io)?;
    Ok(aside)
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { path: path.into(), source })
        }
        _ => Ok(()),
    }
}

/// Gives the store a name that nothing reads, the first that is free.
fn set_aside(folder: &DataFolder, why: &str) -> Result<PathBuf, StoreError> {
    let path = folder.store();
    let io = |source| StoreError::Io { path: path.clone(), source };
    for number in 1u32.. {
        let aside = folder.path().join(format!("store.{why}-{number}"));
        if !aside.try_exists().map_err(io)? {
            fs::rename(&path, &aside).map_err(io)?;
            sync_folder(folder.path()).map_err(io)?;
            return Ok(aside);
        }
    }
    Err(io(io::Error::other("there are too many old stores")))
}
