//! Making replicas misbehave, within what the cluster tolerates.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_byzantine::Harm;
use pbft_messages::ReplicaId;

use crate::order::Order;
use crate::process::Condition;
use crate::rehearsal::Rehearsal;
use crate::state::Lock;
use crate::status::harm_of;
use crate::units::Time;
use crate::{ClusterStatus, ReplicaStatus, Roots, Testnet, TestnetError};

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

impl Malice {
    /// The worst that more than f replicas could do that follow it.
    #[must_use]
    pub fn harm(&self) -> Harm {
        harm_of(&self.strategy)
    }
}

/// An error, if something is to last no time at all.
pub(crate) fn lasts(last: Option<Duration>) -> Result<(), TestnetError> {
    if last == Some(Duration::ZERO) {
        return Err(TestnetError::Pointless("0s is no time for a fault to last".into()));
    }
    Ok(())
}

impl Testnet {
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
        let strategy = Rehearsal::of(self)?.strategy(&strategy)?;
        lasts(last)?;
        accomplices.iter().try_for_each(|accomplice| self.known(*accomplice).map(drop))?;
        self.answering(replica)?;
        let harm = |all: &mut [ReplicaStatus]| {
            let it = &mut all[replica.index()];
            (it.strategy, it.accomplices) = (Some(strategy.clone()), accomplices.clone());
        };
        let status = self.tolerates(allow_exceed_f, harm).await?;
        if status.of(replica).is_some_and(|it| it.view.is_none()) {
            return Err(TestnetError::NoAnswer { replica, why: "it said nothing of where it stands".into() });
        }
        let control = self.control(replica);
        let mut connection = control.connection().await?;
        let (before, mut state) = (self.state()?, self.state()?);
        let lies = malice.harm() == Harm::Disagreement;
        if lies {
            // Before it can lie: a command that is interrupted must not let it be forgotten.
            state.lied.extend(accomplices.iter().copied().chain([replica]));
            state.write(self.folder())?;
        }
        let last = last.map(Time);
        match control.order_over(&mut connection, &Order::Follow { strategy, accomplices, last }).await {
            Err(refused @ TestnetError::Refused { .. }) => {
                // It has not begun to.
                before.write(self.folder())?;
                Err(refused)
            }
            Err(TestnetError::NoAnswer { replica, why }) if lies => {
                let why = format!("{why}; it may follow the strategy, and counts as one of f from now on");
                Err(TestnetError::NoAnswer { replica, why })
            }
            ordered => ordered,
        }
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

    /// An error, if some harm leaves more replicas faulty than the cluster tolerates, and that is not allowed. Harm that
    /// makes nobody worse than before is no matter; a dead replica that loses its disk, say, is worse off. Gives the
    /// status before.
    pub(crate) async fn tolerates(
        &self,
        allow_exceed_f: bool,
        harm: impl FnOnce(&mut [ReplicaStatus]),
    ) -> Result<ClusterStatus, TestnetError> {
        let before = self.status(Roots::Spared).await?;
        let mut after = before.replicas.clone();
        harm(&mut after);
        let after = ClusterStatus::new(after, self.configuration());
        let refusal =
            TestnetError::exceeds(&after).filter(|_| !allow_exceed_f && after.is_worse_than(&before));
        refusal.map_or(Ok(before), Err)
    }

    /// An error, unless a replica can answer.
    pub(crate) fn answering(&self, replica: ReplicaId) -> Result<(), TestnetError> {
        match self.running(replica)?.1 {
            Condition::Paused => {
                Err(TestnetError::Paused { replica, folder: self.folder().path().to_owned() })
            }
            Condition::Running | Condition::Dead => Ok(()),
        }
    }
}
