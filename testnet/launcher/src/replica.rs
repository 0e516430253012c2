//! One replica of a testnet: the production replica's library, with an outlet that can be made to lie.

use std::collections::VecDeque;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use pbft_byzantine::Switch;
use pbft_node::{DataFolder, Identity, Outlet, RunError, SetupError, StoreError};
use pbft_protocol::{Effects, Input, Now};
use pbft_service::kv::KeyValueStore;

use crate::Durability;

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
    let filter = filter.unwrap_or_else(|_| "off,pbft_node=info,pbft_transport=info".into());
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
    let switch = Switch::new(pbft_byzantine::Identity {
        replica: identity.me(),
        signer: identity.key().clone(),
        configuration: identity.configuration().clone(),
    });
    let options = pbft_node::Options {
        durability: match arguments.durability {
            Durability::Sync => pbft_node::Durability::Sync,
            Durability::Memory => pbft_node::Durability::Memory,
        },
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
        pbft_node::run(options, service, Box::new(Switchable(switch)), stop).await?;
        Ok(())
    })
}

/// Strategies, behind the replica's control socket.
struct Switchable(Switch);

impl Outlet for Switchable {
    fn pass(&mut self, now: Now, effects: Effects) -> Effects {
        self.0.effects(now, effects)
    }

    fn hear(&mut self, now: Now, input: Input, heard: &mut VecDeque<Input>) {
        self.0.hear(now, input, heard);
    }

    fn command(&mut self, command: &Value) -> Result<Value, String> {
        match command.get("set") {
            Some(Value::Null) => self.0.clear(),
            Some(Value::String(name)) => self.0.set(name).map_err(|error| error.to_string())?,
            _ => return Err("a fault command sets a strategy by its name, or null for none".into()),
        }
        Ok(json!({ "strategy": self.0.name() }))
    }

    fn strategy(&self) -> Option<String> {
        self.0.name().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pbft_crypto::{SecretKey, Signer as _};
    use pbft_messages::{Configuration, Member, Parameters, ReplicaId};

    use super::*;

    #[test]
    fn the_control_socket_sets_and_clears_strategies() {
        let key = |index: u16| SecretKey::from_seed(&[index as u8 + 1; 32]);
        let members = (0..4).map(|index| Member {
            key: key(index).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        let configuration = Configuration::new("test".into(), members.collect(), [], Parameters::default());
        let mut outlet = Switchable(Switch::new(pbft_byzantine::Identity {
            replica: ReplicaId(0),
            signer: Arc::new(key(0)),
            configuration: Arc::new(configuration.unwrap()),
        }));
        assert_eq!(outlet.strategy(), None);
        let set = |name: Value| json!({ "command": "fault", "set": name });
        assert_eq!(outlet.command(&set("silent".into())).unwrap(), json!({ "strategy": "silent" }));
        assert_eq!(outlet.strategy().as_deref(), Some("silent"));
        assert!(outlet.command(&set("loud".into())).unwrap_err().contains("there are silent, equivocate"));
        assert!(outlet.command(&json!({ "command": "fault" })).is_err());
        assert_eq!(outlet.command(&set(Value::Null)).unwrap(), json!({ "strategy": null }));
        assert_eq!(outlet.strategy(), None);
    }
}
