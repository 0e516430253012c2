//! Where every replica of a testnet stands.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use pbft_messages::{Configuration, Quorum, ReplicaId, Reserve};

use crate::control::Control;
use crate::network::{LinkFault, Trouble};
use crate::order::{Faults, Followed};
use crate::process::Condition;
use crate::units::Time;
use crate::{Testnet, TestnetError};

/// A whole testnet's standing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Each replica's.
    pub replicas: Vec<ReplicaStatus>,
    /// f: how many faulty replicas do no harm.
    pub faults_tolerated: usize,
    /// How many are dead, paused, without an answer, told to misbehave, recovering, or cut off.
    pub faults_in_use: usize,
    /// Q: how many replicas must work for service to go on.
    pub quorum: usize,
    /// How many work: they are not among the faulty, and they keep up.
    pub working: usize,
}

/// One replica's standing, as it says itself. What it did not say is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// For how long it follows it still; `None` is until it is cleared.
    pub strategy_left: Option<Time>,
    /// The others whose keys it has.
    pub accomplices: BTreeSet<ReplicaId>,
    /// What is wrong with its links to the others, as it was told.
    pub network: Vec<LinkFault>,
    /// Whether another one that misbehaves has its key: then anything may be said in its name.
    pub lends_key: bool,
    /// Whether it was ever made to sign contradictions, in its own process or with its key. It may behave now, but what
    /// it signed cannot be unsaid.
    #[serde(default)]
    pub has_lied: bool,
    /// Whether links that carry nothing keep it from those that it would need for a quorum.
    pub cut_off: bool,
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
            strategy_left: None,
            accomplices: BTreeSet::new(),
            network: Vec::new(),
            lends_key: false,
            has_lied: false,
            cut_off: false,
        }
    }

    /// One that runs, with what it tells of its faults. A production replica tells nothing.
    fn afflicted(replica: ReplicaId, faults: serde_json::Value) -> Self {
        let Faults { strategy, network } = serde_json::from_value(faults).unwrap_or_default();
        let mut status = Self { network, ..Self::silent(replica, true) };
        if let Some(Followed { text, accomplices, left }) = strategy {
            (status.strategy, status.strategy_left, status.accomplices) = (Some(text), left, accomplices);
        }
        status
    }

    /// Why the replica counts against f, if it does: its strategy's name, for one.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.present_fault().or(self.has_lied.then_some("has lied"))
    }

    /// What is wrong with the replica now.
    fn present_fault(&self) -> Option<&str> {
        match &self.strategy {
            _ if !self.alive => Some("dead"),
            _ if self.view.is_none() => Some("no answer"),
            Some(strategy) => Some(strategy),
            None if self.lends_key => Some("lends its key"),
            None if self.recovering => Some("recovering"),
            None => self.cut_off.then_some("cut off"),
        }
    }

    /// Whether what the replica signs may contradict what it signed before: it lies, or forgot.
    #[must_use]
    pub fn may_contradict_itself(&self) -> bool {
        self.strategy.is_some() || self.lends_key || self.recovering || self.has_lied
    }

    /// What is wrong with its end of the link to another replica.
    fn troubles_with(&self, peer: ReplicaId) -> impl Iterator<Item = Trouble> {
        self.network.iter().filter(move |it| it.peer == peer).map(|it| it.trouble)
    }

    /// What it was told to do and to suffer, each in a few words.
    #[must_use]
    pub fn afflictions(&self) -> Vec<String> {
        let left = |left: Time| format!(" for {:.1} s more", left.0.as_secs_f64());
        let lasting = |time: Option<Time>| time.map_or(String::new(), left);
        let with = self.accomplices.iter().map(|it| format!(" with {it}")).collect::<String>();
        let strategy =
            self.strategy.iter().map(|text| format!("{text}{with}{}", lasting(self.strategy_left)));
        let network = grouped(&self.network);
        let network = network.iter().map(|(trouble, left, peers)| {
            let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
            format!("{trouble} {}{}", peers.join(" "), lasting(*left))
        });
        strategy.chain(network).collect()
    }

    /// Whether the replica counts against f.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.fault().is_some()
    }

    /// Whether what the replica says of its state must be right.
    fn is_correct(&self) -> bool {
        self.view.is_some() && self.strategy.is_none() && !self.lends_key
    }

    /// Whether service can count on the replica now.
    #[must_use]
    pub fn works(&self) -> bool {
        self.present_fault().is_none() && self.lag.is_none()
    }
}

