//! The command line of the load generator.

mod arguments;
mod duration;
mod failure;
mod lab;
mod output;
mod progress;
mod setup;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use pbft_bench::references::unreplicated_main;
use pbft_bench::{Remarks, Stage};
use pbft_client::Connector;

use arguments::{Arguments, Command, Options};
use failure::{Failure, Outcome};
use progress::Display;
use setup::Setup;

/// How long to wait at the end for the replicas to be told; they find out without it.
const FAREWELL: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let Arguments { options, command } = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(message) => {
            // If even this cannot be printed there is nobody to tell.
            let _ = message.print();
            let is_error = message.use_stderr();
            return if is_error { Failure::bad_input("").exit_code() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match command {
        // These are processes of their own kind, with their own runtime, log and signals.
        Some(Command::Replica(replica)) => return pbft_testnet::replica_main(replica),
        Some(Command::Unreplicated(server)) => return unreplicated_main(&server),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Experiment(experiment)) => {
            start(async |interrupt| lab::run(&experiment, interrupt).await)
        }
        None => {
            log_to_stderr(&options);
            start(async |interrupt| run(&options, interrupt).await)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(line) = failure.line() {
                eprintln!("error: {line}");
            }
            failure.exit_code()
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "pbft-bench", &mut script);
    output::write_all(&script)
}

/// Does something that a signal interrupts.
fn start(work: impl AsyncFnOnce(&CancellationToken) -> Outcome) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let interrupt = CancellationToken::new();
        cancel_on_signal(interrupt.clone());
        work(&interrupt).await
    })
}

fn log_to_stderr(options: &Options) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => "off",
        (false, 0) => "error",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::new(format!("off,pbft_client={level},pbft_transport={level}"));
    let colour = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(io::stderr).init();
}

/// Everything from the files to the verdict.
async fn run(options: &Options, interrupt: &CancellationToken) -> Outcome {
    let Setup { cluster, settings, connectors } = Setup::new(options)?;
    let mut display = Display::new(&settings, options.quiet);
    let remarks = Remarks { durability: options.durability.into(), note: options.note.clone() };
    let observe = |stage: Stage<'_>| display.show(stage);
    let ran = pbft_bench::run(&connectors, &cluster, &settings, remarks, interrupt, observe).await;
    display.finish();
    // All share one socket. Being late here harms nobody.
    let farewell = connectors.into_iter().next().map(Connector::shutdown);
    let _ = tokio::time::timeout(FAREWELL, async {
        if let Some(shutdown) = farewell {
            shutdown.await
        }
    })
    .await;
    let (report, measured) = ran?;
    output::print(&report, options.write_out)?;
    if let Some(folder) = &options.output {
        // Printed it is already, so the disk's trouble is the only thing left to tell.
        pbft_bench::write_files(folder, &report, &measured).map_err(Failure::error)?;
    }
    failure::judge(&report)
}

/// The first signal ends the load early, the second the process. Both are watched from now on.
fn cancel_on_signal(interrupt: CancellationToken) {
    let (Ok(mut interrupted), Ok(mut terminated)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Then the signals keep their default action, which ends the process too.
        return;
    };
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            if first {
                interrupt.cancel();
            } else {
                failure::exit_interrupted();
            }
        }
    });
}
