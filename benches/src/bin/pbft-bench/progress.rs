//! Tells how far a run is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use pbft_bench::{Extent, Progress, Settings, Stage};

use crate::duration::readable;

/// How often a plain line tells how far the run is, where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Where the progress is shown.
pub(crate) struct Display {
    bar: ProgressBar,
    extent: Extent,
    /// For standard error that is no terminal; `None` if nothing is to be printed.
    last_line: Option<Instant>,
}

impl Display {
    pub(crate) fn new(settings: &Settings, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let length = match settings.extent {
            Extent::Lasts(duration) => duration.as_millis() as u64,
            Extent::Requests(count) => count,
        };
        let bar = if terminal && !quiet { ProgressBar::new(length) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:40} {msg}");
        // The template is fixed and good; a bar in the default style would do too.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let last_line = (!terminal && !quiet).then(Instant::now);
        Self { bar, extent: settings.extent, last_line }
    }

    /// The run goes on.
    pub(crate) fn show(&mut self, stage: Stage<'_>) {
        match stage {
            Stage::Opening => self.step("opening sessions"),
            Stage::Preloading => self.step("writing all keys"),
            Stage::Loading(None) => self.step("loading"),
            Stage::Loading(Some(progress)) => self.update(progress),
            Stage::ReadingBack => self.step("reading back what was acknowledged"),
        }
    }

    /// A step begins that has no measure.
    fn step(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        if self.last_line.is_some() {
            eprintln!("{text}");
        }
    }

    /// The load goes on.
    fn update(&mut self, progress: &Progress) {
        let text = line(progress);
        self.bar.set_message(text.clone());
        self.bar.set_position(match self.extent {
            Extent::Lasts(_) => progress.elapsed.unwrap_or_default().as_millis() as u64,
            Extent::Requests(_) => progress.answered,
        });
        if let Some(last) = &mut self.last_line
            && last.elapsed() >= PLAIN_INTERVAL
        {
            *last = Instant::now();
            eprintln!("{text}");
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn line(progress: &Progress) -> String {
    let Some(elapsed) = progress.elapsed else { return "warming up".to_owned() };
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { progress.answered as f64 / seconds } else { 0.0 };
    let p50 = progress.p50.map_or("-".to_owned(), |p50| readable(p50.as_micros() as f64));
    format!("{seconds:.0} s, {} requests, {rate:.0}/s, p50 {p50}", progress.answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut progress = Progress { elapsed: None, answered: 0, p50: None };
        assert_eq!(line(&progress), "warming up");
        progress.elapsed = Some(Duration::ZERO);
        assert_eq!(line(&progress), "0 s, 0 requests, 0/s, p50 -");
        progress = Progress {
            elapsed: Some(Duration::from_secs(4)),
            answered: 1000,
            p50: Some(Duration::from_micros(1500)),
        };
        assert_eq!(line(&progress), "4 s, 1000 requests, 250/s, p50 1.50 ms");
    }
}
