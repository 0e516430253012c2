//! How much memory and disk each replica needs, sampled while a trial runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use pbft_messages::ReplicaId;

use crate::{Folder, Testnet, TestnetError};

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one replica needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Which.
    pub replica: ReplicaId,
    /// Resident memory in bytes, while it ran.
    pub memory: Series,
    /// The data folder's size on disk in bytes, without what is written for people: the log, and the typed events,
    /// which have a limit of their own.
    pub disk: Series,
}

/// What a series of samples comes to. Quarters are by time; all is 0 if there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// The median of the first quarter.
    pub first: u64,
    /// The median of all.
    pub median: u64,
    /// The median of the last quarter.
    pub last: u64,
    /// The largest.
    pub max: u64,
}

impl Series {
    fn of(samples: &[u64]) -> Self {
        let quarter = samples.len().div_ceil(4);
        Self {
            first: median(&samples[..quarter]),
            median: median(samples),
            last: median(&samples[samples.len() - quarter..]),
            max: samples.iter().copied().max().unwrap_or(0),
        }
    }

    /// By how many percent the last quarter lies above the first; `None` if there was nothing to compare.
    #[must_use]
    pub fn growth_percent(&self) -> Option<f64> {
        (self.first > 0).then(|| (self.last as f64 / self.first as f64 - 1.0) * 100.0)
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Looks at the replicas until it is asked what it saw.
pub(super) struct Sampler {
    stop: tokio_util::sync::CancellationToken,
    looking: JoinHandle<Vec<Samples>>,
}

struct Samples {
    replica: ReplicaId,
    memory: Vec<u64>,
    disk: Vec<u64>,
}

impl Sampler {
    /// Begins once `warm_up` is over.
    pub(super) fn start(testnet: &Testnet, warm_up: Duration) -> Result<Self, TestnetError> {
        let testnet = Testnet::open(testnet.folder().path())?;
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        let looking = tokio::spawn(async move {
            let replicas = testnet.configuration().replicas();
            let empty = |replica| Samples { replica, memory: Vec::new(), disk: Vec::new() };
            let mut all: Vec<_> = replicas.map(empty).collect();
            let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + warm_up, INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stopped.cancelled() => return all,
                }
                // A state that cannot be read now can be in a second.
                let Ok(state) = testnet.state() else { continue };
                for samples in &mut all {
                    let process = state.living(samples.replica);
                    samples.memory.extend(process.and_then(|(process, _)| process.resident()));
                    samples.disk.push(stored(testnet.folder(), samples.replica));
                }
            }
        });
        Ok(Self { stop, looking })
    }

    /// Stops looking; what was seen.
    pub(super) async fn stop(self) -> Vec<Usage> {
        self.stop.cancel();
        // The task does not panic and is not aborted.
        let all = self.looking.await.unwrap_or_default();
        let usage = |it: Samples| Usage {
            replica: it.replica,
            memory: Series::of(&it.memory),
            disk: Series::of(&it.disk),
        };
        all.into_iter().map(usage).collect()
    }
}

fn stored(folder: &Folder, replica: ReplicaId) -> u64 {
    let [older, newer] = folder.events(replica);
    let for_people = [folder.log(replica), older, newer];
    let for_people = for_people.iter().filter_map(|path| fs::metadata(path).ok());
    let for_people: u64 = for_people.map(|file| file.blocks() * 512).sum();
    size(&folder.replica(replica)).saturating_sub(for_people)
}

/// What a folder takes on disk. A file that vanishes meanwhile takes nothing.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let each = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_compares_the_last_quarter_with_the_first() {
        let series = Series::of(&[100, 102, 500, 90, 100, 110, 110, 112]);
        assert_eq!(series, Series { first: 102, median: 110, last: 112, max: 500 });
        assert!((series.growth_percent().unwrap() - 9.8).abs() < 0.01);
        assert_eq!(Series::of(&[]).growth_percent(), None);
    }

    #[test]
    fn a_folder_has_a_size() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), [7; 10_000]).unwrap();
        assert!((10_000..100_000).contains(&size(folder.path())));
    }
}
