//! What `sim` takes.

use std::path::PathBuf;

use clap::Args;

use pbft_testnet::units::{Time, lasting};

use crate::arguments::Format;

pub(crate) const HELP: &str = "\
Whole clusters of the real protocol core on virtual time, one thread each. A seed draws everything: how large the \
cluster is, what its clients do, which faults there are and how bad, and who is malicious in which way. Guarantees \
are checked as it runs; then the faults end, and what waits must be executed.

Examples:
  pbft-testnet sim                         as many seeds as ten seconds allow, from a random one on
  pbft-testnet sim --for 2m
  pbft-testnet sim --seed 17               one seed; whatever it does, it does again
  pbft-testnet sim --seed 17 --trace       and tell what happens, line by line
  pbft-testnet sim --seed 17 --shrink      look for a smaller scenario that breaks the same guarantee, and write it down
  pbft-testnet sim sim-17.toml --trace     play what was written down
  pbft-testnet sim --beyond-f --seeds 500  one malicious replica more than is tolerated: guarantees do break

Exit codes: 0 every guarantee held, 3 bad input, 5 interrupted, 99 a guarantee broke";

/// How to simulate.
#[derive(Debug, Args)]
#[group(id = "one", args = ["scenario", "seed"])]
pub(crate) struct SimArguments {
    /// A scenario to play, as `--shrink` writes them
    #[arg(value_name = "FILE.toml", conflicts_with_all = ["seed", "seeds", "duration", "beyond_f", "real_signatures"])]
    pub(crate) scenario: Option<PathBuf>,
    // What excludes another option has no environment variable: a variable counts as given, and would forbid the other.
    /// The seed; the first one with --seeds or --for, and random if left out
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How many seeds, one after the other
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// For how long to begin with another seed: 30s, 10m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
    pub(crate) duration: Option<Time>,
    /// How many scenarios run at once; by default as many as there are processors
    #[arg(long, env = "PBFT_SIM_THREADS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Tell what happens, line by line
    #[arg(long, requires = "one", conflicts_with_all = ["seeds", "duration"])]
    pub(crate) trace: bool,
    /// Look for a smaller scenario that breaks the same guarantee, and write it down
    #[arg(long, requires = "one", conflicts_with_all = ["seeds", "duration"])]
    pub(crate) shrink: bool,
    /// Where the smaller scenario goes; by default sim-SEED.toml
    #[arg(long, value_name = "FILE.toml", requires = "shrink")]
    pub(crate) output: Option<PathBuf>,
    /// Make f+1 replicas malicious: guarantees break then, and it is told which and why
    #[arg(long)]
    pub(crate) beyond_f: bool,
    /// Sign with Ed25519 rather than with simulated keys, which are as good within a simulation
    #[arg(long)]
    pub(crate) real_signatures: bool,
    /// How to print
    #[arg(short, long = "write-out", value_enum, default_value_t, env = "PBFT_WRITE_OUT")]
    pub(crate) write: Format,
}
