//! One replica of a testnet: the production replica's library, with an outlet that can be made to lie.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use pbft_node::{DataFolder, Identity, RunError, SetupError, StoreError};
use pbft_service::kv::KeyValueStore;

use crate::network::Layer;
use crate::outlet::Afflicted;
use crate::{Durability, Folder};

/// The arguments of one replica's process. Any program that takes them and hands them to [`replica_main`] can be a
/// testnet's [`crate::Program`].
#[derive(Clone, Debug, Args)]
pub struct ReplicaArguments {
    /// The cluster file
    #[arg(long)]
    pub cluster: PathBuf,
    /// The replica's key file, which tells which replica it is
    #[arg(long)]
    pub key: PathBuf,
    /// The replica's data folder
    #[arg(long)]
    pub data: PathBuf,
    /// Whether votes wait for the disk
    #[arg(long, value_enum, default_value_t)]
    pub durability: Durability,
    /// End when standard input does
    #[arg(long)]
    pub tethered: bool,
}

/// Runs one replica until it is told to stop. Meant to be all that `main` does: it makes a runtime of its own.
#[must_use]
pub fn replica_main(arguments: ReplicaArguments) -> ExitCode {
    // A session of its own: Ctrl-C on the terminal is meant for the launcher, which decides what becomes of its
    // replicas. This fails only for a process that leads a group already, and then nothing is lost.
    let _ = rustix::process::setsid();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| "off,pbft_node=info,pbft_transport=info,pbft_testnet=info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    pbft_node::silence_store_panics();
    if arguments.tethered {
        std::thread::spawn(end_with_standard_input);
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last line of the log, which the launcher shows to whoever started the replica.
            // Each error's text holds its cause already.
            eprintln!("error: {}", error.to_string().replace('\n', " "));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The production replica's exit codes: 3 for what the person who started this can mend, 1 for the rest.
fn exit_code(error: &anyhow::Error) -> u8 {
    let mendable = error.is::<SetupError>()
        || match error.downcast_ref::<RunError>() {
            Some(RunError::Bind { .. }) => true,
            Some(RunError::Store(store)) => !matches!(
                store,
                StoreError::Unreadable { .. } | StoreError::Io { .. } | StoreError::WriteFailed { .. }
            ),
            _ => false,
        };
    if mendable { 3 } else { 1 }
}

/// Ends this process, at once, when the process at the other end of standard input has ended, however it did.
fn end_with_standard_input() {
    let mut byte = [0];
    // Nobody writes to it: whatever comes means that it is over.
    let _ = std::io::stdin().lock().read(&mut byte);
    std::process::exit(0);
}

fn run(arguments: ReplicaArguments) -> anyhow::Result<()> {
    let identity = Identity::load(&arguments.cluster, &arguments.key)?;
    let layer = Layer::new(identity.configuration());
    let afflicted = pbft_byzantine::Identity {
        replica: identity.me(),
        signer: identity.key().clone(),
        configuration: identity.configuration().clone(),
        accomplices: BTreeMap::new(),
    };
    // The cluster file is in the testnet's folder, beside the replicas' own.
    let folder = arguments.cluster.parent().map_or_else(|| Folder::at(Path::new(".")), Folder::at)?;
    let outlet = Afflicted::new(afflicted, folder, layer.clone());
    let options = pbft_node::Options {
        durability: match arguments.durability {
            Durability::Sync => pbft_node::Durability::Sync,
            Durability::Memory => pbft_node::Durability::Memory,
        },
        peer_layer: Some(Arc::new(layer)),
        ..pbft_node::Options::new(identity, DataFolder::new(arguments.data))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stopper = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stopper.cancel();
        });
        let service = Box::new(KeyValueStore::default());
        pbft_node::run(options, service, Box::new(outlet), stop).await?;
        Ok(())
    })
}
