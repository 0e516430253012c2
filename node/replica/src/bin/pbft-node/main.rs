//! One replica of a cluster that runs the key-value store.

mod arguments;
mod commands;
mod failure;
mod inspect;
mod verify_evidence;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Logging};

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
    log_to_stderr(&arguments.logging);
    pbft_node::silence_store_panics();
    match commands::run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.line());
            failure.exit_code()
        }
    }
}

fn log_to_stderr(logging: &Logging) {
    let level = match (logging.quiet, logging.verbose) {
        (true, _) => "error",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::new(format!("off,pbft_node={level},pbft_transport={level}"));
    let colour = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(io::stderr).init();
}
