//! What each command does.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::CommandFactory as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use pbft_crypto::{SecretKey, Signer as _, key_file};
use pbft_node::{DataFolder, Durability, Honest, Identity, Options};
use pbft_service::kv::KeyValueStore;

use crate::arguments::{Arguments, Command, Place, Recover, ShowId, Start};
use crate::failure::Outcome;
use crate::{inspect, verify_evidence};

/// The exit code of a replica that was interrupted again while it stopped.
const INTERRUPTED: i32 = 5;

pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Keygen { file } => {
            let key = SecretKey::generate().context("the system has no randomness to give")?;
            key_file::create(&file, &key)?;
            print(&format!("{}\n", key.public_key()))
        }
        Command::ShowId(arguments) => show_id(&arguments),
        Command::Init(Place { cluster, key_file, data }) => {
            let identity = Identity::load(&cluster, &key_file)?;
            pbft_node::init(&identity, &DataFolder::new(&data))?;
            print(&format!("made the data folder of {} in {}\n", identity.me(), data.display()))
        }
        Command::Recover(Recover { place: Place { cluster, key_file, data }, unsafe_discard_store }) => {
            let identity = Identity::load(&cluster, &key_file)?;
            let aside = pbft_node::recover(&identity, &DataFolder::new(&data), unsafe_discard_store)?;
            let kept = aside.map(|path| format!("; the old store is {}", path.display()));
            let (me, data) = (identity.me(), data.display());
            print(&format!(
                "made the data folder of {me} in {data}, to recover{}\n",
                kept.unwrap_or_default()
            ))
        }
        Command::Start(arguments) => start(arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::VerifyEvidence(arguments) => verify_evidence::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "pbft-node", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

fn show_id(ShowId { key_file, cluster }: &ShowId) -> Outcome {
    let Some(cluster) = cluster else {
        return print(&format!("{}\n", key_file::read(key_file)?.public_key()));
    };
    let identity = Identity::load(cluster, key_file)?;
    print(&format!("{} {}\n", identity.me(), identity.key().public_key()))
}

fn start(arguments: Start) -> Outcome {
    let Start { place: Place { cluster, key_file, data }, durability, listen_peers, listen_clients } =
        arguments;
    let identity = Identity::load(&cluster, &key_file)?;
    if durability == Durability::Memory {
        tracing::warn!(
            "memory mode: votes are lost with the process, and this replica comes back by `pbft-node recover` only"
        );
    }
    let data = DataFolder::new(data);
    let options = Options { listen_peers, listen_clients, durability, ..Options::new(identity, data) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads of the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let [interrupt, terminate] = signals;
        let (interrupt, terminate) =
            (interrupt.context("cannot watch for Ctrl-C")?, terminate.context("cannot watch for SIGTERM")?);
        tokio::spawn(stop_on_signal(interrupt, terminate, stop.clone()));
        Ok(pbft_node::run(options, Box::new(KeyValueStore::default()), Box::new(Honest), stop).await?)
    })
}

/// Stops in good order at the first signal, and at once at the second.
async fn stop_on_signal(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            tracing::info!("stopping");
            stop.cancel();
        }
    }
    std::process::exit(INTERRUPTED);
}

pub(crate) fn print(text: &str) -> Outcome {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result.context("cannot write to standard output")?),
    }
}
