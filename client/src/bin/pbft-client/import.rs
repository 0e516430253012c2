//! Puts every line of a file.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use pbft_client::{Client, ClientError, Executed, KvError};
use pbft_service::kv::{Operation, Reply};

use crate::arguments::{Format, Import, Options};
use crate::connect::Setup;
use crate::failure::{Failure, Outcome};
use crate::lines::{self, Entry};
use crate::{commands, output};

/// How often a plain line tells how far the import is, where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(options: &Options, arguments: &Import, interrupt: &CancellationToken) -> Outcome {
    let name = arguments.file.display();
    let nothing = || Failure::interrupted(format!("interrupted: nothing of {name} was imported"));
    let prepared = async {
        // The files that connecting needs are looked at first: a mistake there shows before a long file is read.
        let setup = Setup::new(options)?;
        let file = read(&arguments.file).await?;
        let entries = lines::parse(&file)
            .map_err(|error| Failure::bad_input(format!("{name}, {error}; nothing was imported")))?;
        Ok::<_, Failure>((setup.connect().await?, entries))
    };
    let (connection, entries) = tokio::select! {
        prepared = prepared => prepared?,
        () = interrupt.cancelled() => return Err(nothing()),
    };
    let started = Instant::now();
    let mut import = Progress::new(&entries, options.quiet);
    let outcome = put_all(connection.client(), &entries, &mut import, interrupt).await;
    import.bar.finish_and_clear();
    let Progress { acknowledged, lines, revision, .. } = import;
    if let Err(failure) = outcome {
        let others = if failure.leaves_doubt() {
            "the outcome of the others is unknown (import the file again to be sure of them)"
        } else {
            "the others were not imported"
        };
        return Err(
            failure.context(format!("{acknowledged} of {lines} lines of {name} acknowledged, {others}"))
        );
    }
    connection.close().await;
    let (keys, seconds) = (entries.len(), started.elapsed().as_secs_f64());
    match options.write_out {
        Format::Simple => output::line(&format!("imported {lines} lines ({keys} keys) in {seconds:.2} s")),
        Format::Table => {
            let row =
                vec![lines.to_string(), keys.to_string(), revision.to_string(), format!("{seconds:.2}")];
            output::table(&["lines", "keys", "revision", "seconds"], vec![row])
        }
        Format::Json => {
            output::json(&json!({ "lines": lines, "keys": keys, "revision": revision, "seconds": seconds }))
        }
    }
}

/// How much of the file is known to be done.
struct Progress {
    bar: ProgressBar,
    /// For standard error that is no terminal; `None` if nothing is to be printed.
    last_line: Option<Instant>,
    lines: usize,
    acknowledged: usize,
    revision: u64,
}

impl Progress {
    fn new(entries: &[Entry], quiet: bool) -> Self {
        let lines = entries.iter().map(|entry| entry.lines).sum();
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal && !quiet { ProgressBar::new(lines as u64) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} lines, {per_sec}, {eta} left");
        // The template is fixed and good; a bar in the default style would do too.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let last_line = (!terminal && !quiet).then(Instant::now);
        Self { bar, last_line, lines, acknowledged: 0, revision: 0 }
    }

    fn acknowledge(&mut self, lines: usize, revision: u64) {
        self.acknowledged += lines;
        self.revision = self.revision.max(revision);
        self.bar.set_position(self.acknowledged as u64);
        if let Some(last) = &mut self.last_line
            && last.elapsed() >= PLAIN_INTERVAL
        {
            *last = Instant::now();
            eprintln!("{} of {} lines imported", self.acknowledged, self.lines);
        }
    }
}

type Results = Vec<Result<Executed, ClientError>>;

/// Puts all entries, many at a time. After the first failure nothing new is sent, and what is on its way is waited
/// for, so that as much as possible is known.
async fn put_all(
    client: &Client,
    entries: &[Entry],
    progress: &mut Progress,
    interrupt: &CancellationToken,
) -> Outcome {
    let operations =
        entries.iter().map(|entry| Operation::put(entry.key.clone(), entry.value.clone()).encode()).collect();
    let mut bundles = client.bundles(operations).into_iter();
    let mut under_way: JoinSet<(Range<usize>, Results)> = JoinSet::new();
    let (mut next, mut failure) = (0, None);
    loop {
        while failure.is_none()
            && under_way.len() < client.bundles_at_once()
            && let Some(bundle) = bundles.next()
        {
            let range = next..next + bundle.len();
            next = range.end;
            let client = client.clone();
            under_way.spawn(async move { (range, client.execute_bundle(bundle).await) });
        }
        let finished = tokio::select! {
            finished = under_way.join_next() => finished,
            () = interrupt.cancelled() => return Err(Failure::interrupted("interrupted")),
        };
        match finished {
            None => return failure.map_or(Ok(()), Err),
            Some(Err(error)) => return Err(Failure::outcome_unknown(error)),
            Some(Ok((range, results))) => {
                for (entry, result) in entries[range].iter().zip(results) {
                    match acknowledged(result) {
                        Ok(revision) => progress.acknowledge(entry.lines, revision),
                        Err(error) => failure = Some(graver(failure, error.into())),
                    }
                }
            }
        }
    }
}

/// Of two failures the one to tell of: doubt comes before certainty, and the first before the second.
fn graver(first: Option<Failure>, second: Failure) -> Failure {
    match first {
        Some(first) if first.leaves_doubt() || !second.leaves_doubt() => first,
        _ => second,
    }
}

/// The revision of a put that was done.
fn acknowledged(result: Result<Executed, ClientError>) -> Result<u64, KvError> {
    let reply = Reply::decode(&result?.result).map_err(|_| KvError::ForeignAnswer)??;
    Ok(reply.revision)
}

async fn read(path: &Path) -> Outcome<Bytes> {
    if path.as_os_str() == "-" {
        return commands::from_stdin().await;
    }
    let read = tokio::fs::read(path).await;
    read.map(Bytes::from)
        .map_err(|error| Failure::bad_input(format!("cannot read {}: {error}", path.display())))
}
