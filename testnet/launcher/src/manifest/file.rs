//! Reading a manifest, and checking it before anything is started.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use pbft_messages::{ParametersTable, ReplicaId};

use super::{Action, Expect, Manifest, Step, Target};
use crate::attack::Attack;
use crate::create::check_size;
use crate::malice::lasts;
use crate::network::{Partition, Shape};
use crate::rehearsal::Rehearsal;
use crate::traffic::{Plan, Preload};
use crate::units::Time;
use crate::{Durability, Malice};

/// How many steps a manifest may come to once all repetitions are counted.
const MAX_STEPS: usize = 10_000;

/// How many clients the load may have, and how much of anything else it may ask for: beyond, the machine is the test.
const MAX_CLIENTS: usize = 400;

/// Why a manifest cannot be run. Each text is one line with the file, the line and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("manifest {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file says something that is not understood, or cannot be done.
    #[error("manifest {}, line {line}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    description: String,
    nodes: Spanned<usize>,
    #[serde(default)]
    allow_exceed_f: bool,
    #[serde(default)]
    durability: Durability,
    #[serde(default)]
    late: Vec<Spanned<ReplicaId>>,
    duration: Time,
    #[serde(default = "patience")]
    patience: Time,
    #[serde(default)]
    parameters: Option<Spanned<ParametersTable>>,
    #[serde(default)]
    preload: Preload,
    #[serde(default)]
    load: Option<Spanned<Plan>>,
    #[serde(default)]
    step: Vec<Spanned<StepTable>>,
    #[serde(default)]
    expect: Option<Spanned<Expect>>,
}

fn patience() -> Time {
    Time(Duration::from_secs(30))
}

/// One `[[step]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    at: Time,
    action: Word,
    target: Option<Target>,
    every: Option<Time>,
    repeat: Option<usize>,
    fault: Option<String>,
    #[serde(default)]
    accomplices: BTreeSet<ReplicaId>,
    network: Option<Shape>,
    #[serde(default)]
    peers: BTreeSet<ReplicaId>,
    partition: Option<Partition>,
    attack: Option<String>,
    clients: Option<usize>,
    r#for: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Kill,
    Pause,
    Resume,
    Restart,
    WipeDisk,
    Start,
    Fault,
    Network,
    Partition,
    Heal,
    Attack,
}

/// How many identities a malicious client has if the manifest does not say.
const CLIENTS: usize = 2;

/// What is wrong, and where.
type Complaint = (Range<usize>, String);

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| ManifestError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads a manifest's text; `path` is where it is from.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`]
    pub fn parse(path: &Path, text: &str) -> Result<Self, ManifestError> {
        let parsed = toml::from_str::<File>(text)
            .map_err(|error| (error.span().unwrap_or_default(), error.message().replace('\n', " ")));
        parsed.and_then(|file| file.checked(path)).map_err(|(place, why)| {
            // An error about a whole table points at its header already.
            let line = text[..place.start.min(text.len())].matches('\n').count() + 1;
            ManifestError::Invalid { path: path.to_owned(), line, why }
        })
    }
}

impl File {
    fn checked(self, path: &Path) -> Result<Manifest, Complaint> {
        let nodes = *self.nodes.get_ref();
        check_size(nodes).map_err(|error| (self.nodes.span(), error.to_string()))?;
        let known = |replica: ReplicaId, place: Range<usize>| {
            let why = || format!("there is no {replica}: the replicas are r0 to r{}", nodes - 1);
            if replica.index() < nodes { Ok(()) } else { Err((place, why())) }
        };
        for late in &self.late {
            known(*late.get_ref(), late.span())?;
        }
        let f = pbft_messages::faults_tolerated(nodes);
        if self.late.len() > f {
            let why =
                format!("at most {f} of {nodes} replicas may be late: the others must serve without them");
            return Err((self.late[f].span(), why));
        }
        let (place, parameters) =
            self.parameters.map_or((0..0, ParametersTable::default()), |it| (it.span(), it.into_inner()));
        let rehearsal =
            Rehearsal::new(nodes, parameters.clone()).map_err(|error| (place, error.to_string()))?;
        let mut steps = Vec::new();
        for table in self.step {
            let place = table.span();
            let at = |why| (place.clone(), why);
            let step = table.into_inner();
            for replica in step.named() {
                known(replica, place.clone())?;
            }
            let (count, every) = step.repetitions().map_err(at)?;
            let action = step.action(nodes, &rehearsal).map_err(at)?;
            let target = match (&step.target, action.is_for_the_cluster()) {
                (None, true) => Target::Cluster,
                (Some(target), false) => target.clone(),
                (Some(_), true) => {
                    return Err(at(format!("{action} is for the whole cluster and has no target")));
                }
                (None, false) => return Err(at(format!("{action} needs a target"))),
            };
            if target == Target::All && action.makes_faulty(self.durability) && !self.allow_exceed_f {
                let why = format!(
                    "{action} of all: at most f = {f} of {nodes} replicas may be faulty at once, unless allow_exceed_f = true"
                );
                return Err(at(why));
            }
            if steps.len() + count > MAX_STEPS {
                return Err(at(format!("more than {MAX_STEPS} steps, repetitions counted")));
            }
            for round in 0..count {
                let at = step.at.0 + every * round as u32;
                steps.push(Step { at, action: action.clone(), target: target.clone() });
            }
        }
        // Stable: what is written first comes first.
        steps.sort_by_key(|step| step.at);
        if let Some(last) = steps.last().filter(|last| last.at > self.duration.0) {
            let why = format!("duration ends at {:?}, and a step comes at {:?}", self.duration.0, last.at);
            return Err((0..0, why));
        }
        let load = self.load.map_or(Ok(Plan::default()), |load| {
            let (place, plan) = (load.span(), load.into_inner());
            let clients = plan.sessions.saturating_mul(plan.depth);
            let why = || format!("sessions × depth must be from 1 to {MAX_CLIENTS}");
            if (1..=MAX_CLIENTS).contains(&clients) { Ok(plan) } else { Err((place, why())) }
        })?;
        let (place, expect) =
            self.expect.map_or((0..0, Expect::default()), |it| (it.span(), it.into_inner()));
        for replica in expect.accused.iter().chain(&expect.altered).chain(expect.executed_past.keys()) {
            known(*replica, place.clone())?;
        }
        Ok(Manifest {
            path: path.to_owned(),
            name: self.name,
            description: self.description,
            nodes,
            allow_exceed_f: self.allow_exceed_f,
            durability: self.durability,
            late: self.late.into_iter().map(Spanned::into_inner).collect(),
            duration: self.duration.0,
            patience: self.patience.0,
            parameters,
            preload: self.preload,
            load,
            steps,
            expect,
        })
    }
}

