//! What can be asked of a cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_crypto::Digest;
use pbft_messages::{Configuration, EvidenceKind, ReplicaId, Sequence, Timestamp};
use pbft_protocol::{AuditId, Input, Report, Standing};

use super::Cluster;
use crate::client::Client;
use crate::instance::Instance;
use crate::transcript::Transcript;
use crate::{InstanceId, Invariant, Violation, WallClock};

impl Cluster {
    /// Runs until every client has all its answers and every running correct replica has executed everything.
    pub fn settle(&mut self, limit: Duration) -> bool {
        self.run_until(limit, |cluster| {
            let highest = cluster.checker.highest();
            let executed = |replica| cluster.last_executed(replica).is_none_or(|it| it == highest);
            cluster.is_answered() && cluster.correct().all(executed)
        })
    }

    fn last_executed(&self, replica: ReplicaId) -> Option<Sequence> {
        Some(self.standing(replica)?.last_executed)
    }

    /// The cluster's configuration, which holds everybody's public keys.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The replicas that have one instance each, which never had a strategy.
    pub fn correct(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.instances.iter().filter(|instance| !instance.malicious).map(|instance| instance.replica)
    }

    /// Where an instance stands; `None` if it is down.
    #[must_use]
    pub fn standing(&self, instance: impl Into<InstanceId>) -> Option<Standing> {
        self.instances[instance.into().0].running.as_ref().map(|running| running.core.standing())
    }

    /// What the instances reported, with the time.
    #[must_use]
    pub fn reports(&self) -> &[(Duration, InstanceId, Report)] {
        &self.reports
    }

    /// The guarantees that were broken.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.checker.violations()
    }

    /// That a guarantee is broken, as of now.
    pub(crate) fn violation(&self, invariant: Invariant, text: String) -> Violation {
        Violation { invariant, at: self.now, step: self.step_count(), text }
    }

    /// How many requests are issued, or yet to be, and not answered.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.clients.iter().map(Client::unanswered).sum()
    }

    /// How many requests one client has issued, or is yet to, that are not answered.
    #[must_use]
    pub fn unanswered_to(&self, client: usize) -> u64 {
        self.clients[client].unanswered()
    }

    /// Who is proven to have lied, and in which kinds of statements, as far as an instance knows.
    #[must_use]
    pub fn proven(&self, instance: impl Into<InstanceId>) -> BTreeSet<(ReplicaId, EvidenceKind)> {
        self.instances[instance.into().0].disk.convictions()
    }

    /// The highest sequence that a correct replica has executed.
    #[must_use]
    pub fn highest(&self) -> Sequence {
        self.checker.highest()
    }

    /// How many requests the clients have answers to.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.clients.iter().map(|client| client.answered).sum()
    }

    /// Whether every client has all its answers.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.clients.iter().all(Client::is_done)
    }

    /// How many requests one client has answers to.
    #[must_use]
    pub fn answered_to(&self, client: usize) -> usize {
        self.clients[client].answered
    }

    /// How many unordered reads a quorum has answered, and how many not.
    #[must_use]
    pub fn reads(&self) -> (usize, usize) {
        (self.reads_answered, self.reads_begun - self.reads_answered)
    }

    /// The state roots of the running correct replicas, each with the sequence it is of.
    #[must_use]
    pub fn state_roots(&mut self) -> Vec<(Sequence, Digest)> {
        self.audit().into_iter().map(|(_, root)| root).collect()
    }

    fn audit(&mut self) -> Vec<(InstanceId, (Sequence, Digest))> {
        let correct: Vec<_> = self.correct().map(InstanceId::from).collect();
        for replica in &correct {
            self.input(*replica, Input::Audit(AuditId(0)));
        }
        let audits = |instance: &mut Instance| instance.running.as_mut().and_then(|it| it.audits.pop_back());
        correct
            .iter()
            .filter_map(|replica| Some((*replica, audits(&mut self.instances[replica.0])?)))
            .collect()
    }

    /// Compares the states of the running correct replicas (I1): with those at the same sequence, and with what any
    /// correct replica ever had there.
    pub fn compare_states(&mut self) {
        for (replica, (sequence, root)) in self.audit() {
            self.checker.root(replica, sequence, root);
        }
    }

    /// What a right wall clock shows.
    #[must_use]
    pub fn wall_clock(&self) -> Timestamp {
        WallClock::default().at(self.now)
    }

    /// What the correct replicas' services were told the time is: for each timed batch when it was first executed
    /// anywhere, by a right clock, and its agreed time.
    pub fn agreed_times(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let times = self.checker.times();
        times.map(|(executed, agreed)| (WallClock::default().at(executed), agreed))
    }

    /// The story so far, a line each event; statuses and forwarded requests are left out. Empty unless the settings
    /// ask for it.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.transcript.as_ref().map(Transcript::text).unwrap_or_default()
    }

    /// The virtual time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now
    }

    /// How many events have happened.
    #[must_use]
    pub fn step_count(&self) -> u64 {
        self.checker.step()
    }
}
