//! The command line as it is typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  pbft-client put fruit/apple red
  pbft-client get fruit/apple
  pbft-client get --read-path unordered fruit/apple
  pbft-client range fruit/ --limit 10 -w table
  pbft-client import fruits.tsv
  pbft-client export > backup.tsv
  pbft-client --cluster /path/to/cluster.toml status

Exit codes:
  0 fine, 1 error, 2 no connection, 3 bad input,
  4 outcome unknown (the time was up: it may or may not have happened),
  5 interrupted, or `status` found that the cluster does not work";

/// Reads and writes the key-value store of a PBFT cluster.
#[derive(Debug, Parser)]
#[command(name = "pbft-client", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The file that describes the cluster
    #[arg(long, global = true, env = "PBFT_CLUSTER", default_value = "cluster.toml", value_name = "FILE")]
    pub(crate) cluster: PathBuf,
    /// The client's secret key [default: client.key beside the cluster file]
    #[arg(long = "key", global = true, env = "PBFT_KEY", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// How long to wait for an answer, as in 20s, 500ms, 2m
    #[arg(long, global = true, env = "PBFT_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// How to print results
    #[arg(
        short,
        long,
        global = true,
        env = "PBFT_WRITE_OUT",
        default_value = "simple",
        value_name = "FORMAT"
    )]
    pub(crate) write_out: Format,
    /// Log to standard error; more with -vv and -vvv
    #[arg(short, long, global = true, env = "PBFT_VERBOSE", action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Neither logs nor progress, whatever -v says
    #[arg(short, long, global = true, env = "PBFT_QUIET")]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// What scripts want: the value, the count, the bytes as they are
    Simple,
    /// A table for people, revisions included
    Table,
    /// One JSON document, revisions included
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set a key's value
    Put(Put),
    /// Print a key's value; prints nothing if there is no such key
    Get(Get),
    /// Delete a key, and print how many were deleted
    Del(Del),
    /// Print all keys that begin with a prefix, with their values
    Range(Range),
    /// Do one of two lists of steps, depending on comparisons
    #[command(after_help = TXN_HELP)]
    Txn(Txn),
    /// Put every line `key<TAB>value` of a file
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
    /// Print all keys and values as lines `key<TAB>value`, sorted by key, all at one revision
    Export(Export),
    /// Show which replicas can be reached, and whether the cluster answers
    Status,
    /// Print a script for a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The key
    pub(crate) key: OsString,
    /// The value; without it, all of standard input
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: Option<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The key
    pub(crate) key: OsString,
    /// Read at this revision instead of the newest
    #[arg(long, env = "PBFT_REVISION")]
    pub(crate) revision: Option<u64>,
    /// How the read goes; a revision that is printed with an unordered one is that of the newest change that it shows
    #[arg(long, env = "PBFT_READ_PATH", default_value = "ordered", value_name = "PATH")]
    pub(crate) read_path: ReadPath,
}

/// See [`pbft_client::ReadPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadPath {
    /// Agreed on in order, like a write
    Ordered,
    /// Cheaper: each replica answers for itself, and a quorum must agree; ordered after all if it does not. Never stale
    Unordered,
}

impl From<ReadPath> for pbft_client::ReadPath {
    fn from(path: ReadPath) -> Self {
        match path {
            ReadPath::Ordered => Self::Ordered,
            ReadPath::Unordered => Self::Unordered,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Del {
    /// The key, or with --prefix the beginning of the keys
    pub(crate) key: OsString,
    /// Delete all keys that begin so; an empty one deletes everything
    #[arg(long, env = "PBFT_PREFIX")]
    pub(crate) prefix: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Range {
    /// The beginning of the keys; empty for all keys
    #[arg(default_value = "")]
    pub(crate) prefix: OsString,
    /// The most keys to print; 0 for all
    #[arg(long, env = "PBFT_LIMIT", default_value_t = 0)]
    pub(crate) limit: u32,
    /// Read at this revision instead of the newest
    #[arg(long, env = "PBFT_REVISION")]
    pub(crate) revision: Option<u64>,
    /// Leave the values out
    #[arg(long, env = "PBFT_KEYS_ONLY")]
    pub(crate) keys_only: bool,
    /// How the reads go; without --revision the first page is ordered in any case
    #[arg(long, env = "PBFT_READ_PATH", default_value = "ordered", value_name = "PATH")]
    pub(crate) read_path: ReadPath,
}

const TXN_HELP: &str = r#"Without arguments, the transaction is read from standard input as etcdctl takes it: comparisons, an
empty line, the steps if all of them hold, an empty line, the steps otherwise.

  comparisons   value("KEY") = "TEXT"     the value; also with != < >
                mod("KEY") > 5            the revision of the last change
                create("KEY") = 0         the revision of creation; 0: there is no such key
                version("KEY") = 3        the number of changes since then
  steps         put KEY VALUE
                get KEY                   get --prefix KEY
                del KEY                   del --prefix KEY

Words with spaces are written in double quotes, in which \" \\ \n \t \r \0 and \xHH stand for bytes.

Examples:
  pbft-client txn --if 'create("lock") = 0' --then 'put lock me' --else 'get lock'
  printf 'value("a") = "1"\n\nput a 2\n\nget a\n' | pbft-client txn"#;

#[derive(Debug, Args)]
pub(crate) struct Txn {
    /// A comparison; may be given several times
    #[arg(long = "if", value_name = "COMPARISON", env = "PBFT_TXN_IF", value_delimiter = None)]
    pub(crate) compares: Vec<String>,
    /// A step to do if all comparisons hold; may be given several times
    #[arg(long = "then", value_name = "STEP", env = "PBFT_TXN_THEN", value_delimiter = None)]
    pub(crate) success: Vec<String>,
    /// A step to do otherwise; may be given several times
    #[arg(long = "else", value_name = "STEP", env = "PBFT_TXN_ELSE", value_delimiter = None)]
    pub(crate) failure: Vec<String>,
}

const IMPORT_HELP: &str = "\
Each line is a key, a tab and a value, which may hold further tabs; bytes are taken as they are. If a key is there
twice, its last line counts. The whole file is checked before anything is written.

Example:
  pbft-client export | sed 's/red/green/' | pbft-client import -";

#[derive(Clone, Debug, Args)]
pub(crate) struct Import {
    /// The file; - for standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Write to this file instead of standard output; it is replaced when the export is complete
    #[arg(long, env = "PBFT_OUTPUT", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Export the state at this revision instead of the newest
    #[arg(long, env = "PBFT_REVISION")]
    pub(crate) revision: Option<u64>,
}

/// Reads a whole number with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "write a number and a unit, as in 20s, 500ms or 2m".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(milliseconds) {
        // A year is as good as for ever, and keeps clear of the clock's end.
        Some(1..=31_536_000_000) => Ok(Duration::from_millis(number * milliseconds)),
        _ => Err("the time must be above 0 and at most a year".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "20", "1.5s", "-1s", "0s", "20 s", "9999999999h", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_may_begin_with_a_hyphen_and_be_empty() {
        let parsed = Arguments::try_parse_from(["pbft-client", "put", "k", "-1"]).unwrap();
        assert!(matches!(parsed.command, Command::Put(Put { value: Some(value), .. }) if value == "-1"));
        let parsed = Arguments::try_parse_from(["pbft-client", "put", "k", ""]).unwrap();
        assert!(matches!(parsed.command, Command::Put(Put { value: Some(value), .. }) if value.is_empty()));
    }
}
