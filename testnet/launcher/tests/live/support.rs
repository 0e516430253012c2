//! Running the command, and a testnet that is stopped whatever happens.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tokio::sync::Mutex;

use pbft_client::{Client, ClientSettings, KvClient};
use pbft_testnet::{Lifetime, Options, Program, Testnet};

/// Far above what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Held by the test that uses the machine.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_pbft-testnet").into()
}

/// Which features dependencies are built with.
pub(crate) enum Features {
    /// Those that the package needs by itself: what its users get.
    OfPackage,
    /// Those of a test of the whole workspace, after which nothing is left to build.
    OfWorkspace,
}

/// Builds another package's binary in the profile of this test, and tells where it is: beside this package's. Cargo gives a
/// test the binaries of its own package only.
pub(crate) fn built(binary: &str, features: Features) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", binary]);
    match features {
        Features::OfPackage => build.args(["--package", binary]),
        // With a test among what is built, dependencies of tests have their say.
        Features::OfWorkspace => build.args(["--workspace", "--test", "command_line"]),
    };
    build.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    profile.join(binary)
}

/// Runs the command to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A testnet that the command starts and stops.
pub(crate) struct Net {
    folder: tempfile::TempDir,
}

impl Net {
    /// A folder for a testnet; nothing runs yet.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// Runs a command on this testnet: its exit code, and what it printed as result and besides.
    pub(crate) fn run(&self, arguments: &str) -> (i32, String, String) {
        let dir = self.dir();
        let arguments = arguments.split_ascii_whitespace().map(OsStr::new);
        let output = run(arguments.chain([OsStr::new("--dir"), dir.as_os_str()]));
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command that must succeed; gives its result.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{arguments}: {stdout}{stderr}{}", self.logs());
        stdout
    }

    /// Runs a command that must fail with this exit code; gives its one line of complaint.
    pub(crate) fn fails(&self, arguments: &str, expected: i32) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, expected, "{arguments}: {stdout}{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        stderr
    }

    pub(crate) fn open(&self) -> Testnet {
        Testnet::open(&self.dir()).unwrap()
    }

    fn logs(&self) -> String {
        let logs = (0..9).map(|index| self.dir().join(format!("r{index}/replica.log")));
        let tails = logs.filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            let tail = text.lines().rev().take(5).collect::<Vec<_>>().join("\n");
            Some(format!("\n{}:\n{tail}", path.display()))
        });
        tails.collect()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.run("down");
    }
}

/// A testnet of this process, which its end ends too.
pub(crate) async fn tethered(folder: &Path, n: usize) -> Testnet {
    let program = Program { path: program(), arguments: vec!["replica".into()] };
    let options = Options {
        n: Some(n),
        lifetime: Lifetime::Tethered,
        program,
        ..Options::new(folder.join("net")).unwrap()
    };
    Testnet::up(options).await.unwrap()
}

/// A client of the key-value store whose calls give up after `timeout`.
pub(crate) async fn store(testnet: &Testnet, timeout: Duration) -> KvClient {
    let settings = ClientSettings { timeout, ..ClientSettings::default() };
    KvClient::new(
        Client::connect(testnet.configuration(), testnet.client_key().unwrap(), settings).await.unwrap(),
    )
}

/// The processes whose command line speaks of `path`, this one left out.
pub(crate) fn processes_of(path: &Path) -> Vec<u32> {
    let path = path.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let speaks = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() && text(&line).contains(path)
    };
    pids.filter(speaks).collect()
}

/// Neither a process nor a file is left of what was run with its files below `temporary`.
pub(crate) fn leaves_nothing(temporary: &Path) {
    assert_eq!(processes_of(temporary), [0; 0]);
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}
