//! When the requests of an open loop are due.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::Semaphore;

use crate::settings::{Arrivals, Extent, Pace, Settings};

/// The shortest sleep: what is due within it is let go together, so that at a high rate not every arrival costs a
/// wake-up of its own.
const QUANTUM: Duration = Duration::from_micros(100);

/// The longest sleep, after which is looked whether the load was ended early.
const LOOK: Duration = Duration::from_millis(50);

/// The times at which bundles are due: an end, if the load has one by itself, and never two runs alike but with one
/// seed.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    random: Xoshiro256PlusPlus,
    arrivals: Arrivals,
    /// The mean time between two bundles, in seconds.
    mean: f64,
    begins: Instant,
    /// Of the next one, in seconds since `begins`.
    next: f64,
    measured_from: f64,
    /// From when on nothing is due, in the same measure.
    ends: f64,
    /// How many bundles may still be due after the warm-up.
    remaining: u64,
}

impl Schedule {
    /// The schedule of a load that begins then; `None` for a closed loop.
    pub(crate) fn new(settings: &Settings, begins: Instant) -> Option<Self> {
        let Pace::Open { rate, arrivals } = settings.pace else { return None };
        let measured_from = settings.warmup.as_secs_f64();
        let (ends, remaining) = match settings.extent {
            Extent::Lasts(duration) => (measured_from + duration.as_secs_f64(), u64::MAX),
            Extent::Requests(count) => (f64::INFINITY, count.div_ceil(settings.bundle as u64)),
        };
        let mut schedule = Self {
            random: Xoshiro256PlusPlus::seed_from_u64(settings.seed),
            arrivals,
            mean: settings.bundle as f64 / rate,
            begins,
            next: 0.0,
            measured_from,
            ends,
            remaining,
        };
        schedule.next = schedule.distance();
        Some(schedule)
    }

    /// The time from one bundle to the next.
    fn distance(&mut self) -> f64 {
        match self.arrivals {
            // The logarithm's argument is above 0.
            Arrivals::Poisson => -self.mean * (1.0 - self.random.random::<f64>()).ln(),
            Arrivals::Constant => self.mean,
        }
    }
}

impl Iterator for Schedule {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        if self.next >= self.ends {
            return None;
        }
        if self.next >= self.measured_from {
            self.remaining = self.remaining.checked_sub(1)?;
        }
        let due = self.begins + Duration::from_secs_f64(self.next);
        self.next += self.distance();
        Some(due)
    }
}

/// Hands bundles out to whoever is free, each when it is due or as soon as somebody is free then.
#[derive(Debug)]
pub(crate) struct Gate {
    /// What is not handed out yet.
    schedule: Mutex<Schedule>,
    /// One permit for each bundle that is due and not handed out.
    due: Semaphore,
}

