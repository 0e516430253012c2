//! Three nodes in a temporary folder.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use pbft_testnet::process::ProcessId;

use super::protocol::{CallError, Connection, NodeStatus};
use crate::lab::LabError;

/// How many nodes.
const NODES: usize = 3;

/// How long they may take until one leads and takes puts.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    /// Where its clients connect.
    pub(super) address: SocketAddr,
    /// The number of its election: nobody else leads in the same term.
    term: u64,
}

/// A cluster of three nodes, each with its files on disk. Dropping it ends them; they end with this process too.
pub struct Etcd {
    tether: Option<Tether>,
    nodes: Vec<Child>,
    /// What `etcd --version` says.
    pub version: String,
    /// Where its clients connect.
    clients: Vec<SocketAddr>,
    folder: TempDir,
}

impl Etcd {
    /// Starts the nodes; returns when one of them leads.
    ///
    /// # Errors
    /// [`LabError`]: [`LabError::NotInstalled`] if there is no `etcd` among the programs.
    pub async fn start() -> Result<Self, LabError> {
        let version = version()?;
        let folder = tempfile::Builder::new().prefix("pbft-bench-etcd-").tempdir();
        let folder = folder.map_err(LabError::io("a temporary folder"))?;
        let ports = free_ports(2 * NODES).map_err(LabError::io("free ports"))?;
        let (clients, peers) = ports.split_at(NODES);
        let all: Vec<_> = (0..NODES).map(|node| format!("n{node}=http://{}", peers[node])).collect();
        let mut cluster =
            Self { tether: None, nodes: Vec::new(), version, clients: clients.to_vec(), folder };
        for node in 0..NODES {
            let log = std::fs::File::create(cluster.log(node)).map_err(LabError::io("a log"))?;
            let (client, peer) = (format!("http://{}", clients[node]), format!("http://{}", peers[node]));
            let mut command = Command::new("etcd");
            command
                .args(["--name", &format!("n{node}"), "--data-dir"])
                .arg(cluster.folder.path().join(format!("n{node}")))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
                .args(["--logger", "zap", "--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(log.try_clone().map_err(LabError::io("a log"))?)
                .stderr(log);
            cluster.nodes.push(command.spawn().map_err(LabError::io("etcd"))?);
        }
        cluster.tether = Some(Tether::hold(&cluster.nodes).map_err(LabError::io("etcd's tether"))?);
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The processes of the nodes.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessId> {
        self.nodes.iter().filter_map(|node| ProcessId::of(node.id())).collect()
    }

    /// Waits until a node leads and has taken a put, and all nodes answer.
    pub(super) async fn leader(&self) -> Result<Leader, LabError> {
        let began = Instant::now();
        let mut why = "it does not listen".to_owned();
        // Nobody tells when a node is ready, so this tries again and again.
        let mut attempts = tokio::time::interval(Duration::from_millis(50));
        while began.elapsed() < PATIENCE {
            attempts.tick().await;
            match leader(&self.clients).await {
                Ok(Some(leader)) => return Ok(leader),
                Ok(None) => why = "no node leads".to_owned(),
                Err(error) => why = error.to_string(),
            }
        }
        Err(LabError::no_service("etcd", why, &self.log(0)))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{node}.log"))
    }
}

async fn leader(clients: &[SocketAddr]) -> Result<Option<Leader>, CallError> {
    let mut leader = None;
    for &client in clients {
        let connection = Connection::open(client).await?;
        let NodeStatus { leads, term } = connection.status().await?;
        if leads {
            connection.put(b"pbft-bench/ready", b"yes").await?;
            leader = Some(Leader { address: client, term });
        }
    }
    Ok(leader)
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.tether = None;
        for node in &mut self.nodes {
            // Failures mean that it has ended already.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

/// Ends processes when this one has ended, however that was: a shell that waits for the end of a pipe from this one.
struct Tether(Child);

impl Tether {
    fn hold(processes: &[Child]) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r _; kill -9 \"$@\"", "sh"]);
        shell.args(processes.iter().map(|it| it.id().to_string()));
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Self)
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        // Before it sees its pipe end. Failures mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn version() -> Result<String, LabError> {
    let said = Command::new("etcd").arg("--version").stdin(Stdio::null()).output();
    let said = said.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LabError::NotInstalled {
            program: "etcd",
            remedy: "install it (Debian and Ubuntu: apt-get install etcd-server), so that it is on PATH",
        },
        _ => LabError::Io { what: "etcd --version".into(), source: error },
    })?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(said.lines().next().unwrap_or_default().trim_start_matches("etcd Version: ").to_owned())
}

/// Ports that nobody uses now. They are told apart by being held all at once.
fn free_ports(count: usize) -> io::Result<Vec<SocketAddr>> {
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_end_with_the_process_that_started_them() {
        let mut node = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut tether = Tether::hold(std::slice::from_ref(&node)).unwrap();
        // As if this process had ended: its end of the pipe is closed.
        drop(tether.0.stdin.take());
        assert!(!node.wait().unwrap().success());
    }
}
