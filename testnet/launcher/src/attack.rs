//! Malicious clients: admitted ones, with spare keys of the testnet, that send what no client library would.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use pbft_byzantine::{ClientIdentity, ClientShot, ClientStrategy, client_strategy};
use pbft_crypto::{SecretKey, Signer, key_file};
use pbft_messages::{ClientId, ClientMessage, Configuration, ReplicaId, ReplicaMessage, SessionId, codec};
use pbft_transport::{ClientEndpoint, LinkEvent, LinkLimits, LinkSender, QueueLimits};

use crate::create::SPARE_CLIENTS;
use crate::malice::lasts;
use crate::rehearsal::Rehearsal;
use crate::{Testnet, TestnetError};

/// How often the strategy is asked what to send.
const TICK: Duration = Duration::from_millis(10);

/// The most links that are kept up; opening another one ends the oldest.
const MOST_LINKS: usize = 64;

/// What was heard and waits for the strategy.
const WAITING: usize = 1024;

/// Whom to be, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attack {
    /// The strategy's text, see [`pbft_byzantine::client_strategy`].
    pub strategy: String,
    /// With how many identities.
    pub clients: usize,
    /// For how long; `None` is until it is stopped.
    pub last: Option<Duration>,
}

/// What came of an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attacked {
    /// How many messages were sent.
    pub sent: u64,
    /// How many messages of replicas came back.
    pub heard: u64,
    /// How many times a replica closed a connection.
    pub cut: u64,
}

impl Attack {
    /// Whether it can be carried out on any testnet.
    ///
    /// # Errors
    /// [`TestnetError`], with what there is.
    pub fn check(&self) -> Result<(), TestnetError> {
        if !(1..=SPARE_CLIENTS).contains(&self.clients) {
            return Err(TestnetError::NoSpareClients { asked: self.clients, spare: SPARE_CLIENTS });
        }
        pbft_byzantine::client_described(&self.strategy)?;
        lasts(self.last)
    }

    /// Whether it can be carried out on this testnet now.
    ///
    /// # Errors
    /// [`TestnetError`]: among others if no replica runs.
    pub fn check_on(&self, testnet: &Testnet) -> Result<(), TestnetError> {
        self.check()?;
        Rehearsal::of(testnet)?.attack(&self.strategy)?;
        if testnet.processes()?.is_empty() {
            return Err(TestnetError::NobodyRuns { folder: testnet.folder().path().to_owned() });
        }
        Ok(())
    }

    /// Attacks until the time is over, or `stop` is cancelled. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`TestnetError`], if it could not begin, or no replica ever took a connection.
    pub async fn run(&self, testnet: &Testnet, stop: &CancellationToken) -> Result<Attacked, TestnetError> {
        self.check_on(testnet)?;
        let keys = (0..self.clients).map(|index| {
            let path = testnet.folder().spare_client_key(index);
            Ok(Arc::new(key_file::read(&path)?))
        });
        let keys = keys.collect::<Result<Vec<Arc<SecretKey>>, TestnetError>>()?;
        let mut battery = Battery::new(testnet.configuration(), &keys)?;
        let identity = ClientIdentity {
            client: battery.usual,
            signers: keys.iter().map(|key| Arc::clone(key) as Arc<dyn Signer>).collect(),
            configuration: Arc::new(testnet.configuration().clone()),
        };
        let strategy = client_strategy(&self.strategy, &identity)?;
        let attacking = battery.attack(strategy);
        tokio::select! {
            () = attacking => {}
            () = stop.cancelled() => {}
            () = sleep(self.last) => {}
        }
        let (attacked, shut_out) = (battery.attacked, battery.shut_out.take());
        battery.shutdown().await;
        shut_out.map_or(Ok(attacked), |why| Err(TestnetError::NoConnection(why)))
    }
}

/// Sleeps for so long, or for ever.
async fn sleep(last: Option<Duration>) {
    match last {
        Some(last) => tokio::time::sleep(last).await,
        None => std::future::pending().await,
    }
}

/// Whose link, for which session, to whom.
type LinkId = (ClientId, SessionId, ReplicaId);

/// What a link has to tell.
enum Heard {
    Connected,
    NotConnected(String),
    Message(ReplicaId, ReplicaMessage),
    Cut,
}

/// All that a malicious client sends with.
struct Battery {
    configuration: Configuration,
    /// The identity that speaks where none is claimed, or one whose key it lacks.
    usual: ClientId,
    /// The session of its last link.
    session: SessionId,
    endpoints: BTreeMap<ClientId, ClientEndpoint>,
    links: BTreeMap<LinkId, LinkSender>,
    /// The links in the order in which they were opened.
    opened: VecDeque<LinkId>,
    ears: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    attacked: Attacked,
    /// Why no link has come up yet; `None` once one has.
    shut_out: Option<String>,
}

