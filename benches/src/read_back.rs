//! Reads what was acknowledged, for the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use pbft_client::KvClient;

use crate::journal::{Journal, KeyRecord, Write};
use crate::keys::key;
use crate::load::Run;
use crate::settings::Settings;
use crate::tally::Kind;
use crate::verdict::{Finding, Verdict, Violation, judge};

/// A key to be read back, with what is known of it.
struct Chosen {
    key: u32,
    record: KeyRecord,
    last: Write,
}

type Judged = (usize, Result<Finding, Violation>);

/// Reads keys with acknowledged writes, all or as many as the settings say, with reads that are ordered like any
/// request, and judges what is there.
///
/// A session ends with the first read that is not answered, and leaves the rest to the others; so with a cluster that
/// is down this takes one time-out, not one for each key. After an interruption, what is not read yet stays unread.
pub(crate) async fn read_back(run: &Run<'_>, journal: &Journal, interrupt: &CancellationToken) -> Verdict {
    let Run { settings, values, sessions, order } = *run;
    let chosen = Arc::new(choose(settings, journal));
    let next = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for client in sessions {
        let (store, values, order) = (KvClient::new(client.clone()), values.clone(), order.clone());
        let (chosen, next, interrupt) = (chosen.clone(), next.clone(), interrupt.clone());
        readers.spawn(async move {
            let mut judged: Vec<Judged> = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(Chosen { key: number, record, last }) = chosen.get(index) else { break };
                let newest_before = order.newest();
                let done = tokio::select! {
                    done = store.get(key(*number)) => done,
                    () = interrupt.cancelled() => break,
                };
                let Ok(done) = done else { break };
                order.answered(Kind::Read, newest_before, done.revision);
                judged.push((index, judge(&values, *number, record, last, done.answer.as_ref())));
            }
            judged
        });
    }
    let mut findings = vec![None; chosen.len()];
    while let Some(judged) = readers.join_next().await {
        // A reader neither panics nor is aborted; if it did, its keys count as not read.
        for (index, finding) in judged.unwrap_or_default() {
            findings[index] = Some(finding);
        }
    }
    Verdict::new(journal.acknowledged().map(|(_, record)| record), &findings, order)
}

/// All keys with an acknowledged write, or a random sample of them.
fn choose(settings: &Settings, journal: &Journal) -> Vec<Chosen> {
    let all: Vec<_> = journal.acknowledged().collect();
    let amount = settings.read_back.min(all.len());
    let mut random = StdRng::seed_from_u64(settings.seed);
    let indices = rand::seq::index::sample(&mut random, all.len(), amount);
    let chosen = indices.iter().filter_map(|index| {
        let (key, record) = &all[index];
        Some(Chosen { key: *key, last: record.last?, record: record.clone() })
    });
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pbft_messages::Sequence;

    use super::*;
    use crate::settings::tests::settings;

    #[test]
    fn a_sample_has_distinct_keys_and_the_size_asked_for() {
        let mut journal = Journal::default();
        for key in 0..100 {
            let write = Write { number: key.into(), revision: key.into(), sequence: Sequence(1) };
            journal.acknowledge(key, write);
        }
        journal.doubt(100, 5);
        let keys = |read_back| {
            let chosen = choose(&Settings { read_back, ..settings() }, &journal);
            chosen.iter().map(|chosen| chosen.key).collect::<BTreeSet<_>>()
        };
        assert_eq!(keys(10).len(), 10);
        assert_eq!(keys(1000), (0..100).collect());
    }
}
