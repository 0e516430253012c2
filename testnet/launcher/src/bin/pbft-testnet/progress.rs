//! Telling how a command is getting on: a moving line on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use pbft_testnet::Progress;

use crate::output::note;

/// After what time a plain line first tells what a terminal would show all the time. Each next one takes twice as long.
const FIRST_PLAIN: Duration = Duration::from_secs(5);

/// The longest time between plain lines.
const LAST_PLAIN: Duration = Duration::from_secs(600);

pub(crate) enum Shown {
    Quiet,
    Moving(ProgressBar),
    Plain(Mutex<Plain>),
}

/// When the next plain line is due.
pub(crate) struct Plain {
    last: Instant,
    interval: Duration,
}

impl Plain {
    /// Whether it is due now.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.last) >= self.interval;
        if due {
            (self.last, self.interval) = (now, (self.interval * 2).min(LAST_PLAIN));
        }
        due
    }
}

impl Shown {
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !stderr().is_terminal() {
            return Self::Plain(Mutex::new(Plain { last: Instant::now(), interval: FIRST_PLAIN }));
        }
        let bar = ProgressBar::new_spinner();
        // The template is a constant that is well-formed; were it not, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Moving(bar)
    }

    /// As [`Shown::new`], with a bar that fills up to a total.
    pub(crate) fn up_to(quiet: bool, total: u64) -> Self {
        let shown = Self::new(quiet);
        if let Self::Moving(bar) = &shown {
            bar.set_length(total);
            let style = "{spinner} {elapsed_precise} [{bar:30}] {pos}/{len} ({eta} left) {msg}";
            // As above.
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
        }
        shown
    }

    /// So much of the total is done.
    pub(crate) fn at(&self, done: u64) {
        if let Self::Moving(bar) = self {
            bar.set_position(done);
        }
    }

    pub(crate) fn finish(&self) {
        if let Self::Moving(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Shown {
    fn step(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Moving(bar) => bar.println(text),
            Self::Plain(_) => note(text),
        }
    }

    fn live(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Moving(bar) => bar.set_message(text.to_owned()),
            Self::Plain(plain) => {
                if plain.lock().is_ok_and(|mut plain| plain.is_due(Instant::now())) {
                    note(text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_become_rare() {
        let start = Instant::now();
        let mut plain = Plain { last: start, interval: FIRST_PLAIN };
        let due: Vec<_> =
            (1..=3600 * 3).filter(|it| plain.is_due(start + Duration::from_secs(*it))).collect();
        assert_eq!(due[..4], [5, 15, 35, 75]);
        assert!(due.len() < 25 && due.windows(2).all(|it| it[1] - it[0] <= 600), "{due:?}");
    }
}
