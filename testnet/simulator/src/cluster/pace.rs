//! How long things take, where a scenario says how long they may.

use std::time::Duration;

use pbft_messages::ClientId;
use pbft_protocol::ViewChangeReason;

use super::Cluster;
use crate::InstanceId;
use crate::violation::Invariant;

impl Cluster {
    /// Watches from now on how long each request takes, and how long each replica asks for one view; or does so no more.
    /// What pends when the limits change has been waited for as long as it has.
    pub fn expect_within(&mut self, answers: Option<Duration>, views: Option<Duration>) {
        self.check_what_pends();
        (self.answered_within, self.views_within) = (answers, views);
    }

    /// Watches from now on that nobody asks for another view; or does so no more.
    pub fn expect_one_view(&mut self, keeps_view: bool) {
        self.keeps_view = keeps_view;
    }

    fn check_what_pends(&mut self) {
        let now = self.now;
        let waits = self.clients.iter().filter_map(|client| Some((client.id, now - client.waits_since()?)));
        for (client, waited) in waits.collect::<Vec<_>>() {
            self.waited(client, waited);
        }
        let instances = (0..).map(InstanceId).zip(&self.instances).filter(|(_, it)| !it.malicious);
        let asks = instances.filter_map(|(at, it)| Some((at, now - it.running.as_ref()?.asks_since?)));
        for (at, asked) in asks.collect::<Vec<_>>() {
            self.asked(at, asked);
        }
    }

    /// A correct instance asks for another view than before, or for none any more.
    pub(super) fn asks(&mut self, at: InstanceId, why: Option<ViewChangeReason>) {
        if let Some(why) = why.filter(|_| self.keeps_view) {
            let text = format!("{at} asks for another view ({why:?}), and nothing is wrong but the load");
            self.checker.violated(Invariant::I8, text);
        }
        let since = why.map(|_| self.now);
        let running = self.instances[at.0].running.as_mut();
        let before = running.and_then(|running| std::mem::replace(&mut running.asks_since, since));
        if let Some(before) = before {
            self.asked(at, self.now - before);
        }
    }

    /// An instance has asked for one view for so long.
    fn asked(&mut self, at: InstanceId, asked: Duration) {
        if let Some(limit) = self.views_within.filter(|limit| asked > *limit) {
            let text =
                format!("{at} asked for one view for {asked:?}, and nothing was lost: {limit:?} at most");
            self.checker.violated(Invariant::I8, text);
        }
    }

    /// A client has waited for an answer for so long.
    pub(super) fn waited(&mut self, client: ClientId, waited: Duration) {
        if let Some(limit) = self.answered_within.filter(|limit| waited > *limit) {
            let text =
                format!("client {client} waited {waited:?}, and nothing was in its way: {limit:?} at most");
            self.checker.violated(Invariant::I8, text);
        }
    }
}
