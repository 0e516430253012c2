//! The text of a transaction, after etcdctl's.

use bytes::Bytes;

use pbft_service::kv::{Compare, Delete, Keys, Put, Range, Relation, Step, Target, Txn};

/// What is wrong with a transaction's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction, {place}: {reason} (see `pbft-client txn --help`)")]
pub(crate) struct BadTxn {
    place: String,
    reason: String,
}

/// Reads a transaction of three blocks of lines, separated by single empty lines: comparisons, steps if they hold,
/// steps otherwise. Blocks may be empty or missing.
pub(crate) fn parse(text: &str) -> Result<Txn, BadTxn> {
    let mut txn = Txn::default();
    let mut block = 0;
    for (index, line) in text.lines().enumerate() {
        let at = |reason| BadTxn { place: format!("line {}", index + 1), reason };
        let line = line.trim();
        match block {
            _ if line.is_empty() => block += 1,
            0 => txn.compares.push(compare(line).map_err(at)?),
            1 => txn.success.push(step(line).map_err(at)?),
            2 => txn.failure.push(step(line).map_err(at)?),
            _ => return Err(at("a fourth block: there are comparisons, steps and other steps".to_owned())),
        }
    }
    Ok(txn)
}

/// A transaction from the command line's `--if`, `--then` and `--else`.
pub(crate) fn from_parts(compares: &[String], success: &[String], failure: &[String]) -> Result<Txn, BadTxn> {
    fn each<T>(
        texts: &[String],
        flag: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, BadTxn> {
        let place = |text: &String| format!("{flag} {text}");
        texts
            .iter()
            .map(|text| read(text.trim()).map_err(|reason| BadTxn { place: place(text), reason }))
            .collect()
    }
    Ok(Txn {
        compares: each(compares, "--if", compare)?,
        success: each(success, "--then", step)?,
        failure: each(failure, "--else", step)?,
    })
}

/// Reads `target("key") relation value`.
fn compare(line: &str) -> Result<Compare, String> {
    const FORM: &str = "a comparison is TARGET(\"KEY\") RELATION VALUE, as in mod(\"key\") > 5";
    let (target, rest) = line.split_once('(').ok_or(FORM)?;
    let (key, rest) = word(rest.trim_start(), |character| character == ')')?.ok_or(FORM)?;
    let rest = rest.trim_start().strip_prefix(')').ok_or(FORM)?.trim_start();
    let relations =
        [("!=", Relation::NotEqual), ("=", Relation::Equal), ("<", Relation::Less), (">", Relation::Greater)];
    let relation = relations.iter().find_map(|(sign, relation)| Some((*relation, rest.strip_prefix(sign)?)));
    let (relation, rest) = relation.ok_or("the relation must be one of = != < >")?;
    let (value, rest) = word(rest.trim_start(), char::is_whitespace)?.ok_or(FORM)?;
    if !rest.trim().is_empty() {
        return Err(format!("unexpected after the comparison: {rest}"));
    }
    let number = || {
        let digits = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        digits.ok_or_else(|| format!("not a whole number: {}", value.escape_ascii()))
    };
    let target = match target.trim() {
        "value" | "val" => Target::Value(value.clone()),
        "version" | "ver" => Target::Version(number()?),
        "create" | "c" => Target::CreateRevision(number()?),
        "mod" | "m" => Target::ModRevision(number()?),
        other => return Err(format!("no such target: {other}; there are value, version, create and mod")),
    };
    Ok(Compare { key, relation, target })
}

/// Reads `put KEY VALUE`, `get [--prefix] KEY` or `del [--prefix] KEY`.
fn step(line: &str) -> Result<Step, String> {
    const FORM: &str = "a step is put KEY VALUE, get KEY, get --prefix KEY, del KEY or del --prefix KEY";
    let (mut words, mut rest) = (Vec::new(), line);
    // Only an unquoted --prefix is an option: a key may have that name.
    let mut prefix = false;
    while let Some((next, after)) = word(rest.trim_start(), char::is_whitespace)? {
        if words.len() == 1 && rest.trim_start().starts_with("--prefix") && !prefix {
            prefix = true;
        } else {
            words.push(next);
        }
        rest = after;
    }
    let keys = |key: &Bytes| if prefix { Keys::prefix(key.clone()) } else { Keys::Single(key.clone()) };
    match &words[..] {
        [verb, key, value] if verb == "put" && !prefix => {
            Ok(Step::Put(Put { key: key.clone(), value: value.clone(), previous: false }))
        }
        [verb, key] if verb == "get" => Ok(Step::Range(Range::new(keys(key)))),
        [verb, key] if verb == "del" => Ok(Step::Delete(Delete { keys: keys(key), previous: false })),
        _ => Err(FORM.to_owned()),
    }
}

/// Takes one word off the text: bytes in double quotes, or everything up to a character that ends words. `None` at
/// the end of the text.
fn word(text: &str, ends: impl Fn(char) -> bool) -> Result<Option<(Bytes, &str)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let (bytes, rest) = unquote(quoted)?;
        if rest.chars().next().is_some_and(|next| !ends(next) && !next.is_whitespace()) {
            return Err(format!("a space is missing after the closing quote: \"{rest}"));
        }
        return Ok(Some((bytes, rest)));
    }
    let end = text.find(ends).unwrap_or(text.len());
    Ok(Some((Bytes::copy_from_slice(&text.as_bytes()[..end]), &text[end..])))
}

