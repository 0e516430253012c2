//! Printing: results to standard output, everything else to standard error.

use std::io::{self, Write as _};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use pbft_testnet::{ClusterStatus, ReplicaStatus};

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

/// How many of the tolerated faults are in use and by whom, and what the next failure would mean.
pub(crate) fn budget(status: &ClusterStatus) -> String {
    let (used, f) = (status.faults_in_use, status.faults_tolerated);
    let over = if used > f { ": more than f; where liars are among them, nothing is promised" } else { "" };
    let named = |it: &ReplicaStatus| it.fault().map(|fault| format!("{} {fault}", it.replica));
    let named: Vec<_> = status.replicas.iter().filter_map(named).collect();
    let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
    format!("faults: {used} of f = {f} used{named}{over}; {}", status.reserve())
}
