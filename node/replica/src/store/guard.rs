//! Damaged files make redb panic in places, and such a panic is one more way to say that the file is damaged.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether this thread is within [`guard`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Lets a program print nothing of panics while a store is read or written: they mean a damaged file, which is
/// reported as an error. Other panics are printed as before. For binaries, once at their start.
pub fn silence_store_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            print(panic);
        }
    }));
}

/// Does what touches a file that may be damaged; `None` if that panics. Whatever it worked on is not to be written to
/// after that.
pub(crate) fn guard<T>(work: impl FnOnce() -> T) -> Option<T> {
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.ok()
}
