//! Themes: what chance alone would rarely bring together. A themed scenario is about one thing that a rule speaks of;
//! all else about it is drawn as ever, from fewer kinds of faults.

use std::collections::BTreeSet;
use std::time::Duration;

use pbft_byzantine::{Description, STRATEGIES, Stage};
use pbft_messages::ReplicaId;
use rand::RngExt as _;

use super::draw::{CONSPIRACIES, Draw, Kind};
use super::{Action, Conditions, Time, Tuning};

/// What a scenario is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// View changes without end: all is heard, and everything too late (VC7).
    Standstill,
    /// A primary that serves all but one client (N8, fault 25).
    Censor,
    /// A primary that proposes what no client asked for (N2).
    Inventor,
    /// A primary that delays just under the timeout (VC9).
    Slow,
    /// A primary that lets a service wait that wants to be told the time (N6, fault 24).
    Idle,
    /// Replicas that come back far behind, and a liar that hands out state (C3, C4).
    Transfer,
    /// Reads beside links that lose what decides (N5, fault 36).
    Reads,
    /// One primary after the other falls, and a liar asks for the next views with them (VC2, section E).
    Succession,
    /// A liar that hides what it committed to, from those who left that view without it (section E).
    Omission,
    /// A liar with two habits, or one, and nothing else goes wrong.
    Liar,
    /// Two liars of seven replicas, who lie together (row 42, N3, VC2, C1).
    Conspiracy,
    /// Links that are only uneven, and one backup that is down: the others go on without waiting for each other (C4,
    /// fault 18).
    Uneven,
    /// Malicious clients, and replicas that crash (N1).
    Clients,
    /// Clients that ask for more than a slow service can do, and nothing else goes wrong (N8, row 58).
    Overload,
}

pub(super) const THEMES: [Theme; 14] = [
    Theme::Standstill,
    Theme::Censor,
    Theme::Inventor,
    Theme::Slow,
    Theme::Idle,
    Theme::Transfer,
    Theme::Reads,
    Theme::Succession,
    Theme::Omission,
    Theme::Liar,
    Theme::Conspiracy,
    Theme::Uneven,
    Theme::Clients,
    Theme::Overload,
];

