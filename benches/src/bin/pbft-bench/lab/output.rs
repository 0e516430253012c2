//! A result on the terminal, and in files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, Table as Drawn, presets};
use serde::Serialize;

use pbft_bench::lab::Environment;
use pbft_bench::page::{Section, Table, page};

use crate::arguments::Format;
use crate::failure::{Failure, Outcome};
use crate::output::write_all;

const PAGE: &str = "report.html";
const RESULT: &str = "report.json";

/// A result for programs.
#[derive(Serialize)]
pub(super) struct Kept<'a, T> {
    pub(super) command: &'a str,
    pub(super) environment: Option<&'a Environment>,
    pub(super) result: &'a T,
}

/// Makes sure before anything is measured that a result can be kept.
pub(super) fn prepare(folder: &Path) -> Outcome {
    let failed = |error| Failure::bad_input(format!("cannot write {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    for name in [PAGE, RESULT, "runs"] {
        let path = folder.join(name);
        if path.exists() {
            let path = path.display();
            return Err(Failure::bad_input(format!(
                "{path} is there already: name another folder, or remove it"
            )));
        }
    }
    Ok(())
}

/// Writes the page and the file for programs.
pub(super) fn keep<T: Serialize>(
    folder: &Path,
    kept: &Kept<'_, T>,
    about: &str,
    sections: &[Section],
) -> Outcome {
    let json = serde_json::to_string_pretty(kept).map_err(Failure::error)? + "\n";
    let html = page(&format!("pbft-bench {}", kept.command), about, sections);
    for (name, text) in [(PAGE, html), (RESULT, json)] {
        let path = folder.join(name);
        let failed = |error| Failure::error(format!("cannot write {}: {error}", path.display()));
        fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

/// Prints the result.
pub(super) fn print<T: Serialize>(
    kept: &Kept<'_, T>,
    about: &str,
    sections: &[Section],
    format: Format,
) -> Outcome {
    let text = match format {
        Format::Json => serde_json::to_string(kept).map_err(Failure::error)? + "\n",
        Format::Simple => text(about, sections, aligned),
        Format::Table => text(about, sections, drawn),
    };
    write_all(text.as_bytes())
}

fn text(about: &str, sections: &[Section], table: impl Fn(&Table) -> String) -> String {
    let mut text = format!("{about}\n");
    for section in sections {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "\n{}", section.title);
        section.tables.iter().for_each(|it| text.push_str(&table(it)));
        for note in &section.notes {
            let _ = writeln!(text, "{note}");
        }
    }
    text
}

fn drawn(table: &Table) -> String {
    let mut drawn = Drawn::new();
    drawn.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    drawn.set_header(&table.header).add_rows(&table.rows);
    for (number, column) in drawn.column_iter_mut().enumerate().skip(1) {
        if is_numeric(table, number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{drawn}\n")
}

/// Columns that line up.
fn aligned(table: &Table) -> String {
    let all: Vec<_> = std::iter::once(&table.header).chain(&table.rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _ = match column > 0 && is_numeric(table, column) {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Whether a column holds numbers, which line up on the right.
fn is_numeric(table: &Table, column: usize) -> bool {
    table.rows.iter().all(|row| !row[column].starts_with(char::is_alphabetic) && !row[column].contains("≥"))
}
