use super::*;
use crate::Malice;
use crate::manifest::Action;

const GOOD: &str = r#"
name = "all of it"
nodes = 4
late = ["r3"]
duration = "20s"

[parameters]
view_timeout_ms = 500

[preload]
keys = 1000
value_bytes = 100

[load]
sessions = 3

[[step]]
at = "3s"
action = "restart"
target = "r1"
every = "2s"
repeat = 3

[[step]]
at = "4s"
action = "fault"
fault = "silent"
target = "primary"
for = "3s"

[[step]]
at = "6s"
action = "network"
network = { latency = "50ms", loss = "5%" }
target = "r2"
peers = ["r0"]

[[step]]
at = "7s"
action = "partition"
partition = "r0 > r1"

[[step]]
at = "8s"
action = "heal"

[[step]]
at = "9s"
action = "attack"
attack = "flood-requests"

[expect]
all_equal_within = "10s"
accused = ["r1"]
executed_past = { r1 = 100 }
growth = { warm_up = "5s", memory_percent = 20.0, disk_percent = 20.0 }
"#;

fn parse(text: &str) -> Result<Manifest, String> {
    Manifest::parse(Path::new("some.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn a_manifest_says_what_is_done_when() {
    let manifest = parse(GOOD).unwrap();
    let times: Vec<_> = manifest.steps.iter().map(|step| step.at.as_secs()).collect();
    assert_eq!(times, [3, 4, 5, 6, 7, 7, 8, 9]);
    let last = Some(Duration::from_secs(3));
    assert_eq!(manifest.steps[1].action, Action::Fault(Malice { last, ..Malice::from("silent") }));
    let told: Vec<_> = manifest.steps[3..].iter().map(|step| step.action.to_string()).collect();
    let network = "network latency 50ms loss 5%";
    assert_eq!(told, [network, "restart", "partition r0 > r1", "heal", "attack flood-requests"]);
    assert_eq!(manifest.steps[6].target, Target::Cluster);
    assert_eq!(manifest.expect.executed_past[&ReplicaId(1)], 100);
    assert_eq!(manifest.load, Plan { sessions: 3, ..Plan::default() });
}

#[test]
fn all_may_be_restarted_if_their_votes_are_on_disk() {
    let all = GOOD.replacen("\"r1\"\nevery", "\"all\"\nevery", 1);
    assert!(parse(&all).is_ok());
    let forgetful = all.replacen("nodes = 4", "nodes = 4\ndurability = \"memory\"", 1);
    let complaint = parse(&forgetful).unwrap_err();
    assert!(complaint.contains("line 18: restart of all: at most f = 1 of 4"), "{complaint}");
}

#[test]
fn the_manifests_of_this_project_can_be_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let mut count = 0;
    for folder in [folder.clone(), folder.join("long")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                Manifest::read(&path).unwrap();
                count += 1;
            }
        }
    }
    assert_eq!(count, 9);
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_is_allowed() {
    for (right, wrong, complaint) in [
        ("nodes = 4", "nodes = 4\ncolour = 1", "line 4: unknown field `colour`, expected one of `name`"),
        ("nodes = 4", "nodes = 3", "line 3: 3 replicas tolerate no fault"),
        ("[\"r3\"]", "[\"r4\"]", "line 4: there is no r4: the replicas are r0 to r3"),
        ("[\"r3\"]", "[\"r3\", \"r2\"]", "line 4: at most 1 of 4"),
        ("\"20s\"", "\"20\"", "line 5: \"20\" is no time: write 500ms"),
        ("\"20s\"", "\"6s\"", "a step comes at 9s"),
        ("sessions", "people", "line 15: unknown field `people`, expected one of `seed`"),
        ("sessions = 3", "sessions = 0", "line 14: sessions × depth"),
        ("\"restart\"", "\"dance\"", "line 19: unknown variant `dance`, expected one of `kill`"),
        ("\"r1\"\nevery", "\"r9\"\nevery", "line 17: there is no r9"),
        ("\"r1\"\nevery", "\"both\"\nevery", "line 20: target \"both\" is none of r0"),
        (
            "action = \"restart\"\ntarget = \"r1\"",
            "action = \"wipe-disk\"\ntarget = \"all\"",
            "line 17: wipe-disk of all: at most f = 1 of 4",
        ),
        (
            "target = \"primary\"",
            "target = \"all\"",
            "line 24: fault silent for 3s of all: at most f = 1 of 4",
        ),
        ("repeat = 3", "", "line 17: every and repeat come together"),
        ("repeat = 3", "repeat = 3\nfault = \"silent\"", "line 17: fault = … belongs to"),
        (
            "fault = \"silent\"",
            "fault = \"loud\"",
            "line 24: no strategy is called \"loud\": there are equivocate, silent",
        ),
        ("fault = \"silent\"", "fault = \"slow:delay=300\"", "line 24: slow: delay is a time such as"),
        ("fault = \"silent\"", "fault = \"starve:client=me\"", "line 24: starve: client is"),
        ("fault = \"silent\"", "fault = \"renumber\"", "line 24: renumber is a strategy of clients (attack)"),
        ("for = \"3s\"", "for = \"0s\"", "line 24: 0s is no time for a fault to last"),
        ("view_timeout_ms = 500", "view_timeout_ms = 0", "view_timeout"),
        ("fault = \"silent\"", "", "line 24: action = \"fault\" needs fault"),
        ("loss = \"5%\"", "loss = \"5\"", "\"5\" is no share: write a number from 0% to 100%"),
        ("{ latency = \"50ms\", loss = \"5%\" }", "{}", "line 31: action = \"network\" needs network"),
        ("peers = [\"r0\"]", "peers = [\"r5\"]", "line 31: there is no r5"),
        ("r0 > r1", "r0 > r1 > r2", "is no partition"),
        ("r0 > r1", "r0 > r4", "there is no r4"),
        ("r0 > r1", "r0,r1,r2,r3", "line 38: r0,r1,r2,r3 parts nobody from anybody"),
        ("peers = [\"r0\"]", "peers = [\"r2\"]", "line 31: a replica has no line to itself"),
        ("flood-requests", "flood-requests:rate=many", "flood-requests: rate is"),
        ("\"heal\"", "\"heal\"\nfor = \"1s\"", "for = … belongs to action = \"fault\" or \"network\""),
        ("\"heal\"", "\"heal\"\ntarget = \"r1\"", "heal is for the whole cluster and has no target"),
        ("target = \"r2\"\n", "", "needs a target"),
        ("flood-requests", "love", "no strategy is called \"love\": there are split-requests"),
        ("\"flood-requests\"", "\"flood-requests\"\nclients = 9", "from 1 to 4"),
        ("all_equal", "all_equals", "unknown field `all_equals_within`, expected one of"),
        ("accused = [\"r1\"]", "accused = [\"r7\"]", "there is no r7"),
        ("nodes = 4", "nodes = 4\ndurability = \"tape\"", "line 4: unknown variant `tape`"),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let error = parse(&GOOD.replacen(right, wrong, 1)).unwrap_err();
        assert!(error.contains(complaint) && error.starts_with("manifest some.toml, line"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
