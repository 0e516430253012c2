//! Drawing scenarios, swarm style: each seed draws first which kinds of faults are on at all, then how bad they are.
//! A run in which everything goes wrong at once rarely gets far enough for the interesting to happen.

mod disturbances;
mod faulty;
mod outages;

use std::collections::BTreeSet;

use pbft_byzantine::CLIENT_STRATEGIES;
use pbft_messages::{Quorum, ReplicaId};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::theme::{THEMES, Theme};
use super::{
    Act, Action, Conditions, Scenario, Time, Tuning, usual_batch_bytes, usual_batch_requests,
    usual_clock_bound, usual_service_latency, usual_sessions, usual_waiting_requests,
};

/// What kind of scenarios to draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Swarm {
    /// Makes f+1 replicas malicious, so that guarantees break.
    pub beyond_f: bool,
    /// Lets everybody sign with real keys; the rest is as with simulated ones.
    pub real_signatures: bool,
}

/// The kinds of faults that are on or off for a whole scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Loss,
    Duplication,
    Reordering,
    Tail,
    Replay,
    Weather,
    Partition,
    Cut,
    Clog,
    TurnAway,
    Crash,
    CrashAll,
    PowerCut,
    ShutDown,
    SlowDisk,
    Tear,
    FailSync,
    Starve,
    Drift,
    Clock,
    Wipe,
    Damage,
    RollBack,
    Twins,
    Malice,
    MaliciousClients,
}

const KINDS: [Kind; 26] = [
    Kind::Loss,
    Kind::Duplication,
    Kind::Reordering,
    Kind::Tail,
    Kind::Replay,
    Kind::Weather,
    Kind::Partition,
    Kind::Cut,
    Kind::Clog,
    Kind::TurnAway,
    Kind::Crash,
    Kind::CrashAll,
    Kind::PowerCut,
    Kind::ShutDown,
    Kind::SlowDisk,
    Kind::Tear,
    Kind::FailSync,
    Kind::Starve,
    Kind::Drift,
    Kind::Clock,
    Kind::Wipe,
    Kind::Damage,
    Kind::RollBack,
    Kind::Twins,
    Kind::Malice,
    Kind::MaliciousClients,
];

/// The share of the scenarios that have a theme.
const THEMED: f64 = 0.5;

/// What several liars do together: each signs what the others need to carry two batches at one place.
pub(super) const CONSPIRACIES: [&str; 3] = ["equivocate", "equivocate:to=1", "equivocate:differ=order"];

impl Scenario {
    /// The scenario of a seed: always the same.
    #[must_use]
    pub fn draw(seed: u64, swarm: &Swarm) -> Self {
        Draw::new(seed, swarm).scenario()
    }
}

pub(super) struct Draw<'a> {
    swarm: &'a Swarm,
    pub(super) random: ChaCha8Rng,
    pub(super) n: u16,
    /// How many clients behave.
    pub(super) clients: u16,
    /// How many do not.
    attackers: u16,
    theme: Option<Theme>,
    /// Whether the timeouts of a standstill must not grow.
    pub(super) capped: bool,
    /// See [`Scenario::views_within`].
    pub(super) views_within: Option<Time>,
    /// Who is down in the end.
    pub(super) left_out: Option<ReplicaId>,
    on: Vec<Kind>,
    /// How long it lasts, in milliseconds.
    length: u64,
    twins: BTreeSet<ReplicaId>,
    acts: Vec<Act>,
}

impl<'a> Draw<'a> {
    fn new(seed: u64, swarm: &'a Swarm) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let is_themed = !swarm.beyond_f && random.random_bool(THEMED);
        let theme = THEMES.choose(&mut random).copied().filter(|_| is_themed);
        let n = *[4, 4, 4, 4, 4, 4, 4, 5, 6, 7].choose(&mut random).expect("there are some");
        let n = theme.and_then(Theme::n).unwrap_or(n);
        let share = random.random_range(0.1..0.6);
        let kinds = theme.map_or(&KINDS[..], Theme::kinds);
        let on = kinds.iter().copied().filter(|_| random.random_bool(share)).collect();
        let length = random.random_range(500..3000);
        let clients = random.random_range(1..=3);
        Self {
            swarm,
            random,
            n,
            clients,
            attackers: 0,
            theme,
            capped: false,
            left_out: None,
            views_within: None,
            on,
            length,
            twins: BTreeSet::new(),
            acts: Vec::new(),
        }
    }

