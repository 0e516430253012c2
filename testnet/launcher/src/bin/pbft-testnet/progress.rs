//! Telling how the main job is getting on: a moving line on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use pbft_testnet::Progress;

use crate::output::note;

/// How often a plain line tells what a terminal would show all the time.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) enum Shown {
    Quiet,
    Moving(ProgressBar),
    Plain(Mutex<Instant>),
}

impl Shown {
    pub(crate) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !stderr().is_terminal() {
            return Self::Plain(Mutex::new(Instant::now()));
        }
        let bar = ProgressBar::new_spinner();
        // The template is a constant that is well-formed; were it not, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Moving(bar)
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
            Self::Plain(last) => {
                let Ok(mut last) = last.lock() else { return };
                if last.elapsed() >= PLAIN_INTERVAL {
                    *last = Instant::now();
                    note(text);
                }
            }
        }
    }
}
