//! The file format of import and export: `key<TAB>value` lines.

use std::collections::HashMap;

use bytes::Bytes;

use pbft_service::kv::{KeyValue, Operation};

use crate::output;

/// One key of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    /// The value of the key's last line.
    pub(crate) value: Bytes,
    /// How many lines of the file it stands for.
    pub(crate) lines: usize,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(crate) struct BadLine {
    line: usize,
    reason: String,
}

/// Reads a whole file, and checks that the store takes every line of it.
///
/// A line ends with a newline, which the last one may lack; nothing else is special, carriage returns included. Of
/// lines with the same key the last counts, as if they were put in order: each key is put once, so that puts may
/// overtake each other.
pub(crate) fn parse(file: &Bytes) -> Result<Vec<Entry>, BadLine> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: HashMap<Bytes, usize> = HashMap::new();
    let mut start = 0;
    let mut line = 0;
    while start < file.len() {
        line += 1;
        let end = file[start..].iter().position(|byte| *byte == b'\n').map_or(file.len(), |at| start + at);
        let (key, value) = split(&file.slice(start..end)).map_err(|reason| BadLine { line, reason })?;
        match places.get(&key) {
            Some(place) => {
                entries[*place].value = value;
                entries[*place].lines += 1;
            }
            None => {
                places.insert(key.clone(), entries.len());
                entries.push(Entry { key, value, lines: 1 });
            }
        }
        start = end + 1;
    }
    Ok(entries)
}

/// Splits a line at its first tab.
fn split(line: &Bytes) -> Result<(Bytes, Bytes), String> {
    let tab = line.iter().position(|byte| *byte == b'\t');
    let Some(tab) = tab else {
        return Err("there is no tab: each line is a key, a tab and a value".to_owned());
    };
    let (key, value) = (line.slice(..tab), line.slice(tab + 1..));
    Operation::put(key.clone(), value.clone()).check().map_err(|error| error.to_string())?;
    Ok((key, value))
}

/// An entry as a line.
///
/// # Errors
/// If the line would not read back as that entry.
pub(crate) fn format(entry: &KeyValue) -> Result<Vec<u8>, String> {
    let key = output::readable(&entry.key);
    let what = if entry.key.contains(&b'\t') || entry.key.contains(&b'\n') {
        format!("key \"{key}\" has a tab or a newline")
    } else if entry.value.contains(&b'\n') {
        format!("the value of key \"{key}\" has a newline")
    } else {
        return Ok(output::entry_line(&entry.key, Some(&entry.value)));
    };
    Err(format!("{what}, which a line can't hold: use `pbft-client range -w json`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(file: &'static [u8]) -> Result<Vec<(&'static str, &'static str, usize)>, String> {
        let leak = |bytes: &Bytes| &*String::from_utf8(bytes.to_vec()).unwrap().leak();
        let entries = parse(&Bytes::from_static(file)).map_err(|error| error.to_string())?;
        Ok(entries.iter().map(|entry| (leak(&entry.key), leak(&entry.value), entry.lines)).collect())
    }

    #[test]
    fn lines_split_at_the_first_tab() {
        assert_eq!(read(b"").unwrap(), []);
        assert_eq!(read(b"a\t1\nb\t2\n").unwrap(), [("a", "1", 1), ("b", "2", 1)]);
        assert_eq!(read(b"a\t1\nb\t2").unwrap(), [("a", "1", 1), ("b", "2", 1)]);
        assert_eq!(read(b"a\t1\t2\t\n").unwrap(), [("a", "1\t2\t", 1)]);
        assert_eq!(read(b"a\t\n").unwrap(), [("a", "", 1)]);
        assert_eq!(read(b"a\t1\r\n").unwrap(), [("a", "1\r", 1)], "bytes as they are");
        assert_eq!(read(b" a \t 1 \n").unwrap(), [(" a ", " 1 ", 1)]);
    }

    #[test]
    fn the_last_line_of_a_key_counts() {
        let entries = read(b"a\t1\nb\t2\na\t3\na\t4\n").unwrap();
        assert_eq!(entries, [("a", "4", 3), ("b", "2", 1)]);
    }

    #[test]
    fn bad_lines_are_named() {
        assert!(read(b"a\t1\nb 2\n").unwrap_err().starts_with("line 2: there is no tab"));
        assert!(read(b"a\t1\n\n").unwrap_err().starts_with("line 2: there is no tab"));
        assert!(read(b"\n").unwrap_err().starts_with("line 1"));
        assert!(read(b"\tvalue\n").unwrap_err().contains("line 1: a key must not be empty"));
        let long = [vec![b'k'; 4097], b"\tv".to_vec()].concat();
        assert!(parse(&long.into()).unwrap_err().to_string().contains("line 1: a key of 4097 bytes"));
        let large = [b"a\t1\nk\t".to_vec(), vec![b'v'; 1 << 20]].concat();
        assert!(parse(&large.into()).unwrap_err().to_string().contains("line 2: a value of 1048576 bytes"));
        // The repeated key's earlier line is checked too.
        let large = [b"k\t".to_vec(), vec![b'v'; 1 << 20], b"\nk\t1\n".to_vec()].concat();
        assert!(parse(&large.into()).unwrap_err().to_string().contains("line 1"));
    }

    fn entry(key: Vec<u8>, value: Vec<u8>) -> KeyValue {
        KeyValue { key: key.into(), value: value.into(), create_revision: 2, mod_revision: 2, version: 1 }
    }

    #[test]
    fn what_has_no_line_is_named() {
        assert!(format(&entry(b"a\tb".to_vec(), vec![])).unwrap_err().contains("a\\tb"));
        assert!(format(&entry(b"a\nb".to_vec(), vec![])).unwrap_err().contains("a\\nb"));
        assert!(
            format(&entry(b"key".to_vec(), b"1\n2".to_vec())).unwrap_err().contains("\"key\" has a newline")
        );
    }

    proptest! {
        #[test]
        fn what_is_exported_imports_again(
            entries in prop::collection::btree_map(
                prop::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), any::<u8>()], 1..5),
                prop::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), any::<u8>()], 0..5),
                0..10,
            )
        ) {
            let kept: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| entry(key, value))
                .filter(|entry| format(entry).is_ok())
                .collect();
            let file: Vec<u8> = kept.iter().flat_map(|entry| format(entry).unwrap()).collect();
            let expected: Vec<_> = kept
                .into_iter()
                .map(|entry| Entry { key: entry.key, value: entry.value, lines: 1 })
                .collect();
            prop_assert_eq!(parse(&file.into()), Ok(expected));
        }
    }
}
