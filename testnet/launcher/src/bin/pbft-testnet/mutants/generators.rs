//! The generators, run against a mutant each in a process of its own: a mutant is chosen as a process starts.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::build::Executable;
use super::table::{Binary, NODE};

/// What a generator may take beyond its time: the scenario that is under way, and to play one ten times again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that makes scenarios and looks whether a guarantee breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Generator {
    /// As people call it.
    pub(super) name: &'static str,
    pub(super) program: Program,
}

/// What runs a generator for a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// An example of a package, told this besides the time.
    Example { package: &'static str, name: &'static str, argument: Option<&'static str> },
    /// A test, which is told the time by a variable.
    Test { binary: Binary, path: &'static str },
}

const fn of_clusters(name: &'static str) -> Generator {
    Generator {
        name,
        program: Program::Example { package: "pbft-simulator", name: "hunt", argument: Some(name) },
    }
}

/// In the order in which they are tried: whole clusters first, and last what has no cluster around it.
pub(super) const GENERATORS: [Generator; 5] = [
    of_clusters("swarm"),
    of_clusters("byzzfuzz"),
    of_clusters("twins"),
    Generator {
        name: "inputs",
        program: Program::Example { package: "pbft-fuzz-targets", name: "scour", argument: None },
    },
    Generator {
        name: "node",
        program: Program::Test { binary: NODE, path: "generated::nothing_that_is_drawn_breaks_a_rule" },
    },
];

/// What a generator came to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hunt {
    /// How many scenarios it tried.
    pub(super) scenarios: u64,
    /// The one that fails, and how.
    pub(super) found: Option<String>,
    /// Whether that was kept from before, and not generated.
    #[serde(default)]
    pub(super) kept: bool,
    /// Whether it failed in the same way ten times again.
    #[serde(default)]
    pub(super) replays: bool,
}

impl Generator {
    /// Lets it look for so long, at a mutant or at the code as it is.
    pub(super) async fn hunt(
        self,
        executable: &Executable,
        mutant: Option<&str>,
        limit: Duration,
    ) -> anyhow::Result<Hunt> {
        let mut command = Command::new(&executable.path);
        let seconds = limit.as_secs().max(1).to_string();
        match self.program {
            Program::Example { argument, .. } => command.args(argument).arg(seconds),
            Program::Test { path, .. } => {
                command.args([path, "--exact", "--nocapture"]).env("PBFT_HUNT_SECONDS", seconds)
            }
        };
        command.env("PBFT_MUTANT", mutant.unwrap_or_default()).env("RUST_BACKTRACE", "0");
        command.current_dir(&executable.folder);
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(limit + PATIENCE, command.output()).await else {
            // A scenario that does not end is found as well, though it cannot be played ten times.
            return Ok(Hunt {
                scenarios: 0,
                found: Some("a scenario that does not end".into()),
                kept: false,
                replays: false,
            });
        };
        let output = output.with_context(|| format!("running {}", executable.path.display()))?;
        // What runs tests prints more than that.
        let mut lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"));
        let line = lines.next().with_context(|| format!("{} came to no result", self.name))?;
        serde_json::from_slice(line).with_context(|| format!("reading what {} found", self.name))
    }
}
