//! Printing: results to standard output, everything else to standard error.

use std::io::{self, Write as _};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

/// What was asked for cannot be meant; the text says what could be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

/// Prints a result.
///
/// # Errors
/// The operating system's; a closed pipe among others.
pub(crate) fn result(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a result as one line of JSON.
///
/// # Errors
/// As [`result`].
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    result(&serde_json::to_string(value)?)
}

/// The word that stands for one of several alternatives in JSON.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // None of them has another form.
        other => other.unwrap_or_default().to_string(),
    }
}

/// Tells the user something that is no result.
pub(crate) fn note(text: &str) {
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An empty table with a header.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}
