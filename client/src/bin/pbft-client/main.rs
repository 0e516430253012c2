//! The command line of a cluster that runs the key-value store.

mod arguments;
mod commands;
mod connect;
mod export;
mod failure;
mod import;
mod lines;
mod output;
mod status;
mod txn_syntax;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Command, Options};
use failure::{Failure, Outcome};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // If even this cannot be printed there is nobody to tell.
            let _ = message.print();
            let is_error = message.use_stderr();
            return if is_error { failure::BAD_INPUT.into() } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(&arguments.options);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(line) = failure.line() {
                eprintln!("error: {line}");
            }
            failure.exit_code()
        }
    }
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

fn run(arguments: Arguments) -> Outcome {
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "pbft-client", &mut script);
        return output::write_all(&script);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(until_interrupted(arguments));
    // A read of standard input that is still blocked must not hold the exit up.
    runtime.shutdown_background();
    outcome
}

/// Runs a command, and ends it on Ctrl-C or SIGTERM.
async fn until_interrupted(arguments: Arguments) -> Outcome {
    let interrupt = CancellationToken::new();
    tokio::spawn(cancel_on_signal(interrupt.clone()));
    let Arguments { options, command } = arguments;
    let writes = matches!(command, Command::Put(_) | Command::Del(_) | Command::Txn(_));
    // An import has more to say when it is interrupted, so it listens itself.
    let import = if let Command::Import(import) = &command { Some(import.clone()) } else { None };
    if let Some(import) = import {
        return import::run(&options, &import, &interrupt).await;
    }
    tokio::select! {
        outcome = dispatch(&options, command) => outcome,
        () = interrupt.cancelled() => Err(Failure::interrupted(if writes {
            "interrupted: the request may or may not take effect"
        } else {
            "interrupted"
        })),
    }
}

async fn dispatch(options: &Options, command: Command) -> Outcome {
    match command {
        Command::Put(put) => commands::put(options, put).await,
        Command::Get(get) => commands::get(options, get).await,
        Command::Del(del) => commands::del(options, del).await,
        Command::Range(range) => commands::range(options, range).await,
        Command::Txn(txn) => commands::txn(options, txn).await,
        Command::Export(arguments) => export::run(options, &arguments).await,
        Command::Status => status::run(options).await,
        Command::Import(_) | Command::Completions { .. } => Ok(()),
    }
}

async fn cancel_on_signal(interrupt: CancellationToken) {
    let (Ok(mut interrupted), Ok(mut terminated)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Then the signals keep their default action, which ends the process too.
        return;
    };
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    interrupt.cancel();
}
