//! What goes wrong in a run, and in which rounds: drawn before it begins.

use std::collections::BTreeMap;
use std::fmt;

use rand::seq::{IndexedRandom as _, index};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use pbft_messages::{ReplicaId, faults_tolerated};

use super::values::Reach;

/// r: over how many rounds the faults are spread.
pub(super) const ROUNDS: u64 = 8;

/// How many rounds may pass before the first of them: views, checkpoints and view changes then differ.
const LATEST: u64 = 16;

/// How many faults a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// How many replicas there are; f of them are malicious.
    pub n: u16,
    /// In how many rounds a malicious replica's messages are mutated.
    pub c: usize,
    /// In how many rounds the replicas are parted.
    pub d: usize,
}

impl Size {
    /// Each with c and d from 0 to 3.
    pub fn all(n: u16) -> impl Iterator<Item = Self> {
        (0..=3).flat_map(move |c| (0..=3).map(move |d| Self { n, c, d }))
    }
}

/// The faults of one run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) n: u16,
    /// Who may lie.
    pub(super) malicious: Vec<ReplicaId>,
    /// The first of the rounds that have faults.
    pub(super) begin: u64,
    /// The rounds in which the replicas are parted, and which of them are in the second block, one bit each.
    pub(super) partitions: BTreeMap<u64, u32>,
    /// The process faults, by the earliest round of each.
    pub(super) lies: Vec<Lie>,
}

/// A process fault: in one round, some receivers get mutated copies of a replica's messages.
#[derive(Clone, Debug)]
pub(super) struct Lie {
    /// Whose.
    pub(super) liar: ReplicaId,
    /// The earliest round: it strikes in the first from there on in which the liar has something to say.
    pub(super) from: u64,
    /// To whom, one bit a replica, and bit n for the clients.
    pub(super) receivers: u32,
    pub(super) reach: Reach,
    /// Whether it waits for a view change, and strikes in that.
    pub(super) in_view_change: bool,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn draw(size: Size, seed: u64) -> Self {
        let Size { n, c, d } = size;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let replicas: Vec<_> = (0..n).map(ReplicaId).collect();
        let f = faults_tolerated(usize::from(n));
        let malicious: Vec<_> = replicas.sample(&mut random, f).copied().collect();
        let begin = random.random_range(0..=LATEST);
        let rounds = |random: &mut ChaCha8Rng, count| {
            let mut chosen = index::sample(random, ROUNDS as usize, count).into_vec();
            chosen.sort_unstable();
            chosen.into_iter().map(move |round| begin + round as u64)
        };
        let parted: Vec<_> = rounds(&mut random, d).collect();
        let lying: Vec<_> = rounds(&mut random, c).collect();
        // Neither block is empty: bit 0 is not set, and another one is.
        // Half of them cut the first primary off, which is what most view changes come of.
        let apart = |random: &mut ChaCha8Rng| match random.random() {
            true => (1 << n) - 2,
            false => random.random_range(1..1 << (n - 1)) << 1,
        };
        let partitions = parted.into_iter().map(|round| (round, apart(&mut random))).collect();
        let lie = |from| Lie {
            liar: *malicious.choose(&mut random).expect("f is at least 1"),
            from,
            receivers: random.random_range(1..1 << (n + 1)),
            reach: if random.random() { Reach::Small } else { Reach::Any },
            in_view_change: random.random_bool(0.3),
            seed: random.random(),
        };
        Self { n, begin, partitions, lies: lying.into_iter().map(lie).collect(), malicious }
    }

    /// Whether these are in one block in a round.
    pub(super) fn together(&self, round: u64, one: usize, other: usize) -> bool {
        self.partitions.get(&round).is_none_or(|apart| apart >> one & 1 == apart >> other & 1)
    }

    /// The replicas of a set, and the clients.
    fn members(&self, set: u32) -> String {
        let replicas = (0..self.n).filter(|it| set >> it & 1 == 1).map(|it| ReplicaId(it).to_string());
        let clients = (set >> self.n & 1 == 1).then(|| "clients".to_owned());
        replicas.chain(clients).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (round, apart) in &self.partitions {
            let rest = !apart & ((1 << self.n) - 1);
            writeln!(formatter, "round {round}: {} | {}", self.members(rest), self.members(*apart))?;
        }
        for Lie { liar, from, receivers, reach, in_view_change, .. } in &self.lies {
            let receivers = self.members(*receivers);
            let when = if *in_view_change { "in a view change" } else { "or later" };
            writeln!(formatter, "round {from} {when}: {liar} lies to {receivers}, {reach:?} mutations")?;
        }
        Ok(())
    }
}
