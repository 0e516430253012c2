//! Where every replica of a testnet stands.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use pbft_messages::{Configuration, Quorum, ReplicaId, Reserve};

use crate::control::Control;
use crate::process::Condition;
use crate::{Testnet, TestnetError};

/// A whole testnet's standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Each replica's.
    pub replicas: Vec<ReplicaStatus>,
    /// f: how many faulty replicas do no harm.
    pub faults_tolerated: usize,
    /// How many are dead, paused, without an answer, told to misbehave, or recovering.
    pub faults_in_use: usize,
    /// Q: how many replicas must work for service to go on.
    pub quorum: usize,
    /// How many work: they are not among the faulty, and they keep up.
    pub working: usize,
}

/// One replica's standing, as it says itself. What it did not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Which.
    pub replica: ReplicaId,
    /// Whether its process exists; a paused one's does.
    pub alive: bool,
    /// The last view it entered.
    pub view: Option<u64>,
    /// Whether it is that view's primary.
    pub is_primary: Option<bool>,
    /// The last sequence it executed.
    pub last_executed: Option<u64>,
    /// Its last stable checkpoint.
    pub stable: Option<u64>,
    /// Whether it has lost its votes and votes nothing yet: until then it is one of the f (D8). It may be fetching a
    /// state meanwhile, which `lag` then names.
    pub recovering: bool,
    /// Why it is no help to service yet, if it is none.
    pub lag: Option<Lag>,
    /// The Merkle root of its executed state, in hexadecimal digits.
    pub state_root: Option<String>,
    /// After which sequence the state has that root.
    pub state_root_at: Option<u64>,
    /// The malicious strategy that it was told to follow.
    pub strategy: Option<String>,
}

/// Why a replica that answers and behaves is no help to service yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lag {
    /// It fetches the state of a checkpoint from others.
    Fetching {
        /// The checkpoint's sequence.
        to: u64,
        /// How many chunks of its state are there.
        held: u64,
        /// How many there will be, once that is known.
        chunks: Option<u64>,
    },
    /// It has lost its votes, and votes nothing before a checkpoint is stable (D8).
    Recovering {
        /// The checkpoint's sequence, once it is known.
        to: Option<u64>,
    },
    /// It has not executed what a stable checkpoint covers, by a checkpoint interval or more.
    Behind {
        /// The checkpoint's sequence.
        to: u64,
    },
}

impl Lag {
    fn of(status: &pbft_node::Status) -> Option<Self> {
        let fetching = status.transferring.map(|it| Self::Fetching {
            to: it.sequence.0,
            held: it.held,
            chunks: it.chunks,
        });
        let recovering =
            || status.recovering.map(|to| Self::Recovering { to: Some(to.0).filter(|to| *to > 0) });
        fetching.or_else(recovering)
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetching { to, held, chunks: Some(chunks) } => {
                write!(formatter, "fetching the state at {to}: {held} of {chunks} chunks")
            }
            Self::Fetching { to, chunks: None, .. } => write!(formatter, "fetching the state at {to}"),
            Self::Recovering { to: Some(to) } => write!(formatter, "recovering, votes again from {to} on"),
            Self::Recovering { to: None } => {
                formatter.write_str("recovering, asks the others where they are")
            }
            Self::Behind { to } => write!(formatter, "catching up to {to}"),
        }
    }
}

/// Whether replicas compute the roots of their states, which takes a moment for a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// They do.
    Asked,
    /// They don't; the roots are `None`.
    Spared,
}

impl ReplicaStatus {
    pub(crate) fn silent(replica: ReplicaId, alive: bool) -> Self {
        Self {
            replica,
            alive,
            view: None,
            is_primary: None,
            last_executed: None,
            stable: None,
            recovering: false,
            lag: None,
            state_root: None,
            state_root_at: None,
            strategy: None,
        }
    }

    /// Why the replica counts against f, if it does: its strategy's name, for one.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        match &self.strategy {
            _ if !self.alive => Some("dead"),
            _ if self.view.is_none() => Some("no answer"),
            Some(strategy) => Some(strategy),
            None => self.recovering.then_some("recovering"),
        }
    }

    /// Whether the replica counts against f.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.fault().is_some()
    }

    /// Whether what the replica says of its state must be right.
    fn is_correct(&self) -> bool {
        self.view.is_some() && self.strategy.is_none()
    }

    /// Whether service can count on the replica now.
    #[must_use]
    pub fn works(&self) -> bool {
        !self.is_faulty() && self.lag.is_none()
    }
}

