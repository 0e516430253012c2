//! Whether a scenario can be played: what a person wrote may be wrong in many ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pbft_byzantine::{ClientIdentity, Identity, client_strategy, strategy};
use pbft_messages::{Quorum, ReplicaId, Submission};

use super::{Action, Conditions, Scenario, Time};

/// The most replicas and the most clients of a scenario, and the latest act: more takes for ever.
const MOST_REPLICAS: u16 = 31;
const MOST_CLIENTS: u16 = 100;
const LONGEST: Time = Time::ms(3_600_000);

/// By how many milliseconds a clock may be wrong: ten years.
const WRONGEST: i64 = 10 * 365 * 24 * 3_600_000;

/// A scenario that cannot be played: what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidScenario(pub(super) String);

fn ensure(good: bool, why: impl FnOnce() -> String) -> Result<(), InvalidScenario> {
    if good { Ok(()) } else { Err(InvalidScenario(why())) }
}

impl Scenario {
    /// Whether it can be played.
    ///
    /// # Errors
    /// [`InvalidScenario`], with the key and the remedy.
    pub fn check(&self) -> Result<(), InvalidScenario> {
        let Self { n, clients, .. } = *self;
        ensure((4..=MOST_REPLICAS).contains(&n), || {
            format!("n = {n}: a scenario has 4 to {MOST_REPLICAS} replicas")
        })?;
        ensure((1..=MOST_CLIENTS).contains(&clients), || {
            format!("clients = {clients}: a scenario has 1 to {MOST_CLIENTS}")
        })?;
        ensure(self.steady.is_none_or(|client| client < clients), || {
            format!("steady: clients are numbered from 0 to {}", clients - 1)
        })?;
        ensure((1..=Submission::MAXIMUM_REQUESTS).contains(&self.together), || {
            format!("together = {}: from 1 to {}", self.together, Submission::MAXIMUM_REQUESTS)
        })?;
        ensure(self.keys != Some(0), || "keys = 0: one at least, or leave it away".into())?;
        let stranger = self.twins.iter().chain(&self.core).find(|it| it.0 >= n);
        ensure(stranger.is_none(), || format!("twins and core: the replicas are r0 to r{}", n - 1))?;
        self.network.check().map_err(|why| InvalidScenario(format!("network: {why}")))?;
        let (settings, keys) = (self.settings(false), self.settings(false).keys());
        let configuration = settings.configuration(&keys);
        let configuration = configuration.map_err(|error| InvalidScenario(format!("parameters: {error}")))?;
        self.check_faulty()?;
        let identity = Identity {
            replica: ReplicaId(0),
            signer: Arc::clone(&keys.replicas[0]),
            configuration,
            accomplices: BTreeMap::new(),
        };
        for (number, act) in (1..).zip(&self.acts) {
            let placed = |why: String| InvalidScenario(format!("act {number}, at {}: {why}", act.at));
            ensure(act.at <= LONGEST, || format!("at = {}: {LONGEST} is the latest", act.at))?;
            self.check_names(&act.action).map_err(placed)?;
            act.action.check(&identity).map_err(placed)?;
        }
        ensure(self.acts.is_sorted_by_key(|act| act.at), || {
            "the acts are not in the order of their times: sort them by at".into()
        })
    }

    /// Whether no more are faulty than may be, and the core is as it must be (I8).
    fn check_faulty(&self) -> Result<(), InvalidScenario> {
        let (faulty, f) = (self.faulty(), self.f());
        ensure(self.beyond_f || faulty.len() <= f, || {
            let names: Vec<_> = faulty.iter().map(ReplicaId::to_string).collect();
            let names = names.join(" and ");
            format!("{names} become faulty, and f = {f}: change the acts, or set beyond-f = true")
        })?;
        let quorum = Quorum::of(usize::from(self.n));
        let correct = |it: &ReplicaId| !faulty.contains(it);
        ensure(self.beyond_f || quorum.reached(self.core.len()) && self.core.iter().all(correct), || {
            format!("core: name {} replicas or more, all of which are never faulty", quorum.get())
        })
    }

    fn check_names(&self, action: &Action) -> Result<(), String> {
        let last = self.n - 1;
        if let Some(replica) = action.replicas().into_iter().find(|it| it.0 > last) {
            return Err(format!("there is no {replica}: the replicas are r0 to r{last}"));
        }
        let last = self.clients - 1;
        match action.clients().into_iter().find(|client| *client > last) {
            Some(client) => {
                Err(format!("there is no client {client}: clients are numbered from 0 to {last}"))
            }
            None => Ok(()),
        }
    }
}

impl Action {
    fn check(&self, identity: &Identity) -> Result<(), String> {
        match self {
            Self::Load { depth: 0, .. } => {
                Err("depth = 0: at least one request is under way at a time".into())
            }
            Self::Read { interval, .. } if *interval < Time::ms(1) => {
                Err(format!("interval = {interval}: 1ms at least"))
            }
            Self::Network(conditions) => conditions.check(),
            Self::Corrupt { strategy: text, .. } => {
                strategy(text, identity).map(drop).map_err(|error| format!("strategy: {error}"))
            }
            Self::Attack { clients, .. } if clients.is_empty() => {
                Err("clients = []: an attacker has one identity at least".into())
            }
            Self::Attack { strategy: text, .. } => {
                let signers = vec![Arc::clone(&identity.signer)];
                let configuration = Arc::clone(&identity.configuration);
                let client = identity.signer.public_key().into();
                let identity = ClientIdentity { client, signers, configuration };
                client_strategy(text, &identity).map(drop).map_err(|error| format!("strategy: {error}"))
            }
            Self::Clock { ahead_ms, .. } if !(-WRONGEST..=WRONGEST).contains(ahead_ms) => {
                Err(format!("ahead-ms = {ahead_ms}: at most {WRONGEST} either way"))
            }
            Self::Clock { drift_ppm, .. } if !(-1_000_000..=1_000_000).contains(drift_ppm) => Err(format!(
                "drift-ppm = {drift_ppm}: from -1000000, which is frozen, to 1000000, twice as fast"
            )),
            Self::Drift { ppm, .. } if !(-500_000..=500_000).contains(ppm) => {
                Err(format!("ppm = {ppm}: from -500000, half as fast, to 500000"))
            }
            Self::Partition { groups } => {
                let mut named = BTreeSet::new();
                match groups.iter().flatten().find(|replica| !named.insert(**replica)) {
                    Some(twice) => Err(format!("groups: {twice} is in two of them")),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Conditions {
    fn check(&self) -> Result<(), String> {
        let Self { loss, duplication, tail, replay, .. } = *self;
        let shares = [("loss", loss), ("duplication", duplication), ("tail", tail), ("replay", replay)];
        for (key, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("{key} = {share}: a share is from 0.0 to 1.0"));
            }
        }
        Ok(())
    }
}
