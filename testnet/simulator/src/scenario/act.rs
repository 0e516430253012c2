//! What is done to a cluster, and when.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use super::{Conditions, Time};

/// Something that is done at a virtual time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// When, from the start.
    pub at: Time,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// What can be done. The numbers are those of the catalogue of faults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// A client issues requests.
    Load {
        /// Which, from 0.
        client: u16,
        /// How many.
        requests: u64,
        /// How many at a time.
        depth: usize,
    },
    /// A client reads without an order, again and again.
    Read {
        /// Which, from 0.
        client: u16,
        /// How often.
        times: u64,
        /// How long from one to the next.
        interval: Time,
    },
    /// A replica is killed (8).
    Crash {
        /// Which.
        replica: ReplicaId,
    },
    /// A replica that is down starts from its disk.
    Start {
        /// Which.
        replica: ReplicaId,
    },
    /// A replica stops in good order.
    ShutDown {
        /// Which.
        replica: ReplicaId,
    },
    /// Power goes at a persist point and comes back (10, 19): of the victims' writes that were not synced, some survive.
    PowerCut {
        /// By whose steps it is timed.
        replica: ReplicaId,
        /// After how many more of them.
        steps: usize,
        /// How many unsynced writes survive at each victim, the oldest.
        survive: usize,
        /// Who loses power.
        victims: BTreeSet<ReplicaId>,
    },
    /// A replica loses its disk (21) and starts anew, by recovery. It counts in f.
    Wipe {
        /// Which.
        replica: ReplicaId,
    },
    /// Replicas of different groups can't reach each other (4).
    Partition {
        /// The groups.
        groups: Vec<BTreeSet<ReplicaId>>,
    },
    /// Links carry nothing any more, each in one direction: one-way and ring partitions (5).
    Cut {
        /// From whom to whom.
        links: Vec<(ReplicaId, ReplicaId)>,
    },
    /// A link holds back all that is sent over it in one direction, which then comes at once (6).
    Clog {
        /// From whom.
        from: ReplicaId,
        /// To whom.
        to: ReplicaId,
        /// For how long.
        duration: Time,
    },
    /// A replica has no descriptor left for a client (60): it keeps its links to the others, and none to a client, until
    /// every link works again.
    TurnAway {
        /// Which.
        replica: ReplicaId,
    },
    /// Every link works again.
    Heal,
    /// The network changes (1, 2, 3).
    Network(Conditions),
    /// Durable writes take so long from now on.
    SlowDisk {
        /// How long.
        latency: Time,
    },
    /// A replica is killed while its disk writes: some of what was not synced is there, and the next write is torn (14).
    Tear {
        /// Whose.
        replica: ReplicaId,
        /// How many unsynced writes survive, the oldest.
        survive: usize,
    },
    /// A replica's next sync fails: it halts (17).
    FailSync {
        /// Whose.
        replica: ReplicaId,
    },
    /// A replica is killed and a bit of its disk flips, or a write is in the wrong place (15, 16): it refuses to
    /// start. It counts in f.
    Damage {
        /// Whose.
        replica: ReplicaId,
    },
    /// What is on a replica's disk is remembered.
    Save {
        /// Whose.
        replica: ReplicaId,
    },
    /// A replica is killed and starts from what was on its disk when that was remembered (20). It counts in f, and as
    /// malicious: it may say anything again.
    RollBack {
        /// Whose.
        replica: ReplicaId,
    },
    /// A replica's processor takes so long for each input from now on (61); 0ms is as usual.
    Starve {
        /// Whose.
        replica: ReplicaId,
        /// How long.
        each: Time,
    },
    /// A replica's monotonic clock is too fast or too slow from now on (23).
    Drift {
        /// Whose.
        replica: ReplicaId,
        /// By how many millionths it is too fast.
        ppm: i32,
    },
    /// A replica's wall clock is wrong from now on (22, 23, 24).
    Clock {
        /// Whose.
        replica: ReplicaId,
        /// By how many milliseconds it is ahead.
        ahead_ms: i64,
        /// By how many millionths it is too fast; -1000000 is frozen.
        drift_ppm: i64,
    },
    /// A replica follows a malicious strategy from now on. It counts in f.
    Corrupt {
        /// Which.
        replica: ReplicaId,
        /// The strategy's text.
        strategy: String,
    },
    /// Malicious clients follow a strategy from now on (48 to 52). They issue no load of their own.
    Attack {
        /// Which, from 0: they are one attacker with several identities.
        clients: BTreeSet<u16>,
        /// The strategy's text.
        strategy: String,
    },
    /// A malicious replica behaves from now on.
    Behave {
        /// Which.
        replica: ReplicaId,
    },
}

