//! What reports of trials are made of.

use std::fs;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde::{Deserialize, Serialize};

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All was as it must be.
    Pass,
    /// Something was not.
    Fail,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

impl Check {
    pub(crate) fn new(name: impl Into<String>, passed: bool, detail: impl Into<String>) -> Self {
        Self { name: name.into(), passed, detail: detail.into() }
    }

    pub(crate) fn passed(name: &str, detail: String) -> Self {
        Self::new(name, true, detail)
    }

    pub(crate) fn failed(name: &str, detail: String) -> Self {
        Self::new(name, false, detail)
    }

    /// The checks as rows that a person understands.
    pub(crate) fn table(checks: &[Self]) -> Table {
        let mut table = empty_table();
        table.set_header(["What must hold", "", "What was found"]);
        for check in checks {
            let mark = if check.passed { "yes" } else { "NO" };
            table.add_row([check.name.as_str(), mark, check.detail.as_str()]);
        }
        table
    }
}

/// A table in the style of all reports.
pub(crate) fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// The processor's name as the kernel tells it, and how many may be used.
pub(crate) fn processor() -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or("unknown processor", |(_, name)| name.trim());
    format!("{count} × {name}")
}