impl ClusterStatus {
    fn new(mut replicas: Vec<ReplicaStatus>, configuration: &Configuration) -> Self {
        let interval = configuration.parameters().checkpoint_interval;
        let stable = replicas.iter().filter(|it| it.is_correct()).filter_map(|it| it.stable).max();
        for it in &mut replicas {
            // A replica under load may be a few batches behind the fastest at any time.
            let far = stable.filter(|stable| it.last_executed.is_some_and(|at| at + interval <= *stable));
            it.lag = it.lag.or(far.map(|to| Lag::Behind { to }));
        }
        Self {
            faults_tolerated: configuration.f(),
            faults_in_use: replicas.iter().filter(|it| it.is_faulty()).count(),
            quorum: configuration.quorum().get(),
            working: replicas.iter().filter(|it| it.works()).count(),
            replicas,
        }
    }

    /// How far service is from standing still.
    #[must_use]
    pub fn reserve(&self) -> Reserve {
        Reserve::new(self.working, Quorum::of(self.replicas.len()))
    }

    /// The primary, as most replicas that answer see it; `None` while they disagree about the view.
    #[must_use]
    pub fn primary(&self) -> Option<ReplicaId> {
        let view = self.view()?;
        let n = self.replicas.len() as u64;
        self.replicas.get((view % n) as usize).map(|status| status.replica)
    }

    /// The view that more than half of the correct replicas are in.
    #[must_use]
    pub fn view(&self) -> Option<u64> {
        let views: Vec<_> = self.correct().filter_map(|status| status.view).collect();
        let most =
            views.iter().copied().max_by_key(|view| views.iter().filter(|other| *other == view).count())?;
        (views.iter().filter(|view| **view == most).count() * 2 > views.len()).then_some(most)
    }

    /// How many replicas but this one count against f.
    #[must_use]
    pub fn other_faults(&self, replica: ReplicaId) -> usize {
        self.replicas.iter().filter(|it| it.replica != replica && it.is_faulty()).count()
    }

    /// The replicas that answer and were not told to misbehave, those that recover included: what they execute must be
    /// right as well.
    pub fn correct(&self) -> impl Iterator<Item = &ReplicaStatus> {
        self.replicas.iter().filter(|status| status.is_correct())
    }

    /// One replica's standing.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> Option<&ReplicaStatus> {
        self.replicas.get(replica.index())
    }

    /// The state root of all correct replicas, and after which sequence, if they all have the same.
    #[must_use]
    pub fn common_root(&self) -> Option<(u64, String)> {
        let mut roots = self.correct().map(|status| (status.state_root_at, status.state_root.as_deref()));
        let (Some(sequence), Some(root)) = roots.next()? else { return None };
        roots.all(|other| other == (Some(sequence), Some(root))).then(|| (sequence, root.to_owned()))
    }
}

async fn ask(
    control: Control,
    replica: ReplicaId,
    condition: Option<Condition>,
    roots: Roots,
) -> ReplicaStatus {
    match condition {
        None | Some(Condition::Dead) => return ReplicaStatus::silent(replica, false),
        // It would not answer, so there is no use in waiting.
        Some(Condition::Paused) => return ReplicaStatus::silent(replica, true),
        Some(Condition::Running) => {}
    }
    match control.status(roots == Roots::Asked).await {
        Ok(status) => ReplicaStatus {
            replica,
            alive: true,
            view: Some(status.view.0),
            is_primary: Some(status.is_primary),
            last_executed: Some(status.last_executed.0),
            stable: Some(status.stable.0),
            recovering: status.recovering.is_some(),
            lag: Lag::of(&status),
            state_root: status.state_root.map(|root| hex::encode(root.as_bytes())),
            state_root_at: status.state_root_at.map(|sequence| sequence.0),
            strategy: status.strategy,
        },
        Err(_) => ReplicaStatus::silent(replica, true),
    }
}

impl Testnet {
    /// Where every replica stands. All are asked at once, and none is waited for longer than a few seconds; one that
    /// does not answer is no error.
    ///
    /// # Errors
    /// [`TestnetError`], only if the testnet's own files cannot be read.
    pub async fn status(&self, roots: Roots) -> Result<ClusterStatus, TestnetError> {
        let state = self.state()?;
        let asked: Vec<_> = self
            .configuration()
            .replicas()
            .map(|replica| {
                let condition = state.living(replica).map(|(_, condition)| condition);
                (replica, tokio::spawn(ask(self.control(replica), replica, condition, roots)))
            })
            .collect();
        let mut replicas = Vec::with_capacity(asked.len());
        for (replica, answer) in asked {
            // The task does not panic, and is not aborted before the runtime ends.
            replicas.push(answer.await.unwrap_or_else(|_| ReplicaStatus::silent(replica, true)));
        }
        Ok(ClusterStatus::new(replicas, self.configuration()))
    }

