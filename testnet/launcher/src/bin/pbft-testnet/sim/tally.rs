//! What many scenarios came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use pbft_simulator::scenario::{Outcome, Scenario, Seen};
use pbft_simulator::{Contradictions, Invariant, Violation};

use super::lesson;
use crate::output::table;

/// The most broken guarantees that are told one by one.
const TOLD: usize = 20;

#[derive(Default, Serialize)]
pub(super) struct Tally {
    first_seed: u64,
    seeds: u64,
    threads: usize,
    real_seconds: f64,
    virtual_seconds: f64,
    /// How many times faster than real time, all threads together.
    ratio: f64,
    seeds_a_second: f64,
    steps: u64,
    requests: usize,
    view_changes: u64,
    /// In how many seeds what happened to correct replicas.
    seen: Seen,
    contradictions: Contradictions,
    /// The longest time until all was executed that was asked for after the faults, as a share of what is allowed.
    longest_recovery: f64,
    faults: BTreeMap<String, u64>,
    /// How many seeds broke each guarantee, by the weightiest.
    broken: BTreeMap<Invariant, u64>,
    violations: Vec<Broken>,
}

/// A seed that broke a guarantee.
#[derive(Serialize)]
pub(super) struct Broken {
    seed: u64,
    invariant: Invariant,
    step: u64,
    at_seconds: f64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    replay: String,
}

impl Broken {
    /// The weightiest guarantee that a seed broke.
    pub(super) fn of(seed: u64, scenario: &Scenario, outcome: &Outcome) -> Option<Self> {
        let first = Violation::weightiest(&outcome.violations)?;
        let mut replay = format!("pbft-testnet sim --seed {seed} --trace");
        for (flag, on) in
            [(" --beyond-f", scenario.beyond_f), (" --real-signatures", scenario.real_signatures)]
        {
            replay += if on { flag } else { "" };
        }
        Some(Self {
            seed,
            invariant: first.invariant,
            step: first.step,
            at_seconds: first.at.as_secs_f64(),
            text: first.text.clone(),
            reason: lesson::reason(scenario, first.invariant),
            replay,
        })
    }

    /// In a few lines.
    pub(super) fn tell(&self) -> String {
        let Self { seed, invariant, step, at_seconds, text, reason, replay } = self;
        let meaning = lesson::meaning(*invariant);
        let reason = reason.as_ref().map(|why| format!("\n  why: {why}")).unwrap_or_default();
        format!(
            "seed {seed} breaks {invariant} at step {step}, {at_seconds:.4} s ({meaning})\n  {text}{reason}\n  again: {replay}"
        )
    }
}

impl Tally {
    pub(super) fn new(first_seed: u64, threads: usize) -> Self {
        Self { first_seed, threads, ..Self::default() }
    }

    /// Counts a seed.
    pub(super) fn add(&mut self, scenario: &Scenario, outcome: &Outcome, elapsed: Duration) {
        self.seeds += 1;
        self.virtual_seconds += outcome.virtual_time.as_secs_f64();
        self.real_seconds = elapsed.as_secs_f64();
        self.ratio = self.virtual_seconds / self.real_seconds.max(1e-9);
        self.seeds_a_second = self.seeds as f64 / self.real_seconds.max(1e-9);
        self.steps += outcome.steps;
        self.requests += outcome.answered;
        self.view_changes += outcome.view_changes;
        self.seen += outcome.seen;
        self.contradictions += outcome.contradictions;
        if !outcome.patience.is_zero() {
            let share = outcome.recovery_time.as_secs_f64() / outcome.patience.as_secs_f64();
            self.longest_recovery = self.longest_recovery.max(share);
        }
        for (fault, count) in scenario.faults() {
            *self.faults.entry(fault).or_default() += count;
        }
        if let Some(first) = Violation::weightiest(&outcome.violations) {
            *self.broken.entry(first.invariant).or_default() += 1;
        }
    }

    /// Notes a seed that broke a guarantee; says whether it is one of those that are told.
    pub(super) fn note(&mut self, broken: Broken) -> Option<&Broken> {
        if self.violations.len() >= TOLD {
            return None;
        }
        self.violations.push(broken);
        self.violations.last()
    }

    /// How many seeds broke a guarantee.
    pub(super) fn failures(&self) -> u64 {
        self.broken.values().sum()
    }

    /// How it is going, in a line.
    pub(super) fn line(&self) -> String {
        let drawn: u64 = self.faults.values().sum();
        format!(
            "{} seeds, {:.0} a second, {:.0} × real time, {drawn} faults of {} kinds drawn, {} broke a guarantee",
            self.seeds,
            self.seeds_a_second,
            self.ratio,
            self.faults.len(),
            self.failures()
        )
    }

    /// What it came to, by name.
    fn rows(&self) -> Vec<(String, String)> {
        let broken: Vec<_> = self.broken.iter().map(|(it, count)| format!("{it}: {count}")).collect();
        let broken = if broken.is_empty() { "none".to_owned() } else { broken.join(", ") };
        let faults: Vec<_> = self.faults.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        let Seen { moved, carried, transferred, recovered, shed, power_cuts } = self.seen;
        let last = self.first_seed.wrapping_add(self.seeds.saturating_sub(1));
        let rows = [
            ("seeds", format!("{} ({} to {last})", self.seeds, self.first_seed)),
            ("seeds a second", format!("{:.1} on {} threads", self.seeds_a_second, self.threads)),
            ("virtual time", format!("{:.0} s, {:.0} × real time", self.virtual_seconds, self.ratio)),
            ("events", self.steps.to_string()),
            ("requests answered", self.requests.to_string()),
            ("view changes", self.view_changes.to_string()),
            (
                "seeds with",
                format!(
                    "{moved} view changes, {carried} batches carried over, {transferred} transfers, {recovered} recoveries, \
                     {shed} clients shed"
                ),
            ),
            ("power cuts that came", power_cuts.to_string()),
            ("contradictions", contradictions(&self.contradictions)),
            ("longest recovery", format!("{:.0}% of what is allowed", self.longest_recovery * 100.0)),
            ("faults drawn", faults.join(", ")),
            ("guarantees broken", broken),
        ];
        rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What it came to, a line each, and then what broke.
    pub(super) fn lines(&self) -> String {
        let rows = self.rows().into_iter().map(|(name, value)| format!("{name}: {value}"));
        rows.chain(self.told()).collect::<Vec<_>>().join("\n")
    }

    /// Each of the seeds that are told, in a few lines.
    fn told(&self) -> impl Iterator<Item = String> {
        self.violations.iter().map(Broken::tell)
    }

    /// As [`Self::lines`], with a table.
    pub(super) fn table(&self) -> String {
        let mut shown = table(["simulation", ""]);
        for (name, value) in self.rows() {
            // Of a long list, so many to a line.
            let items: Vec<_> = value.split(", ").collect();
            let lines: Vec<_> = items.chunks(5).map(|items| items.join(", ")).collect();
            shown.add_row([name, lines.join(",\n")]);
        }
        [shown.to_string()].into_iter().chain(self.told()).collect::<Vec<_>>().join("\n")
    }
}

/// What came of the contradictions, by liar and by each.
fn contradictions(it: &Contradictions) -> String {
    format!(
        "{} of {} liars convicted, {} of {} contradictions proven that reached a correct replica, {} more of liars \
         convicted eight times, {} that only different replicas heard, {} false accusations",
        it.convicted, it.liars, it.proven, it.reached, it.repeated, it.apart, it.false_accusations
    )
}
