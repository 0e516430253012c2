//! What must hold once the faults of a scenario have ended: time goes on (N6), what waits is executed (I8), nobody is
//! starved and no slow primary stays (VC9), liars are convicted everywhere (I9), and a primary that dies then costs no
//! more than plain timeouts (VC7).

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_messages::{Quorum, ReplicaId};

use super::Scenario;
use super::play::Player;
use crate::alarm::PERIOD;
use crate::{Cluster, Faults, Invariant, Settings, Violation, WallClock};

/// How many requests every client issues once the faults have ended, so that there is something to execute.
const LAST_REQUESTS: u64 = 2;

/// How many requests of the steady client are looked at, of which most must be answered quickly: a liar is slow at fewer
/// before it is voted out.
const WATCHED_REQUESTS: u32 = 12;

/// How many kinds of evidence there are against one replica.
const EVIDENCE_KINDS: u32 = 7;

impl Scenario {
    /// How long it may take after the faults have ended until so many requests that wait are executed.
    ///
    /// Every timer is at most at the cap C of its doubling then. Each of the n − |core| replicas outside of the core may
    /// be the primary before one of the core is. Such a view costs at most C until its requests' timer ends and C until
    /// the next view is given up for want of a NEW-VIEW; if its primary is only slow, C of grace and six view
    /// timeouts until it is voted out (VC9). The views in which replicas of the core led when the faults ended may
    /// come to nothing too, since not all of the core were in them; so each round of primaries is allowed for twice.
    /// A primary that is slow at what waits delays each request by less than a view timeout.
    #[must_use]
    pub fn patience(&self, waiting: u64) -> Duration {
        let (timeout, cap) = (self.parameters.view_timeout.0, self.parameters.view_timeout_cap.0);
        (cap * 3 + timeout * 6) * 2 * (self.outside() + 1)
            + timeout * u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// How many replicas are not of the core.
    fn outside(&self) -> u32 {
        u32::from(self.n) - self.core.len() as u32
    }

    /// How long it may take until requests are executed whose primary has just died, while everything else is well.
    ///
    /// Its client asks everybody after a fifth of the view timeout T, with which the timers of all start. The next view
    /// begins after T, or sooner where backups can tell that it is silent; each replica outside of the core that is to lead one costs a timeout more, doubled each time. One
    /// T is for everything that is no waiting.
    fn succession(&self) -> Duration {
        let (timeout, cap) = (self.parameters.view_timeout.0, self.parameters.view_timeout_cap.0);
        let doubled = |times| (timeout * 2u32.saturating_pow(times)).min(cap.max(timeout));
        timeout / 5 + timeout * 2 + (1..=self.outside()).map(doubled).sum::<Duration>()
    }
}

impl Player<'_> {
    /// Plays what follows the faults.
    pub(super) fn rest(&mut self) -> Option<Violation> {
        let failed = self
            .recover()
            .or_else(|| self.cluster.missed_conviction())
            .or_else(|| self.unshared())
            .or_else(|| self.slow())
            .or_else(|| self.succeed());
        self.cluster.compare_states();
        // Where more than f are faulty, nothing is promised.
        failed.filter(|_| self.scenario.faulty().len() <= self.scenario.f())
    }

    fn violation(&self, invariant: Invariant, text: String) -> Option<Violation> {
        Some(self.cluster.violation(invariant, text))
    }

    /// What one of the core can prove, all of it can soon: with each status a replica is handed one piece that it lacks.
    fn unshared(&mut self) -> Option<Violation> {
        let core = &self.scenario.core;
        let alike = |cluster: &Cluster| {
            let proven: BTreeSet<_> = core.iter().map(|replica| cluster.proven(*replica)).collect();
            !cluster.violations().is_empty() || proven.len() <= 1
        };
        let pieces = EVIDENCE_KINDS * self.scenario.f() as u32;
        if self.wait(self.scenario.parameters.status_interval.0 * (pieces + 3), alike) {
            return None;
        }
        let known = core.iter().map(|replica| format!("{replica} {:?}", self.cluster.proven(*replica)));
        let text = format!("evidence does not spread: {}", known.collect::<Vec<_>>().join("; "));
        self.violation(Invariant::I9, text)
    }

