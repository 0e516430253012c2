//! Telling how an experiment is getting on: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line tells how a load is getting on, where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where it is told.
pub(super) enum Shown {
    Quiet,
    /// By the time that is planned.
    Bar(ProgressBar),
    /// With the time of the last line.
    Plain(Mutex<Instant>),
}

impl Shown {
    pub(super) fn new(quiet: bool, planned: Duration) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Plain(Mutex::new(Instant::now()));
        }
        let bar = ProgressBar::new(planned.as_millis() as u64);
        // The template is a constant that is well-formed; were it not, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self::Bar(bar)
    }

    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// So much of the planned time is over; all of it, if it was planned too short.
fn advance(bar: &ProgressBar) {
    let elapsed = bar.elapsed().as_millis() as u64;
    bar.set_position(elapsed.min(bar.length().unwrap_or(elapsed)));
}

/// Whether enough time has passed since the last line for another one, which is noted.
fn due(last: &Mutex<Instant>, now: Instant) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = now.saturating_duration_since(*last) >= PLAIN_INTERVAL;
    if due {
        *last = now;
    }
    due
}

impl pbft_testnet::Progress for Shown {
    fn step(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                advance(bar);
                bar.println(text);
            }
            Self::Plain(_) => eprintln!("{text}"),
        }
    }

    fn live(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                advance(bar);
                bar.set_message(text.to_owned());
            }
            Self::Plain(last) => {
                if !text.is_empty() && due(last, Instant::now()) {
                    eprintln!("{text}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_comes_now_and_then() {
        let start = Instant::now();
        let last = Mutex::new(start);
        let told: Vec<_> = (1..=25).filter(|s| due(&last, start + Duration::from_secs(*s))).collect();
        assert_eq!(told, [10, 20]);
    }
}