impl Theme {
    /// The kinds of faults that may be on besides.
    pub(super) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Standstill | Self::Censor | Self::Slow | Self::Idle => &[],
            Self::Inventor | Self::Omission | Self::Liar | Self::Uneven | Self::Overload => &[],
            Self::Conspiracy => &[Kind::Loss, Kind::Reordering, Kind::Clog, Kind::Crash],
            Self::Transfer => &[Kind::Reordering, Kind::Duplication, Kind::Loss],
            Self::Reads => &[Kind::Clog, Kind::Crash],
            Self::Succession => &[Kind::Loss, Kind::Clog, Kind::Replay, Kind::Reordering],
            Self::Clients => &[Kind::MaliciousClients, Kind::Crash, Kind::Tear, Kind::Loss],
        }
    }

    /// Whether one of the clients goes on asking in the end.
    pub(super) fn is_steady(self) -> bool {
        matches!(self, Self::Censor | Self::Slow)
    }

    /// How long a request may take, where nothing is in its way: less than it would wait for a status.
    pub(super) fn answered_within(self) -> Option<Time> {
        (self == Self::Uneven).then_some(Time::ms(250))
    }

    /// The network, if the theme depends on it.
    pub(super) fn network(self, draw: &mut Draw<'_>) -> Option<Conditions> {
        match self {
            Self::Overload => Some(Conditions::calm()),
            Self::Uneven => Some(Conditions { jitter: Time::ms(6), ..Conditions::calm() }),
            Self::Reads => {
                let loss = f64::from(draw.random.random_range(15..35)) / 100.0;
                Some(Conditions { loss, ..Conditions::calm() })
            }
            _ => None,
        }
    }

    /// Whether clients ask for something all along: not where requests would find out what the theme is about, or where
    /// they could only wait.
    pub(super) fn is_loaded(self) -> bool {
        !matches!(self, Self::Idle | Self::Standstill)
    }

    /// How long the service takes, if the theme is about that.
    pub(super) fn service_latency(self, draw: &mut Draw<'_>) -> Option<Time> {
        (self == Self::Overload).then(|| Time::ms(draw.random.random_range(2..31)))
    }

    /// Whether the service may be slow: not where times are what the theme is about.
    pub(super) fn has_slow_services(self) -> bool {
        matches!(self, Self::Transfer | Self::Succession | Self::Liar | Self::Conspiracy | Self::Clients)
    }

    /// How many replicas there must be, if the theme is about so few.
    pub(super) fn n(self) -> Option<u16> {
        // Of more, one that lags holds nobody up; and two that lag and one that lies are no quorum. Three open a view
        // without the liar.
        match self {
            Self::Standstill | Self::Uneven | Self::Reads | Self::Omission | Self::Overload => Some(4),
            Self::Conspiracy => Some(7),
            _ => None,
        }
    }

    /// How many keys there must be: each is changed for the first time once.
    pub(super) fn keys(self) -> Option<u16> {
        (self == Self::Reads).then_some(16)
    }

    /// Changes the parameters, as far as the theme depends on them.
    pub(super) fn tune(self, draw: &mut Draw<'_>, tuning: &mut Tuning) {
        match self {
            Self::Standstill => {
                draw.capped = draw.random.random_bool(0.5);
                (tuning.view_timeout, tuning.view_timeout_cap) = if draw.capped {
                    (Time::ms(100), Time::ms(100))
                } else {
                    (Time::ms(200), Time::ms(3200))
                };
                tuning.status_interval = Time::ms(100);
            }
            Self::Censor | Self::Slow => {
                tuning.view_timeout = Time::ms(500);
                tuning.view_timeout_cap = Time::ms(1000);
                tuning.status_interval = Time::ms(50);
            }
            Self::Idle => tuning.clock_bound = Time::ms(draw.one_of(&[300, 1000])),
            Self::Omission => (tuning.checkpoint_interval, tuning.window) = (64, 128),
            Self::Succession => {
                tuning.checkpoint_interval = 8;
                tuning.window = 8 * draw.one_of(&[2, 3]);
            }
            Self::Uneven => {
                tuning.checkpoint_interval = draw.one_of(&[1, 2, 4]);
                tuning.window = tuning.checkpoint_interval * 2;
                tuning.status_interval = Time::ms(500);
                tuning.view_timeout = Time::ms(2000);
                tuning.view_timeout_cap = Time::ms(2000);
            }
            Self::Transfer => {
                tuning.checkpoint_interval = draw.one_of(&[1, 2]);
                tuning.window = tuning.checkpoint_interval * draw.one_of(&[2, 4]);
            }
            Self::Reads => tuning.status_interval = Time::ms(200),
            // A window of batches, however small they are, is executed in half a view timeout.
            Self::Overload => {
                (tuning.waiting_requests, tuning.batch_requests) = (64, 64);
                (tuning.checkpoint_interval, tuning.window, tuning.pipeline) = (8, 32, 2);
                tuning.view_timeout = Time::ms(500);
                tuning.view_timeout_cap = Time::ms(1000);
            }
            Self::Inventor | Self::Liar | Self::Conspiracy | Self::Clients => {}
        }
    }

    /// Makes replicas faulty, and does what else the theme is about; gives whom it made faulty.
    pub(super) fn stage(self, draw: &mut Draw<'_>) -> BTreeSet<ReplicaId> {
        let first = ReplicaId(0);
        match self {
            Self::Standstill => {
                draw.act(Time::default(), Action::Load { client: 0, requests: 2, depth: 1 });
                let milliseconds = draw.random.random_range(1500..2500);
                let latency = Time::ms(milliseconds);
                draw.act(Time::ms(5), Action::Network(Conditions { latency, ..Conditions::calm() }));
                // Where the timeouts have no room to grow, they are seen when it is a dead replica's turn to lead. A replica
                // asks for a view when the others do, but for the time that their VIEW-CHANGEs take.
                if draw.capped {
                    let replica = draw.replica();
                    draw.act(Time::ms(5), Action::Crash { replica });
                    draw.left_out = Some(replica);
                    draw.views_within = Some(Time::ms(milliseconds * 3 + 500));
                }
                let end = draw.later(Time::ms(30_000), 30_000);
                draw.act(end, Action::Heal);
                BTreeSet::new()
            }
            Self::Censor => draw.liar(first, &["starve", "starve:delay=150%"]),
            Self::Inventor => {
                let invent: Vec<_> = STRATEGIES.iter().filter(|it| it.name == "invent").collect();
                draw.liar_of(first, &invent)
            }
            Self::Slow => draw.liar(first, &["slow:delay=90%", "slow"]),
            Self::Idle => draw.liar(first, &["silent", "silent:kinds=proposals", "bad-leader:as=idle"]),
            Self::Transfer => {
                let liar = draw.replica();
                for replica in (0..draw.n).map(ReplicaId).filter(|it| *it != liar) {
                    if draw.random.random_bool(0.6) {
                        let at = draw.time();
                        draw.act(at, Action::Crash { replica });
                        let back = draw.later(at, 1500);
                        draw.act(back, Action::Start { replica });
                    }
                }
                draw.liar_at(liar, Stage::Transfer)
            }
            Self::Reads => {
                let client = draw.random.random_range(0..draw.clients);
                for _ in 0..3 {
                    let (at, interval) = (draw.time(), Time::ms(draw.random.random_range(2..31)));
                    draw.act(at, Action::Read { client, times: 150, interval });
                }
                let liar = draw.replica();
                draw.liar(liar, &["stale-reads"])
            }
            Self::Succession => {
                let liar = draw.replica();
                let mut at = draw.time();
                for view in 0..draw.random.random_range(2..6) {
                    let replica = ReplicaId(view % draw.n);
                    if replica != liar {
                        draw.act(at, Action::Crash { replica });
                        let back = draw.later(at, 150);
                        draw.act(back, Action::Start { replica });
                    }
                    at = draw.later(at, 500);
                }
                draw.liar_at(liar, Stage::ViewChange)
            }
            Self::Omission => {
                let liar = ReplicaId(draw.random.random_range(2..draw.n));
                // Its votes come late at first, so that no certificate needs them.
                draw.act(Time::default(), Action::Load { client: 0, requests: 6, depth: 1 });
                for to in (0..draw.n).map(ReplicaId).filter(|to| *to != liar) {
                    draw.act(Time::default(), Action::Clog { from: liar, to, duration: Time::ms(80) });
                }
                // Each primary leaves its view as soon as it has started again (D2); the first while nobody hears the
                // liar.
                let cut = draw.later(Time::ms(90), 60);
                draw.cut_off(liar, cut);
                let crash = draw.later(cut, 20);
                draw.act(crash, Action::Crash { replica: ReplicaId(0) });
                let start = draw.later(crash, 50);
                draw.act(start, Action::Start { replica: ReplicaId(0) });
                let crash = draw.later(Time(start.0 + Duration::from_millis(30)), 100);
                draw.act(crash, Action::Crash { replica: ReplicaId(1) });
                let heal = draw.later(crash, 20);
                draw.act(heal, Action::Heal);
                let start = draw.later(heal, 20);
                draw.act(start, Action::Start { replica: ReplicaId(1) });
                draw.liar(liar, &["omit-proofs"])
            }
            Self::Liar => {
                let liar = draw.replica();
                draw.corrupt(liar);
                BTreeSet::from([liar])
            }
            Self::Conspiracy => draw.conspirators(),
            Self::Uneven => {
                let replica = ReplicaId(draw.random.random_range(1..draw.n));
                draw.act(Time::default(), Action::Crash { replica });
                BTreeSet::new()
            }
            Self::Clients => BTreeSet::new(),
            Self::Overload => {
                let clients = draw.one_of(&[2, 3]);
                draw.attack_with("flood-requests:rate=3000", clients);
                BTreeSet::new()
            }
        }
    }
}