    /// Waits until something holds, and says whether it does in time. The steady client goes on asking all the while.
    fn wait(&mut self, limit: Duration, holds: impl Fn(&Cluster) -> bool) -> bool {
        let end = self.cluster.elapsed() + limit;
        let Some(steady) = self.scenario.steady.map(usize::from) else {
            return self.cluster.run_until(limit, holds);
        };
        while self.cluster.elapsed() < end {
            if self.cluster.unanswered_to(steady) == 0 {
                self.cluster.load_from(steady, 1, 1);
            }
            let next = (self.cluster.elapsed() + self.scenario.parameters.view_timeout.0 / 8).min(end);
            if self.cluster.run_until(next - self.cluster.elapsed(), &holds) {
                return true;
            }
            self.cluster.run_for(next - self.cluster.elapsed());
        }
        false
    }

    /// The faults end: a core of replicas is connected and runs, and of the others only faulty ones do. Tells why, if
    /// what waits is not executed in time by the core and by those that have lost their disks.
    fn recover(&mut self) -> Option<Violation> {
        let (awaited, faulty) = (&self.scenario.core | &self.scenario.rejoining(), self.scenario.faulty());
        self.cluster.cancel_power_cuts();
        self.cluster.heal();
        self.cluster.end_attacks();
        self.cluster.set_faults(Faults::none());
        self.cluster.set_write_latency(Duration::from_millis(1));
        self.cluster.set_service_latency(Settings::SERVICE_LATENCY);
        for replica in (0..self.scenario.n).map(ReplicaId) {
            self.cluster.set_wall_clock(replica, WallClock::default());
            self.cluster.set_drift(replica, 0);
            self.cluster.starve(replica, Duration::ZERO);
            self.cluster.mend_sync(replica);
            if awaited.contains(&replica) {
                self.start(replica);
            } else if !faulty.contains(&replica) {
                self.cluster.crash(replica);
            }
        }
        let stands_still = if self.scenario.alarm { self.stands_still() } else { None };
        stands_still.or_else(|| self.unexecuted(&awaited))
    }

    /// Time goes on though nobody asks for anything: an overdue deadline counts as a request that waits (VC1, N6).
    fn stands_still(&mut self) -> Option<Violation> {
        let from = self.cluster.highest();
        let bound = self.scenario.parameters.clock_bound.0;
        let limit = PERIOD + bound + self.scenario.patience(self.cluster.unanswered());
        let goes_on = |cluster: &Cluster| !cluster.violations().is_empty() || cluster.highest() > from;
        if self.cluster.run_until(limit, goes_on) {
            return None;
        }
        let text = format!(
            "the service is not told the time for {:.1} s: {}",
            limit.as_secs_f64(),
            self.standings()
        );
        self.violation(Invariant::I8, text)
    }

    /// Every client asks for something more; tells why, if that and what waits already is not executed in time.
    fn unexecuted(&mut self, awaited: &BTreeSet<ReplicaId>) -> Option<Violation> {
        let began = self.cluster.elapsed();
        self.ask_more();
        self.patience = self.scenario.patience(self.cluster.unanswered());
        let failed = self.overdue(self.patience, awaited, "the faults ended");
        self.recovery_time = self.cluster.elapsed() - began;
        failed
    }

    fn ask_more(&mut self) {
        for client in self.scenario.correct_clients() {
            self.cluster.load_from(usize::from(client), LAST_REQUESTS, 1);
        }
    }

    /// Tells, if within the limit after something happened not everything is done; see [`Self::is_done_within`].
    fn overdue(&mut self, limit: Duration, awaited: &BTreeSet<ReplicaId>, since: &str) -> Option<Violation> {
        if self.is_done_within(limit, awaited) {
            return None;
        }
        let text = format!("{:.1} s after {since}: {}", limit.as_secs_f64(), self.standings());
        self.violation(Invariant::I8, text)
    }

    /// Whether in time all clients have their answers, the steady one's last request included, and these replicas have
    /// executed everything.
    fn is_done_within(&mut self, limit: Duration, awaited: &BTreeSet<ReplicaId>) -> bool {
        let end = self.cluster.elapsed() + limit;
        let steady = self.scenario.steady;
        let others: Vec<_> =
            (0..self.scenario.clients).filter(|it| Some(*it) != steady).map(usize::from).collect();
        let answered = |cluster: &Cluster| {
            !cluster.violations().is_empty()
                || others.iter().all(|client| cluster.unanswered_to(*client) == 0)
        };
        let done = |cluster: &Cluster| {
            let is_done = |replica: &ReplicaId| {
                let standing = cluster.standing(*replica);
                standing.is_some_and(|it| it.last_executed == cluster.highest() && it.recovering.is_none())
            };
            !cluster.violations().is_empty() || cluster.is_answered() && awaited.iter().all(is_done)
        };
        self.wait(limit, answered) && self.cluster.run_until(end.saturating_sub(self.cluster.elapsed()), done)
    }

