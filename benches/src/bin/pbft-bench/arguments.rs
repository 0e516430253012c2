//! The command line as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use pbft_bench::{Arrivals, Distribution, Durability, Extent, Pace, Settings, Workload, Ycsb};
use pbft_client::ReadPath;
use pbft_messages::Configuration;

use crate::duration;
use crate::lab::Experiment;

const EXAMPLES: &str = "\
Examples:
  pbft-bench --cluster /path/to/cluster.toml -c 32 -z 10s
  pbft-bench -c 1 -n 10000 -w table
  pbft-bench -c 64 -z 1m --read-ratio 0.5 --payload 1000 -w json
  pbft-bench -c 64 --pipeline 8 -z 30s                 eight requests under way on each connection
  pbft-bench -c 32 --bundle 64                         64 requests under each signature
  pbft-bench --rate 2000 -z 1m                         2000 requests a second, whatever comes of them
  pbft-bench --workload b --keys 100000                YCSB's workload B
  pbft-bench -z 30s --durability sync --note 'after the change' --output results/one
  pbft-bench report --output results/all               all that there is to measure, on testnets that it starts itself

Without --rate the loop is closed: a connection sends when an earlier request is answered, so latency excludes time that
a request would have waited for its turn. With --rate it is open: latency runs from the time at which a request was due.

Exit codes:
  0 fine, 1 error, 2 no connection, 3 bad input, 4 outcome unknown: no request was answered in time, or the keys
  could not be read back, 5 interrupted, 99 the cluster lost or changed what it had acknowledged";

