//! Whether the cluster kept what it acknowledged: pure, from what the run knows and what was read back.

use std::collections::BTreeMap;

use serde::Serialize;

use pbft_service::kv::KeyValue;

use crate::journal::{KeyRecord, Write};
use crate::order::Order;
use crate::tally::Kind;
use crate::values::{Author, Values};

/// Something that a correct cluster never does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// An acknowledged write is not to be seen, and nothing that came after it.
    #[error(
        "key {key}: the write acknowledged at revision {revision} is lost: the key is missing, unless somebody else \
         deleted it"
    )]
    Missing {
        /// The key's number.
        key: u32,
        /// The write's revision.
        revision: u64,
    },
    /// An older value, or one of somebody else from before.
    #[error(
        "key {key}: the write acknowledged at revision {revision} is lost: the value is of revision {found}, \
         {by}"
    )]
    Lost {
        /// The key's number.
        key: u32,
        /// The write's revision.
        revision: u64,
        /// The revision of what is there.
        found: u64,
        /// Whose value is there.
        by: &'static str,
    },
    /// The value is right, but it was written at another revision than the acknowledged one.
    #[error(
        "key {key}: the write acknowledged at revision {revision} stands at revision {found}: it was executed twice"
    )]
    Repeated {
        /// The key's number.
        key: u32,
        /// The write's revision.
        revision: u64,
        /// The revision of what is there.
        found: u64,
    },
    /// A newer value by this run that was neither acknowledged nor in doubt.
    #[error(
        "key {key}: a write of this run stands at revision {found} that was overwritten at {revision} or reported as \
         not executed"
    )]
    Risen {
        /// The key's number.
        key: u32,
        /// The revision of the last acknowledged write.
        revision: u64,
        /// The revision of what is there.
        found: u64,
    },
    /// A value with this run's name that this run never wrote.
    #[error("key {key}: the value carries this run's name, and this run never wrote it")]
    Altered {
        /// The key's number.
        key: u32,
    },
    /// An answer told an older revision than was known before its request was sent.
    #[error("a {} was answered at revision {revision}, after revision {newest_before} had been answered", name(*kind))]
    WentBack {
        /// The kind of request.
        kind: Kind,
        /// The newest revision that was known.
        newest_before: u64,
        /// The answer's.
        revision: u64,
    },
    /// Two writes were told the same revision.
    #[error("two writes were acknowledged at revision {revision}")]
    SharedRevision {
        /// The revision.
        revision: u64,
    },
    /// Revisions and sequences order two writes differently.
    #[error(
        "a write was acknowledged at sequence {sequence} and revision {revision}, against the order of another"
    )]
    Misordered {
        /// The write's revision.
        revision: u64,
        /// The write's sequence.
        sequence: u64,
    },
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
    }
}

/// What reading a key back showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The last acknowledged write is there.
    Confirmed,
    /// A write of unknown outcome is there: it took effect after the last acknowledged one.
    ConfirmedLater,
    /// Somebody else wrote after the last acknowledged write.
    Foreign,
}

/// Judges a key that was read back. `found` is what is there now, `last` the record's last acknowledged write.
///
/// # Errors
/// The [`Violation`].
pub(crate) fn judge(
    values: &Values,
    key: u32,
    record: &KeyRecord,
    last: &Write,
    found: Option<&KeyValue>,
) -> Result<Finding, Violation> {
    let revision = last.revision;
    let Some(entry) = found else { return Err(Violation::Missing { key, revision }) };
    let found = entry.mod_revision;
    let later = found > revision;
    match values.author(&entry.value) {
        Author::Altered => Err(Violation::Altered { key }),
        Author::Foreign if later => Ok(Finding::Foreign),
        Author::Foreign => Err(Violation::Lost { key, revision, found, by: "by somebody else" }),
        Author::Ours(number) if number == last.number => {
            if found == revision {
                Ok(Finding::Confirmed)
            } else {
                Err(Violation::Repeated { key, revision, found })
            }
        }
        Author::Ours(number) if later && record.unknown.contains(&number) => Ok(Finding::ConfirmedLater),
        Author::Ours(_) if later => Err(Violation::Risen { key, revision, found }),
        Author::Ours(_) => {
            Err(Violation::Lost { key, revision, found, by: "by an earlier write of this run" })
        }
    }
}