/// Reads up to the closing quote; gives the bytes and what follows it.
fn unquote(text: &str) -> Result<(Bytes, &str), String> {
    let mut bytes = Vec::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((bytes.into(), &text[at + 1..])),
            '\\' => bytes.push(match characters.next() {
                Some((_, 'n')) => b'\n',
                Some((_, 't')) => b'\t',
                Some((_, 'r')) => b'\r',
                Some((_, '0')) => 0,
                Some((_, '"')) => b'"',
                Some((_, '\\')) => b'\\',
                Some((_, 'x')) => {
                    let mut digit = || characters.next().and_then(|(_, digit)| digit.to_digit(16));
                    let (high, low) = digit().zip(digit()).ok_or("\\x needs two hexadecimal digits")?;
                    // Two hexadecimal digits make a byte.
                    (high * 16 + low) as u8
                }
                _ => return Err("after \\ comes one of \" \\ n t r 0 x".to_owned()),
            }),
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err("the closing quote is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> Step {
        Step::Put(Put { key: key.into(), value: value.into(), previous: false })
    }

    fn get(key: &'static str) -> Step {
        Step::Range(Range::new(Keys::Single(key.into())))
    }

    fn reason(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    /// The example of etcdctl's manual.
    #[test]
    fn etcdctls_example() {
        let text = "mod(\"key1\") > \"0\"\n\nput key1 \"overwrote-key1\"\n\nput key1 \"created-key1\"\nput key2 \"some extra key\"\n";
        let expected = Txn {
            compares: vec![Compare {
                key: "key1".into(),
                relation: Relation::Greater,
                target: Target::ModRevision(0),
            }],
            success: vec![put("key1", "overwrote-key1")],
            failure: vec![put("key1", "created-key1"), put("key2", "some extra key")],
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn all_targets_and_relations() {
        let read = |text| compare(text).map(|compare| (compare.key, compare.relation, compare.target));
        let (k, v) = (Bytes::from("k"), Bytes::from("v"));
        assert_eq!(read("value(\"k\") = \"v\""), Ok((k.clone(), Relation::Equal, Target::Value(v.clone()))));
        assert_eq!(read("val(k)!=v"), Ok((k.clone(), Relation::NotEqual, Target::Value(v))));
        assert_eq!(read("version( \"k\" ) < 3"), Ok((k.clone(), Relation::Less, Target::Version(3))));
        assert_eq!(read("create(k) = \"0\""), Ok((k.clone(), Relation::Equal, Target::CreateRevision(0))));
        assert_eq!(read("m(k) > 7"), Ok((k, Relation::Greater, Target::ModRevision(7))));
        let odd = read(r#"value("a)\"b") = "\xff\n""#).unwrap();
        assert_eq!((odd.0, odd.2), ("a)\"b".into(), Target::Value(Bytes::from_static(b"\xff\n"))));
    }

    #[test]
    fn all_steps() {
        assert_eq!(step("put k v"), Ok(put("k", "v")));
        assert_eq!(step("put  \"k 1\"  \"\""), Ok(put("k 1", "")));
        assert_eq!(step("get k"), Ok(get("k")));
        assert_eq!(step("get --prefix k"), Ok(Step::Range(Range::new(Keys::prefix("k")))));
        assert_eq!(step("get \"--prefix\""), Ok(get("--prefix")));
        let delete = |keys| Ok(Step::Delete(Delete { keys, previous: false }));
        assert_eq!(step("del k"), delete(Keys::Single("k".into())));
        assert_eq!(step("del --prefix \"\""), delete(Keys::prefix("")));
    }

    #[test]
    fn blocks_may_be_empty_or_missing() {
        assert_eq!(parse(""), Ok(Txn::default()));
        let only_steps = parse("\nput a 1\n").unwrap();
        assert_eq!((only_steps.compares.len(), only_steps.success.len()), (0, 1));
        let only_else = parse("version(a) = 0\n\n\nget a\n\n\n").unwrap();
        assert_eq!((only_else.success.len(), only_else.failure.len()), (0, 1));
        assert_eq!(parse("\n\n\n\n"), Ok(Txn::default()));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(reason("value(\"k\") == 1").contains("line 1: unexpected after the comparison"));
        assert!(reason("mod(k) > five").contains("not a whole number: five"));
        assert!(reason("size(k) > 5").contains("no such target: size"));
        assert!(reason("mod(k) ~ 5").contains("relation"));
        assert!(reason("mod(k > 5").contains("a comparison is"));
        assert!(reason("mod(k) > 5 6").contains("unexpected"));
        assert!(reason("\nput a\n").contains("line 2: a step is"));
        assert!(reason("\nput a b c\n").contains("a step is"));
        assert!(reason("\nput a \"b\n").contains("closing quote"));
        assert!(reason("\nput a \"b\"c\n").contains("space is missing"));
        assert!(reason("\nput a \"\\q\"\n").contains("after \\"));
        assert!(reason("\nput a \"\\xf\"\n").contains("hexadecimal"));
        assert!(reason("\nget a\n\nget b\n\nget c\n").contains("line 6: a fourth block"));
        let mistake = from_parts(&[], &["jump".into()], &[]).unwrap_err().to_string();
        assert!(mistake.contains("--then jump: a step is"), "{mistake}");
    }

    #[test]
    fn parts_make_the_same_transaction() {
        let parts = from_parts(&["mod(a) > 1".into()], &["put a 1".into()], &["get a".into()]);
        assert_eq!(parts, parse("mod(a) > 1\n\nput a 1\n\nget a"));
    }
}
