//! `pbft-testnet`: local clusters as real processes.

mod arguments;
mod attack;
mod commands;
mod damage;
mod exit;
mod faults;
mod generators;
mod help;
mod interrupt;
mod main_job;
mod mutants;
mod output;
mod progress;
mod run;
mod sim;
mod strategies;
mod tail;
mod trials;
mod watchdog;

use std::process::ExitCode;

use clap::CommandFactory as _;
use tokio::signal::unix::{SignalKind, signal};

use pbft_testnet::TestnetError;

use arguments::{Arguments, Command, FaultCommand};
use exit::{BAD_INPUT, INTERRUPTED};
use interrupt::Interrupt;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails only where nobody reads it. Help is no error; the rest is bad input.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(BAD_INPUT) } else { ExitCode::SUCCESS };
        }
    };
    // A replica is a process of its own kind: it has its own runtime, log and signals.
    if let Some(Command::Replica(replica)) = arguments.command {
        return pbft_testnet::replica_main(replica);
    }
    let level = match arguments.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = match &arguments.command {
        // These tell what they have when they are interrupted.
        Some(Command::Sim(sim)) => sim::run(sim, arguments.quiet, &Interrupt::watch(&runtime)),
        Some(Command::Twins(it)) => generators::twins(it, arguments.quiet, &Interrupt::watch(&runtime)),
        Some(Command::ByzzFuzz(it)) => generators::byzzfuzz(it, arguments.quiet, &Interrupt::watch(&runtime)),
        Some(Command::Attack(it)) => runtime.block_on(attack::run(it, &Interrupt::watch(&runtime))),
        _ => runtime.block_on(async {
            tokio::select! {
                result = carry_out(arguments) => result,
                result = interrupted() => result,
            }
        }),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

async fn carry_out(arguments: Arguments) -> anyhow::Result<u8> {
    let Arguments { job, quiet, command, .. } = arguments;
    let Some(command) = command else { return main_job::run(job, quiet).await };
    match command {
        Command::Run { manifests, write } => run::run(&manifests, write, quiet).await,
        Command::Trials { strategies, write } => trials::run(&strategies, write, quiet).await,
        Command::Damage(arguments) => damage::run(arguments, quiet).await,
        Command::Up { at, n, durability } => commands::up(&at.dir, n, durability).await,
        Command::Status(shown) => commands::status(&shown).await,
        Command::Kill(one) => commands::kill(&one).await,
        Command::Pause(one) => commands::pause(&one).await,
        Command::Resume(one) => commands::resume(&one).await,
        Command::Restart { one, beyond } => commands::restart(&one, beyond.allow_exceed_f).await,
        Command::WipeDisk { one, beyond } => commands::wipe_disk(&one, beyond.allow_exceed_f).await,
        Command::Fault(FaultCommand::Set(arguments)) => faults::set(arguments).await,
        Command::Fault(FaultCommand::Clear(one)) => faults::clear(&one).await,
        Command::Fault(FaultCommand::List(listed)) => strategies::list(&listed).await,
        Command::Partition(arguments) => faults::partition(arguments).await,
        Command::Heal(at) => faults::heal(&at).await,
        Command::Evidence(shown) => commands::evidence(&shown).await,
        Command::Events { at, follow } => tail::events(&at.dir, follow).await,
        Command::Logs { one, follow } => tail::logs(&one, follow).await,
        Command::Down(at) => commands::down(&at.dir).await,
        Command::Mutants(arguments) => mutants::run(&arguments, quiet).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "pbft-testnet", &mut std::io::stdout());
            Ok(0)
        }
        // Taken care of in `main`.
        Command::Replica(_)
        | Command::Sim(_)
        | Command::Twins(_)
        | Command::ByzzFuzz(_)
        | Command::Attack(_) => Ok(1),
    }
}

/// Waits for Ctrl-C, or SIGTERM, which acts alike. What was under way is dropped then, and cleans up after itself.
async fn interrupted() -> anyhow::Result<u8> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    output::note("interrupted");
    Ok(INTERRUPTED)
}

/// One line that says what happened, and the exit code that fits.
fn failed(error: &anyhow::Error) -> ExitCode {
    // Whoever reads this program's output has stopped reading: that is no error of the program.
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<std::io::Error>().is_some_and(broken) {
        return ExitCode::SUCCESS;
    }
    // A typed error's text holds its cause already; of others the causes make up the text.
    let (text, code) = match error.downcast_ref::<TestnetError>() {
        Some(typed) => (typed.to_string(), typed.exit_code()),
        None if error.is::<output::BadInput>() => (error.to_string(), BAD_INPUT),
        None => (format!("{error:#}"), 1),
    };
    output::note(&format!("error: {text}"));
    ExitCode::from(code)
}