    /// Asks for the status until it satisfies `holds`, or `patience` is over; the last status then comes as the
    /// error.
    ///
    /// # Errors
    /// The outer one as [`Testnet::status`].
    pub async fn status_when(
        &self,
        patience: Duration,
        roots: Roots,
        mut holds: impl FnMut(&ClusterStatus) -> bool,
    ) -> Result<Result<ClusterStatus, ClusterStatus>, TestnetError> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut attempts = tokio::time::interval(Duration::from_millis(50));
        loop {
            attempts.tick().await;
            let status = self.status(roots).await?;
            if holds(&status) {
                return Ok(Ok(status));
            }
            if tokio::time::Instant::now() > deadline {
                return Ok(Err(status));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{SecretKey, Signer as _};
    use pbft_messages::{Member, Parameters};

    use super::*;

    fn status(views: &[Option<u64>]) -> ClusterStatus {
        let replicas = views.iter().enumerate().map(|(index, view)| {
            let silent = ReplicaStatus::silent(ReplicaId(index as u16), true);
            ReplicaStatus { view: *view, state_root: Some("aa".into()), state_root_at: Some(7), ..silent }
        });
        ClusterStatus::new(replicas.collect(), &configuration())
    }

    fn configuration() -> Configuration {
        let members = (0..4).map(|index| Member {
            key: SecretKey::from_seed(&[index as u8 + 1; 32]).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        Configuration::new("test".into(), members.collect(), [], Parameters::default()).unwrap()
    }

    #[test]
    fn a_replica_that_is_down_or_far_behind_does_not_work() {
        let interval = configuration().parameters().checkpoint_interval;
        let standing = |executed: [Option<u64>; 4]| {
            let mut all = status(&executed).replicas;
            for (it, executed) in all.iter_mut().zip(executed) {
                (it.last_executed, it.stable) = (executed, executed.map(|it| it / interval * interval));
            }
            ClusterStatus::new(all, &configuration())
        };
        let at = 5 * interval + 3;
        let level = standing([Some(at), Some(at), Some(at - 4), Some(at)]);
        assert_eq!((level.working, level.reserve().failures()), (4, Some(1)));
        let behind = standing([Some(at), Some(at), Some(interval), Some(at)]);
        assert_eq!(behind.replicas[2].lag, Some(Lag::Behind { to: 5 * interval }));
        assert_eq!((behind.working, behind.faults_in_use, behind.reserve().failures()), (3, 0, Some(0)));
        assert_eq!(standing([Some(at), None, Some(interval), Some(at)]).reserve().failures(), None);
    }

    #[test]
    fn a_replica_that_recovers_is_one_of_the_f_and_no_liar() {
        let mut all = status(&[Some(1), Some(1), Some(1), Some(1)]).replicas;
        all[2].recovering = true;
        // It fetches meanwhile, and is no less in need of others' votes for that.
        all[2].lag = Some(Lag::Fetching { to: 8, held: 0, chunks: None });
        let one = ClusterStatus::new(all, &configuration());
        assert_eq!((one.faults_in_use, one.working), (1, 3));
        assert_eq!((one.other_faults(ReplicaId(2)), one.other_faults(ReplicaId(1))), (0, 1));
        assert_eq!(one.replicas[2].fault(), Some("recovering"));
        assert_eq!(one.correct().count(), 4);
    }

    #[test]
    fn the_primary_is_known_when_most_agree_on_the_view() {
        assert_eq!(status(&[Some(5), Some(5), None, Some(5)]).primary(), Some(ReplicaId(1)));
        assert_eq!(status(&[Some(5), Some(5), None, Some(6)]).primary(), Some(ReplicaId(1)));
        assert_eq!(status(&[Some(5), Some(6), None, None]).primary(), None);
        assert_eq!(status(&[None; 4]).primary(), None);
    }

    #[test]
    fn a_common_root_is_that_of_all_correct_replicas() {
        let mut all = status(&[Some(1), Some(1), Some(1), Some(1)]);
        assert_eq!(all.common_root(), Some((7, "aa".into())));
        all.replicas[2].state_root = Some("bb".into());
        assert_eq!(all.common_root(), None);
        all.replicas[2].strategy = Some("equivocate".into());
        assert_eq!(all.common_root(), Some((7, "aa".into())));
        all.replicas[1].state_root_at = Some(8);
        assert_eq!(all.common_root(), None);
    }

    #[test]
    fn the_json_is_as_scripts_expect_it() {
        let text = serde_json::to_string(&ReplicaStatus::silent(ReplicaId(2), false)).unwrap();
        assert_eq!(
            text,
            "{\"replica\":\"r2\",\"alive\":false,\"view\":null,\"is_primary\":null,\"last_executed\":null,\
             \"stable\":null,\"recovering\":false,\"lag\":null,\"state_root\":null,\"state_root_at\":null,\"strategy\":null}"
        );
    }
}
