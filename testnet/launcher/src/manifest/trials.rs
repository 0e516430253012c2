//! A manifest for each strategy: it is set on a running cluster under load, where it has an effect, and what its
//! description states must hold.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use pbft_byzantine::{CLIENT_STRATEGIES, Description, Pause, STRATEGIES, Stage};
use pbft_messages::{Parameters, ParametersTable, ReplicaId};

use super::{Action, Expect, Manifest, Step, Target};
use crate::Durability;
use crate::attack::Attack;
use crate::traffic::{Plan, Preload};

/// What a pause may be longer than stated: the processes share a machine, which may do other things.
const ALLOWANCE: Duration = Duration::from_secs(1);

/// The identities of a malicious client.
const CLIENTS: usize = 3;

/// The strategies that find nothing to lie about: the load has all its reads ordered, so that each one's place is known.
const IDLE: [&str; 1] = ["stale-reads"];

/// A strategy on trial.
#[derive(Clone, Debug)]
pub struct StrategyTrial {
    /// What is stated.
    pub description: &'static Description,
    /// How it is tried.
    pub manifest: Manifest,
}

/// A trial of every strategy, those of replicas first.
pub fn trials() -> impl Iterator<Item = StrategyTrial> {
    let replicas = STRATEGIES.iter().map(|it| StrategyTrial { description: it, manifest: of_replica(it) });
    let clients =
        CLIENT_STRATEGIES.iter().map(|it| StrategyTrial { description: it, manifest: of_client(it) });
    replicas.chain(clients)
}

/// Who lies, what else is done to give it the opportunity, and how long that alone may take. The replicas that are only
/// crashed or wiped use up a fault as well, so there must be seven for them.
struct Opportunity {
    nodes: usize,
    liar: ReplicaId,
    besides: Vec<Step>,
    pause: Duration,
}

impl Opportunity {
    fn of(stage: Stage) -> Self {
        let (r0, r1, r6) = (ReplicaId(0), ReplicaId(1), ReplicaId(6));
        let step = |seconds, action, replica| step(seconds, action, Target::One(replica));
        let of_four = |liar| Self { nodes: 4, liar, besides: Vec::new(), pause: Duration::ZERO };
        match stage {
            Stage::Always | Stage::Primary => of_four(r0),
            Stage::Backup => of_four(r1),
            // The liar leads the next view, whose beginning takes a time-out.
            Stage::ViewChange => Self {
                nodes: 7,
                liar: r1,
                besides: vec![step(2, Action::Kill, r0), step(6, Action::Restart, r0)],
                pause: Parameters::default().view_timeout * 2,
            },
            Stage::Transfer => Self {
                nodes: 7,
                liar: r1,
                besides: vec![step(2, Action::WipeDisk, r6)],
                pause: Duration::ZERO,
            },
        }
    }
}

fn of_replica(description: &Description) -> Manifest {
    let Opportunity { nodes, liar, mut besides, pause } = Opportunity::of(description.stage);
    let mut steps = vec![step(1, Action::Fault(first_sample(description).into()), Target::One(liar))];
    steps.append(&mut besides);
    let mut manifest = manifest(description, nodes, pause);
    manifest.steps = steps;
    if description.stage == Stage::ViewChange {
        // So slow, and so long until the first checkpoint, that it comes after the view change: otherwise one that
        // became stable just then would leave nothing to leave out or to forge.
        manifest.load.think_ms = 20;
        manifest.parameters.checkpoint_interval = Some(512);
        manifest.parameters.window = Some(1024);
    }
    if description.stage == Stage::Transfer {
        // So many chunks that every source is asked for some, the liar too.
        manifest.preload.keys = 20_000;
    }
    if !IDLE.contains(&description.name) {
        manifest.expect.altered = BTreeSet::from([liar]);
    }
    manifest.expect.accused = description.proof().kind().map(|_| liar).into_iter().collect();
    manifest.expect.proof = description.proof().kind();
    // A primary that makes the service pause is unseated; what else was seen is told.
    manifest.expect.view_change = description.stage == Stage::Primary && description.pause != Pause::None;
    manifest
}

/// A strategy's first sample.
fn first_sample(description: &Description) -> &'static str {
    description.samples.first().map_or(description.name, |sample| sample.text)
}

fn of_client(description: &Description) -> Manifest {
    let strategy = first_sample(description).to_owned();
    let attack = Attack { strategy, clients: CLIENTS, last: Some(Duration::from_secs(5)) };
    let mut manifest = manifest(description, 4, Duration::ZERO);
    manifest.steps = vec![step(1, Action::Attack(attack), Target::Cluster)];
    manifest
}

fn step(seconds: u64, action: Action, target: Target) -> Step {
    Step { at: Duration::from_secs(seconds), action, target }
}

/// A trial without steps.
fn manifest(description: &Description, nodes: usize, pause: Duration) -> Manifest {
    let stated = description.pause.at_most(Parameters::default().view_timeout);
    Manifest {
        path: PathBuf::new(),
        name: description.name.to_owned(),
        description: description.summary().to_owned(),
        nodes,
        allow_exceed_f: false,
        durability: Durability::Sync,
        late: BTreeSet::new(),
        duration: Duration::from_secs(8),
        patience: Duration::from_secs(30),
        // Checkpoints often, so that there is something to lie about.
        parameters: ParametersTable {
            checkpoint_interval: Some(32),
            window: Some(128),
            ..ParametersTable::default()
        },
        preload: Preload { keys: 1000, value_bytes: 100 },
        load: Plan { sessions: 3, records: 0, think_ms: 5, ..Plan::default() },
        steps: Vec::new(),
        expect: Expect { pause_at_most: Some(stated + pause + ALLOWANCE), ..Expect::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_tried_where_it_has_an_effect() {
        let all: Vec<_> = trials().collect();
        assert_eq!(all.len(), STRATEGIES.len() + CLIENT_STRATEGIES.len());
        for StrategyTrial { description, manifest } in all {
            let Manifest { nodes, steps, expect, .. } = &manifest;
            let faulty = steps
                .iter()
                .filter(|it| it.action.makes_faulty(Durability::Sync) || it.action == Action::Kill);
            assert!(faulty.count() <= (nodes - 1) / 3, "{}", description.name);
            assert_eq!(
                expect.accused.is_empty(),
                description.proof().kind().is_none(),
                "{}",
                description.name
            );
            assert!(steps.iter().all(|step| step.at < manifest.duration));
            if let Some((Action::Fault(malice), Target::One(liar))) =
                steps.first().map(|step| (&step.action, &step.target))
            {
                let acts = !IDLE.contains(&description.name);
                assert_eq!(expect.altered.contains(liar), acts, "{}", description.name);
                assert!(pbft_byzantine::described(&malice.strategy).is_ok(), "{}", malice.strategy);
            }
        }
    }
}