/// How long the load lasts if nothing is said.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// Loads a PBFT cluster, measures throughput and latency, and checks that nothing acknowledged is lost.
#[derive(Debug, Parser)]
#[command(name = "pbft-bench", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a script for a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Experiment(Experiment),
    /// One replica of a testnet
    #[command(hide = true)]
    Replica(pbft_testnet::ReplicaArguments),
    /// The service without replication
    #[command(hide = true)]
    Unreplicated(pbft_bench::references::UnreplicatedArguments),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The file that describes the cluster
    #[arg(long, env = "PBFT_CLUSTER", default_value = "cluster.toml", value_name = "FILE")]
    pub(crate) cluster: PathBuf,
    /// The client's secret key [default: client.key beside the cluster file]
    #[arg(long = "key", env = "PBFT_KEY", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Concurrent connections, each with a session of its own
    #[arg(short, long, env = "PBFT_CONNECTIONS", default_value_t = 32, value_name = "COUNT")]
    connections: usize,
    /// The client keys that the connections belong to, in turn: --key, and spare-client-0.key and so on beside it
    #[arg(long, env = "PBFT_IDENTITIES", default_value_t = 1, value_name = "COUNT")]
    identities: usize,
    /// How many bundles each connection has under way [default: 1, with --rate as many as the cluster takes]
    #[arg(long, env = "PBFT_PIPELINE", value_name = "COUNT")]
    pipeline: Option<usize>,
    /// How many requests go under one signature, 1 to 64; each is executed and answered by itself
    #[arg(long, env = "PBFT_BUNDLE", default_value_t = 1, value_name = "COUNT")]
    bundle: usize,
    /// Send so many requests a second, whether or not earlier ones are answered (open loop)
    #[arg(long, env = "PBFT_RATE", value_name = "PER-SECOND")]
    rate: Option<f64>,
    /// How the bundles of an open loop follow each other
    #[arg(long, env = "PBFT_ARRIVALS", default_value = "poisson", value_name = "KIND")]
    arrivals: ArrivalsTold,
    /// How long the load lasts after the warm-up, as in 10s, 500ms, 2m [default: 10s]
    #[arg(short = 'z', long, env = "PBFT_DURATION", value_parser = duration::positive, value_name = "TIME")]
    duration: Option<Duration>,
    /// How many requests to send after the warm-up, instead of a duration
    #[arg(short = 'n', long, env = "PBFT_REQUESTS", value_name = "COUNT")]
    requests: Option<u64>,
    /// How long to run before anything is counted
    #[arg(long, env = "PBFT_WARMUP", default_value = "1s", value_parser = duration::parse, value_name = "TIME")]
    warmup: Duration,
    /// The bytes of a value
    #[arg(long, env = "PBFT_PAYLOAD", default_value_t = 100, value_name = "BYTES")]
    payload: usize,
    /// The part of the requests that read, from 0 to 1; the others write
    #[arg(long, env = "PBFT_READ_RATIO", default_value_t = 0.0, value_name = "RATIO")]
    read_ratio: f64,
    /// How reads and scans go
    #[arg(long, env = "PBFT_READ_PATH", default_value = "ordered", value_name = "PATH")]
    read_path: ReadPathTold,
    /// A workload of YCSB: sets the mix, the distribution and --preload
    #[arg(long, env = "PBFT_WORKLOAD", value_name = "LETTER", conflicts_with_all = ["read_ratio", "distribution"])]
    workload: Option<YcsbTold>,
    /// How many keys there are
    #[arg(long, env = "PBFT_KEYS", default_value_t = 10_000, value_name = "COUNT")]
    keys: u32,
    /// How likely each key is
    #[arg(long, env = "PBFT_DISTRIBUTION", default_value = "uniform", value_name = "KIND")]
    distribution: DistributionTold,
    /// Write all keys before the load
    #[arg(long, env = "PBFT_PRELOAD")]
    preload: bool,
    /// What the choice of keys and of reads follows from [default: a new one, which the result tells]
    #[arg(long, env = "PBFT_SEED", value_name = "NUMBER")]
    seed: Option<u64>,
    /// How long a request waits for its answer
    #[arg(long, env = "PBFT_TIMEOUT", default_value = "20s", value_parser = duration::positive, value_name = "TIME")]
    timeout: Duration,
    /// The most keys to read back at the end, to see that they hold what was acknowledged
    #[arg(long, env = "PBFT_READ_BACK", default_value_t = 2000, value_name = "COUNT")]
    read_back: usize,
    /// How the replicas were started, for the record: a client cannot see it
    #[arg(long, env = "PBFT_DURABILITY", default_value = "unknown", value_name = "KIND")]
    pub(crate) durability: DurabilityTold,
    /// Something to remember this run by, for the record
    #[arg(long, env = "PBFT_NOTE", value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Write result.json and latency.hlog (HDR histograms) into this folder
    #[arg(long, env = "PBFT_OUTPUT", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// How to print the result
    #[arg(short, long, env = "PBFT_WRITE_OUT", default_value = "simple", value_name = "FORMAT")]
    pub(crate) write_out: Format,
    /// Log to standard error; more with -vv and -vvv
    #[arg(short, long, env = "PBFT_VERBOSE", action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Neither logs nor progress, whatever -v says
    #[arg(short, long, env = "PBFT_QUIET")]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A few lines of text
    Simple,
    /// Tables
    Table,
    /// One JSON document
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityTold {
    /// Not known
    Unknown,
    /// On disk before it is acknowledged
    Sync,
    /// In memory only
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadPathTold {
    /// Agreed on in order, like a write
    Ordered,
    /// Each replica answers for itself, and a quorum must agree; ordered after all if it does not
    Unordered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ArrivalsTold {
    /// As of many clients that know nothing of each other
    Poisson,
    /// Evenly
    Constant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DistributionTold {
    /// All keys alike
    Uniform,
    /// Few keys take most requests: Zipf's law with 0.99
    Zipfian,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YcsbTold {
    /// Half reads, half updates; zipfian
    A,
    /// 95% reads, 5% updates; zipfian
    B,
    /// Reads only; zipfian
    C,
    /// 95% reads of the latest keys, 5% inserts
    D,
    /// 95% scans of up to 100 keys, 5% inserts; zipfian
    E,
    /// Half reads, half read-modify-writes, each in one transaction; zipfian
    F,
}

impl From<DurabilityTold> for Durability {
    fn from(told: DurabilityTold) -> Self {
        match told {
            DurabilityTold::Unknown => Self::Unknown,
            DurabilityTold::Sync => Self::Sync,
            DurabilityTold::Memory => Self::Memory,
        }
    }
}

impl Arguments {
    /// Reads the command line and the environment.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::from_matches(&Self::command().try_get_matches()?)
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self::from_arg_matches(matches)?;
        let Options { duration, requests, .. } = &mut arguments.options;
        if duration.is_some() && requests.is_some() {
            // What is typed counts more than what the environment says of every run.
            let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
            match (typed("duration"), typed("requests")) {
                (true, false) => *requests = None,
                (false, true) => *duration = None,
                _ => {
                    return Err(Self::command().error(
                        clap::error::ErrorKind::ArgumentConflict,
                        "--duration (-z) and --requests (-n) exclude each other: give one of them",
                    ));
                }
            }
        }
        Ok(arguments)
    }
}

impl Options {
    /// What the run is to do with this cluster. A seed is drawn if none was given.
    pub(crate) fn settings(&self, cluster: &Configuration) -> Settings {
        let extent = match self.requests {
            Some(count) => Extent::Requests(count),
            None => Extent::Lasts(self.duration.unwrap_or(DEFAULT_DURATION)),
        };
        let window = usize::try_from(cluster.parameters().session_window).unwrap_or(usize::MAX);
        let (pace, pipeline) = match self.rate {
            Some(rate) => (Pace::Open { rate, arrivals: self.arrivals.into() }, window / self.bundle.max(1)),
            None => (Pace::Closed, 1),
        };
        Settings {
            connections: self.connections,
            identities: self.identities,
            pipeline: self.pipeline.unwrap_or(pipeline),
            bundle: self.bundle,
            pace,
            extent,
            warmup: self.warmup,
            payload: self.payload,
            workload: self.workload(),
            read_path: self.read_path.into(),
            preload: self.preload || self.workload.is_some(),
            keys: self.keys,
            // 32 bits, since programs that read JSON may keep numbers as floats.
            seed: self.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            timeout: self.timeout,
            read_back: self.read_back,
        }
    }

    fn workload(&self) -> Workload {
        let plain = Workload::reading(self.read_ratio);
        match (self.workload, self.distribution) {
            (Some(name), _) => Workload::ycsb(name.into()),
            (None, DistributionTold::Uniform) => plain,
            (None, DistributionTold::Zipfian) => Workload { distribution: Distribution::Zipfian, ..plain },
        }
    }
}

impl From<YcsbTold> for Ycsb {
    fn from(told: YcsbTold) -> Self {
        match told {
            YcsbTold::A => Self::A,
            YcsbTold::B => Self::B,
            YcsbTold::C => Self::C,
            YcsbTold::D => Self::D,
            YcsbTold::E => Self::E,
            YcsbTold::F => Self::F,
        }
    }
}

impl From<ReadPathTold> for ReadPath {
    fn from(told: ReadPathTold) -> Self {
        match told {
            ReadPathTold::Ordered => Self::Ordered,
            ReadPathTold::Unordered => Self::Unordered,
        }
    }
}

impl From<ArrivalsTold> for Arrivals {
    fn from(told: ArrivalsTold) -> Self {
        match told {
            ArrivalsTold::Poisson => Self::Poisson,
            ArrivalsTold::Constant => Self::Constant,
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{SecretKey, Signer as _};
    use pbft_messages::{Member, Parameters};

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, clap::Error> {
        let matches = Arguments::command().try_get_matches_from([&["pbft-bench"], arguments].concat())?;
        Ok(Arguments::from_matches(&matches)?.options)
    }

    /// What a run would do with a cluster that has the usual parameters.
    fn settings(options: &Options) -> Settings {
        let member = |index: u8| Member {
            key: SecretKey::from_seed(&[index + 1; 32]).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + u16::from(index)).into(),
            client_address: ([127, 0, 0, 1], 2000 + u16::from(index)).into(),
        };
        let members = (0..4).map(member).collect();
        options.settings(&Configuration::new("test".into(), members, [], Parameters::default()).unwrap())
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_promised_spelling_works() {
        let options =
            parsed(&["--cluster", "d/cluster.toml", "-c", "8", "-z", "500ms", "-w", "json"]).unwrap();
        let settings = settings(&options);
        assert_eq!(options.write_out, Format::Json);
        assert_eq!(settings.connections, 8);
        assert_eq!(settings.extent, Extent::Lasts(Duration::from_millis(500)));
        assert_eq!((settings.payload, settings.keys, settings.warmup), (100, 10_000, Duration::from_secs(1)));
    }

    #[test]
    fn a_duration_and_a_number_exclude_each_other() {
        assert_eq!(settings(&parsed(&["-n", "5"]).unwrap()).extent, Extent::Requests(5));
        assert_eq!(settings(&parsed(&[]).unwrap()).extent, Extent::Lasts(DEFAULT_DURATION));
        let error = parsed(&["-n", "5", "-z", "5s"]).unwrap_err().to_string();
        assert!(error.contains("exclude each other"), "{error}");
    }

    #[test]
    fn an_open_loop_fills_the_window_and_a_closed_one_has_one_under_way() {
        let of = |arguments: &[&str]| settings(&parsed(arguments).unwrap());
        let open = of(&["--rate", "2000", "--bundle", "8"]);
        assert_eq!(open.pace, Pace::Open { rate: 2000.0, arrivals: Arrivals::Poisson });
        assert_eq!((open.pipeline, open.bundle), (8, 8));
        assert_eq!(of(&["--rate", "2000", "--pipeline", "3"]).pipeline, 3);
        assert_eq!((of(&[]).pace, of(&[]).pipeline), (Pace::Closed, 1));
    }

    #[test]
    fn a_workload_of_ycsb_brings_all_that_it_needs() {
        let ycsb = settings(&parsed(&["--workload", "d"]).unwrap());
        assert_eq!((ycsb.workload, ycsb.preload), (Workload::ycsb(Ycsb::D), true));
        let zipfian = settings(&parsed(&["--distribution", "zipfian", "--read-ratio", "0.5"]).unwrap());
        assert_eq!((zipfian.workload, zipfian.preload), (Workload::ycsb(Ycsb::A), false));
        assert!(parsed(&["--workload", "a", "--read-ratio", "0.5"]).is_err());
    }

    #[test]
    fn completions_stand_alone() {
        let words = ["pbft-bench", "completions", "bash"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert!(matches!(arguments.command, Some(Command::Completions { .. })));
    }
}
