//! The process that serves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use tokio::sync::mpsc;

use pbft_crypto::{PublicKey, SecretKey, Signer as _, Verified, key_file};
use pbft_messages::{
    ClientMessage, ClientTable, ClusterFile, Configuration, ParametersTable, ReplicaMessage, ReplicaTable,
    SessionId, Submission, WeakQuorum, codec,
};
use pbft_testnet::Durability;
use pbft_transport::{ClientEvent, ClientLimits, ClientListener, ClientSettings, ConnectionId};

use super::sessions::Sessions;

/// How many members the cluster has for its clients.
const MEMBERS: usize = 4;

/// The most frames whose signatures are verified together.
const CHUNK: usize = 64;

/// The most submissions that are executed, and written to disk, at a time.
const GROUP: usize = 512;

/// The line that tells that clients are served.
pub(super) const READY: &str = "ready";

/// The arguments of the process.
#[derive(Clone, Debug, Args)]
pub struct UnreplicatedArguments {
    /// Where to put the cluster file, the clients' keys and the log
    #[arg(long)]
    pub folder: PathBuf,
    /// Whether answers wait for the disk
    #[arg(long, value_enum, default_value_t)]
    pub durability: Durability,
    /// How many clients are admitted
    #[arg(long, default_value_t = 1)]
    pub identities: usize,
}

/// The file of a client's key.
pub(super) fn client_key(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("client-{index}.key"))
}

/// What was received and is believed, with its bytes for the log.
type Received = (Verified<Submission>, Bytes);

/// Serves until standard input ends. Meant to be all that `main` does: it makes a runtime of its own.
#[must_use]
pub fn unreplicated_main(arguments: &UnreplicatedArguments) -> ExitCode {
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &UnreplicatedArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _within = runtime.enter();
    let generate = |count: usize| (0..count).map(|_| SecretKey::generate()).collect::<Result<Vec<_>, _>>();
    let clients = generate(arguments.identities).context("no randomness for keys")?;
    let admitted: Vec<_> = clients.iter().map(SecretKey::public_key).collect();
    let keys: Vec<_> = generate(MEMBERS)?.into_iter().map(Arc::new).collect();
    // A cluster's identity does not depend on addresses, so it is known before the ports are.
    let file = cluster_file(&keys, &admitted, &|index| nobody(MEMBERS + index));
    let early = Arc::new(file.configuration()?);
    let (frames, incoming) = mpsc::unbounded_channel();
    let mut members = Vec::with_capacity(MEMBERS);
    for key in keys.iter().cloned() {
        members.push(Member::start(key, admitted.clone(), &early, frames.clone())?);
    }
    let file = cluster_file(&keys, &admitted, &|index| members[index].listener.local_addr());
    let path = arguments.folder.join("cluster.toml");
    std::fs::write(&path, file.to_text()).with_context(|| path.display().to_string())?;
    for (index, client) in clients.iter().enumerate() {
        key_file::create(&client_key(&arguments.folder, index), client)?;
    }

    let log = match arguments.durability {
        Durability::Sync => Some(Log::create(&arguments.folder.join("log"))?),
        Durability::Memory => None,
    };
    let (verified, waiting) = mpsc::unbounded_channel();
    runtime.spawn(verify(early, incoming, verified));
    std::thread::spawn(move || {
        // The others stay connected and silent.
        if let Err(error) = execute(waiting, log, &members[..WeakQuorum::of(MEMBERS).get()]) {
            eprintln!("error: the log: {error}");
            std::process::exit(1);
        }
    });
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    // Nobody writes to it: whatever comes means that it is over.
    let _ = io::stdin().lock().read(&mut [0]);
    runtime.shutdown_background();
    Ok(())
}

fn cluster_file(
    keys: &[Arc<SecretKey>],
    admitted: &[PublicKey],
    client_address: &dyn Fn(usize) -> SocketAddr,
) -> ClusterFile {
    let replica = keys.iter().enumerate().map(|(index, key)| ReplicaTable {
        key: key.public_key().to_string(),
        // Nobody listens there: the members are one process.
        peer_address: nobody(index),
        client_address: client_address(index),
    });
    ClusterFile {
        name: "unreplicated".into(),
        parameters: ParametersTable::default(),
        replica: replica.collect(),
        client: admitted.iter().map(|key| ClientTable { key: key.to_string() }).collect(),
    }
}