impl StepTable {
    /// How often, and how long from one time to the next.
    fn repetitions(&self) -> Result<(usize, Duration), String> {
        match (self.repeat, self.every) {
            (None, None) => Ok((1, Duration::ZERO)),
            (Some(count), Some(every)) if count > 0 && !every.0.is_zero() => Ok((count, every.0)),
            _ => Err("every and repeat come together, neither of them 0: every = \"2s\", repeat = 5".into()),
        }
    }

    /// The replicas that are named.
    fn named(&self) -> impl Iterator<Item = ReplicaId> {
        let target = match self.target {
            Some(Target::One(replica)) => Some(replica),
            _ => None,
        };
        let parted = self.partition.iter().flat_map(Partition::named);
        target
            .into_iter()
            .chain(self.accomplices.iter().copied())
            .chain(self.peers.iter().copied())
            .chain(parted)
    }

    /// What is to be done, of which all can be done in a cluster of `nodes` replicas.
    fn action(&self, nodes: usize, rehearsal: &Rehearsal) -> Result<Action, String> {
        self.nothing_foreign()?;
        let last = self.r#for.map(|time| time.0);
        lasts(last).map_err(|error| error.to_string())?;
        Ok(match self.action {
            Word::Kill => Action::Kill,
            Word::Pause => Action::Pause,
            Word::Resume => Action::Resume,
            Word::Restart => Action::Restart,
            Word::WipeDisk => Action::WipeDisk,
            Word::Start => Action::Start,
            Word::Heal => Action::Heal,
            Word::Fault => match self.fault.as_deref() {
                Some("clear") => Action::Clear,
                Some(strategy) => {
                    rehearsal.strategy(strategy).map_err(|error| format!("{error}; clear ends it"))?;
                    let accomplices = self.accomplices.clone();
                    Action::Fault(Malice { strategy: strategy.to_owned(), accomplices, last })
                }
                None => return Err("action = \"fault\" needs fault = …, a strategy or \"clear\"".into()),
            },
            Word::Network => {
                let peers = self.peers.clone();
                let shape = self.network.filter(|shape| *shape != Shape::default());
                let why = "action = \"network\" needs network = { latency = \"50ms\", jitter = \"10ms\", loss = \"5%\", bandwidth = \"1mbit\" }, or some of it";
                if matches!(self.target, Some(Target::One(it)) if peers == BTreeSet::from([it])) {
                    return Err("a replica has no line to itself: name others as its peers".into());
                }
                Action::Network { shape: shape.ok_or(why)?, peers, last }
            }
            Word::Partition => {
                let why =
                    "action = \"partition\" needs partition = \"r0,r1 | r2,r3\", or \"r0 > r1\", or \"r3\"";
                let partition = self.partition.clone().ok_or(why)?;
                partition.check(nodes)?;
                Action::Partition { partition, last }
            }
            Word::Attack => {
                let why = "action = \"attack\" needs attack = …, a strategy of clients";
                let strategy = self.attack.clone().ok_or(why)?;
                let attack = Attack { strategy, clients: self.clients.unwrap_or(CLIENTS), last };
                attack.check().map_err(|error| error.to_string())?;
                rehearsal.attack(&attack.strategy).map_err(|error| error.to_string())?;
                Action::Attack(attack)
            }
        })
    }

    /// An error for a key that belongs to another action.
    fn nothing_foreign(&self) -> Result<(), String> {
        use Word::{Attack, Fault, Network, Partition};
        let keys: [(&str, bool, &[Word]); 8] = [
            ("fault", self.fault.is_some(), &[Fault]),
            ("accomplices", !self.accomplices.is_empty(), &[Fault]),
            ("network", self.network.is_some(), &[Network]),
            ("peers", !self.peers.is_empty(), &[Network]),
            ("partition", self.partition.is_some(), &[Partition]),
            ("attack", self.attack.is_some(), &[Attack]),
            ("clients", self.clients.is_some(), &[Attack]),
            ("for", self.r#for.is_some(), &[Fault, Network, Partition, Attack]),
        ];
        let foreign = keys.iter().find(|(_, given, of)| *given && !of.contains(&self.action));
        foreign.map_or(Ok(()), |(key, _, of)| {
            let of: Vec<_> = of.iter().map(|word| format!("{:?}", word.name())).collect();
            Err(format!("{key} = … belongs to action = {}", of.join(" or ")))
        })
    }
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::WipeDisk => "wipe-disk",
            Self::Start => "start",
            Self::Fault => "fault",
            Self::Network => "network",
            Self::Partition => "partition",
            Self::Heal => "heal",
            Self::Attack => "attack",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (
                "fault = \"silent\"",
                "fault = \"renumber\"",
                "line 24: renumber is a strategy of clients (attack)",
            ),
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
}