impl Draw<'_> {
    /// Makes two replicas lie together: the first primary and one that signs for it, two primaries one after the other,
    /// two that vouch for the same state, or two that meddle with the view changes that a crash brings about.
    fn conspirators(&mut self) -> BTreeSet<ReplicaId> {
        let mut first = ReplicaId(0);
        let distance = self.random.random_range(1..self.n);
        let neighbour = |it: ReplicaId, n| ReplicaId((it.0 + distance) % n);
        let mut second = neighbour(first, self.n);
        match self.random.random_range(0..4) {
            0 => {
                let strategy = self.one_of(&CONSPIRACIES);
                for it in [first, second] {
                    self.liar(it, &[strategy]);
                }
            }
            1 => {
                first = ReplicaId(self.random.random_range(0..3));
                second = ReplicaId(first.0 + 1);
                self.unseat_those_before(first);
                for it in [first, second] {
                    self.liar(it, &["bad-leader", "bad-leader:as=idle"]);
                }
            }
            2 => {
                first = self.replica();
                second = neighbour(first, self.n);
                for it in [first, second] {
                    self.liar(it, &["wrong-root:roots=one"]);
                }
            }
            _ => {
                first = ReplicaId(self.random.random_range(1..self.n));
                second = neighbour(first, self.n);
                self.unseat_those_before(first);
                for it in [first, second] {
                    self.liar_at(it, Stage::ViewChange);
                }
            }
        }
        BTreeSet::from([first, second])
    }

    /// Makes a replica follow one of these strategies, mostly from the start.
    fn liar(&mut self, replica: ReplicaId, strategies: &[&str]) -> BTreeSet<ReplicaId> {
        let strategy = self.one_of(strategies).to_owned();
        let at = self.beginning();
        self.act(at, Action::Corrupt { replica, strategy });
        BTreeSet::from([replica])
    }

    /// Makes a replica follow a strategy of this stage.
    fn liar_at(&mut self, replica: ReplicaId, stage: Stage) -> BTreeSet<ReplicaId> {
        let described: Vec<_> = STRATEGIES.iter().filter(|it| it.stage == stage).collect();
        self.liar_of(replica, &described)
    }

    /// Makes a replica follow a sample of one of these.
    fn liar_of(&mut self, replica: ReplicaId, described: &[&Description]) -> BTreeSet<ReplicaId> {
        let samples = self.one_of(described).samples;
        let sample = self.one_of(samples);
        self.liar(replica, &[sample.text])
    }
}
