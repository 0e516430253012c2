//! Themes: what chance alone would rarely bring together. A themed scenario is about one thing that a rule speaks of;
//! all else about it is drawn as ever, from fewer kinds of faults.

use std::collections::BTreeSet;

use pbft_byzantine::{STRATEGIES, Stage};
use pbft_messages::ReplicaId;
use rand::RngExt as _;

use super::draw::{Draw, Kind};
use super::{Action, Conditions, Time, Tuning};

/// What a scenario is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// View changes without end: each hears enough to ask for views, and nobody enough to work in one (VC7).
    Standstill,
    /// A primary that serves all but one client (N8, fault 25).
    Censor,
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
    /// A liar with two habits, or one, and nothing else goes wrong.
    Liar,
    /// Links that are only uneven, and one backup that is down: the others go on without waiting for each other (C4,
    /// fault 18).
    Uneven,
    /// Malicious clients, and replicas that crash (N1).
    Clients,
}

pub(super) const THEMES: [Theme; 10] = [
    Theme::Standstill,
    Theme::Censor,
    Theme::Slow,
    Theme::Idle,
    Theme::Transfer,
    Theme::Reads,
    Theme::Succession,
    Theme::Liar,
    Theme::Uneven,
    Theme::Clients,
];

impl Theme {
    /// The kinds of faults that may be on besides.
    pub(super) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Standstill | Self::Censor | Self::Slow | Self::Idle | Self::Liar | Self::Uneven => &[],
            Self::Transfer => &[Kind::Reordering, Kind::Duplication, Kind::Loss],
            Self::Reads => &[Kind::Cut, Kind::Clog, Kind::Loss, Kind::Tail, Kind::Crash],
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
    pub(super) fn network(self) -> Option<Conditions> {
        let uneven = Conditions { jitter: Time::ms(6), ..Conditions::calm() };
        (self == Self::Uneven).then_some(uneven)
    }

    /// Changes the parameters, as far as the theme depends on them.
    pub(super) fn tune(self, draw: &mut Draw<'_>, tuning: &mut Tuning) {
        match self {
            Self::Standstill => {
                tuning.view_timeout = Time::ms(200);
                tuning.view_timeout_cap = Time::ms(200 * draw.one_of(&[1, 2, 16]));
            }
            Self::Censor | Self::Slow => {
                tuning.view_timeout = Time::ms(500);
                tuning.view_timeout_cap = Time::ms(1000);
                tuning.status_interval = Time::ms(50);
            }
            Self::Idle => tuning.clock_bound = Time::ms(draw.one_of(&[300, 1000])),
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
            Self::Reads | Self::Liar | Self::Clients => {}
        }
    }

    /// Makes replicas faulty, and does what else the theme is about; gives whom it made faulty.
    pub(super) fn stage(self, draw: &mut Draw<'_>) -> BTreeSet<ReplicaId> {
        let first = ReplicaId(0);
        match self {
            Self::Standstill => {
                let at = draw.time();
                draw.ring(at);
                let end = draw.later(at, 20_000);
                draw.act(end, Action::Heal);
                BTreeSet::new()
            }
            Self::Censor => draw.liar(first, &["starve", "starve:delay=150%"]),
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
                    let (at, interval) = (draw.time(), Time::ms(draw.random.random_range(2..20)));
                    draw.act(at, Action::Read { client, times: 60, interval });
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
            Self::Liar => {
                let liar = draw.replica();
                draw.corrupt(liar);
                BTreeSet::from([liar])
            }
            Self::Uneven => {
                let replica = ReplicaId(draw.random.random_range(1..draw.n));
                draw.act(Time::default(), Action::Crash { replica });
                BTreeSet::new()
            }
            Self::Clients => BTreeSet::new(),
        }
    }
}

impl Draw<'_> {
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
        let samples = self.one_of(&described).samples;
        self.liar(replica, samples)
    }
}
