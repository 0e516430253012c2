//! The binary: what it prints, and its exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene should panic")]

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use pbft_crypto::{Digest, Domain, Verified, key_file};
use pbft_messages::{
    ClusterFile, Commit, Conflict, Evidence, ParametersTable, ReplicaId, ReplicaTable, Sequence, View, codec,
};
use pbft_node::{ControlClient, DataFolder};

/// How long a replica may take to start, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// A cluster of four, with a key file each.
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let sockets: Vec<_> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let address = |index: usize| sockets[index].local_addr().unwrap();
        let replica = (0..4)
            .map(|index| ReplicaTable {
                key: bench.prints(&["keygen", &format!("r{index}.key")]),
                peer_address: address(index),
                client_address: address(4 + index),
            })
            .collect();
        let file = ClusterFile {
            name: "test".into(),
            parameters: ParametersTable::default(),
            replica,
            client: vec![],
        };
        std::fs::write(bench.path().join("cluster.toml"), file.to_text()).unwrap();
        bench
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pbft-node"));
        command.current_dir(self.path()).args(arguments).env_clear().env("PBFT_DATA", "r0");
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that succeeds prints, without the line's end.
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The code and the last line of a command that fails.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code().expect("it exits by itself"),
            text.lines().last().unwrap_or_default().to_owned(),
        )
    }

    fn assert_fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let (found, line) = self.fails(arguments);
        assert_eq!(found, code, "{line}");
        assert!(line.starts_with("error: ") && words.iter().all(|word| line.contains(word)), "{line}");
    }

    /// As [`Bench::assert_fails`] with code 3, where nothing else is printed and the cause is told once.
    fn assert_refused(&self, arguments: &[&str], cause: &str, words: &[&str]) {
        let output = self.output(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(3), 1), "{text}");
        assert_eq!(text.matches(cause).count(), 1, "{text}");
        assert!(text.starts_with("error: ") && words.iter().all(|word| text.contains(word)), "{text}");
    }

    /// Writes the cluster file anew, after a change.
    fn edit_cluster(&self, edit: impl FnOnce(&mut ClusterFile)) {
        let path = self.path().join("cluster.toml");
        let mut file = ClusterFile::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        edit(&mut file);
        std::fs::write(&path, file.to_text()).unwrap();
    }
}

#[test]
fn keys_are_made_once_and_shown() {
    let bench = Bench::new();
    let key = bench.prints(&["show-id", "--key", "r2.key"]);
    assert_eq!(key.len(), 64);
    assert_eq!(
        bench.prints(&["show-id", "--key", "r2.key", "--cluster", "cluster.toml"]),
        format!("r2 {key}")
    );
    bench.assert_fails(&["keygen", "r2.key"], 3, &["r2.key exists already", "choose another name"]);
    assert_eq!(bench.prints(&["show-id", "--key", "r2.key"]), key, "a key is never overwritten");
}

#[test]
fn what_does_not_belong_together_is_named() {
    let bench = Bench::new();
    bench.assert_fails(&["start", "--key", "r0.key"], 3, &["no store in r0", "pbft-node init"]);
    bench.prints(&["init", "--key", "r0.key"]);
    bench.assert_fails(&["init", "--key", "r0.key"], 3, &["already"]);
    bench.assert_fails(&["start", "--key", "r1.key"], 3, &["a replica with key"]);
    bench.prints(&["keygen", "stranger.key"]);
    bench.assert_fails(
        &["start", "--key", "stranger.key"],
        3,
        &["stranger.key", "not any replica's", "cluster.toml"],
    );
    bench.assert_fails(&["start", "--key", "absent.key"], 3, &["absent.key"]);
    bench.assert_fails(&["start", "--key", "r0.key", "--cluster", "absent.toml"], 3, &["absent.toml"]);
    std::fs::write(bench.path().join("bad.toml"), "name = \"a\"\ncolour = 3\n").unwrap();
    bench.assert_fails(
        &["start", "--key", "r0.key", "--cluster", "bad.toml"],
        3,
        &["bad.toml", "line 2", "colour"],
    );
    assert_eq!(bench.fails(&["start", "--key", "r0.key", "--durability", "maybe"]).0, 3);
}