/// The links with the same trouble for the same time, together.
fn grouped(faults: &[LinkFault]) -> Vec<(Trouble, Option<Time>, Vec<ReplicaId>)> {
    let mut groups: Vec<(Trouble, Option<Time>, Vec<ReplicaId>)> = Vec::new();
    for LinkFault { peer, trouble, left } in faults {
        match groups.iter_mut().find(|(other, until, _)| (other, until) == (trouble, left)) {
            Some((.., peers)) => peers.push(*peer),
            None => groups.push((*trouble, *left, vec![*peer])),
        }
    }
    groups
}

impl ClusterStatus {
    pub(crate) fn new(mut replicas: Vec<ReplicaStatus>, configuration: &Configuration) -> Self {
        let interval = configuration.parameters().checkpoint_interval;
        let stable = replicas.iter().filter(|it| it.is_correct()).filter_map(|it| it.stable).max();
        for it in &mut replicas {
            // A replica under load may be a few batches behind the fastest at any time.
            let far = stable.filter(|stable| it.last_executed.is_some_and(|at| at + interval <= *stable));
            it.lag = it.lag.or(far.map(|to| Lag::Behind { to }));
        }
        let lent: BTreeSet<_> = replicas.iter().flat_map(|it| it.accomplices.iter().copied()).collect();
        for it in &mut replicas {
            (it.lends_key, it.cut_off) = (lent.contains(&it.replica), false);
        }
        let cut_off: Vec<_> =
            replicas.iter().map(|it| is_cut_off(it, &replicas, configuration.quorum())).collect();
        for (it, cut_off) in replicas.iter_mut().zip(cut_off) {
            it.cut_off = cut_off;
        }
        Self {
            faults_tolerated: configuration.f(),
            faults_in_use: replicas.iter().filter(|it| it.is_faulty()).count(),
            quorum: configuration.quorum().get(),
            working: replicas.iter().filter(|it| it.works()).count(),
            replicas,
        }
    }

    /// Who counts against f, and why.
    #[must_use]
    pub fn faulty(&self) -> String {
        let named = |it: &ReplicaStatus| it.fault().map(|fault| format!("{} {fault}", it.replica));
        self.replicas.iter().filter_map(named).collect::<Vec<_>>().join(", ")
    }

