//! What the README tells a newcomer to paste.

use std::env;
use std::process::Command;

use super::support::{Features, Net, TURN, built, processes_of, program, text};

const README: &str = include_str!("../../../../README.md");

/// More than the whole walk takes, a replica's recovery included.
const SECONDS: &str = "300";

/// The commands below a heading.
fn block(heading: &str) -> &str {
    let below = README.split_once(heading).unwrap().1;
    below.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_testnet_to_play_with_can_be_played_with() {
    let (build, commands) = block("## A testnet to play with").split_once('\n').unwrap();
    assert!(build.starts_with("cargo build"), "{build}");
    let [client, bench] = ["pbft-client", "pbft-bench"].map(|it| built(it, Features::OfWorkspace));
    assert_eq!((client.parent(), bench.parent()), (program().parent(), program().parent()));
    let _turn = TURN.blocking_lock();
    let net = Net::new();
    let commands = commands.replace("/tmp/net", net.dir().to_str().unwrap());
    let path = [program().parent().unwrap().to_str().unwrap(), &env::var("PATH").unwrap()].join(":");
    let mut walk = Command::new("timeout");
    // Cargo gives a test what the build said of the source, under the name of an option of pbft-client.
    walk.env_remove("PBFT_REVISION");
    let walked = walk.args([SECONDS, "bash", "-exc", &commands]).env("PATH", path).output().unwrap();
    let (stdout, stderr) = (text(&walked.stdout), text(&walked.stderr));
    assert_eq!(walked.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("trust nobody"), "{stdout}");
    let liar = |line: &str| line.contains(" r1 ") && line.contains(" pre-prepare ");
    // It had an occasion, unless another replica leads by then.
    let leads = !stdout.contains("takes effect when r1 leads");
    assert!(!leads || stdout.lines().any(liar), "the evidence: {stdout}");
    assert!(!net.dir().exists(), "what is there would change the walk's next run");
    assert_eq!(processes_of(&net.dir()), [0; 0]);
}