impl Gate {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self { schedule: Mutex::new(schedule), due: Semaphore::new(0) }
    }

    /// Waits for the next bundle, and tells when it was due; `None` if there are no more.
    pub(crate) async fn next(&self) -> Option<Instant> {
        // Closed, everything that is left is due.
        if let Ok(permit) = self.due.acquire().await {
            permit.forget();
        }
        // Nothing under the lock panics half-way, here and below.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// Lets bundles go when they are due, until there are no more or `stopped`. Blocks: it wants a thread of its own,
    /// since the runtime's timers are too coarse.
    pub(crate) fn keep(&self, stopped: impl Fn() -> bool) {
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).clone().peekable();
        while let Some(next) = schedule.peek().copied()
            && !stopped()
        {
            let now = Instant::now();
            if next > now {
                std::thread::sleep((next - now).clamp(QUANTUM, LOOK));
                continue;
            }
            let mut due = 0;
            while schedule.next_if(|next| *next <= now).is_some() {
                due += 1;
            }
            self.due.add_permits(due);
        }
        self.due.close();
    }

    /// How many bundles that were due within `span` nobody took.
    pub(crate) fn shed(&self, span: Range<Instant>) -> u64 {
        let schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner).clone();
        schedule.take_while(|due| *due < span.end).filter(|due| *due >= span.start).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn times(settings: &Settings) -> Vec<f64> {
        let begins = Instant::now();
        let schedule = Schedule::new(settings, begins).unwrap();
        schedule.map(|due| (due - begins).as_secs_f64()).collect()
    }

    fn open(rate: f64, arrivals: Arrivals) -> Settings {
        Settings { pace: Pace::Open { rate, arrivals }, ..settings() }
    }

    #[test]
    fn constant_arrivals_are_even() {
        let all = times(&Settings { bundle: 4, ..open(1000.0, Arrivals::Constant) });
        // Eleven seconds with the warm-up, 250 bundles of four requests each.
        assert!((2749..=2750).contains(&all.len()), "{}", all.len());
        assert!(all.windows(2).all(|pair| (pair[1] - pair[0] - 0.004).abs() < 1e-6));
        assert!(all.last() < Some(&11.000_001), "but for rounding, nothing is due after the end");
    }

    /// A Poisson process: as many as the rate says, distances with their mean as standard deviation, no memory.
    #[test]
    fn poisson_arrivals_are_exponential() {
        let all = times(&open(5000.0, Arrivals::Poisson));
        assert!((54_000..56_000).contains(&all.len()), "{}", all.len());
        let distances: Vec<_> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        let variance =
            distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / distances.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{}", variance.sqrt() / mean);
        let above = |limit: f64| distances.iter().filter(|distance| **distance > limit).count() as f64;
        assert!((above(mean) / distances.len() as f64 - (-1f64).exp()).abs() < 0.01);
        assert!((above(2.0 * mean) / above(mean) - (-1f64).exp()).abs() < 0.02);
    }

    #[test]
    fn a_seed_repeats() {
        let settings = open(100.0, Arrivals::Poisson);
        let near = |first: &[f64], second: &[f64]| {
            first.len() == second.len()
                && first.iter().zip(second).all(|(one, other)| (one - other).abs() < 1e-6)
        };
        assert!(near(&times(&settings), &times(&settings)));
        assert!(!near(&times(&settings), &times(&Settings { seed: 8, ..settings.clone() })));
    }

    #[test]
    fn a_number_of_requests_counts_after_the_warm_up() {
        let extent = Extent::Requests(10);
        let all = times(&Settings { extent, bundle: 4, ..open(400.0, Arrivals::Constant) });
        let counted: Vec<_> = all.iter().filter(|time| **time >= 1.0).collect();
        assert_eq!(counted.len(), 3, "the last bundle is not full");
        assert!((98..=100).contains(&(all.len() - counted.len())), "{}", all.len());
    }

    #[test]
    fn a_closed_loop_has_no_schedule() {
        assert!(Schedule::new(&settings(), Instant::now()).is_none());
    }

    fn gate(rate: f64, count: u64) -> Gate {
        let extent = Extent::Requests(count);
        let settings = Settings { extent, warmup: Duration::ZERO, ..open(rate, Arrivals::Constant) };
        Gate::new(Schedule::new(&settings, Instant::now()).unwrap())
    }

    #[tokio::test]
    async fn nothing_is_handed_out_early_and_all_of_it_in_order() {
        let gate = std::sync::Arc::new(gate(2000.0, 100));
        let keeper = gate.clone();
        let keeper = std::thread::spawn(move || keeper.keep(|| false));
        let mut handed_out = Vec::new();
        while let Some(due) = gate.next().await {
            assert!(due <= Instant::now());
            handed_out.push(due);
        }
        assert_eq!(handed_out.len(), 100);
        assert!(handed_out.is_sorted());
        keeper.join().unwrap();
    }

    #[test]
    fn what_nobody_takes_is_shed() {
        let gate = gate(1000.0, 1000);
        gate.keep(|| true);
        let now = Instant::now();
        let seconds = Duration::from_secs;
        assert_eq!(gate.shed(now - seconds(100)..now - seconds(1)), 0);
        let first_half = gate.shed(now - seconds(100)..now + Duration::from_millis(500));
        assert!((490..=500).contains(&first_half), "{first_half}");
        assert_eq!(gate.shed(now - seconds(100)..now + seconds(100)), 1000);
        assert_eq!(gate.shed(now + seconds(2)..now + seconds(100)), 0);
    }
}
