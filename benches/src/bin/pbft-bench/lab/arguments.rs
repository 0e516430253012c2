//! The command line of what starts testnets of its own.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use pbft_bench::Settings;
use pbft_messages::{Configuration, Submission};
use pbft_testnet::Durability;
use pbft_transport::ClientLimits;

use crate::arguments::Format;
use crate::duration;

/// What starts testnets of its own.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Experiment {
    /// Raise the load until throughput stops rising: throughput against latency, and the peak
    #[command(after_help = "\
Examples:
  pbft-bench sweep
  pbft-bench sweep --bundle 64 -z 10s --output results/bundles
  pbft-bench sweep --durability memory --most 64 -w json")]
    Sweep {
        #[command(flatten)]
        varied: Varied,
        #[command(flatten)]
        timed: Timed,
        /// How many replicas
        #[arg(short, env = "PBFT_REPLICAS", default_value_t = 4, value_parser = size(), value_name = "COUNT")]
        n: usize,
        /// How many requests go under one signature, 1 to 64
        #[arg(long, env = "PBFT_BUNDLE", default_value_t = 1, value_parser = bundle(), value_name = "COUNT")]
        bundle: usize,
        /// The most submissions under way; no more are tried than the connections' sessions take
        #[arg(long, env = "PBFT_MOST", default_value_t = 1024, value_name = "COUNT")]
        most: usize,
        /// By how much each load is larger than the one before
        #[arg(long, env = "PBFT_FACTOR", default_value_t = 2, value_name = "NUMBER")]
        factor: usize,
    },
    /// The same load on clusters of several sizes, beside the signature ceiling's own fall
    #[command(after_help = "Example: pbft-bench scale --sizes 4,7,10,13 --outstanding 256 -z 10s --rounds 5")]
    Scale {
        #[command(flatten)]
        varied: Varied,
        #[command(flatten)]
        timed: Timed,
        #[command(flatten)]
        offered: Offered,
        /// How many replicas; the others are compared with the first
        #[arg(long, env = "PBFT_SIZES", value_delimiter = ',', default_values_t = [4, 7, 10, 13], value_parser = size(), value_name = "COUNTS")]
        sizes: Vec<usize>,
        /// How many rounds: from three on, medians, and the least and the most, mean something
        #[arg(long, env = "PBFT_ROUNDS", default_value_t = 1, value_parser = count(), value_name = "COUNT")]
        rounds: usize,
    },
    /// Throughput and latency under attack, beside no attack; each attack on a cluster of its own
    #[command(after_help = "\
Examples:
  pbft-bench attack-matrix -z 30s --rounds 5
  pbft-bench attack-matrix --all -n 7
  pbft-bench attack-matrix --strategy silent --strategy slow:delay=40%

`pbft-testnet fault list` tells of all strategies.")]
    AttackMatrix {
        #[command(flatten)]
        varied: Varied,
        #[command(flatten)]
        timed: Timed,
        #[command(flatten)]
        offered: Offered,
        /// How many replicas
        #[arg(short, env = "PBFT_REPLICAS", default_value_t = 4, value_parser = size(), value_name = "COUNT")]
        n: usize,
        /// Every strategy but those that lie in view changes or while state is fetched: they have no opportunity here
        #[arg(long, env = "PBFT_ALL")]
        all: bool,
        /// This strategy only; may be repeated
        #[arg(long, env = "PBFT_STRATEGY", conflicts_with = "all", value_name = "STRATEGY")]
        strategy: Vec<String>,
        /// How long a malicious primary is watched: the others replace it after some time
        #[arg(long, env = "PBFT_PRIMARY_DURATION", default_value = "30s", value_parser = duration::positive, value_name = "TIME")]
        primary_duration: Duration,
        /// How many rounds: from three on, medians, and the least and the most, mean something
        #[arg(long, env = "PBFT_ROUNDS", default_value_t = 1, value_parser = count(), value_name = "COUNT")]
        rounds: usize,
    },
    /// Kill the primary under load again and again: how long service pauses
    #[command(after_help = "Example: pbft-bench failover --times 20 --output results/failover")]
    Failover {
        #[command(flatten)]
        varied: Varied,
        #[command(flatten)]
        offered: Offered,
        /// How many replicas
        #[arg(short, env = "PBFT_REPLICAS", default_value_t = 4, value_parser = size(), value_name = "COUNT")]
        n: usize,
        /// How often
        #[arg(long, env = "PBFT_TIMES", default_value_t = 20, value_parser = count(), value_name = "COUNT")]
        times: usize,
    },
    /// A long loaded run: whether memory stays flat, and no view changes
    #[command(after_help = "Example: pbft-bench soak --for 10m --keys 100000 --preload --outstanding 256")]
    Soak {
        #[command(flatten)]
        varied: Varied,
        #[command(flatten)]
        offered: Offered,
        /// How many replicas
        #[arg(short, env = "PBFT_REPLICAS", default_value_t = 4, value_parser = size(), value_name = "COUNT")]
        n: usize,
        /// How long
        #[arg(long = "for", env = "PBFT_FOR", default_value = "10m", value_parser = duration::positive, value_name = "TIME")]
        lasts: Duration,
        /// Write every key before the load begins
        #[arg(long, env = "PBFT_PRELOAD")]
        preload: bool,
    },
    /// Beside another system and the signature ceiling, turn by turn under the same load
    #[command(after_help = "\
