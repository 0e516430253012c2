//! The command line as it is typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use pbft_node::Durability;

const EXAMPLES: &str = "\
Examples:
  pbft-node keygen r0.key                 prints the public key, for cluster.toml
  pbft-node init --key r0.key --data r0
  pbft-node start --key r0.key --data r0
  pbft-node start --key r0.key --data r0 --listen-peers 0.0.0.0:4000
  pbft-node recover --key r0.key --data r0      its disk was lost; then start it
  pbft-node inspect log --data r0 -w table      while it is stopped
  pbft-node show-id --key r0.key
  pbft-node verify-evidence evidence.json       from public keys alone

Exit codes:
  0 fine, also after Ctrl-C or SIGTERM, 1 error, 3 bad input (arguments, files, a port or store in use),
  5 interrupted before it had stopped in good order";

/// Runs one replica of a PBFT cluster, with the key-value store as its service.
#[derive(Debug, Parser)]
#[command(name = "pbft-node", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) logging: Logging,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// Log more to standard error; still more with -vv
    #[arg(short, long, global = true, env = "PBFT_VERBOSE", action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log errors only, whatever -v says
    #[arg(short, long, global = true, env = "PBFT_QUIET")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a secret key and print its public key; an existing file is never overwritten
    Keygen {
        /// The key file to make, readable by its owner only
        file: PathBuf,
    },
    /// Print the public key of a key file, and which replica of the cluster it is
    ShowId(ShowId),
    /// Make the data folder of a replica that never ran; an existing store is never overwritten
    Init(Place),
    /// Let a replica rejoin that ran before and has lost its votes: a lost or damaged disk, or a stop in memory mode
    ///
    /// It makes a new store, and keeps a damaged one under another name. The replica that is then started votes nothing
    /// until it is past everything that it may have voted for. Until then it counts as faulty, one of the f; more than f
    /// replicas that lose their votes at once lose the cluster.
    Recover(Recover),
    /// Run the replica until Ctrl-C or SIGTERM
    Start(Start),
    /// Show what the store of a stopped replica holds, each record checked from public keys alone
    Inspect(Inspect),
    /// Judge proof that replicas lied by the cluster's public keys alone: no store and no replica is asked
    ///
    /// The file holds what `pbft-testnet evidence -w json` or `pbft-node inspect evidence -w json` printed, or one piece
    /// of evidence in hexadecimal digits.
    VerifyEvidence(VerifyEvidence),
    /// Print a script for a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ShowId {
    /// The replica's secret key
    #[arg(long = "key", env = "PBFT_KEY", value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// The file that describes the cluster; without it only the key is printed
    #[arg(long, env = "PBFT_CLUSTER", value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The file that describes the cluster
    #[arg(long, env = "PBFT_CLUSTER", default_value = "cluster.toml", value_name = "FILE")]
    pub(crate) cluster: PathBuf,
    /// The replica's secret key
    #[arg(long = "key", env = "PBFT_KEY", value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// The replica's data folder
    #[arg(long, env = "PBFT_DATA", value_name = "DIR")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Discard a store that can be read: its votes are not this replica's latest
    #[arg(long)]
    pub(crate) unsafe_discard_store: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// What to show
    #[arg(value_enum)]
    pub(crate) subject: Subject,
    /// The file that describes the cluster
    #[arg(long, env = "PBFT_CLUSTER", default_value = "cluster.toml", value_name = "FILE")]
    pub(crate) cluster: PathBuf,
    /// The replica's data folder
    #[arg(long, env = "PBFT_DATA", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// How to print it
    #[arg(short, long, env = "PBFT_WRITE_OUT", default_value = "simple", value_name = "FORMAT")]
    pub(crate) write_out: Format,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyEvidence {
    /// The evidence; - reads it from standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The file that describes the cluster
    #[arg(long, env = "PBFT_CLUSTER", default_value = "cluster.toml", value_name = "FILE")]
    pub(crate) cluster: PathBuf,
    /// How to print it
    #[arg(short, long, env = "PBFT_WRITE_OUT", default_value = "simple", value_name = "FORMAT")]
    pub(crate) write_out: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Views, votes' reservation, certificates, bodies, and how the last run ended
    Log,
    /// The snapshots of the state, and the last stable checkpoint
    Snapshot,
    /// Proof that replicas lied
    Evidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for each record, its fields separated by spaces, for scripts
    Simple,
    /// A table for people
    Table,
    /// One JSON document
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) place: Place,
    /// `sync`: votes are on disk before they are sent; `memory`: they are lost with the process, and the replica
    /// comes back by `recover` only
    #[arg(long, env = "PBFT_DURABILITY", default_value_t = Durability::Sync, value_name = "MODE")]
    pub(crate) durability: Durability,
    /// Where to listen for replicas [default: the address in the cluster file]
    #[arg(long, env = "PBFT_LISTEN_PEERS", value_name = "ADDRESS:PORT")]
    pub(crate) listen_peers: Option<SocketAddr>,
    /// Where to listen for clients [default: the address in the cluster file]
    #[arg(long, env = "PBFT_LISTEN_CLIENTS", value_name = "ADDRESS:PORT")]
    pub(crate) listen_clients: Option<SocketAddr>,
}
