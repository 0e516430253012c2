//! How long things take, where a scenario says how long they may.

use std::time::Duration;

use pbft_messages::ClientId;

use super::Cluster;
use crate::InstanceId;
use crate::violation::Invariant;

impl Cluster {
    /// Watches from now on how long each request takes, and how long each replica asks for one view; or does so no more.
    pub fn expect_within(&mut self, answers: Option<Duration>, views: Option<Duration>) {
        (self.answered_within, self.views_within) = (answers, views);
    }

    /// An instance asks for another view than before, or for none any more.
    pub(super) fn asks(&mut self, at: InstanceId, asks: bool) {
        let (now, before) = (self.now, self.asking.remove(&at));
        if asks {
            self.asking.insert(at, now);
        }
        let waited = now - before.unwrap_or(now);
        if let Some(limit) = self.views_within.filter(|limit| waited > *limit) {
            let text =
                format!("{at} asked for one view for {waited:?}, and nothing was lost: {limit:?} at most");
            self.checker.violated(Invariant::I8, text);
        }
    }

    /// A client's request is answered after so long.
    pub(super) fn waited(&mut self, client: ClientId, waited: Duration) {
        if let Some(limit) = self.answered_within.filter(|limit| waited > *limit) {
            let text =
                format!("client {client} waited {waited:?}, and nothing was in its way: {limit:?} at most");
            self.checker.violated(Invariant::I8, text);
        }
    }
}
