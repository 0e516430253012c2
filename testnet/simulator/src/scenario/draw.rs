//! Drawing scenarios, swarm style: each seed draws first which kinds of faults are on at all, then how bad they are.
//! A run in which everything goes wrong at once rarely gets far enough for the interesting to happen.

use std::collections::BTreeSet;

use pbft_byzantine::{CLIENT_STRATEGIES, STRATEGIES, Stage};
use pbft_messages::{Quorum, ReplicaId, faults_tolerated};
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

/// The share of the liars that follow two strategies at once.
const TWO_HABITS: f64 = 0.3;

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
        let share = |on: bool, random: &mut ChaCha8Rng| {
            if on { f64::from(random.random_range(1..30)) / 100.0 } else { 0.0 }
        };
        let loss = share(self.is_on(Kind::Loss), &mut self.random);
        let duplication = share(self.is_on(Kind::Duplication), &mut self.random);
        let tail = share(self.is_on(Kind::Tail), &mut self.random) / 4.0;
        let replay = share(self.is_on(Kind::Replay), &mut self.random);
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

    /// So many clients more attack.
    pub(super) fn attack_with(&mut self, strategy: &str, count: u16) {
        let first = self.clients + self.attackers;
        self.attackers += count;
        let at = self.time();
        let (clients, strategy) = ((first..first + count).collect(), strategy.to_owned());
        self.act(at, Action::Attack { clients, strategy });
    }

    /// Makes up to f replicas faulty, or f+1 malicious; gives whom.
    fn faulty(&mut self) -> BTreeSet<ReplicaId> {
        let f = faults_tolerated(usize::from(self.n));
        let mut replicas: Vec<_> = (0..self.n).map(ReplicaId).collect();
        replicas.shuffle(&mut self.random);
        let count = if self.swarm.beyond_f { f + 1 } else { self.random.random_range(1..=f) };
        let mut ways = vec![Kind::Malice, Kind::Wipe, Kind::Twins, Kind::Damage, Kind::RollBack];
        if self.swarm.beyond_f {
            ways = vec![self.one_of(&[Kind::Malice, Kind::Twins])];
        } else {
            ways.retain(|kind| self.is_on(*kind));
        }
        if ways.is_empty() {
            return BTreeSet::new();
        }
        replicas.truncate(count);
        let conspiracy = self.swarm.beyond_f && self.random.random_bool(0.5);
        for replica in &replicas {
            match self.one_of(&ways) {
                Kind::Malice if conspiracy => {
                    let strategy = self.one_of(&CONSPIRACIES).to_owned();
                    self.act(Time::default(), Action::Corrupt { replica: *replica, strategy });
                }
                Kind::Wipe => self.wipe(*replica),
                Kind::Twins => drop(self.twins.insert(*replica)),
                Kind::Damage => self.damage(*replica),
                Kind::RollBack => self.roll_back(*replica),
                _ => self.corrupt(*replica),
            }
        }
        replicas.into_iter().collect()
    }

    pub(super) fn corrupt(&mut self, replica: ReplicaId) {
        let description = self.one_of(STRATEGIES);
        if description.stage == Stage::ViewChange {
            self.unseat_those_before(replica);
        }
        if description.stage == Stage::Primary && self.random.random_bool(0.5) {
            self.unseat_those_before(replica);
        }
        let mut strategy = self.one_of(description.samples).text.to_owned();
        if self.random.random_bool(TWO_HABITS) {
            let other = self.one_of(STRATEGIES).samples;
            strategy = format!("{strategy}+{}", self.one_of(other).text);
        }
        let at = self.beginning();
        self.act(at, Action::Corrupt { replica, strategy });
        if self.random.random_bool(0.2) {
            let end = self.later(at, self.length);
            self.act(end, Action::Behave { replica });
        }
    }

    /// Mostly the start: the first primary is r0, whatever happens.
    pub(super) fn beginning(&mut self) -> Time {
        if self.random.random_bool(0.7) { Time::default() } else { self.time() }
    }

    /// Brings a replica's view about: each primary before it crashes, and leaves its view when it starts again (D2).
    pub(super) fn unseat_those_before(&mut self, replica: ReplicaId) {
        let mut at = self.time();
        for primary in (0..replica.0).map(ReplicaId) {
            self.act(at, Action::Crash { replica: primary });
            at = self.later(at, 100);
            self.act(at, Action::Start { replica: primary });
            at = self.later(at, 200);
        }
    }

    fn wipe(&mut self, replica: ReplicaId) {
        let at = self.time();
        self.act(at, Action::Wipe { replica });
    }

    /// A disk is damaged; perhaps it is replaced later.
    fn damage(&mut self, replica: ReplicaId) {
        let at = self.time();
        self.act(at, Action::Damage { replica });
        self.start_later(replica, at);
        if self.random.random_bool(0.5) {
            let replaced = self.later(at, 1000);
            self.act(replaced, Action::Wipe { replica });
        }
    }

    fn roll_back(&mut self, replica: ReplicaId) {
        let at = self.time();
        self.act(at, Action::Save { replica });
        let back = self.later(at, 1500);
        self.act(back, Action::RollBack { replica });
    }

    fn start_later(&mut self, replica: ReplicaId, at: Time) {
        let back = self.later(at, 800);
        self.act(back, Action::Start { replica });
    }

    /// Replicas that stop and start.
    fn outages(&mut self) {
        if self.is_on(Kind::Crash) {
            for _ in 0..self.random.random_range(1..6) {
                let (replica, at) = (self.replica(), self.time());
                self.act(at, Action::Crash { replica });
                self.start_later(replica, at);
            }
        }
        if self.is_on(Kind::Tear) {
            for _ in 0..self.random.random_range(1..4) {
                let (replica, at) = (self.replica(), self.time());
                let survive = self.random.random_range(0..8);
                self.act(at, Action::Tear { replica, survive });
                self.start_later(replica, at);
            }
        }
        if self.is_on(Kind::FailSync) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                self.act(at, Action::FailSync { replica });
                self.start_later(replica, at);
            }
        }
        if self.is_on(Kind::CrashAll) {
            let at = self.time();
            let back = self.later(at, 300);
            for replica in (0..self.n).map(ReplicaId) {
                self.act(at, Action::Crash { replica });
                self.act(back, Action::Start { replica });
            }
        }
        if self.is_on(Kind::ShutDown) {
            let (replica, at) = (self.replica(), self.time());
            self.act(at, Action::ShutDown { replica });
            let back = self.later(at, 500);
            self.act(back, Action::Start { replica });
        }
        if self.is_on(Kind::PowerCut) {
            for _ in 0..self.random.random_range(1..4) {
                let (replica, at) = (self.replica(), self.time());
                let steps = self.random.random_range(1..60);
                let survive = self.one_of(&[0, 0, 1, 2, 100]);
                let mut victims = BTreeSet::from([replica]);
                let more = self.random.random_range(0..3);
                victims.extend((0..more).map(|_| self.replica()));
                self.act(at, Action::PowerCut { replica, steps, survive, victims });
            }
        }
    }

    /// What happens to the network, the disks' speed, the processors and the clocks.
    fn disturbances(&mut self) {
        self.bad_links();
        self.apart_from_clients();
        // Twins that see the same are of little use.
        if self.is_on(Kind::Partition) || !self.twins.is_empty() {
            for _ in 0..self.random.random_range(1..4) {
                let at = self.time();
                let groups = self.groups();
                self.act(at, Action::Partition { groups });
                let end = self.later(at, 1000);
                self.act(end, Action::Heal);
            }
        }
        if self.is_on(Kind::Weather) {
            let (at, conditions) = (self.time(), self.conditions());
            self.act(at, Action::Network(conditions));
        }
        if self.is_on(Kind::SlowDisk) {
            let (at, latency) = (self.time(), Time::ms(self.random.random_range(5..120)));
            self.act(at, Action::SlowDisk { latency });
        }
        if self.is_on(Kind::Starve) {
            let (replica, at) = (self.replica(), self.time());
            let each = Time(std::time::Duration::from_micros(self.random.random_range(100..10_000)));
            self.act(at, Action::Starve { replica, each });
            let end = self.later(at, 1000);
            self.act(end, Action::Starve { replica, each: Time::default() });
        }
        if self.is_on(Kind::Drift) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                let ppm = self.one_of(&[0, 200, -200, 100_000, -100_000, 300_000, -300_000]);
                self.act(at, Action::Drift { replica, ppm });
            }
        }
        if self.is_on(Kind::Clock) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                let ahead_ms = self.one_of(&[0, 0, 1000, -1000, 3_600_000, -3_600_000]);
                let drift_ppm = self.one_of(&[0, 10_000, -10_000, -1_000_000]);
                self.act(at, Action::Clock { replica, ahead_ms, drift_ppm });
            }
        }
    }

    /// Links that carry nothing in one direction, or all but those of a ring; and links that hold back.
    fn bad_links(&mut self) {
        if self.is_on(Kind::Cut) {
            for _ in 0..self.random.random_range(1..3) {
                let at = self.time();
                if self.random.random_bool(0.3) {
                    self.ring(at);
                } else {
                    let links = self.links().into_iter().filter(|_| self.random.random_bool(0.2)).collect();
                    self.act(at, Action::Cut { links });
                }
                let end = self.later(at, 1000);
                self.act(end, Action::Heal);
            }
        }
        if self.is_on(Kind::Clog) {
            for _ in 0..self.random.random_range(1..6) {
                let (from, to, at) = (self.replica(), self.replica(), self.time());
                let duration = Time::ms(self.random.random_range(20..1500));
                self.act(at, Action::Clog { from, to, duration });
            }
        }
    }

    /// Replicas that clients do not reach.
    fn apart_from_clients(&mut self) {
        if self.is_on(Kind::TurnAway) {
            for _ in 0..self.random.random_range(1..3) {
                let (replica, at) = (self.replica(), self.time());
                self.act(at, Action::TurnAway { replica });
                let end = self.later(at, 1000);
                self.act(end, Action::Heal);
            }
        }
    }

    /// Lets each replica reach its two neighbours alone.
    fn ring(&mut self, at: Time) {
        let n = self.n;
        let is_cut = |(from, to): &(ReplicaId, ReplicaId)| ![1, n - 1].contains(&((from.0 + n - to.0) % n));
        let links = self.links().into_iter().filter(is_cut).collect();
        self.act(at, Action::Cut { links });
    }

    /// Cuts every link of one replica.
    pub(super) fn cut_off(&mut self, replica: ReplicaId, at: Time) {
        let is_its = |(from, to): &(ReplicaId, ReplicaId)| replica == *from || replica == *to;
        let links = self.links().into_iter().filter(is_its).collect();
        self.act(at, Action::Cut { links });
    }

    /// Every link.
    fn links(&self) -> Vec<(ReplicaId, ReplicaId)> {
        let replicas = || (0..self.n).map(ReplicaId);
        let links = replicas().flat_map(|from| replicas().map(move |to| (from, to)));
        links.filter(|(from, to)| from != to).collect()
    }

    /// Two or three groups, or one replica apart.
    fn groups(&mut self) -> Vec<BTreeSet<ReplicaId>> {
        let count = self.random.random_range(2..=3);
        // One group alone would part nobody.
        loop {
            let mut groups = vec![BTreeSet::new(); count];
            for replica in (0..self.n).map(ReplicaId) {
                groups[self.random.random_range(0..count)].insert(replica);
            }
            groups.retain(|group| !group.is_empty());
            if groups.len() > 1 {
                return groups;
            }
        }
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