/// How a run's check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictResult {
    /// Nothing wrong was seen, and all that was to be read back was.
    Pass,
    /// The cluster broke its promise.
    Fail,
    /// Nothing wrong was seen, but not all that was to be read back could be.
    Unknown,
}

/// What the check of a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The verdict.
    pub result: VerdictResult,
    /// On how many keys this run has an acknowledged write.
    pub keys_written: u64,
    /// How many of them were chosen to be read back: all, or a random sample.
    pub keys_to_read_back: u64,
    /// Of these: the last acknowledged write is there.
    pub confirmed: u64,
    /// Of these: a write of unknown outcome is there, after the last acknowledged one.
    pub confirmed_later: u64,
    /// Of these: somebody else wrote after this run, so nothing can be said.
    pub foreign: u64,
    /// Of these: the read was not answered.
    pub unread: u64,
    /// How many answers, of load and reading back, were checked to agree with real time.
    pub answers_checked: u64,
    /// How many violations were seen.
    pub violations: u64,
    /// The first violations, as sentences.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Sums up. `records` are all keys with an acknowledged write, `findings` what reading the chosen ones back
    /// showed: `None` for one that was not answered.
    pub(crate) fn new(
        records: impl Iterator<Item = KeyRecord>,
        findings: &[Option<Result<Finding, Violation>>],
        order: &Order,
    ) -> Self {
        let (keys_written, among_writes) = check_writes(records);
        let broken = findings.iter().flatten().filter_map(|finding| finding.as_ref().err().cloned());
        let (during, first) = order.violations();
        let unlisted = during - first.len() as u64;
        let found: Vec<_> = first.into_iter().chain(broken).chain(among_writes).collect();
        let violations = found.len() as u64 + unlisted;
        let count = |wanted: Finding| {
            findings.iter().flatten().filter(|finding| **finding == Ok(wanted)).count() as u64
        };
        let unread = findings.iter().filter(|finding| finding.is_none()).count() as u64;
        let result = match (violations, unread) {
            (0, 0) => VerdictResult::Pass,
            (0, _) => VerdictResult::Unknown,
            _ => VerdictResult::Fail,
        };
        Self {
            result,
            keys_written,
            keys_to_read_back: findings.len() as u64,
            confirmed: count(Finding::Confirmed),
            confirmed_later: count(Finding::ConfirmedLater),
            foreign: count(Finding::Foreign),
            unread,
            answers_checked: order.answers(),
            violations,
            reasons: found.iter().take(Order::KEPT).map(Violation::to_string).collect(),
        }
    }
}

/// Counts the keys, and checks that their last writes have revisions of their own, in the order of their sequences.
fn check_writes(records: impl Iterator<Item = KeyRecord>) -> (u64, Vec<Violation>) {
    let (mut keys, mut violations, mut by_revision) = (0, Vec::new(), BTreeMap::new());
    for record in records {
        keys += 1;
        for write in record.last.iter().chain(&record.clashes) {
            if by_revision.insert(write.revision, write.sequence).is_some() {
                violations.push(Violation::SharedRevision { revision: write.revision });
            }
        }
    }
    let mut newest = None;
    for (revision, sequence) in by_revision {
        if newest.is_some_and(|newest| sequence < newest) {
            violations.push(Violation::Misordered { revision, sequence: sequence.0 });
        }
        newest = newest.max(Some(sequence));
    }
    (keys, violations)
}

#[cfg(test)]
mod tests {
    use pbft_messages::Sequence;

    use super::*;

    const KEY: u32 = 3;

    fn values() -> Values {
        Values::new(0xabcd, 40)
    }

    fn write(number: u64, revision: u64) -> Write {
        Write { number, revision, sequence: Sequence(revision / 2) }
    }

    fn entry(value: &[u8], mod_revision: u64) -> KeyValue {
        let value = value.to_vec().into();
        KeyValue { key: crate::keys::key(KEY), value, create_revision: 2, mod_revision, version: 1 }
    }

    /// A key whose last acknowledged write is 7 at revision 20; the outcome of write 9 is unknown.
    fn judged(found: Option<KeyValue>) -> Result<Finding, Violation> {
        let last = write(7, 20);
        let record = KeyRecord { last: Some(last), clashes: vec![], unknown: vec![9] };
        judge(&values(), KEY, &record, &last, found.as_ref())
    }

    fn ours(number: u64, revision: u64) -> Option<KeyValue> {
        Some(entry(&values().value(number), revision))
    }