#[test]
fn a_damaged_store_is_an_error_of_one_line() {
    let bench = Bench::new();
    bench.prints(&["init", "--key", "r0.key"]);
    let path = bench.path().join("r0/store.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(5000);
    std::fs::write(&path, bytes).unwrap();
    let output = bench.output(&["start", "--key", "r0.key"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: the store in r0 is damaged") && text.lines().count() == 1, "{text}");
}

#[test]
fn a_cluster_that_cannot_work_is_refused_in_one_line() {
    const START: [&str; 3] = ["start", "--key", "r0.key"];
    let refused = |edit: &dyn Fn(&mut ClusterFile), cause: &str| {
        let bench = Bench::new();
        bench.edit_cluster(|file| edit(file));
        bench.assert_refused(&START, cause, &["cluster.toml"]);
    };
    refused(&|file| file.replica.truncate(3), "at least 4");
    refused(&|file| file.replica[2].key = file.replica[1].key.clone(), "have the same key");
    refused(&|file| file.replica[2].peer_address = file.replica[1].peer_address, "is used twice");
    refused(&|file| file.replica[2].client_address = file.replica[2].peer_address, "is used twice");

    let bench = Bench::new();
    let path = bench.path().join("cluster.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("colour = 3\n{text}")).unwrap();
    bench.assert_refused(&START, "unknown field `colour`", &["cluster.toml", "line 1"]);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let bench = Bench::new();
    let readable = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(bench.path().join("r0.key"), readable).unwrap();
    bench.assert_refused(
        &["start", "--key", "r0.key"],
        "can be read by others",
        &["chmod 600 r0.key", "640"],
    );
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    let bench = Bench::new();
    bench.prints(&["init", "--key", "r0.key"]);
    for option in ["--listen-peers", "--listen-clients"] {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap().to_string();
        bench.assert_refused(
            &["start", "--key", "r0.key", option, &address],
            "the port is in use",
            &[&address, "choose another address"],
        );
    }
}

/// Kills the child if the test fails before it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_replica_runs_until_it_is_told_to_stop() {
    let bench = Bench::new();
    bench.prints(&["init", "--key", "r0.key"]);
    let start = |durability: &str| {
        let mut command = bench.command(&["start", "--key", "r0.key", "--durability", durability]);
        Running(command.stderr(Stdio::null()).spawn().unwrap())
    };
    let data = DataFolder::new(bench.path().join("r0"));
    let connect = async || {
        let connected = async {
            loop {
                match ControlClient::connect(&data).await {
                    Ok(control) => break control,
                    // There is no event for a socket that is not there yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.expect("the replica listens in time")
    };
    // Killed once, then asked to stop by signal: it starts again each time.
    let mut replica = start("sync");
    connect().await.ready().await.unwrap();
    replica.0.kill().unwrap();
    replica.0.wait().unwrap();
    let mut replica = start("sync");
    let ready = connect().await.ready().await.unwrap();
    let second = bench.fails(&["start", "--key", "r0.key"]);
    assert!(second.0 == 3 && second.1.contains("in use by another process"), "{second:?}");
    let signal = Command::new("kill").args(["-TERM", &ready.process.to_string()]).status().unwrap();
    assert!(signal.success());
    assert_eq!(replica.0.wait().unwrap().code(), Some(0));
    assert!(!data.control_socket().exists());

    let mut replica = start("memory");
    connect().await.stop().await.unwrap();
    assert_eq!(replica.0.wait().unwrap().code(), Some(0));
    bench.assert_fails(
        &["start", "--key", "r0.key"],
        3,
        &["memory mode", "pbft-node recover", "more than f"],
    );
    // In memory mode each restart is a recovery.
    for _ in 0..2 {
        bench.prints(&["recover", "--key", "r0.key"]);
        let mut replica = start("memory");
        let mut control = connect().await;
        assert_eq!(control.status(false).await.unwrap().recovering, Some(Sequence(0)));
        control.stop().await.unwrap();
        assert_eq!(replica.0.wait().unwrap().code(), Some(0));
        bench.assert_fails(
            &["start", "--key", "r0.key", "--durability", "memory"],
            3,
            &["pbft-node recover"],
        );
    }
}

/// D6, D8: an emptied disk is no first start, and votes that are there are not thrown away by accident.
#[test]
fn recover_makes_a_store_where_none_can_be_read() {
    let bench = Bench::new();
    const START: [&str; 3] = ["start", "--key", "r0.key"];
    const RECOVER: [&str; 3] = ["recover", "--key", "r0.key"];
    bench.assert_fails(&START, 3, &["no store in r0", "pbft-node init", "pbft-node recover"]);
    assert_eq!(bench.prints(&RECOVER), "made the data folder of r0 in r0, to recover");
    bench.assert_fails(&RECOVER, 3, &["can be read", "pbft-node start", "--unsafe-discard-store"]);
    bench.assert_fails(&["init", "--key", "r0.key"], 3, &["already"]);
    bench.assert_fails(&["recover", "--key", "r1.key"], 3, &["a replica with key"]);
    bench.assert_fails(&["recover", "--key", "r1.key", "--unsafe-discard-store"], 3, &["a replica with key"]);
    let store = bench.path().join("r0/store.redb");
    let whole = std::fs::read(&store).unwrap();
    let printed = bench.prints(&["recover", "--key", "r0.key", "--unsafe-discard-store"]);
    assert!(printed.ends_with("the old store is r0/store.discarded-1"), "{printed}");
    assert!(bench.path().join("r0/store.discarded-1").exists());
    for number in 1..3 {
        std::fs::write(&store, &whole[..5000]).unwrap();
        bench.assert_fails(&START, 1, &["r0 is damaged", "pbft-node recover"]);
        let printed = bench.prints(&RECOVER);
        assert!(printed.ends_with(&format!("r0/store.damaged-{number}")), "{printed}");
    }
}

#[test]
fn a_stopped_replicas_store_can_be_read() {
    let bench = Bench::new();
    bench.assert_fails(&["inspect", "log"], 3, &["no store in r0"]);
    bench.prints(&["recover", "--key", "r0.key"]);
    assert_eq!(bench.prints(&["inspect", "log"]), "view - 0 - - - good\nrecovery - - - - under way good");
    assert!(
        bench
            .prints(&["inspect", "log", "-w", "table"])
            .ends_with("2 records of r0 after 1 transactions; 2 hold")
    );
    let document: serde_json::Value =
        serde_json::from_str(&bench.prints(&["inspect", "log", "-w", "json"])).unwrap();
    assert_eq!(document["records"][1]["detail"], "under way");
    assert_eq!(bench.prints(&["inspect", "evidence"]), "");
    assert_eq!(bench.prints(&["inspect", "snapshot"]), "");
    bench.edit_cluster(|file| file.name = "other".into());
    bench.assert_fails(&["inspect", "log"], 3, &["the cluster with id"]);
    bench.edit_cluster(|file| file.name = "test".into());

    // Whatever byte of the records is damaged, it is named or harmless, and nothing panics.
    let store = bench.path().join("r0/store.redb");
    let whole = std::fs::read(&store).unwrap();
    let written: Vec<_> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for at in written.iter().copied().step_by(written.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&store, damaged).unwrap();
        let output = bench.output(&["inspect", "log"]);
        let text = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => {}
            Some(1) => assert!(text.starts_with("error: ") && text.contains("pbft-node recover"), "{text}"),
            code => panic!("{code:?}: {text}"),
        }
        assert!(text.lines().count() <= 1, "{text}");
    }
}

/// Proof that r2 committed to two batches at one place, in hexadecimal digits.
fn evidence(bench: &Bench) -> String {
    let text = std::fs::read_to_string(bench.path().join("cluster.toml")).unwrap();
    let configuration = ClusterFile::parse(&text).unwrap().configuration().unwrap();
    let key = key_file::read(&bench.path().join("r2.key")).unwrap();
    let commit = |name: &[u8]| {
        let digest = Digest::of(Domain::Batch, name);
        let value = Commit { view: View(1), sequence: Sequence(7), digest };
        Verified::sign(value, ReplicaId(2), &key, configuration.scope())
    };
    let conflict = Conflict::between(&commit(b"a"), &commit(b"b")).unwrap();
    hex::encode(codec::encode(&Evidence::from(conflict)))
}

#[test]
fn evidence_is_judged_from_public_keys_alone() {
    let bench = Bench::new();
    let good = evidence(&bench);
    let write = |text: &str| std::fs::write(bench.path().join("evidence"), text).unwrap();
    let verify = ["verify-evidence", "evidence"];
    // As the commands print it, and bare.
    for text in [
        format!("{{\"evidence\":[{{\"accused\":\"r0\",\"encoded\":\"{good}\"}}]}}"),
        format!("{{\"replica\":\"r0\",\"records\":[{{\"record\":\"evidence\",\"encoded\":\"{good}\"}}]}}"),
        format!("{good}\n"),
    ] {
        write(&text);
        let printed = bench.prints(&verify);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(
            (lines.len(), lines[0]),
            (3, "r2 lied (commit), verified:"),
            "whoever is said to be accused"
        );
        assert!(lines[1..].iter().all(|line| line.starts_with("  COMMIT of batch ")), "{printed}");
        assert!(printed.contains(" in view 1, at sequence 7"), "{printed}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&bench.prints(&["verify-evidence", "evidence", "-w", "json"])).unwrap();
    let verdict = &document["evidence"][0];
    assert_eq!((&verdict["accused"], &verdict["verified"]), (&"r2".into(), &true.into()));

    // One digit that was tampered with, wherever it is.
    for at in (0..good.len()).step_by(17) {
        let mut tampered = good.clone().into_bytes();
        tampered[at] = if tampered[at] == b'7' { b'8' } else { b'7' };
        write(&String::from_utf8(tampered).unwrap());
        bench.assert_fails(&verify, 1, &["1 of 1 pieces of evidence prove nothing"]);
    }
    write(&good);
    bench.edit_cluster(|file| file.name = "other".into());
    bench.assert_fails(&verify, 1, &["of another cluster"]);
    write("{\"nothing\":1}");
    bench.assert_fails(&verify, 3, &["evidence: neither"]);
    write(" \n");
    bench.assert_fails(&verify, 3, &["evidence: there is nothing in it"]);
    bench.assert_fails(&["verify-evidence", "absent"], 3, &["cannot read absent"]);
}
