//! All scenarios of one size, each once: what differs only in the names of interchangeable instances is the same.

use std::fmt;

use pbft_messages::{ReplicaId, faults_tolerated};

/// What is chosen for one round: who leads its view, and how the instances are parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Round {
    /// The second block, one bit an instance; instance 0 is always in the first. Empty: nobody is parted.
    apart: u32,
    /// Who leads. If it is faulty, both of its instances do.
    pub leader: ReplicaId,
}

impl Round {
    /// Whether two instances are in the same block.
    #[must_use]
    pub fn together(self, one: usize, other: usize) -> bool {
        self.apart >> one & 1 == self.apart >> other & 1
    }
}

/// How many replicas there are, how many of them are two instances, and over how many rounds all is tried.
///
/// The replicas 0 to `twins` − 1 are faulty: each runs as two instances with one key. Instance i < n is replica i's
/// own, instance n + i the twin of replica i. A *round* is one of n leaders and one of the 2^(n+twins−1) ways to part
/// the n + twins instances into at most two blocks. A scenario is a round for each view. Two scenarios are the same if
/// renaming makes one of the other: correct replicas among each other, faulty ones among each other (each with both
/// instances), and the two instances of a faulty one. Of each such class the lexicographically least is played.
#[derive(Clone, Debug)]
pub struct Space {
    n: u16,
    twins: u16,
    rounds: usize,
    choices: Vec<Round>,
    /// Each renaming, as what becomes of each choice.
    renamings: Vec<Vec<u16>>,
}

/// Why there is no such space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge(String);

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TooLarge {}

impl Space {
    /// The scenarios of `n` replicas, of which `twins` are faulty.
    ///
    /// # Errors
    /// [`TooLarge`] beyond 7 replicas or 3 faulty ones: nobody could play it, and its tables would not fit.
    pub fn new(n: u16, twins: u16, rounds: usize) -> Result<Self, TooLarge> {
        if !(4..=7).contains(&n) || twins > 3.min(n) || !(1..=8).contains(&rounds) {
            let text = format!(
                "{n} replicas, {twins} of them twins, {rounds} rounds: there may be 4 to 7, 3, and 8"
            );
            return Err(TooLarge(text));
        }
        let instances = u32::from(n + twins);
        let blocks = (0..1_u32 << instances).filter(|apart| apart & 1 == 0);
        let choices: Vec<_> = blocks
            .flat_map(|apart| (0..n).map(move |leader| Round { leader: ReplicaId(leader), apart }))
            .collect();
        let rename = |renaming: &Vec<usize>| {
            let renamed = |round: &Round| {
                let images =
                    renaming.iter().enumerate().filter(|(instance, _)| round.apart >> instance & 1 == 1);
                let moved = images.fold(0, |apart, (_, image)| apart | 1 << image);
                // Which of two blocks is called the second means nothing.
                let apart = if moved & 1 == 1 { !moved & ((1 << instances) - 1) } else { moved };
                let leader = renaming[round.leader.index()] % usize::from(n);
                // The choices lie in this order; n and all else are small.
                (apart / 2) as u16 * n + leader as u16
            };
            choices.iter().map(renamed).collect()
        };
        let renamings = renamings(usize::from(n), usize::from(twins)).iter().map(rename).collect();
        Ok(Self { n, twins, rounds, choices, renamings })
    }

    /// How many replicas there are.
    #[must_use]
    pub fn n(&self) -> u16 {
        self.n
    }

    /// Whether no more of them are faulty than are tolerated.
    pub(super) fn is_within_f(&self) -> bool {
        usize::from(self.twins) <= faults_tolerated(usize::from(self.n))
    }

    /// What delays are drawn from in a scenario: each has its own.
    pub(super) fn seed(&self, rounds: &[Round]) -> u64 {
        let digit =
            |round: &Round| u64::from(round.apart / 2) * u64::from(self.n) + u64::from(round.leader.0);
        rounds.iter().map(digit).fold(0, |seed, digit| seed * self.choices.len() as u64 + digit)
    }