impl Action {
    /// The fault's name in statistics; `None` if it is none.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        Some(match self {
            Self::Load { .. }
            | Self::Read { .. }
            | Self::Start { .. }
            | Self::Heal
            | Self::Save { .. }
            | Self::Behave { .. } => return None,
            Self::Starve { each, .. } if *each == Time::default() => return None,
            Self::Crash { .. } => "crash",
            Self::ShutDown { .. } => "shut-down",
            Self::PowerCut { .. } => "power-cut",
            Self::Wipe { .. } => "wipe",
            Self::Partition { .. } => "partition",
            Self::Network(_) => "network",
            Self::Cut { .. } => "cut",
            Self::Clog { .. } => "clog",
            Self::TurnAway { .. } => "turn-away",
            Self::SlowDisk { .. } => "slow-disk",
            Self::Tear { .. } => "tear",
            Self::FailSync { .. } => "fail-sync",
            Self::Damage { .. } => "damage",
            Self::RollBack { .. } => "roll-back",
            Self::Starve { .. } => "starve-processor",
            Self::Drift { .. } => "drift",
            Self::Clock { .. } => "clock",
            Self::Corrupt { strategy, .. } | Self::Attack { strategy, .. } => strategy,
        })
    }

    /// Whom it makes faulty: who counts in f from then on.
    #[must_use]
    pub fn makes_faulty(&self) -> Option<ReplicaId> {
        match self {
            Self::Wipe { replica }
            | Self::Corrupt { replica, .. }
            | Self::Damage { replica }
            | Self::RollBack { replica } => Some(*replica),
            _ => None,
        }
    }

    /// The replicas that it names.
    pub(super) fn replicas(&self) -> Vec<ReplicaId> {
        match self {
            Self::Crash { replica }
            | Self::Start { replica }
            | Self::ShutDown { replica }
            | Self::Wipe { replica }
            | Self::Clock { replica, .. }
            | Self::Tear { replica, .. }
            | Self::FailSync { replica }
            | Self::Damage { replica }
            | Self::Save { replica }
            | Self::RollBack { replica }
            | Self::Starve { replica, .. }
            | Self::Drift { replica, .. }
            | Self::TurnAway { replica }
            | Self::Corrupt { replica, .. }
            | Self::Behave { replica } => vec![*replica],
            Self::PowerCut { replica, victims, .. } => victims.iter().chain([replica]).copied().collect(),
            Self::Partition { groups } => groups.iter().flatten().copied().collect(),
            Self::Cut { links } => links.iter().flat_map(|(from, to)| [*from, *to]).collect(),
            Self::Clog { from, to, .. } => vec![*from, *to],
            Self::Load { .. }
            | Self::Read { .. }
            | Self::Attack { .. }
            | Self::Heal
            | Self::Network(_)
            | Self::SlowDisk { .. } => Vec::new(),
        }
    }

    /// The clients that it names.
    pub(super) fn clients(&self) -> Vec<u16> {
        match self {
            Self::Load { client, .. } | Self::Read { client, .. } => vec![*client],
            Self::Attack { clients, .. } => clients.iter().copied().collect(),
            _ => Vec::new(),
        }
    }
}
