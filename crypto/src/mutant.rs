//! Mutants: faults put back on purpose, one at a time, each beside the rule that it breaks, so that one command shows
//! the test of each fault failing (`cargo run -p pbft-testnet -- mutants`).
//!
//! `mutant!("name")` is the literal `false` unless everything is compiled with `--cfg pbft_mutants`, which nothing but
//! that command does; so no other program holds anything of it.

/// Whether the mutant of this name is switched on.
#[cfg(not(pbft_mutants))]
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

/// Whether the mutant of this name is switched on.
#[cfg(pbft_mutants)]
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutant_is($name)
    };
}

/// Whether the environment variable `PBFT_MUTANT` named this mutant when it was first asked for.
#[cfg(pbft_mutants)]
#[must_use]
pub fn mutant_is(name: &str) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    NAME.get_or_init(|| std::env::var("PBFT_MUTANT").ok()).as_deref() == Some(name)
}