Examples:
  pbft-bench compare etcd --rounds 5 -z 10s
  pbft-bench compare unreplicated --bundle 64 -c 32 --outstanding 32
  pbft-bench compare unreplicated -c 1 --outstanding 1 --durability memory      the latency of one request at a time")]
    Compare {
        /// The other system
        other: Other,
        #[command(flatten)]
        varied: Varied,
        #[command(flatten)]
        timed: Timed,
        #[command(flatten)]
        offered: Offered,
        /// How many replicas
        #[arg(short, env = "PBFT_REPLICAS", default_value_t = 4, value_parser = size(), value_name = "COUNT")]
        n: usize,
        /// How many turns each has
        #[arg(long, env = "PBFT_ROUNDS", default_value_t = 5, value_parser = count(), value_name = "COUNT")]
        rounds: usize,
    },
    /// All of it in a short form, in under five minutes, with the targets
    #[command(after_help = "Example: pbft-bench report --output results/today")]
    Report {
        #[command(flatten)]
        common: Common,
    },
}

/// What a cluster is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Other {
    /// 3 nodes of etcd, from PATH
    Etcd,
    /// The same service in one process, without agreement
    Unreplicated,
}

/// A load that does not change.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Offered {
    /// Submissions under way, over all connections
    #[arg(long, env = "PBFT_OUTSTANDING", default_value_t = 128, value_parser = count(), value_name = "COUNT")]
    pub(crate) outstanding: usize,
    /// How many requests go under one signature, 1 to 64
    #[arg(long, env = "PBFT_BUNDLE", default_value_t = 1, value_parser = bundle(), value_name = "COUNT")]
    pub(crate) bundle: usize,
}

/// Loads as long as one likes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Timed {
    /// How long each load lasts after the warm-up
    #[arg(short = 'z', long, env = "PBFT_DURATION", default_value = "5s", value_parser = duration::positive, value_name = "TIME")]
    pub(crate) duration: Duration,
}

/// What all but the short form of everything, which has a plan of its own, have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct Varied {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections that share the load, at most: each is a session of its own
    #[arg(short, long, env = "PBFT_CONNECTIONS", default_value_t = 16, value_parser = connections(), value_name = "COUNT")]
    pub(crate) connections: usize,
    /// Whether the replicas' votes, and the answers of others, wait for the disk
    #[arg(long, env = "PBFT_DURABILITY", value_enum, default_value_t)]
    pub(crate) durability: Durability,
}

/// What all have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// How long each load runs before anything is counted
    #[arg(long, env = "PBFT_WARMUP", default_value = "1s", value_parser = duration::parse, value_name = "TIME")]
    pub(crate) warmup: Duration,
    /// The client keys that the load comes from: the connections belong to them in turn
    #[arg(long, env = "PBFT_IDENTITIES", default_value_t = 1, value_parser = count(), value_name = "COUNT")]
    identities: usize,
    /// The bytes of a value
    #[arg(long, env = "PBFT_PAYLOAD", default_value_t = 100, value_name = "BYTES")]
    payload: usize,
    /// How many keys there are
    #[arg(long, env = "PBFT_KEYS", default_value_t = 10_000, value_name = "COUNT")]
    keys: u32,
    /// What all choices follow from [default: a new one, which the result tells]
    #[arg(long, env = "PBFT_SEED", value_name = "NUMBER")]
    seed: Option<u64>,
    /// How long a request waits for its answer
    #[arg(long, env = "PBFT_TIMEOUT", default_value = "20s", value_parser = duration::positive, value_name = "TIME")]
    timeout: Duration,
    /// The most keys to read back after each load, to see that they hold what was acknowledged
    #[arg(long, env = "PBFT_READ_BACK", default_value_t = 500, value_name = "COUNT")]
    read_back: usize,
    /// Keep report.html, report.json, and result.json and latency.hlog of each load in this folder
    #[arg(long, env = "PBFT_OUTPUT", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// How to print the result
    #[arg(short, long, env = "PBFT_WRITE_OUT", default_value = "table", value_name = "FORMAT")]
    pub(crate) write_out: Format,
    /// No progress
    #[arg(short, long, env = "PBFT_QUIET")]
    pub(crate) quiet: bool,
}

/// A number of things of which there is at least one.
fn count() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// How many replicas a cluster may have.
fn size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(4..=Configuration::MAXIMUM_REPLICAS as u64)
}

/// How many connections replicas take of the one client that these experiments are.
fn connections() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=ClientLimits::default().connections_per_client as u64)
}

/// How many requests a submission may have.
fn bundle() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=Submission::MAXIMUM_REQUESTS as u64)
}

impl Experiment {
    /// What it has in common with all others, and how its replicas keep what they acknowledge.
    pub(crate) fn common(&self) -> (&Common, Durability) {
        match self {
            // Tells of both.
            Self::Report { common } => (common, Durability::Sync),
            Self::Sweep { varied, .. }
            | Self::Scale { varied, .. }
            | Self::AttackMatrix { varied, .. }
            | Self::Failover { varied, .. }
            | Self::Soak { varied, .. }
            | Self::Compare { varied, .. } => (&varied.common, varied.durability),
        }
    }
}

impl Common {
    /// What all loads have in common. A seed is drawn if none was given.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            identities: self.identities,
            warmup: self.warmup,
            payload: self.payload,
            keys: self.keys,
            // 32 bits, since programs that read JSON may keep numbers as floats.
            seed: self.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            timeout: self.timeout,
            read_back: self.read_back,
            ..Settings::default()
        }
    }
}