    /// What is not promised any more, if more replicas are faulty than are tolerated.
    #[must_use]
    pub fn breaks(&self) -> Option<String> {
        let Self { faults_tolerated: tolerated, faults_in_use: used, working, quorum, .. } = *self;
        let liars = self.replicas.iter().filter(|it| it.may_contradict_itself()).count();
        (used > tolerated).then(|| {
            if liars > tolerated {
                format!(
                    "with {liars} that lie or have lied, or have forgotten what they said, correct replicas may execute different things and lose acknowledged writes"
                )
            } else if working < quorum {
                format!(
                    "they cannot make correct replicas disagree, but service stands still until some come back, since it needs {quorum} replicas that work, and {working} are left"
                )
            } else {
                "they cannot make correct replicas disagree, but service may stand still".to_owned()
            }
        })
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

/// Whether a replica has severed links, and too few others left for a quorum: those that are not faulty themselves, and
/// whose link to it carries something.
fn is_cut_off(one: &ReplicaStatus, all: &[ReplicaStatus], quorum: Quorum) -> bool {
    let severed = |other: &&ReplicaStatus| {
        Trouble::severs(one.troubles_with(other.replica).chain(other.troubles_with(one.replica)))
    };
    let others = || all.iter().filter(|other| other.replica != one.replica);
    others().any(|other| severed(&other))
        && others().filter(|other| other.present_fault().is_none() && !severed(other)).count() + 1
            < quorum.get()
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
            view: Some(status.view.0),
            is_primary: Some(status.is_primary),
            last_executed: Some(status.last_executed.0),
            stable: Some(status.stable.0),
            recovering: status.recovering.is_some(),
            lag: Lag::of(&status),
            state_root: status.state_root.map(|root| hex::encode(root.as_bytes())),
            state_root_at: status.state_root_at.map(|sequence| sequence.0),
            ..ReplicaStatus::afflicted(replica, status.faults)
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
            let status = answer.await.unwrap_or_else(|_| ReplicaStatus::silent(replica, true));
            replicas.push(ReplicaStatus { has_lied: state.lied.contains(&replica), ..status });
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
    use crate::network::{Direction, Shape};

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
        assert_eq!(one.replicas[2].fault(), Some("recovering"));
        assert_eq!(one.correct().count(), 4);
    }

    /// The faulty of four replicas, after these troubles on these links.
    fn faulty(faults: &[(u16, u16, Trouble)], spoil: impl FnOnce(&mut [ReplicaStatus])) -> String {
        let mut all = status(&[Some(1); 4]).replicas;
        for (replica, peer, trouble) in faults {
            let fault = LinkFault { peer: ReplicaId(*peer), trouble: *trouble, left: None };
            all[usize::from(*replica)].network.push(fault);
        }
        spoil(&mut all);
        ClusterStatus::new(all, &configuration()).faulty()
    }

    #[test]
    fn who_has_no_quorum_left_is_cut_off() {
        let cut = Trouble::Cut(Direction::To);
        let bad = |loss: &str| Trouble::Bad(Shape { loss: loss.parse().unwrap(), ..Shape::default() });
        assert_eq!(faulty(&[(3, 0, cut), (3, 1, cut)], |_| ()), "r3 cut off");
        assert_eq!(faulty(&[(3, 0, cut)], |_| ()), "", "both ends still find a quorum");
        assert_eq!(faulty(&[(3, 0, bad("100%")), (1, 3, cut)], |_| ()), "r3 cut off");
        assert_eq!(faulty(&[(3, 0, bad("50%")), (1, 3, bad("50%"))], |_| ()), "", "slow is not cut");
        assert_eq!(faulty(&[(3, 0, bad("50%")), (0, 3, bad("50%"))], |_| ()), "", "one link is lost");
        let both = [(3, 0, bad("50%")), (0, 3, bad("50%")), (3, 1, bad("50%")), (1, 3, bad("50%"))];
        assert_eq!(faulty(&both, |_| ()), "r3 cut off", "what both ends lose adds up");
        let halves = [(0, 2, cut), (0, 3, cut), (1, 2, cut), (1, 3, cut)];
        assert_eq!(faulty(&halves, |_| ()), "r0 cut off, r1 cut off, r2 cut off, r3 cut off");
        let silent = |all: &mut [ReplicaStatus]| all[1].strategy = Some("silent".into());
        assert_eq!(faulty(&[(3, 0, cut)], silent), "r0 cut off, r1 silent, r3 cut off");
        assert_eq!(faulty(&[], silent), "r1 silent");
    }

    #[test]
    fn who_lends_its_key_counts() {
        let collude = |all: &mut [ReplicaStatus]| {
            all[1].strategy = Some("equivocate".into());
            all[1].accomplices = [ReplicaId(3)].into();
        };
        assert_eq!(faulty(&[], collude), "r1 equivocate, r3 lends its key");
    }

    #[test]
    fn who_has_lied_works_again_and_counts_for_ever() {
        let mut all = status(&[Some(1); 4]).replicas;
        all[0].has_lied = true;
        let one = ClusterStatus::new(all.clone(), &configuration());
        assert_eq!((one.faulty(), one.working, one.breaks()), ("r0 has lied".to_owned(), 4, None));
        assert_eq!(one.correct().count(), 4, "what it executes must be right again");
        all[1].strategy = Some("equivocate".into());
        let two = ClusterStatus::new(all, &configuration());
        assert_eq!((two.faults_in_use, two.working), (2, 3));
        assert!(two.breaks().is_some_and(|it| it.contains("with 2 that lie or have lied")));
    }

    #[test]
    fn afflictions_are_told_together_where_they_are_the_same() {
        let mut one = ReplicaStatus::silent(ReplicaId(0), true);
        (one.strategy, one.strategy_left) = (Some("silent".into()), "8s".parse().ok());
        let late = Trouble::Bad(Shape { latency: "50ms".parse().unwrap(), ..Shape::default() });
        for (peer, trouble) in [(1, late), (2, late), (3, Trouble::Cut(Direction::From))] {
            one.network.push(LinkFault { peer: ReplicaId(peer), trouble, left: None });
        }
        let told = ["silent for 8.0 s more", "latency 50ms with r1 r2", "nothing comes from r3"];
        assert_eq!(one.afflictions(), told);
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
             \"stable\":null,\"recovering\":false,\"lag\":null,\"state_root\":null,\"state_root_at\":null,\"strategy\":null,\"strategy_left\":null,\
             \"accomplices\":[],\"network\":[],\"lends_key\":false,\"has_lied\":false,\"cut_off\":false}"
        );
    }
}
