//! Doing harm to a running testnet, and undoing it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use pbft_byzantine::Proof;
use pbft_crypto::Signer as _;
use pbft_messages::ReplicaId;
use pbft_node::{Identity, StoreError};

use crate::network::{Direction, LinkFault, Partition, Shape, Trouble};
use crate::order::Order;
use crate::process::{Condition, ProcessId, Signal};
use crate::state::Lock;
use crate::testnet::KILL_PATIENCE;
use crate::units::Time;
use crate::{ClusterStatus, Durability, Folder, ReplicaStatus, Roots, Testnet, TestnetError};

/// How a replica is to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malice {
    /// The strategy's text, see [`pbft_byzantine::strategy`].
    pub strategy: String,
    /// The others whose keys it gets from the testnet's folder.
    pub accomplices: BTreeSet<ReplicaId>,
    /// For how long; the replica itself ends it. `None` is until it is cleared, or the process ends.
    pub last: Option<Duration>,
}

impl From<&str> for Malice {
    /// A strategy without accomplices, until it is cleared.
    fn from(strategy: &str) -> Self {
        Self { strategy: strategy.to_owned(), accomplices: BTreeSet::new(), last: None }
    }
}

impl Testnet {
    /// Ends a replica's process with SIGKILL; returns when it has ended.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it is not running.
    pub async fn kill(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let mut state = self.state()?;
        let (process, _) = self.running(replica)?;
        self.end(replica, process).await?;
        state.replicas[replica.index()] = None;
        state.write(self.folder())
    }

