//! The thresholds, each a type of its own so that they cannot be mixed up, computed here and nowhere else.

use pbft_crypto::mutant;

/// How many votes form a quorum: ⌊(n+f)/2⌋+1. Any two quorums share at least f+1 replicas, so at least one
/// correct one. It is 2f+1 when n = 3f+1, and more when n is not of that form (fault 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum(usize);

/// How many votes include at least one correct replica's: f+1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeakQuorum(usize);

/// How many of `n` replicas may be faulty: ⌊(n−1)/3⌋, and none of none.
#[must_use]
pub const fn faults_tolerated(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

impl Quorum {
    /// The quorum among `n` replicas.
    #[must_use]
    pub fn of(n: usize) -> Self {
        if mutant!("quorum-2f-plus-1") {
            return Self(2 * faults_tolerated(n) + 1);
        }
        Self((n + faults_tolerated(n)) / 2 + 1)
    }

    /// Whether `votes` of distinct replicas suffice.
    #[must_use]
    pub const fn reached(self, votes: usize) -> bool {
        votes >= self.0
    }

    /// How many PREPAREs of distinct *backups* suffice beside the primary's PRE-PREPARE, which counts for one
    /// (N3, fault 8).
    #[must_use]
    pub fn prepares(self) -> usize {
        if mutant!("quorum-of-backups") { self.0 } else { self.0 - 1 }
    }

    /// The number of votes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl WeakQuorum {
    /// The weak quorum among `n` replicas.
    #[must_use]
    pub const fn of(n: usize) -> Self {
        Self(faults_tolerated(n) + 1)
    }

    /// Whether `votes` of distinct replicas suffice.
    #[must_use]
    pub const fn reached(self, votes: usize) -> bool {
        votes >= self.0
    }

    /// The number of votes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 12: 2f+1 is a quorum only where n = 3f+1.
    #[test]
    fn fault_12_quorums_intersect_in_a_correct_replica_and_survive_f_silent_ones() {
        for n in 4..=100 {
            let (f, q) = (faults_tolerated(n), Quorum::of(n).get());
            assert!(n > 3 * f && n <= 3 * (f + 1), "f is the largest with n > 3f, at n = {n}");
            assert!(2 * q - n > f, "two quorums share f+1 at n = {n}");
            assert!(q <= n - f, "a quorum exists without f at n = {n}");
            assert_eq!(WeakQuorum::of(n).get(), f + 1);
            if n == 3 * f + 1 {
                assert_eq!(q, 2 * f + 1);
            }
        }
        assert_eq!(
            Quorum::of(5).get(),
            4,
            "2f+1 would be 3, and two such quorums might share one faulty replica"
        );
        assert_eq!(Quorum::of(6).get(), 4);
    }
}
