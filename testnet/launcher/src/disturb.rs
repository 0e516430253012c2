//! Disturbing the network of a running testnet, and mending it.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::ReplicaId;

use crate::malice::lasts;
use crate::network::{Direction, LinkFault, Partition, Shape, Trouble};
use crate::order::Order;
use crate::process::Condition;
use crate::state::Lock;
use crate::units::Time;
use crate::{ReplicaStatus, Testnet, TestnetError};

impl Testnet {
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
        lasts(last)?;
        let _lock = Lock::take(self.folder()).await?;
        self.answering(replica)?;
        peers.iter().try_for_each(|peer| self.known(*peer).map(drop))?;
        let others = self.configuration().replicas().filter(|it| *it != replica);
        let peers: BTreeSet<_> = others.filter(|it| peers.is_empty() || peers.contains(it)).collect();
        if peers.is_empty() {
            let why = format!("{replica} has no line to itself: name others as its peers");
            return Err(TestnetError::Pointless(why));
        }
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
    /// As [`Testnet::set_fault`]: a replica without a quorum on its side is cut off. [`TestnetError::Pointless`] if
    /// neither end of a link runs.
    pub async fn partition(
        &mut self,
        partition: &Partition,
        last: Option<Duration>,
        allow_exceed_f: bool,
    ) -> Result<(), TestnetError> {
        lasts(last)?;
        let _lock = Lock::take(self.folder()).await?;
        partition.named().try_for_each(|replica| self.known(replica).map(drop))?;
        partition.check(self.configuration().n()).map_err(TestnetError::Pointless)?;
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
        let answering = self.that_answer()?;
        let holds = |one: &ReplicaId| answering.contains(one);
        for one in &all {
            let forgone = |other: &&ReplicaId| partition.cuts(*one, **other) && !holds(one) && !holds(other);
            if let Some(other) = all.iter().find(forgone) {
                let why = format!(
                    "nobody would cut the link from {one} to {other}, for neither runs: start one of them, or leave them out"
                );
                return Err(TestnetError::Pointless(why));
            }
        }
        self.tolerates(allow_exceed_f, harm).await?;
        let last = last.map(Time);
        let order = |replica| {
            let (to, from) = (lost(replica, Direction::To), lost(replica, Direction::From));
            (!to.is_empty() || !from.is_empty()).then_some((replica, Order::Cut { to, from, last }))
        };
        let orders: Vec<_> = answering.iter().copied().filter_map(order).collect();
        let remedy = "give the order again, or `pbft-testnet heal` makes the network whole";
        self.order_all(orders, remedy).await
    }

    /// Ends all that is wrong with the network, partitions and bad lines. Those that are paused keep their part of it, and
    /// are given back.
    ///
    /// # Errors
    /// [`TestnetError`], among others if no replica runs.
    pub async fn heal(&mut self) -> Result<Vec<ReplicaId>, TestnetError> {
        let _lock = Lock::take(self.folder()).await?;
        let orders: Vec<_> = self.that_answer()?.into_iter().map(|it| (it, Order::Heal)).collect();
        self.order_all(orders, "give the order again, or `restart` who does not answer").await?;
        let paused = |it: &ReplicaId| matches!(self.running(*it), Ok((_, Condition::Paused)));
        Ok(self.configuration().replicas().filter(paused).collect())
    }

    /// Gives all orders at once, whatever becomes of each. The error tells who has not obeyed and who has.
    async fn order_all(
        &self,
        orders: Vec<(ReplicaId, Order)>,
        remedy: &'static str,
    ) -> Result<(), TestnetError> {
        let given = |(replica, order): (ReplicaId, Order)| {
            let control = self.control(replica);
            (replica, tokio::spawn(async move { control.order(&order).await }))
        };
        let given: Vec<_> = orders.into_iter().map(given).collect();
        let (mut obeyed, mut failed) = (Vec::new(), Vec::new());
        for (replica, answer) in given {
            // The task does not panic, and is not aborted before the runtime ends.
            match answer.await {
                Ok(Ok(())) => obeyed.push(replica.to_string()),
                Ok(Err(error)) => failed.push(error.to_string()),
                Err(error) => failed.push(format!("{replica}: {error}")),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        let obeyed = if obeyed.is_empty() { "nobody".to_owned() } else { obeyed.join(", ") };
        Err(TestnetError::InPart { failed: failed.join(", "), obeyed, remedy })
    }

    /// Those that run and are not paused; an error if there are none.
    fn that_answer(&self) -> Result<Vec<ReplicaId>, TestnetError> {
        let state = self.state()?;
        let runs = |it: &ReplicaId| matches!(state.living(*it), Some((_, Condition::Running)));
        let all: Vec<_> = self.configuration().replicas().filter(runs).collect();
        let nobody = || TestnetError::NobodyRuns { folder: self.folder().path().to_owned() };
        if all.is_empty() { Err(nobody()) } else { Ok(all) }
    }
}