    /// Ends every replica that runs with SIGKILL, all at once.
    ///
    /// # Errors
    /// [`TestnetError`]
    pub async fn kill_everything(&mut self) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.kill_all().await?;
        let mut state = self.state()?;
        state.replicas.fill(None);
        state.write(self.folder())
    }

    /// Stops a replica's process where it is (SIGSTOP); it keeps its memory and its sockets.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it is not running.
    pub async fn pause(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let (process, _) = self.running(replica)?;
        self.signal(replica, process, Signal::STOP).map(drop)
    }

    /// Lets a paused replica go on (SIGCONT); does nothing to one that is not paused.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it is not running.
    pub async fn resume(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let (process, _) = self.running(replica)?;
        self.signal(replica, process, Signal::CONT).map(drop)
    }

    /// Starts a replica from its disk, after killing it if it runs; returns when it listens, without waiting for a
    /// quorum. It starts honest: a strategy lives in the process that was told it. One that kept its votes in memory
    /// has lost them, and rejoins by recovery (D8).
    ///
    /// # Errors
    /// [`TestnetError`]
    pub async fn restart(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.known(replica)?;
        let mut state = self.state()?;
        if let Some((process, _)) = state.living(replica) {
            self.end(replica, process).await?;
        }
        if state.durability == Durability::Memory {
            match recover(self.folder(), replica) {
                // It never ran: there is nothing that it could have forgotten.
                Err(TestnetError::Store(StoreError::Readable { .. })) => {}
                recovered => recovered?,
            }
        }
        let started = self.start(replica, &mut state)?;
        self.serves(&started).await
    }

    /// Starts a replica that does not run from its disk, as [`Testnet::restart`] does.
    ///
    /// # Errors
    /// [`TestnetError`], among others if it runs.
    pub async fn start_one(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        if self.running(replica).is_ok() {
            return Err(TestnetError::Running { replica });
        }
        self.restart(replica).await
    }

    /// Loses a replica's disk: kills it if it runs, removes everything that it stored but its key, and lets it
    /// rejoin with that key by recovery (D8); returns when it listens. Until it has recovered it is one of the f.
    ///
    /// # Errors
    /// [`TestnetError`]: among others if that exceeds the faults that the cluster tolerates, unless `allow_exceed_f`.
    pub async fn wipe_disk(&mut self, replica: ReplicaId, allow_exceed_f: bool) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.known(replica)?;
        self.tolerates(allow_exceed_f, |all| all[replica.index()].recovering = true).await?;
        let mut state = self.state()?;
        if let Some((process, _)) = state.living(replica) {
            self.end(replica, process).await?;
        }
        wipe(self.folder(), replica)?;
        recover(self.folder(), replica)?;
        let started = self.start(replica, &mut state)?;
        self.serves(&started).await
    }

    /// Makes a running replica misbehave, from its next effects on.
    ///
    /// # Errors
    /// [`TestnetError`]: among others if that exceeds the faults that the cluster tolerates, unless `allow_exceed_f`.
    pub async fn set_fault(
        &mut self,
        replica: ReplicaId,
        malice: &Malice,
        allow_exceed_f: bool,
    ) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let Malice { strategy, accomplices, last } = malice.clone();
        let strategy = self.aimed(strategy)?;
        let mut samples = pbft_byzantine::described(&strategy)?.into_iter().flat_map(|it| it.samples);
        let signs_contradictions = samples.any(|it| it.proof != Proof::Never);
        accomplices.iter().try_for_each(|accomplice| self.known(*accomplice).map(drop))?;
        self.answering(replica)?;
        let harm = |all: &mut [ReplicaStatus]| {
            let it = &mut all[replica.index()];
            (it.strategy, it.accomplices) = (Some(strategy.clone()), accomplices.clone());
        };
        self.tolerates(allow_exceed_f, harm).await?;
        let (before, mut state) = (self.state()?, self.state()?);
        if signs_contradictions {
            // Before it can lie: a command that is interrupted must not let it be forgotten.
            state.lied.extend(accomplices.iter().copied().chain([replica]));
            state.write(self.folder())?;
        }
        let last = last.map(Time);
        let ordered = self.control(replica).order(&Order::Follow { strategy, accomplices, last }).await;
        if matches!(ordered, Err(TestnetError::Refused { .. })) {
            // It has not begun to.
            before.write(self.folder())?;
        }
        ordered
    }

    /// The strategy's text with the testnet's own client, which its load runs as, in the place of `client=load`.
    fn aimed(&self, strategy: String) -> Result<String, TestnetError> {
        const LOAD: &str = "client=load";
        if !strategy.contains(LOAD) {
            return Ok(strategy);
        }
        Ok(strategy.replace(LOAD, &format!("client={}", self.client_key()?.public_key())))
    }

    /// Makes a running replica's links to these others bad lines, or those to all others.
    ///
    /// # Errors
    /// As [`Testnet::set_fault`]: a replica whose lines carry nothing any more is cut off.
    pub async fn spoil_network(
        &mut self,
        replica: ReplicaId,
        shape: Shape,
        peers: &BTreeSet<ReplicaId>,
        last: Option<Duration>,
        allow_exceed_f: bool,
    ) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.answering(replica)?;
        peers.iter().try_for_each(|peer| self.known(*peer).map(drop))?;
        let others = self.configuration().replicas().filter(|it| *it != replica);
        let peers: BTreeSet<_> = others.filter(|it| peers.is_empty() || peers.contains(it)).collect();
        let trouble = Trouble::Bad(shape);
        let harm = |all: &mut [ReplicaStatus]| {
            let network = &mut all[replica.index()].network;
            // A line that was bad before becomes bad in the new way.
            network.retain(|it| !(matches!(it.trouble, Trouble::Bad(_)) && peers.contains(&it.peer)));
            network.extend(peers.iter().map(|peer| LinkFault { peer: *peer, trouble, left: None }));
        };
        self.tolerates(allow_exceed_f, harm).await?;
        let last = last.map(Time);
        self.control(replica).order(&Order::Spoil { peers: peers.clone(), shape, last }).await
    }

    /// Lets nothing pass any more where the partition cuts. Both ends of each link lose what would pass, so it holds
    /// while one of them runs on.
    ///
    /// # Errors
    /// As [`Testnet::set_fault`]: a replica without a quorum on its side is cut off.
    pub async fn partition(
        &mut self,
        partition: &Partition,
        last: Option<Duration>,
        allow_exceed_f: bool,
    ) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        partition.named().try_for_each(|replica| self.known(replica).map(drop))?;
        let all: Vec<_> = self.configuration().replicas().collect();
        let lost = |one: ReplicaId, way| {
            let cuts = move |other: &ReplicaId| match way {
                Direction::To => partition.cuts(one, *other),
                Direction::From => partition.cuts(*other, one),
            };
            all.iter().copied().filter(cuts).collect::<BTreeSet<_>>()
        };
        let harm = |statuses: &mut [ReplicaStatus]| {
            for it in statuses {
                let trouble = Trouble::Cut(Direction::To);
                let cut = lost(it.replica, Direction::To).into_iter();
                it.network.extend(cut.map(|peer| LinkFault { peer, trouble, left: None }));
            }
        };
        self.tolerates(allow_exceed_f, harm).await?;
        let last = last.map(Time);
        let order = |replica| {
            let (to, from) = (lost(replica, Direction::To), lost(replica, Direction::From));
            (!to.is_empty() || !from.is_empty()).then_some((replica, Order::Cut { to, from, last }))
        };
        let orders: Vec<_> = self.that_answer(&all)?.into_iter().filter_map(order).collect();
        self.order_all(&orders).await
    }

    /// Ends all that is wrong with the network, partitions and bad lines. A replica that is paused keeps its part of it.
    ///
    /// # Errors
    /// [`TestnetError`]
    pub async fn heal(&mut self) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let all: Vec<_> = self.configuration().replicas().collect();
        let orders: Vec<_> = self.that_answer(&all)?.into_iter().map(|it| (it, Order::Heal)).collect();
        self.order_all(&orders).await
    }

    /// Gives every order, whatever becomes of the others. The error tells who has not obeyed and who has.
    async fn order_all(&self, orders: &[(ReplicaId, Order)]) -> Result<(), TestnetError> {
        let (mut obeyed, mut failed) = (Vec::new(), Vec::new());
        for (replica, order) in orders {
            match self.control(*replica).order(order).await {
                Ok(()) => obeyed.push(replica.to_string()),
                Err(error) => failed.push(error.to_string()),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(TestnetError::InPart { failed: failed.join(", "), obeyed: obeyed.join(", ") })
    }

    /// Lets a replica behave again, from its next effects on, and makes its lines good. What it said before cannot be
    /// unsaid, so who signed contradictions goes on counting as faulty; and a partition stays.
    ///
    /// # Errors
    /// [`TestnetError`]
    pub async fn clear_fault(&mut self, replica: ReplicaId) -> Result<(), TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        self.answering(replica)?;
        self.control(replica).order(&Order::Clear).await
    }

    /// An error, if more replicas are faulty after some harm than the cluster tolerates, and that is not allowed. Whether
    /// the one that is harmed was faulty before makes no difference: a dead replica that loses its disk is worse off than
    /// before.
    async fn tolerates(
        &self,
        allow_exceed_f: bool,
        harm: impl FnOnce(&mut [ReplicaStatus]),
    ) -> Result<(), TestnetError> {
        let mut status = self.status(Roots::Spared).await?;
        harm(&mut status.replicas);
        let after = ClusterStatus::new(status.replicas, self.configuration());
        match TestnetError::exceeds(&after).filter(|_| !allow_exceed_f) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Those that run and are not paused.
    fn that_answer(&self, replicas: &[ReplicaId]) -> Result<Vec<ReplicaId>, TestnetError> {
        let state = self.state()?;
        let runs = |it: &ReplicaId| matches!(state.living(*it), Some((_, Condition::Running)));
        Ok(replicas.iter().copied().filter(runs).collect())
    }

    /// The process of a replica that has not ended.
    fn running(&self, replica: ReplicaId) -> Result<(ProcessId, Condition), TestnetError> {
        let living = self.state()?.living(self.known(replica)?);
        living.ok_or_else(|| TestnetError::NotRunning { replica, folder: self.folder().path().to_owned() })
    }

    /// An error, unless a replica can answer.
    fn answering(&self, replica: ReplicaId) -> Result<(), TestnetError> {
        match self.running(replica)?.1 {
            Condition::Paused => {
                Err(TestnetError::Paused { replica, folder: self.folder().path().to_owned() })
            }
            Condition::Running | Condition::Dead => Ok(()),
        }
    }

    async fn end(&mut self, replica: ReplicaId, process: ProcessId) -> Result<(), TestnetError> {
        self.signal(replica, process, Signal::KILL)?;
        if self.wait(replica, process, KILL_PATIENCE).await {
            return Ok(());
        }
        let source = std::io::Error::other("it does not end although it was killed");
        Err(TestnetError::Signal { replica, pid: process.pid, source })
    }
}

/// Removes what a replica stored. Its key and its log stay: the one is no part of the disk that is lost, and the
/// other is for people.
fn wipe(folder: &Folder, replica: ReplicaId) -> Result<(), TestnetError> {
    let kept = [folder.replica_key(replica), folder.log(replica)];
    let failed = |source| TestnetError::File { path: folder.replica(replica), source };
    for entry in fs::read_dir(folder.replica(replica)).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if kept.contains(&path) {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed)?;
    }
    Ok(())
}

/// Does what `pbft-node recover` does: makes the store of a replica that has run before and lost its votes.
fn recover(folder: &Folder, replica: ReplicaId) -> Result<(), TestnetError> {
    let identity = Identity::load(&folder.cluster_file(), &folder.replica_key(replica))?;
    Ok(pbft_node::recover(&identity, &folder.data(replica), false).map(drop)?)
}
