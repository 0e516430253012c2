//! Serving the control socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use pbft_messages::ReplicaId;
use pbft_transport::{ClientListener, PeerNetwork};

use super::path::SocketPath;
use super::{EvidenceEntry, Ready, Request};
use crate::driver::EvidenceBook;
use crate::events::{EventLog, Gauges, Metrics, Read};
use crate::execution::Audits;
use crate::inbound::{Event, Inbound};
use crate::{DataFolder, Durability, RunError};

/// What answers are made from.
pub(crate) struct Desk {
    pub(crate) replica: ReplicaId,
    pub(crate) peer_address: SocketAddr,
    pub(crate) client_address: SocketAddr,
    pub(crate) durability: Durability,
    pub(crate) inbound: Inbound,
    pub(crate) audits: Audits,
    pub(crate) events: EventLog,
    pub(crate) evidence: EvidenceBook,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) network: PeerNetwork,
    pub(crate) listener: ClientListener,
    /// Stops the replica.
    pub(crate) stop: CancellationToken,
}

/// The longest request.
const REQUEST_BYTES: u64 = 64 << 10;
/// The most connections served at once.
const CONNECTIONS: usize = 64;
/// The most events written at once.
const PIECE: usize = 1024;
/// How long answers under way may take when the replica ends.
const LINGER: Duration = Duration::from_secs(1);

/// The socket, bound and not served yet: whoever connects waits.
pub(crate) struct ControlSocket {
    folder: DataFolder,
    listener: UnixListener,
}