/// An address that no member has.
fn nobody(index: usize) -> SocketAddr {
    ([127, 0, 0, 2], 1 + index as u16).into()
}

/// One of the members that clients see.
struct Member {
    listener: ClientListener,
    /// By session: one process makes the load, and no two sessions of a process have the same id, whoever's they are.
    connections: Arc<Mutex<BTreeMap<SessionId, ConnectionId>>>,
}

impl Member {
    /// Listens on a port that the system chooses, and passes on what clients send.
    fn start(
        key: Arc<SecretKey>,
        admitted: Vec<PublicKey>,
        configuration: &Configuration,
        frames: mpsc::UnboundedSender<Bytes>,
    ) -> anyhow::Result<Self> {
        let settings = ClientSettings {
            identity: key,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            cluster: configuration.scope().cluster,
            admitted,
            limits: ClientLimits {
                frame_bytes: configuration.parameters().frame_bytes,
                ..ClientLimits::default()
            },
        };
        let (listener, mut events) = ClientListener::bind(settings)?;
        let member = Self { listener, connections: Arc::default() };
        let connections = Arc::clone(&member.connections);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    ClientEvent::Connected { connection, session, .. } => {
                        locked(&connections).insert(session, connection);
                    }
                    // An error means that the process is about to end. Clients have a window of requests each, which
                    // bounds what waits.
                    ClientEvent::Frame { frame, .. } => drop(frames.send(frame)),
                    ClientEvent::Disconnected { session, .. } => drop(locked(&connections).remove(&session)),
                }
            }
        });
        Ok(member)
    }

    fn answer(&self, session: SessionId, frame: &Bytes) {
        let connection = locked(&self.connections).get(&session).copied();
        if let Some(connection) = connection {
            self.listener.send(connection, frame.clone());
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under this lock.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks frames on as many threads as there is work for, and drops what is not good.
async fn verify(
    configuration: Arc<Configuration>,
    mut incoming: mpsc::UnboundedReceiver<Bytes>,
    verified: mpsc::UnboundedSender<Received>,
) {
    let mut frames = Vec::new();
    while incoming.recv_many(&mut frames, CHUNK).await > 0 {
        let (chunk, configuration, verified) =
            (std::mem::take(&mut frames), Arc::clone(&configuration), verified.clone());
        tokio::task::spawn_blocking(move || {
            // Reads that are not ordered stay unanswered: this load has none.
            let submitted = |frame: &Bytes| match codec::decode(frame) {
                Ok(ClientMessage::Submit(signed)) => Some(signed),
                _ => None,
            };
            let (signed, frames): (Vec<_>, Vec<_>) =
                chunk.into_iter().filter_map(|frame| Some((submitted(&frame)?, frame))).unzip();
            for (judged, frame) in Verified::each(signed, &configuration).into_iter().zip(frames) {
                if let Ok(submission) = judged {
                    // As above.
                    let _ = verified.send((submission, frame));
                }
            }
        });
    }
}

/// Executes group after group: first the disk, then the service, then the answers.
fn execute(
    mut waiting: mpsc::UnboundedReceiver<Received>,
    mut log: Option<Log>,
    members: &[Member],
) -> io::Result<()> {
    let (mut sessions, mut group) = (Sessions::default(), Vec::new());
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let (submissions, frames): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        if let Some(log) = &mut log {
            log.append(&frames)?;
        }
        for (session, replies) in sessions.execute(&submissions) {
            let frame = codec::encode(&ReplicaMessage::Replies(replies)).into();
            members.iter().for_each(|member| member.answer(session, &frame));
        }
    }
    Ok(())
}

/// What was received, on disk.
struct Log {
    file: File,
    buffer: Vec<u8>,
}

impl Log {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| path.display().to_string())?;
        Ok(Self { file, buffer: Vec::new() })
    }

    /// Returns when all of it is on disk.
    fn append(&mut self, frames: &[Bytes]) -> io::Result<()> {
        self.buffer.clear();
        for frame in frames {
            self.buffer.extend_from_slice(&(frame.len() as u64).to_le_bytes());
            self.buffer.extend_from_slice(frame);
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()
    }
}