impl Battery {
    fn new(configuration: &Configuration, keys: &[Arc<SecretKey>]) -> Result<Self, TestnetError> {
        let failed = |error: pbft_transport::BindError| TestnetError::NoService(error.to_string());
        // More than a replica takes, so that it is the replica that refuses.
        let frame_bytes = configuration.parameters().frame_bytes.saturating_mul(4);
        let limits = LinkLimits {
            frame_bytes,
            outgoing: QueueLimits { frames: 4096, bytes: frame_bytes.saturating_mul(2) },
            ..LinkLimits::default()
        };
        let mut endpoints: BTreeMap<ClientId, ClientEndpoint> = BTreeMap::new();
        let mut usual = None;
        for key in keys {
            let endpoint = match endpoints.values().next() {
                Some(first) => first.with_identity(Arc::clone(key)).map_err(failed)?,
                None => {
                    let cluster = configuration.scope().cluster;
                    ClientEndpoint::new(Arc::clone(key), cluster, limits).map_err(failed)?
                }
            };
            let client = key.public_key().into();
            usual.get_or_insert(client);
            endpoints.insert(client, endpoint);
        }
        let usual = usual.ok_or(TestnetError::NoSpareClients { asked: 0, spare: SPARE_CLIENTS })?;
        let (ears, heard) = mpsc::channel(WAITING);
        Ok(Self {
            configuration: configuration.clone(),
            usual,
            session: SessionId(0),
            endpoints,
            links: BTreeMap::new(),
            opened: VecDeque::new(),
            ears,
            heard,
            attacked: Attacked::default(),
            shut_out: Some("none has answered".into()),
        })
    }

    async fn attack(&mut self, mut strategy: Box<dyn ClientStrategy>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shots = Vec::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    // A clock before 1970 is no clock; sessions would be named alike.
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    strategy.act(now, &mut shots);
                    shots.drain(..).for_each(|shot| self.fire(shot));
                }
                Some(heard) = self.heard.recv() => match heard {
                    Heard::Message(from, message) => {
                        self.attacked.heard += 1;
                        strategy.hear(from, &message);
                    }
                    Heard::Cut => self.attacked.cut += 1,
                    Heard::Connected => self.shut_out = None,
                    Heard::NotConnected(why) => {
                        self.shut_out = self.shut_out.take().map(|_| why);
                    }
                },
            }
        }
    }

    fn fire(&mut self, ClientShot { to, message }: ClientShot) {
        let (client, session) = self.line_of(&message);
        if let Some(link) = self.link((client, session, to)) {
            // A full queue drops it, as it does for a client that floods.
            self.attacked.sent += u64::from(link.send(codec::encode(&message).into()));
        }
    }

    /// The client and session whose connection a message takes.
    fn line_of(&mut self, message: &ClientMessage) -> (ClientId, SessionId) {
        if let ClientMessage::Submit(submission) = message
            && let Ok(said) = submission.peek()
        {
            let claimed = submission.claimed_signer();
            let client = if self.endpoints.contains_key(&claimed) { claimed } else { self.usual };
            self.session = said.session();
            return (client, said.session());
        }
        (self.usual, self.session)
    }

    fn link(&mut self, id: LinkId) -> Option<&LinkSender> {
        if !self.links.contains_key(&id) {
            let (client, session, replica) = id;
            let member = self.configuration.member(replica)?;
            let endpoint = self.endpoints.get(&client)?;
            let (sender, events) = endpoint.link(replica, member.key, member.client_address, session).ok()?;
            tokio::spawn(listen(replica, events, self.ears.clone()));
            self.links.insert(id, sender);
            self.opened.push_back(id);
            if self.opened.len() > MOST_LINKS
                && let Some(oldest) = self.opened.pop_front()
            {
                self.links.remove(&oldest);
            }
        }
        self.links.get(&id)
    }

    async fn shutdown(self) {
        drop(self.links);
        // They share one socket.
        if let Some(endpoint) = self.endpoints.into_values().next() {
            endpoint.shutdown().await;
        }
    }
}

/// Passes on what comes in on one link, until it ends.
async fn listen(replica: ReplicaId, mut events: mpsc::Receiver<LinkEvent>, ears: mpsc::Sender<Heard>) {
    while let Some(event) = events.recv().await {
        let heard = match event {
            LinkEvent::Frame(frame) => match codec::decode(&frame) {
                Ok(message) => Heard::Message(replica, message),
                Err(_) => continue,
            },
            LinkEvent::Disconnected => Heard::Cut,
            LinkEvent::Connected => Heard::Connected,
            LinkEvent::Refused(why) => Heard::NotConnected(format!("{replica} refused it, {why}")),
            LinkEvent::Unreachable(why) => Heard::NotConnected(format!("{replica} is not reached, {why}")),
        };
        if ears.send(heard).await.is_err() {
            return;
        }
    }
}