impl ControlSocket {
    /// Opens the socket. The store is locked by now, so a socket that is there was left by a process that was killed.
    pub(crate) fn bind(folder: &DataFolder) -> Result<Self, RunError> {
        let bind = || -> io::Result<UnixListener> {
            let path = SocketPath::of(folder)?;
            match fs::remove_file(path.get()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path.get())?;
            // The folder is its owner's alone; this holds even if somebody opened it to others.
            fs::set_permissions(path.get(), fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let failed = |source| RunError::Control { path: folder.control_socket(), source };
        Ok(Self { folder: folder.clone(), listener: bind().map_err(failed)? })
    }

    /// Begins to answer.
    pub(crate) fn serve(self, desk: Desk) -> ControlServer {
        let (ended, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept(self.listener, Arc::new(desk), ended.clone(), tasks.clone()));
        ControlServer { folder: self.folder, ended, tasks }
    }
}

/// The socket as it is served.
pub(crate) struct ControlServer {
    folder: DataFolder,
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl ControlServer {
    /// Ends the connections, once those who follow the events have got the last of them, and removes the socket.
    pub(crate) async fn stop(self) {
        self.ended.cancel();
        self.tasks.close();
        // Somebody who does not read must not hold up the end.
        let _ = tokio::time::timeout(LINGER, self.tasks.wait()).await;
        // If it stays, the next start replaces it.
        let _ = fs::remove_file(self.folder.control_socket());
    }
}

async fn accept(listener: UnixListener, desk: Arc<Desk>, ended: CancellationToken, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Some(accepted) = ended.run_until_cancelled(listener.accept()).await else { return };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, say: the owner's next attempt comes later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (desk, ended) = (desk.clone(), ended.clone());
        tasks.spawn(async move {
            // Whoever asked has gone: nothing to tell anybody.
            let _ = serve(stream, &desk, &ended).await;
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, desk: &Desk, ended: &CancellationToken) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let mut limited = (&mut reader).take(REQUEST_BYTES);
        let Some(read) = ended.run_until_cancelled(limited.read_line(&mut line)).await else { return Ok(()) };
        if read? == 0 {
            return Ok(());
        }
        let request = serde_json::from_str::<Value>(&line)
            .and_then(|value| Ok((serde_json::from_value::<Request>(value.clone())?, value)));
        match request {
            Ok((Request::Events { follow, from }, _)) => {
                events(desk, &mut writer, from, follow, ended).await?
            }
            Ok((request, value)) => {
                let answer = desk.answer(request, value).await;
                answer_line(&mut writer, &answer.unwrap_or_else(|why| json!({ "error": why }))).await?;
            }
            Err(error) => {
                let why = format!("no command that this replica knows: {error}");
                answer_line(&mut writer, &json!({ "error": why })).await?;
            }
        }
    }
}

async fn answer_line(writer: &mut OwnedWriteHalf, answer: &Value) -> io::Result<()> {
    writer.write_all(format!("{answer}\n").as_bytes()).await
}

async fn events(
    desk: &Desk,
    writer: &mut OwnedWriteHalf,
    mut from: u64,
    follow: bool,
    ended: &CancellationToken,
) -> io::Result<()> {
    let mut recorded = desk.events.watch();
    loop {
        // Looked at before reading: what is recorded after the end is not waited for, what was before is read.
        let last = !follow || ended.is_cancelled();
        loop {
            recorded.mark_unchanged();
            let Read { skipped, lines, next } = desk.events.read(from, PIECE);
            if skipped > 0 {
                answer_line(writer, &json!({ "skipped": skipped })).await?;
            }
            if lines.is_empty() {
                break;
            }
            from = next;
            let mut text = Vec::new();
            for line in &lines {
                serde_json::to_writer(&mut text, line)?;
                text.push(b'\n');
            }
            writer.write_all(&text).await?;
        }
        if last {
            return Ok(());
        }
        tokio::select! {
            _ = recorded.changed() => {}
            () = ended.cancelled() => {}
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request, value: Value) -> Result<Value, String> {
        match request {
            Request::Status { state_root } => encode(self.status(state_root).await?),
            // Events are many lines, and were seen to before.
            Request::Events { .. } => Err("events are answered line by line".into()),
            Request::Evidence => {
                let list = self.evidence.list();
                let entries: Vec<_> = list.iter().filter_map(EvidenceEntry::new).collect();
                Ok(json!({ "evidence": encode(entries)? }))
            }
            Request::Metrics => Ok(json!({ "metrics": self.metrics.text(self.gauges()) })),
            Request::Ready => encode(Ready {
                ready: true,
                replica: self.replica,
                peer_address: self.peer_address,
                client_address: self.client_address,
                process: std::process::id(),
            }),
            Request::Fault => {
                let (sender, answer) = oneshot::channel();
                self.inbound.event(Event::Command(value, sender));
                answer.await.unwrap_or_else(|_| Err("the replica has stopped".into()))
            }
            Request::Stop => {
                self.stop.cancel();
                Ok(json!({ "stopping": true }))
            }
        }
    }

    /// What is measured at the moment.
    fn gauges(&self) -> Gauges {
        let mut gauges = Gauges::default();
        let depths = self.inbound.depths();
        let queues = [
            ("votes", depths.votes),
            ("events", depths.events),
            ("bulk", depths.bulk),
            ("clients", depths.clients),
        ];
        let queues = queues.map(|(name, depth)| (Some(("queue", name)), depth as f64));
        gauges.add("inbound_waiting", "What waits for the protocol, by queue", queues);
        let peers = self.network.statistics();
        let mut peer = |name: &str, help: &str, value: &dyn Fn(&pbft_transport::PeerStatistics) -> f64| {
            gauges.add(name, help, peers.iter().map(|peer| (Some(("peer", peer.peer)), value(peer))));
        };
        peer("peer_connected", "Whether the link is up", &|peer| f64::from(u8::from(peer.connected)));
        peer("peer_connections", "How often the link came up", &|peer| peer.connections as f64);
        peer("peer_offences", "Offences of the replica", &|peer| peer.offences as f64);
        peer("peer_votes_sent", "Frames sent on the vote lane", &|peer| peer.votes.frames_sent as f64);
        peer("peer_votes_dropped", "Frames not sent on the vote lane", &|peer| peer.votes.dropped as f64);
        peer("peer_bulk_sent", "Frames sent on the bulk lane", &|peer| peer.bulk.frames_sent as f64);
        peer("peer_bulk_dropped", "Frames not sent on the bulk lane", &|peer| peer.bulk.dropped as f64);
        peer("peer_bytes_sent", "Bytes sent", &|peer| (peer.votes.bytes_sent + peer.bulk.bytes_sent) as f64);
        let clients = self.listener.statistics();
        let mut client = |name: &str, help: &str, value: f64| {
            gauges.add(name, help, [(None::<(&'static str, &str)>, value)]);
        };
        client("client_connections", "Connections of clients", clients.connections as f64);
        client("client_refused", "Connection attempts that were refused", clients.refused as f64);
        client("client_overflows", "Connections closed because nobody read", clients.overflows as f64);
        gauges
    }
}

fn encode(answer: impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}
