//! Telling how an experiment is getting on: a moving line on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Where it is told.
pub(super) enum Shown {
    Quiet,
    Moving(ProgressBar),
    Plain,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Plain;
        }
        let bar = ProgressBar::new_spinner();
        // The template is a constant that is well-formed; were it not, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Moving(bar)
    }

    pub(super) fn finish(&self) {
        if let Self::Moving(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl pbft_testnet::Progress for Shown {
    fn step(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Moving(bar) => bar.println(text),
            Self::Plain => eprintln!("{text}"),
        }
    }

    fn live(&self, text: &str) {
        if let Self::Moving(bar) = self {
            bar.set_message(text.to_owned());
        }
    }
}