    fn scenario(mut self) -> Scenario {
        let mut parameters = self.tuning();
        if let Some(theme) = self.theme {
            theme.tune(&mut self, &mut parameters);
        }
        let network = match self.theme.and_then(|theme| theme.network(&mut self)) {
            Some(network) => network,
            None => self.conditions(),
        };
        let write_latency = Time(std::time::Duration::from_micros(self.random.random_range(50..3000)));
        let service_latency = self.service_latency();
        if self.theme.is_none_or(Theme::is_loaded) {
            self.load();
        }
        let theme = self.theme;
        if self.is_on(Kind::MaliciousClients) || theme == Some(Theme::Clients) {
            self.attack();
        }
        let faulty = match theme {
            Some(theme) => theme.stage(&mut self),
            None => self.faulty(),
        };
        self.outages();
        self.disturbances();
        let core = self.core(&faulty);
        let keys = self.random.random_bool(0.5).then(|| self.random.random_range(1..6));
        self.acts.sort_by_key(|act| act.at);
        // What was drawn last has its time too, before the faults end.
        let end = Time::ms(self.length);
        if self.acts.last().is_none_or(|act| act.at < end) {
            self.act(end, Action::Heal);
        }
        let clients = self.clients + self.attackers;
        Scenario {
            // TOML's numbers end at 2^63.
            seed: self.random.random::<u64>() >> 1,
            n: self.n,
            clients,
            keys: theme.and_then(Theme::keys).or(keys),
            together: self.one_of(&[1, 5]),
            // Under load time may stand still for long.
            alarm: theme == Some(Theme::Idle)
                || self.random.random_bool(0.03) && theme != Some(Theme::Overload),
            answered_within: theme.and_then(Theme::answered_within),
            views_within: self.views_within,
            keeps_view: theme == Some(Theme::Overload),
            steady: theme.filter(|it| it.is_steady()).map(|_| self.random.random_range(0..self.clients)),
            beyond_f: self.swarm.beyond_f,
            real_signatures: self.swarm.real_signatures,
            core,
            twins: self.twins,
            write_latency,
            service_latency,
            parameters,
            network,
            acts: self.acts,
        }
    }

    fn is_on(&self, kind: Kind) -> bool {
        self.on.contains(&kind)
    }