    /// Who is faulty.
    pub fn twins(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.twins).map(ReplicaId)
    }

    /// How many scenarios there are, by Burnside's lemma: without making them.
    #[must_use]
    pub fn count(&self) -> u128 {
        let fixed = |renaming: &Vec<u16>| {
            let fixed = renaming.iter().zip(0..).filter(|(image, choice)| **image == *choice).count();
            (fixed as u128).pow(self.rounds as u32)
        };
        self.renamings.iter().map(fixed).sum::<u128>() / self.renamings.len() as u128
    }

    /// Every scenario once, in lexicographic order.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Vec<Round>> {
        let (mut found, everything) = (Vec::new(), self.renamings.iter().collect::<Vec<_>>());
        self.extend(&mut Vec::new(), &everything, &mut found);
        found
    }

    /// Finds the scenarios that begin with `prefix`, which is least among its kind; `fixing` are the renamings that
    /// change nothing in it. A longer one is least if what follows is least under those.
    fn extend(&self, prefix: &mut Vec<Round>, fixing: &[&Vec<u16>], found: &mut Vec<Vec<Round>>) {
        if prefix.len() == self.rounds {
            return found.push(prefix.clone());
        }
        for (choice, round) in self.choices.iter().enumerate() {
            let image = |renaming: &&&Vec<u16>| usize::from(renaming[choice]);
            if fixing.iter().any(|renaming| image(&renaming) < choice) {
                continue;
            }
            let still: Vec<_> = fixing.iter().filter(|it| image(it) == choice).copied().collect();
            prefix.push(*round);
            self.extend(prefix, &still, found);
            prefix.pop();
        }
    }
}

/// Every renaming of the instances that makes no difference.
fn renamings(n: usize, twins: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for faulty in permutations(&(0..twins).collect::<Vec<_>>()) {
        for correct in permutations(&(twins..n).collect::<Vec<_>>()) {
            for swapped in 0..1_usize << twins {
                let own = |replica: usize| faulty[replica] + if swapped >> replica & 1 == 1 { n } else { 0 };
                let twin = |replica: usize| faulty[replica] + if swapped >> replica & 1 == 1 { 0 } else { n };
                let firsts = (0..twins).map(own).chain(correct.iter().copied());
                all.push(firsts.chain((0..twins).map(twin)).collect());
            }
        }
    }
    all
}

fn permutations(of: &[usize]) -> Vec<Vec<usize>> {
    let Some((first, rest)) = of.split_first() else { return vec![vec![]] };
    let insert = |shorter: Vec<usize>| {
        (0..=shorter.len()).map(move |place| {
            let mut longer = shorter.clone();
            longer.insert(place, *first);
            longer
        })
    };
    permutations(rest).into_iter().flat_map(insert).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn space(n: u16, twins: u16, rounds: usize) -> Space {
        Space::new(n, twins, rounds).unwrap()
    }

    #[test]
    fn as_many_scenarios_as_are_known() {
        for (n, twins, rounds, count) in
            [(4, 1, 2, 510), (4, 1, 3, 25_740), (4, 1, 4, 1_502_936), (7, 2, 2, 16_125)]
        {
            assert_eq!(space(n, twins, rounds).count(), count);
        }
    }

    #[test]
    fn all_that_are_counted_are_made_and_each_once() {
        for (n, twins, rounds) in [(4, 1, 1), (4, 1, 2), (4, 1, 3), (4, 2, 2), (5, 1, 2), (4, 0, 2)] {
            let space = space(n, twins, rounds);
            let scenarios = space.scenarios();
            assert_eq!(scenarios.len() as u128, space.count(), "{n} {twins} {rounds}");
            assert!(scenarios.is_sorted_by(|one, next| one < next));
        }
    }

    #[test]
    fn every_scenario_is_one_of_them_by_another_name() {
        let space = space(4, 1, 2);
        let found: BTreeSet<_> = space.scenarios().into_iter().collect();
        let index = |round: &Round| space.choices.iter().position(|it| it == round).unwrap();
        let mut covered = BTreeSet::new();
        for scenario in &found {
            for renaming in &space.renamings {
                let renamed = |round: &Round| space.choices[usize::from(renaming[index(round)])];
                covered.insert(scenario.iter().map(renamed).collect::<Vec<_>>());
            }
        }
        assert_eq!(covered.len(), space.choices.len().pow(2));
    }

    #[test]
    fn what_nobody_could_play_is_refused() {
        assert!(Space::new(13, 4, 2).is_err());
        assert!(Space::new(4, 1, 0).is_err());
    }
}
