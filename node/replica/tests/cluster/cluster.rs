//! A cluster of four replicas in this process.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use pbft_crypto::{SecretKey, Signer as _};
use pbft_messages::{Configuration, Member, Parameters};
use pbft_node::{
    ControlClient, DataFolder, Durability, EventLine, Honest, Identity, Options, RunError, Status,
};
use pbft_service::{NullResult, NullService};

/// How long anything may take, on a machine that does other things as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) configuration: Arc<Configuration>,
    folder: tempfile::TempDir,
    replicas: Vec<Option<Running>>,
    pub(crate) durability: Durability,
}

struct Running {
    stop: CancellationToken,
    end: JoinHandle<Result<(), RunError>>,
}

pub(crate) fn client_key() -> SecretKey {
    SecretKey::from_seed(&[200; 32])
}

pub(crate) fn replica_key(replica: usize) -> SecretKey {
    SecretKey::from_seed(&[replica as u8 + 1; 32])
}

/// Ports that were free a moment ago. All are held until all are chosen, so they differ.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
}

impl Cluster {
    /// A cluster whose replicas have never run.
    pub(crate) fn new(durability: Durability) -> Self {
        let addresses = free_addresses(8);
        let members = (0..4).map(|index| Member {
            key: replica_key(index).public_key(),
            peer_address: addresses[index],
            client_address: addresses[4 + index],
        });
        let parameters = Parameters { checkpoint_interval: 8, window: 16, ..Parameters::default() };
        let configuration =
            Configuration::new("test".into(), members.collect(), [client_key().public_key()], parameters);
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self {
            configuration: Arc::new(configuration.unwrap()),
            folder,
            replicas: (0..4).map(|_| None).collect(),
            durability,
        };
        for replica in 0..4 {
            pbft_node::init(&cluster.identity(replica), &cluster.data(replica)).unwrap();
        }
        cluster
    }

    /// A cluster that runs.
    pub(crate) async fn start(durability: Durability) -> Self {
        let mut cluster = Self::new(durability);
        for replica in 0..4 {
            cluster.start_replica(replica).await;
        }
        cluster
    }

    pub(crate) fn identity(&self, replica: usize) -> Identity {
        Identity::new(self.configuration.clone(), Arc::new(replica_key(replica))).unwrap()
    }

    pub(crate) fn data(&self, replica: usize) -> DataFolder {
        DataFolder::new(self.folder.path().join(format!("r{replica}")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a replica and gives its end, for those that are not to come up.
    pub(crate) fn launch(&self, replica: usize, stop: CancellationToken) -> JoinHandle<Result<(), RunError>> {
        let mut options = Options::new(self.identity(replica), self.data(replica));
        options.durability = self.durability;
        let service = Box::new(NullService::new(NullResult::Echo));
        tokio::spawn(pbft_node::run(options, service, Box::new(Honest), stop))
    }

    /// Starts a replica and waits until it listens.
    pub(crate) async fn start_replica(&mut self, replica: usize) {
        let stop = CancellationToken::new();
        let mut end = self.launch(replica, stop.clone());
        let ready = async {
            loop {
                if let Ok(mut control) = ControlClient::connect(&self.data(replica)).await
                    && control.ready().await.is_ok()
                {
                    return;
                }
                // There is no event for a socket that is not there yet.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = &mut end => panic!("r{replica} did not start: {}", ended.unwrap().unwrap_err()),
            ready = timeout(PATIENCE, ready) => ready.expect("the replica listens in time"),
        }
        self.replicas[replica] = Some(Running { stop, end });
    }

    /// Stops a replica in good order.
    pub(crate) async fn stop_replica(&mut self, replica: usize) {
        let Running { stop, end } = self.replicas[replica].take().expect("it runs");
        stop.cancel();
        timeout(PATIENCE, end).await.expect("it stops in time").unwrap().unwrap();
    }

    /// Stops all replicas that run, in good order.
    pub(crate) async fn stop(&mut self) {
        for replica in 0..4 {
            if self.replicas[replica].is_some() {
                self.stop_replica(replica).await;
            }
        }
    }

    pub(crate) async fn control(&self, replica: usize) -> ControlClient {
        ControlClient::connect(&self.data(replica)).await.unwrap()
    }

    pub(crate) async fn status(&self, replica: usize) -> Status {
        self.control(replica).await.status(true).await.unwrap()
    }

    /// Waits for an event of a replica, from its start on.
    pub(crate) async fn event(&self, replica: usize, wanted: impl Fn(&EventLine) -> bool) -> EventLine {
        let mut control = self.control(replica).await;
        control.follow(0).await.unwrap();
        let find = async {
            loop {
                let event = control.next_event().await.unwrap().expect("the replica runs");
                if wanted(&event) {
                    return event;
                }
            }
        };
        timeout(PATIENCE, find).await.expect("the event comes in time")
    }
}