    pub(super) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        *values.choose(&mut self.random).expect("there are some")
    }

    pub(super) fn replica(&mut self) -> ReplicaId {
        ReplicaId(self.random.random_range(0..self.n))
    }

    /// A time within the scenario.
    pub(super) fn time(&mut self) -> Time {
        Time::ms(self.random.random_range(0..self.length))
    }

    pub(super) fn later(&mut self, time: Time, most: u64) -> Time {
        let delay = std::time::Duration::from_millis(self.random.random_range(1..most));
        Time(time.0 + delay)
    }

    pub(super) fn act(&mut self, at: Time, action: Action) {
        self.acts.push(Act { at, action });
    }

    fn tuning(&mut self) -> Tuning {
        let checkpoint_interval = self.one_of(&[1, 2, 4, 8]);
        let view_timeout = self.one_of(&[200, 300, 500]);
        Tuning {
            checkpoint_interval,
            window: checkpoint_interval * self.one_of(&[2, 3, 4]),
            view_timeout: Time::ms(view_timeout),
            view_timeout_cap: Time::ms(view_timeout * self.one_of(&[1, 2, 4, 8])),
            status_interval: Time::ms(self.one_of(&[50, 100])),
            pipeline: self.one_of(&[1, 2, 4, 8]),
            clock_bound: usual_clock_bound(),
            waiting_requests: self.one_of(&[64, usual_waiting_requests()]),
            sessions: self.one_of(&[1, 2, 4, usual_sessions()]),
            batch_requests: self.one_of(&[64, usual_batch_requests()]),
            batch_bytes: self.one_of(&[8 << 10, usual_batch_bytes()]),
        }
    }

    /// Mostly as usual; else from a tenth of a millisecond to a fifth of a second, and short times as often as long ones.
    fn service_latency(&mut self) -> Time {
        if let Some(latency) = self.theme.and_then(|theme| theme.service_latency(self)) {
            return latency;
        }
        if !self.random.random_bool(0.3) || !self.theme.is_none_or(Theme::has_slow_services) {
            return usual_service_latency();
        }
        let micros = 100.0 * 2000_f64.powf(self.random.random::<f64>());
        // At most 200 000.
        Time(std::time::Duration::from_micros(micros as u64))
    }

    fn conditions(&mut self) -> Conditions {
        let micros = |random: &mut ChaCha8Rng, most| {
            Time(std::time::Duration::from_micros(random.random_range(100..most)))
        };
        let latency = micros(&mut self.random, 5000);
        let jitter = match (self.is_on(Kind::Reordering), self.is_on(Kind::Tail)) {
            (true, _) => micros(&mut self.random, 60_000),
            (false, true) => micros(&mut self.random, 2000),
            (false, false) => Time::default(),
        };
        // Two digits are enough, and read well.
        let mut share = |kind, most| {
            if self.is_on(kind) { f64::from(self.random.random_range(1..=most)) / 100.0 } else { 0.0 }
        };
        let loss = share(Kind::Loss, 30);
        let duplication = share(Kind::Duplication, 50);
        let tail = share(Kind::Tail, 30) / 4.0;
        let replay = share(Kind::Replay, 50);
        Conditions { latency, jitter, loss, duplication, tail, replay }
    }

    /// Bursts of requests all along, 20 to 60 in all, and perhaps reads.
    fn load(&mut self) {
        let clients = self.clients;
        let bursts = self.random.random_range(4..8);
        for _ in 0..bursts {
            let at = self.time();
            let client = self.random.random_range(0..clients);
            let requests = self.random.random_range(2..10);
            let depth = self.one_of(&[1, 1, 2, 4, 8]);
            self.act(at, Action::Load { client, requests, depth });
        }
        if self.random.random_bool(0.3) {
            let (at, client) = (self.time(), self.random.random_range(0..clients));
            let (times, interval) =
                (self.random.random_range(1..10), Time::ms(self.random.random_range(5..200)));
            self.act(at, Action::Read { client, times, interval });
        }
    }

    fn attack(&mut self) {
        let count = self.random.random_range(1..=3);
        let strategy = self.one_of(CLIENT_STRATEGIES);
        let strategy = self.one_of(strategy.samples).text;
        self.attack_with(strategy, count);
    }

    /// So many clients more attack, early enough to have an effect.
    pub(super) fn attack_with(&mut self, strategy: &str, count: u16) {
        let first = self.clients + self.attackers;
        self.attackers += count;
        let at = Time::ms(self.random.random_range(0..self.length / 4));
        let (clients, strategy) = ((first..first + count).collect(), strategy.to_owned());
        self.act(at, Action::Attack { clients, strategy });
    }

    /// A quorum of correct replicas, or all of them.
    fn core(&mut self, faulty: &BTreeSet<ReplicaId>) -> BTreeSet<ReplicaId> {
        let mut correct: Vec<_> = (0..self.n)
            .map(ReplicaId)
            .filter(|it| !faulty.contains(it) && self.left_out != Some(*it))
            .collect();
        correct.shuffle(&mut self.random);
        if self.random.random_bool(0.5) {
            correct.truncate(Quorum::of(usize::from(self.n)).get());
        }
        correct.into_iter().collect()
    }
}
