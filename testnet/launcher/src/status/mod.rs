//! Where every replica of a testnet stands.

mod cluster;
mod lag;
mod replica;

use std::time::Duration;

use pbft_messages::ReplicaId;

use crate::control::Control;
use crate::process::Condition;
use crate::{Testnet, TestnetError};

pub use cluster::ClusterStatus;
pub use lag::Lag;
pub use replica::ReplicaStatus;
pub(crate) use replica::harm_of;

/// Whether replicas compute the roots of their states, which takes a moment for a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// They do.
    Asked,
    /// They don't; the roots are `None`.
    Spared,
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
            let has_lied = state.lied.contains(&replica);
            let has_forgotten = !status.alive && self.folder().data(replica).memory_mark().exists();
            replicas.push(ReplicaStatus { has_lied, has_forgotten, ..status });
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
