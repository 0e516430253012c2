//! Printing: bytes as they are for scripts, tables for people, JSON for programs.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use pbft_service::kv::{KeyValue, StepAnswer, TxnAnswer};

use crate::failure::Outcome;

/// Writes bytes to standard output as they are.
pub(crate) fn write_all(bytes: &[u8]) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Outcome {
    write_all(format!("{text}\n").as_bytes())
}

/// Prints a JSON document.
pub(crate) fn json(document: &Value) -> Outcome {
    line(&document.to_string())
}

/// Prints a table.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Outcome {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header).add_rows(rows);
    line(&table.to_string())
}

/// Prints entries as a table.
pub(crate) fn entry_table(entries: &[KeyValue]) -> Outcome {
    let row = |entry: &KeyValue| {
        let numbers = [entry.version, entry.create_revision, entry.mod_revision];
        let texts = [readable(&entry.key), readable(&entry.value)].into_iter();
        texts.chain(numbers.iter().map(u64::to_string)).collect()
    };
    table(&["key", "value", "version", "created", "modified"], entries.iter().map(row).collect())
}

/// An entry for JSON. Key and value are strings if they are UTF-8, else `key_hex` and `value_hex`.
pub(crate) fn entry_json(entry: &KeyValue) -> Value {
    let mut object = Map::new();
    for (name, bytes) in [("key", &entry.key), ("value", &entry.value)] {
        match std::str::from_utf8(bytes) {
            Ok(text) => object.insert(name.to_owned(), text.into()),
            Err(_) => object.insert(format!("{name}_hex"), hex::encode(bytes).into()),
        };
    }
    object.insert("version".to_owned(), entry.version.into());
    object.insert("create_revision".to_owned(), entry.create_revision.into());
    object.insert("mod_revision".to_owned(), entry.mod_revision.into());
    object.into()
}

/// The steps of a transaction for JSON.
pub(crate) fn steps_json(answer: &TxnAnswer) -> Vec<Value> {
    let step = |step: &StepAnswer| match step {
        StepAnswer::Put(_) => json!({ "put": true }),
        StepAnswer::Range(range) => {
            let entries: Vec<_> = range.entries.iter().map(entry_json).collect();
            json!({ "entries": entries, "more": range.more })
        }
        StepAnswer::Delete(delete) => json!({ "deleted": delete.deleted }),
    };
    answer.steps.iter().map(step).collect()
}

/// The lines of a transaction's answer, as etcdctl prints them, but entries with key and value on one line.
pub(crate) fn steps_lines(answer: &TxnAnswer) -> Vec<u8> {
    let mut bytes = if answer.succeeded { b"SUCCESS\n".to_vec() } else { b"FAILURE\n".to_vec() };
    for step in &answer.steps {
        bytes.push(b'\n');
        match step {
            StepAnswer::Put(_) => bytes.extend_from_slice(b"OK\n"),
            StepAnswer::Range(range) => {
                bytes.extend(
                    range.entries.iter().flat_map(|entry| entry_line(&entry.key, Some(&entry.value))),
                );
            }
            StepAnswer::Delete(delete) => bytes.extend_from_slice(format!("{}\n", delete.deleted).as_bytes()),
        }
    }
    bytes
}

/// `key<TAB>value` or just the key, with a newline.
pub(crate) fn entry_line(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    match value {
        Some(value) => [key, b"\t", value, b"\n"].concat(),
        None => [key, b"\n"].concat(),
    }
}

/// Bytes for a person's eyes: text stays, anything that would upset a terminal is escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_no_text_survive_json() {
        let entry = KeyValue {
            key: "k\t".into(),
            value: (&[0xff, 0][..]).into(),
            create_revision: 2,
            mod_revision: 3,
            version: 4,
        };
        let expected = json!({
            "key": "k\t", "value_hex": "ff00", "version": 4, "create_revision": 2, "mod_revision": 3
        });
        assert_eq!(entry_json(&entry), expected);
    }

    #[test]
    fn terminals_are_safe() {
        assert_eq!(readable("größe".as_bytes()), "größe");
        assert_eq!(readable(b"\x1b[2J"), "\\x1b[2J");
        assert_eq!(readable(b"\xff"), "\\xff");
    }
}
