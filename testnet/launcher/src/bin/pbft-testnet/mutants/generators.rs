//! The generators, run against a mutant each in a process of its own: a mutant is chosen as a process starts.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

/// What a generator may take beyond its time: the scenario that is under way, and to play one ten times again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that makes scenarios and looks whether a guarantee breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Generator {
    /// As people call it.
    pub(super) name: &'static str,
    /// The example that runs it, and its package.
    pub(super) example: &'static str,
    pub(super) package: &'static str,
    /// What the example is told besides the time.
    argument: Option<&'static str>,
}

const fn of_clusters(name: &'static str) -> Generator {
    Generator { name, example: "hunt", package: "pbft-simulator", argument: Some(name) }
}

/// In the order in which they are tried: whole clusters first, and last what has no cluster around it.
pub(super) const GENERATORS: [Generator; 4] = [
    of_clusters("swarm"),
    of_clusters("byzzfuzz"),
    of_clusters("twins"),
    Generator { name: "inputs", example: "scour", package: "pbft-fuzz-targets", argument: None },
];

/// What a generator came to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hunt {
    /// How many scenarios it tried.
    pub(super) scenarios: u64,
    /// The one that fails, and how.
    pub(super) found: Option<String>,
    /// Whether it failed in the same way ten times again.
    #[serde(default)]
    pub(super) replays: bool,
}

impl Generator {
    /// Lets it look for so long, at a mutant or at the code as it is.
    pub(super) async fn hunt(
        self,
        executable: &PathBuf,
        mutant: Option<&str>,
        limit: Duration,
    ) -> anyhow::Result<Hunt> {
        let mut command = Command::new(executable);
        command.args(self.argument).arg(limit.as_secs().to_string());
        command.env("PBFT_MUTANT", mutant.unwrap_or_default()).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(limit + PATIENCE, command.output()).await else {
            // A scenario that does not end is found as well, though it cannot be played ten times.
            return Ok(Hunt {
                scenarios: 0,
                found: Some("a scenario that does not end".into()),
                replays: false,
            });
        };
        let output = output.with_context(|| format!("running {}", executable.display()))?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("reading what {} found", self.name))
    }
}
