//! What the command line takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Id, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use pbft_messages::ReplicaId;
use pbft_testnet::network::{Partition, Shape};
use pbft_testnet::units::Time;
use pbft_testnet::{Durability, ReplicaArguments};

use crate::generators::{ByzzFuzzArguments, TwinsArguments};
use crate::help;
use crate::mutants::MutantsArguments;
use crate::sim::SimArguments;

/// Local PBFT clusters as real processes, and faults to try on them.
#[derive(Debug, Parser)]
#[command(name = "pbft-testnet", version, after_help = help::EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) job: JobArguments,
    /// More of what happens inside; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// No progress
    #[arg(short, long, global = true, env = "PBFT_QUIET")]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Arguments {
    /// Reads the command line. The main job's options are no command's.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(words)?;
        if let Some((name, _)) = matches.subcommand() {
            let job = JobArguments::augment_args(clap::Command::new("job"));
            let given = |it: &&Id| matches.value_source(it.as_str()) == Some(ValueSource::CommandLine);
            let ids: Vec<_> = job.get_arguments().map(|it| it.get_id().clone()).collect();
            if let Some(id) = ids.iter().find(given) {
                let why = format!(
                    "{id} before {name} is the main job's: the command's own options follow its name"
                );
                return Err(command.error(ErrorKind::ArgumentConflict, why));
            }
        }
        Self::from_arg_matches(&matches)
    }
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

/// What is wrong with whom.
#[derive(Debug, Args)]
pub(crate) struct SetFault {
    /// Which: r0, r1, …
    #[arg(value_name = "rN")]
    pub(crate) replica: ReplicaId,
    /// A strategy, such as equivocate or slow+silent (`fault list` describes them), or `network`
    #[arg(value_name = "STRATEGY|network")]
    pub(crate) fault: String,
    /// A parameter of the strategy, such as delay=300ms; may be given again
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// Who colludes: the replica gets their keys, and they count as faulty too
    #[arg(long, value_name = "rN,…", value_delimiter = ',')]
    pub(crate) accomplices: Vec<ReplicaId>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Of the network, only the links to these; to all others if left out
    #[arg(long, value_name = "rN,…", value_delimiter = ',')]
    pub(crate) peers: Vec<ReplicaId>,
    /// How long it lasts; until it is cleared, or the replica restarts, if left out
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) last: Option<Time>,
    #[command(flatten)]
    pub(crate) at: Dir,
    #[command(flatten)]
    pub(crate) beyond: Beyond,
}

/// Which malicious client to be.
#[derive(Debug, Args)]
pub(crate) struct AttackArguments {
    /// A client's strategy, with parameters: `fault list` describes them
    #[arg(value_name = "CLIENT-STRATEGY")]
    pub(crate) strategy: String,
    /// How long it lasts; until Ctrl-C if left out
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) last: Option<Time>,
    /// How many identities it has
    #[arg(long, default_value_t = 2, env = "PBFT_TESTNET_CLIENTS")]
    pub(crate) clients: usize,
    #[command(flatten)]
    pub(crate) at: Dir,
}

/// How the network is divided.
#[derive(Debug, Args)]
pub(crate) struct PartitionArguments {
    /// 'r0,r1 | r2,r3', or 'r0 > r1' (one way), or r3 (against all others)
    pub(crate) partition: Partition,
    /// How long it lasts; until `heal`, or until both ends of a link have restarted, if left out
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) last: Option<Time>,
    #[command(flatten)]
    pub(crate) at: Dir,
    #[command(flatten)]
    pub(crate) beyond: Beyond,
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

/// Which strategies to tell of.
#[derive(Debug, Args)]
pub(crate) struct Listed {
    /// All of this one; of all in short if left out
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A testnet's folder: who follows which there
    #[arg(long, env = "PBFT_TESTNET_DIR")]
    pub(crate) dir: Option<PathBuf>,
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
    #[command(after_help = help::RUN)]
    Run {
        /// TOML files: the cluster, its load, what is done to it when, and what must hold
        #[arg(required = true, value_name = "MANIFEST")]
        manifests: Vec<PathBuf>,
        /// How to print
        #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
        write: Format,
    },
    /// Set every strategy on a running cluster of its own, under load, and judge: correct replicas agree, service goes on
    /// or resumes in the stated time, and evidence names whoever signed contradictions
    #[command(after_help = help::TRIALS)]
    Trials {
        /// Only these; all of replicas and of clients if left out
        #[arg(value_name = "STRATEGY")]
        strategies: Vec<String>,
        /// How to print: a table at the end, a line each, or each report as a line of JSON
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
    Restart {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        beyond: Beyond,
    },
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
    /// Divide the network between replicas: what crosses the line is lost
    #[command(after_help = help::PARTITION)]
    Partition(PartitionArguments),
    /// Make the network whole and good again, everywhere
    Heal(Dir),
    /// Be a malicious client, in the foreground, until interrupted or for a time
    #[command(after_help = help::ATTACK)]
    Attack(AttackArguments),
    /// Who lied, verified anew from public keys
    #[command(after_help = help::EVIDENCE)]
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
    /// Simulate clusters under faults that seeds draw, and check every guarantee
    #[command(after_help = crate::sim::HELP)]
    Sim(SimArguments),
    /// Play every way in which faulty replicas that run twice, and the parting of all, can go together
    #[command(after_help = crate::generators::TWINS_HELP)]
    Twins(TwinsArguments),
    /// Play runs in which messages are mutated and replicas parted in a few rounds
    #[command(name = "byzzfuzz", after_help = crate::generators::BYZZFUZZ_HELP)]
    ByzzFuzz(ByzzFuzzArguments),
    /// Put each fault that others shipped back into the code, and show that generators and tests find it
    #[command(after_help = crate::mutants::HELP)]
    Mutants(MutantsArguments),
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
    /// Make a running replica misbehave, or spoil its network, from now on
    #[command(after_help = help::FAULT)]
    Set(SetFault),
    /// Let a replica behave again, and make its network good; what `partition` cut stays cut
    Clear(One),
    /// The strategies: what each does, what defeats it, what to expect
    List(Listed),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(std::iter::once("pbft-testnet").chain(line.split(' ')).map(OsString::from))
    }

    #[test]
    fn what_is_said_before_a_command_is_for_all_of_them() {
        assert!(read("-q status --dir x").is_ok_and(|it| it.quiet));
        assert!(read("-n 7 --records 5").is_ok_and(|it| it.job.n == 7));
        for line in ["sim --seed 7 --trace -w json", "sim some.toml --trace"] {
            assert!(read(line).is_ok(), "{line}: {:?}", read(line).err().map(|error| error.to_string()));
        }
        assert!(read("sim some.toml --seed 7").is_err() && read("sim --seed 7 --for 1s --trace").is_err());
        let sim = Arguments::command().find_subcommand("sim").cloned().unwrap();
        for name in ["seed", "seeds", "duration", "trace", "shrink"] {
            let argument = sim.get_arguments().find(|it| it.get_id() == name).unwrap();
            assert_eq!(argument.get_env(), None, "{name} excludes others, so no variable may give it");
        }
        let refused = read("-n 7 status --dir x").unwrap_err().to_string();
        assert!(refused.contains("n before status is the main job's"), "{refused}");
    }
}