    #[test]
    fn right_histories_are_confirmed() {
        assert_eq!(judged(ours(7, 20)), Ok(Finding::Confirmed));
        assert_eq!(judged(ours(9, 21)), Ok(Finding::ConfirmedLater));
        assert_eq!(judged(Some(entry(b"other", 21))), Ok(Finding::Foreign));
        assert_eq!(judged(Some(entry(&Values::new(1, 40).value(7), 21))), Ok(Finding::Foreign));
    }

    #[test]
    fn wrong_histories_are_seen() {
        let (key, revision) = (KEY, 20);
        assert_eq!(judged(None), Err(Violation::Missing { key, revision }));
        let by = "by an earlier write of this run";
        assert_eq!(judged(ours(5, 12)), Err(Violation::Lost { key, revision, found: 12, by }));
        // A write in doubt that took effect before the acknowledged one does not excuse that this one is gone.
        assert_eq!(judged(ours(9, 19)), Err(Violation::Lost { key, revision, found: 19, by }));
        let by = "by somebody else";
        assert_eq!(judged(Some(entry(b"other", 20))), Err(Violation::Lost { key, revision, found: 20, by }));
        assert_eq!(judged(ours(7, 25)), Err(Violation::Repeated { key, revision, found: 25 }));
        assert_eq!(judged(ours(7, 15)), Err(Violation::Repeated { key, revision, found: 15 }));
        assert_eq!(judged(ours(5, 25)), Err(Violation::Risen { key, revision, found: 25 }));
        let altered = entry(&values().value(7)[..39], 20);
        assert_eq!(judged(Some(altered)), Err(Violation::Altered { key }));
    }

    fn verdict(writes: &[Write], findings: &[Option<Result<Finding, Violation>>], order: &Order) -> Verdict {
        let records: Vec<_> =
            writes.iter().map(|write| KeyRecord { last: Some(*write), ..KeyRecord::default() }).collect();
        Verdict::new(records.into_iter(), findings, order)
    }

    #[test]
    fn a_verdict_counts() {
        let findings = [Finding::Confirmed, Finding::Confirmed, Finding::ConfirmedLater, Finding::Foreign]
            .map(|f| Some(Ok(f)));
        let writes = [write(1, 5), write(2, 4), write(3, 9), write(4, 8), write(5, 2)];
        let order = Order::default();
        let passed = verdict(&writes, &findings, &order);
        assert_eq!(passed.result, VerdictResult::Pass);
        assert_eq!((passed.keys_written, passed.keys_to_read_back), (5, 4));
        assert_eq!((passed.confirmed, passed.confirmed_later, passed.foreign), (2, 1, 1));
        assert_eq!(verdict(&writes, &[None], &order).result, VerdictResult::Unknown);
        let missing = Violation::Missing { key: 1, revision: 5 };
        let failed = verdict(&writes, &[None, Some(Err(missing))], &order);
        assert_eq!((failed.result, failed.violations, failed.unread), (VerdictResult::Fail, 1, 1));
        assert!(failed.reasons[0].contains("revision 5 is lost"), "{:?}", failed.reasons);
    }

    #[test]
    fn violations_under_load_fail_a_run_that_reads_back_well() {
        let order = Order::default();
        (0..25).for_each(|_| order.answered(Kind::Read, 9, 8));
        let failed = verdict(&[], &[Some(Ok(Finding::Confirmed))], &order);
        assert_eq!((failed.result, failed.violations), (VerdictResult::Fail, 25));
        assert_eq!(failed.reasons.len(), Order::KEPT);
        assert_eq!(
            failed.reasons[0],
            "a read was answered at revision 8, after revision 9 had been answered"
        );
    }

    #[test]
    fn revisions_are_unique_and_in_the_order_of_sequences() {
        let order = Order::default();
        let shared = verdict(&[write(1, 5), write(2, 5)], &[], &order);
        assert_eq!(shared.reasons, ["two writes were acknowledged at revision 5"]);
        let early = Write { number: 3, revision: 6, sequence: Sequence(9) };
        let late = Write { number: 4, revision: 7, sequence: Sequence(8) };
        assert_eq!(verdict(&[late, early], &[], &order).violations, 1);
        let batch = Write { sequence: Sequence(9), ..late };
        assert_eq!(
            verdict(&[batch, early], &[], &order).violations,
            0,
            "a batch's writes share its sequence"
        );
    }
}
