//! Malicious clients that a manifest lets loose.

use std::path::Path;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::attack::{Attack, Attacked};
use crate::{Testnet, TestnetError};

/// Those that attack now. Dropping this ends them.
#[derive(Default)]
pub(super) struct Attackers {
    stop: CancellationToken,
    attacking: Vec<(String, JoinHandle<Result<Attacked, TestnetError>>)>,
}

impl Attackers {
    /// Lets one loose on the testnet in a folder.
    pub(super) fn start(&mut self, attack: Attack, folder: &Path) {
        let (strategy, folder, stop) = (attack.strategy.clone(), folder.to_owned(), self.stop.clone());
        let attacking = tokio::spawn(async move { attack.run(&Testnet::open(&folder)?, &stop).await });
        self.attacking.push((strategy, attacking));
    }

    /// Ends all, and tells what each did.
    pub(super) async fn stop(mut self) -> Vec<(String, Result<Attacked, TestnetError>)> {
        self.stop.cancel();
        let mut done = Vec::new();
        for (strategy, attacking) in std::mem::take(&mut self.attacking) {
            // It does not panic, and nobody aborts it.
            if let Ok(attacked) = attacking.await {
                done.push((strategy, attacked));
            }
        }
        done
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
