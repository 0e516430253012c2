//! Panics, as findings.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something; of a panic it gives the words.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        format!("the code panics: {}", text.unwrap_or("without words"))
    })
}
