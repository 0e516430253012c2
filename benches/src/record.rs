//! How a result came about, so that it can be judged and repeated.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use pbft_client::ReadPath;
use pbft_messages::Configuration;

use crate::keys::Distribution;
use crate::run::Remarks;
use crate::settings::{Arrivals, Extent, Pace, Settings};
use crate::values::Values;
use crate::workload::Workload;

/// How the replicas keep what they acknowledge, as the user says: a client cannot see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nobody said.
    #[default]
    Unknown,
    /// On disk before it is acknowledged.
    Sync,
    /// In memory only.
    Memory,
}

/// How a result came about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// This package's version.
    pub version: &'static str,
    /// The git revision that this program was built from, with `-dirty` if files differed from it; `null` if it was
    /// built outside a checkout. The replicas may be of another one.
    pub revision: Option<&'static str>,
    /// The name of the processor of the machine that the load came from; `null` if the system does not tell.
    pub processor: Option<String>,
    /// How many of its cores this program may use.
    pub cores: Option<usize>,
    /// Whether this program was optimized when it was built.
    pub optimized: bool,
    /// When the load began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// What the run's values begin with.
    pub run_id: String,
    /// As told by the user.
    pub durability: Durability,
    /// What the user has to say.
    pub note: Option<String>,
    /// The cluster.
    pub cluster: ClusterRecord,
    /// The settings.
    pub settings: SettingsRecord,
}

/// The cluster of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterRecord {
    /// Its name.
    pub name: String,
    /// How many replicas it has.
    pub n: usize,
    /// How many of them may be faulty.
    pub f: usize,
}

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingsRecord {
    /// Concurrent sessions.
    pub connections: usize,
    /// How many clients they belong to.
    pub identities: usize,
    /// How many bundles a session has under way at a time, at most.
    pub pipeline: usize,
    /// How many requests are sent under one signature.
    pub bundle: usize,
    /// Requests a second of an open loop; `null` if the loop is closed.
    pub rate_per_s: Option<f64>,
    /// `"poisson"` or `"constant"`; `null` if the loop is closed.
    pub arrivals: Option<&'static str>,
    /// How long the load was to last; `null` if `requests` ended it.
    pub duration_s: Option<f64>,
    /// How many requests were to be sent; `null` if `duration_s` ended it.
    pub requests: Option<u64>,
    /// How long the load ran before anything was counted.
    pub warmup_s: f64,
    /// The bytes of a value.
    pub payload: usize,
    /// The parts of the requests; what they leave of 1 is updates.
    pub workload: Workload,
    /// How reads and scans went: `"ordered"` or `"unordered"`.
    pub read_path: &'static str,
    /// Whether all keys were written before the load.
    pub preload: bool,
    /// How many keys there are at the start.
    pub keys: u32,
    /// How keys are chosen.
    pub key_distribution: Distribution,
    /// What the choices follow from.
    pub seed: u64,
    /// How long a request waits for its answer.
    pub timeout_s: f64,
    /// The most keys to read back.
    pub read_back: usize,
}

impl Record {
    /// The record of a run that begins now.
    pub(crate) fn new(
        settings: &Settings,
        cluster: &Configuration,
        values: &Values,
        remarks: Remarks,
    ) -> Self {
        let Remarks { durability, note } = remarks;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: option_env!("PBFT_BUILD_REVISION"),
            processor: cpuinfo.as_deref().and_then(processor),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            optimized: !cfg!(debug_assertions),
            started_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            run_id: values.run_id(),
            durability,
            note,
            cluster: ClusterRecord { name: cluster.name().to_owned(), n: cluster.n(), f: cluster.f() },
            settings: settings.into(),
        }
    }
}

impl From<&Settings> for SettingsRecord {
    fn from(settings: &Settings) -> Self {
        let (duration_s, requests) = match settings.extent {
            Extent::Lasts(duration) => (Some(duration.as_secs_f64()), None),
            Extent::Requests(count) => (None, Some(count)),
        };
        let (rate_per_s, arrivals) = match settings.pace {
            Pace::Closed => (None, None),
            Pace::Open { rate, arrivals: Arrivals::Poisson } => (Some(rate), Some("poisson")),
            Pace::Open { rate, arrivals: Arrivals::Constant } => (Some(rate), Some("constant")),
        };
        Self {
            connections: settings.connections,
            identities: settings.identities,
            pipeline: settings.pipeline,
            bundle: settings.bundle,
            rate_per_s,
            arrivals,
            duration_s,
            requests,
            warmup_s: settings.warmup.as_secs_f64(),
            payload: settings.payload,
            workload: settings.workload,
            read_path: match settings.read_path {
                ReadPath::Ordered => "ordered",
                ReadPath::Unordered => "unordered",
            },
            preload: settings.preload,
            keys: settings.keys,
            key_distribution: settings.workload.distribution,
            seed: settings.seed,
            timeout_s: settings.timeout.as_secs_f64(),
            read_back: settings.read_back,
        }
    }
}

/// The processor's name in the text of `/proc/cpuinfo`.
fn processor(cpuinfo: &str) -> Option<String> {
    let named = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut names = named.filter(|(field, _)| field.trim() == "model name").map(|(_, name)| name.trim());
    names.find(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_found() {
        let text = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A Processor @ 2.00GHz\n\nmodel name\t: B\n";
        assert_eq!(processor(text).as_deref(), Some("A Processor @ 2.00GHz"));
        assert_eq!(processor("processor : 0\nCPU part : 0xd0c\n"), None);
    }
}
