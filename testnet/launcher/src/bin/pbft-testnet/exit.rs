//! What commands end with, and what they leave behind where that is not 0.

use std::fs;

use crate::output::note;

/// Something unusable was given.
pub(crate) const BAD_INPUT: u8 = 3;

/// Ctrl-C, or SIGTERM, came first.
pub(crate) const INTERRUPTED: u8 = 5;

/// Something did not hold.
pub(crate) const VERDICT_FAILED: u8 = 99;

/// Leaves the replicas' folders where they are, and says where.
pub(crate) fn keep(temporary: tempfile::TempDir) {
    note(&format!("the replicas' folders are kept in {}", temporary.keep().display()));
}

/// The same, unless there is nothing to look at: what could not even begin left nothing.
pub(crate) fn keep_if_begun(temporary: tempfile::TempDir) {
    if fs::read_dir(temporary.path()).is_ok_and(|mut entries| entries.next().is_some()) {
        keep(temporary);
    }
}
