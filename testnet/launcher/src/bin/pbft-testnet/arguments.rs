//! What the command line takes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use pbft_messages::ReplicaId;
use pbft_testnet::{Durability, ReplicaArguments};

const EXAMPLES: &str = "\
Without a command it does the main job: starts a cluster, drives load, kills the primary, makes another one lie, \
and judges what the clients saw.

Examples:
  pbft-testnet                            the main job with 4 replicas
  pbft-testnet -n 7 --output out          with 7; out/report.json tells all
  pbft-testnet run testnet/manifests/*.toml    trials that are written down; `run --help` tells how
  pbft-testnet up -n 4 --dir /tmp/net     a cluster that goes on running
  pbft-testnet kill r0 --dir /tmp/net
  pbft-testnet wipe-disk r2 --dir /tmp/net
  pbft-testnet fault set r1 equivocate --dir /tmp/net
  pbft-testnet evidence --dir /tmp/net
  pbft-testnet down --dir /tmp/net

Exit codes: 0 fine, 1 error, 2 not running or no answer, 3 bad input, 5 unhealthy or interrupted, 99 the verdict failed";

const RUN_HELP: &str = "\
A manifest:
  name = \"wipe\"
  nodes = 4
  duration = \"20s\"                          # of the load, after the preloading
  late = []                                  # replicas that only a step starts
  preload = { keys = 200000, value_bytes = 100 }
  load = { sessions = 4, depth = 2 }

  [[step]]                                   # action: kill pause resume restart wipe-disk start fault
  at = \"4s\"                                  # target: r0 r1 … primary all next (r0, then r1, and so on)
  action = \"wipe-disk\"                       # fault = \"silent\" or \"clear\", with action = \"fault\"
  target = \"r2\"                              # every = \"5s\", repeat = 3: the same again

  [expect]                                   # always: no acknowledged write is lost, nobody else is accused
  all_equal_within = \"10s\"                   # after the load
  caught_up_within = \"15s\"                   # after each return of a replica, under load
  pause_at_most = \"2s\"
  throughput_at_least = 100
  accused = []                               # who must be proven guilty

Examples:
  pbft-testnet run testnet/manifests/wipe-disk.toml
  pbft-testnet run testnet/manifests/*.toml -w json

A manifest that is no good ends everything with 3 before anything is started; an expectation that does not hold
ends with 99 after the others have run, and that cluster's files are kept";

/// Local PBFT clusters as real processes, and faults to try on them.
#[derive(Debug, Parser)]
#[command(name = "pbft-testnet", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) job: JobArguments,
    /// More of what happens inside; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// No progress
    #[arg(short, long, global = true, env = "PBFT_QUIET", conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The main job's.
#[derive(Debug, Args)]
pub(crate) struct JobArguments {
    /// How many replicas
    #[arg(short, default_value_t = 4, env = "PBFT_TESTNET_N")]
    pub(crate) n: usize,
    /// Write report.json into this folder
    #[arg(long, value_name = "DIR", env = "PBFT_TESTNET_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    /// The seed of the load's choices; random if left out
    #[arg(long, env = "PBFT_TESTNET_SEED")]
    pub(crate) seed: Option<u64>,
    /// How many records to load first
    #[arg(long, default_value_t = 1000, env = "PBFT_TESTNET_RECORDS")]
    pub(crate) records: usize,
    /// How many client sessions; each has two operations under way
    #[arg(long, default_value_t = 6, env = "PBFT_TESTNET_SESSIONS", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) sessions: u16,
    /// How many milliseconds of undisturbed traffic come before and after each fault
    #[arg(long, default_value_t = 2000, value_name = "MS", env = "PBFT_TESTNET_CALM")]
    pub(crate) calm: u64,
    /// How many seconds to wait for an answer, a view change or a replica before the verdict is that it failed
    #[arg(long, default_value_t = 30, value_name = "S", env = "PBFT_TESTNET_PATIENCE", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) patience: u32,
}

/// How to damage a disk.
#[derive(Debug, Args)]
pub(crate) struct DamageArguments {
    /// How many times
    #[arg(long, default_value_t = 200, env = "PBFT_TESTNET_TRIES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tries: u32,
    /// The seed that chooses files and bytes; random if left out
    #[arg(long, env = "PBFT_TESTNET_SEED")]
    pub(crate) seed: Option<u64>,
    /// How to print
    #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
    pub(crate) write: Format,
}

/// Which testnet.
#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// The testnet's folder
    #[arg(long, env = "PBFT_TESTNET_DIR")]
    pub(crate) dir: PathBuf,
}

/// One replica of a testnet.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Which: r0, r1, …
    #[arg(value_name = "rN")]
    pub(crate) replica: ReplicaId,
    #[command(flatten)]
    pub(crate) at: Dir,
}

/// How far to go.
#[derive(Debug, Args)]
pub(crate) struct Beyond {
    /// Even if more replicas are faulty then than the cluster tolerates
    #[arg(long)]
    pub(crate) allow_exceed_f: bool,
}

/// A testnet, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    #[command(flatten)]
    pub(crate) at: Dir,
    /// How to print
    #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
    pub(crate) write: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Plain lines
    Simple,
    /// A table
    #[default]
    Table,
    /// One line of JSON
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run trials from manifests, one after the other, each on a cluster of its own
    #[command(after_help = RUN_HELP)]
    Run {
        /// TOML files: the cluster, its load, what is done to it when, and what must hold
        #[arg(required = true, value_name = "MANIFEST")]
        manifests: Vec<PathBuf>,
        /// How to print
        #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
        write: Format,
    },
    /// Change one byte of a stopped replica's disk and start it, again and again: it must refuse and name the remedy,
    /// or come to the others' state
    Damage(DamageArguments),
    /// Start a testnet; returns when every replica serves, and they go on running
    Up {
        #[command(flatten)]
        at: Dir,
        /// How many replicas, at least 4; by default 4, or as many as the folder's testnet has
        #[arg(short, env = "PBFT_TESTNET_N")]
        n: Option<usize>,
        /// Whether votes wait for the disk; by default sync, or as the folder's testnet was started first
        #[arg(long, value_enum, env = "PBFT_TESTNET_DURABILITY")]
        durability: Option<Durability>,
    },
    /// Where every replica stands
    Status(Shown),
    /// End a replica's process with SIGKILL
    Kill(One),
    /// Stop a replica's process where it is (SIGSTOP)
    Pause(One),
    /// Let a paused replica go on
    Resume(One),
    /// Start a replica from its disk, after killing it if it runs; returns when it listens
    Restart(One),
    /// Lose a replica's disk: kill it, remove all that it stored but its key, and let it rejoin with that key
    WipeDisk {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        beyond: Beyond,
    },
    /// Make replicas misbehave
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Who lied, verified anew from public keys
    Evidence(Shown),
    /// Every replica's typed events as JSON lines, merged by time
    Events {
        #[command(flatten)]
        at: Dir,
        /// Go on with those to come
        #[arg(short, long)]
        follow: bool,
    },
    /// A replica's log
    Logs {
        #[command(flatten)]
        one: One,
        /// Go on with what is to come
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop every replica; leaves no process
    Down(Dir),
    /// Put each fault that others shipped back into the code, and show that its test fails
    Mutants {
        /// Only these
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Print a script that completes this command in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Run one replica, for testnets themselves
    #[command(hide = true)]
    Replica(ReplicaArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Make a running replica follow a malicious strategy, from its next message on
    Set {
        /// Which: r0, r1, …
        #[arg(value_name = "rN")]
        replica: ReplicaId,
        /// silent, equivocate, slow, …: `fault list` describes them, and what may follow a name
        strategy: String,
        #[command(flatten)]
        at: Dir,
        #[command(flatten)]
        beyond: Beyond,
    },
    /// Let a replica behave again
    Clear(One),
    /// The strategies, and who follows which
    List(Shown),
}