    /// No primary makes the steady client wait for ever: each that is slow is voted out after a grace and three spans,
    /// and what nobody notices is up to the client's own patience, a fifth of the view timeout T, and T/2 (VC9).
    fn slow(&mut self) -> Option<Violation> {
        let steady = usize::from(self.scenario.steady?);
        let (timeout, cap) =
            (self.scenario.parameters.view_timeout.0, self.scenario.parameters.view_timeout_cap.0);
        if self.wait((cap + timeout * 10) * (self.scenario.outside() + 1), |it| !it.violations().is_empty()) {
            return None;
        }
        let longest = timeout * 4 / 5;
        let is_answered = |cluster: &Cluster| cluster.unanswered_to(steady) == 0;
        let mut quick = 0;
        for _ in 0..WATCHED_REQUESTS {
            self.cluster.run_until(timeout * 2, is_answered);
            self.cluster.load_from(steady, 1, 1);
            quick += u32::from(self.cluster.run_until(longest, is_answered));
        }
        if quick > WATCHED_REQUESTS / 2 || self.is_over() {
            return None;
        }
        let text = format!(
            "only {quick} of {WATCHED_REQUESTS} requests take less than {longest:?}, and nobody is voted out: {}",
            self.standings()
        );
        self.violation(Invariant::I8, text)
    }

    /// Once there was progress, all timeouts are as at first (VC7): if nobody is faulty and one of the core can be
    /// spared, the death of the primary costs no more than these.
    fn succeed(&mut self) -> Option<Violation> {
        let core = &self.scenario.core;
        let quorum = Quorum::of(usize::from(self.scenario.n));
        if !self.scenario.faulty().is_empty() || !quorum.reached(core.len() - 1) {
            return None;
        }
        self.ask_more();
        let patience = self.scenario.patience(self.cluster.unanswered());
        let failed = self.overdue(patience, core, "more was asked for, when all was well");
        if failed.is_some() || self.is_over() {
            return failed;
        }
        let highest = core.iter().filter_map(|it| self.cluster.standing(*it)).max_by_key(|it| it.view)?;
        self.cluster.crash(highest.primary);
        let left: BTreeSet<_> = core.iter().copied().filter(|it| *it != highest.primary).collect();
        self.ask_more();
        let since = format!("{} died, who led", highest.primary);
        self.overdue(self.scenario.succession(), &left, &since)
    }

    /// Where everybody stands.
    fn standings(&self) -> String {
        let quorum = Quorum::of(usize::from(self.scenario.n)).get();
        let standing = |replica: ReplicaId| {
            let role = if self.scenario.core.contains(&replica) { "" } else { " (not of the core)" };
            let Some(it) = self.cluster.standing(replica) else { return format!("{replica}{role} is down") };
            let pending = it.pending.map(|view| format!(", asks for view {view}")).unwrap_or_default();
            let transfer = it.transferring.map(|it| format!(", fetches state {}", it.sequence));
            let recovering = it.recovering.map(|it| format!(", recovers until checkpoint {it} is stable"));
            format!(
                "{replica}{role} is in view {} of {}{pending}, executed {} above stable {}, has {} requests waiting{}{}",
                it.view,
                it.primary,
                it.last_executed,
                it.stable,
                it.waiting,
                transfer.unwrap_or_default(),
                recovering.unwrap_or_default()
            )
        };
        let standings: Vec<_> = (0..self.scenario.n).map(|index| standing(ReplicaId(index))).collect();
        let all = if self.cluster.is_answered() { "every client has its answers" } else { "requests wait" };
        format!("{all}; a quorum is {quorum}; {}", standings.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A standstill that begins when all was well is told like any other.
    #[test]
    fn a_cluster_that_stops_when_all_was_well_breaks_liveness() {
        let mut scenario = Scenario::from_toml(include_str!("../../tests/scenarios/calm.toml")).unwrap();
        scenario.core = (0..scenario.n).map(ReplicaId).collect();
        let mut player = Player::new(&scenario, false);
        assert_eq!(player.recover(), None);
        player.cluster.set_filter(|_, _, _| false);
        let stopped = player.succeed().expect("nobody hears anybody");
        assert_eq!(stopped.invariant, Invariant::I8);
        assert!(stopped.text.contains("when all was well: requests wait"), "{}", stopped.text);
    }
}
