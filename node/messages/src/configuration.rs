//! Who takes part and within which limits: the part of `cluster.toml` that every replica and client must share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pbft_crypto::{Domain, Hasher, Keyring, PublicKey, Scope, SeenStatements};

use crate::{ClientId, Quorum, ReplicaId, View, WeakQuorum, codec, quorum};

/// One replica as the others and the clients know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub key: PublicKey,
    /// Where other replicas reach it.
    pub peer_address: SocketAddr,
    /// Where clients reach it.
    pub client_address: SocketAddr,
}

/// The protocol's parameters. [`Parameters::default`] suits a local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// K: a checkpoint is taken after every so many sequences.
    pub checkpoint_interval: u64,
    /// L: how many sequences above the last stable checkpoint may be in agreement. At least 2K.
    pub window: u64,
    /// T: how long the oldest waiting request may wait before a backup asks for the next view. A primary that says nothing
    /// at all is left after two thirds of it.
    pub view_timeout: Duration,
    /// The cap of the view timeout's doubling.
    pub view_timeout_cap: Duration,
    /// How often a replica tells the others where it stands (C4).
    pub status_interval: Duration,
    /// How far a proposed time may be from a backup's clock (N6).
    pub clock_bound: Duration,
    /// The most requests in one batch.
    pub batch_requests: usize,
    /// The most bytes of submissions in one batch.
    pub batch_bytes: usize,
    /// How many batches the primary keeps in flight before it lets the next one fill (N7).
    pub pipeline: u64,
    /// The largest operation in bytes.
    pub operation_bytes: usize,
    /// The largest frame on a peer link, in bytes. A cluster file that does not set it gets what its replicas need.
    pub frame_bytes: usize,
    /// How many sessions of one client are kept; opening one more evicts the least recently executed.
    pub sessions: usize,
    /// W: how far a session's requests may run ahead of the first unanswered one. At least 64.
    pub session_window: u64,
    /// How many bytes of results are kept for one client, over all its sessions; where there are more, the oldest are
    /// dropped. At least 2 MiB, so that the last result is always kept.
    pub reply_bytes: usize,
    /// How many requests of all clients together may wait at a replica.
    pub waiting_requests: usize,
    /// How many bytes of operations of all clients together may wait at a replica, half of it if they are of one client;
    /// at least four full batches.
    pub waiting_bytes: usize,
}

impl Parameters {
    /// Raises the frame limit to what this many replicas need with this window.
    #[must_use]
    pub fn with_frames_for(mut self, n: usize) -> Self {
        let needed = usize::try_from(largest_evidence(self.window, n)).unwrap_or(usize::MAX);
        self.frame_bytes = self.frame_bytes.max(needed);
        self
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            checkpoint_interval: 128,
            window: 512,
            view_timeout: Duration::from_millis(1000),
            view_timeout_cap: Duration::from_secs(30),
            status_interval: Duration::from_millis(100),
            clock_bound: Duration::from_secs(5),
            batch_requests: 512,
            batch_bytes: 2 << 20,
            pipeline: 4,
            operation_bytes: (1 << 20) + (64 << 10),
            frame_bytes: 8 << 20,
            sessions: 256,
            session_window: 64,
            reply_bytes: 32 << 20,
            waiting_requests: 16_384,
            waiting_bytes: 64 << 20,
        }
    }
}

/// A configuration that cannot work, in one line that names the thing and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfiguration(pub String);

/// A cluster's configuration, checked. Replicas are numbered by their place in the list of members.
#[derive(Clone, Debug)]
pub struct Configuration {
    seen: Arc<SeenStatements>,
    name: String,
    scope: Scope,
    members: Vec<Member>,
    clients: BTreeMap<ClientId, PublicKey>,
    parameters: Parameters,
    /// See [`Configuration::with_leaders`].
    leaders: Vec<ReplicaId>,
}

impl Configuration {
    /// The most replicas that a configuration may have.
    pub const MAXIMUM_REPLICAS: usize = 100;

    /// Checks and builds a configuration.
    ///
    /// # Errors
    /// [`InvalidConfiguration`], with what is wrong and what to do.
    pub fn new(
        name: String,
        members: Vec<Member>,
        clients: impl IntoIterator<Item = PublicKey>,
        parameters: Parameters,
    ) -> Result<Self, InvalidConfiguration> {
        check_members(&members)?;
        check_parameters(&parameters, members.len())?;
        let mut admitted = BTreeMap::new();
        for key in clients {
            if admitted.insert(ClientId::from(key), key).is_some() {
                return Err(InvalidConfiguration(format!(
                    "client key {key} is listed twice: remove one entry"
                )));
            }
        }
        if let Some(member) = members.iter().find(|member| admitted.contains_key(&ClientId::from(member.key)))
        {
            return Err(InvalidConfiguration(format!(
                "key {} belongs to a replica and to a client: give the client a key of its own",
                member.key
            )));
        }
        // What must be equal everywhere for replicas to agree is part of the cluster's identity; addresses,
        // timeouts and admitted clients may change over a restart.
        let mut hasher = Hasher::new(Domain::Cluster)
            .sized(name.as_bytes())
            .number(parameters.checkpoint_interval)
            .number(parameters.window)
            .number(parameters.sessions as u64)
            .number(parameters.session_window)
            .number(parameters.reply_bytes as u64)
            .number(parameters.operation_bytes as u64)
            .number(members.len() as u64);
        for member in &members {
            hasher = hasher.bytes(member.key.as_bytes());
        }
        let scope = Scope { cluster: hasher.finish(), epoch: 0 };
        Ok(Self {
            seen: Arc::default(),
            name,
            scope,
            members,
            clients: admitted,
            parameters,
            leaders: Vec::new(),
        })
    }

    /// The same configuration with other primaries in its first views: that of view v is `leaders[v]`, and after the
    /// end of the list `v mod n` as ever. No file can say so: it is for simulators, which go through all orders of
    /// primaries. All replicas and clients of a cluster must be given the same.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] if one of them is no member.
    pub fn with_leaders(self, leaders: Vec<ReplicaId>) -> Result<Self, InvalidConfiguration> {
        match leaders.iter().find(|leader| self.member(**leader).is_none()) {
            Some(stranger) => Err(InvalidConfiguration(format!("leader {stranger} is no member"))),
            None if leaders.is_empty() => Ok(self),
            // What is right under some primaries is not under others, so it is another cluster.
            None => {
                let cluster = Hasher::new(Domain::Cluster).bytes(self.scope.cluster.as_bytes());
                let cluster = leaders.iter().fold(cluster, |it, leader| it.number(leader.0.into())).finish();
                let scope = Scope { cluster, ..self.scope };
                Ok(Self { seen: Arc::default(), scope, leaders, ..self })
            }
        }
    }

    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// n, the number of replicas.
    #[must_use]
    pub fn n(&self) -> usize {
        self.members.len()
    }

    /// f, how many of them may be faulty.
    #[must_use]
    pub fn f(&self) -> usize {
        quorum::faults_tolerated(self.n())
    }

    /// The quorum.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        Quorum::of(self.n())
    }

    /// The weak quorum, f+1.
    #[must_use]
    pub fn weak_quorum(&self) -> WeakQuorum {
        WeakQuorum::of(self.n())
    }

    /// The primary of a view: replica `v mod n`, unless [`Configuration::with_leaders`] says otherwise.
    #[must_use]
    pub fn primary(&self, view: View) -> ReplicaId {
        let chosen = usize::try_from(view.0).ok().and_then(|view| self.leaders.get(view));
        if let Some(leader) = chosen {
            return *leader;
        }
        let index = view.0 % self.n() as u64;
        // The remainder is below n, which is at most MAXIMUM_REPLICAS.
        ReplicaId(index as u16)
    }

    /// All replicas, in order.
    pub fn replicas(&self) -> impl DoubleEndedIterator<Item = ReplicaId> + use<> {
        (0..self.members.len() as u16).map(ReplicaId)
    }

    /// A replica's entry; `None` if there is no such replica.
    #[must_use]
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.members.get(replica.index())
    }

    /// The replica that a key belongs to.
    #[must_use]
    pub fn replica_of(&self, key: &PublicKey) -> Option<ReplicaId> {
        self.replicas().find(|replica| self.members[replica.index()].key == *key)
    }

    /// The admitted clients.
    pub fn clients(&self) -> impl Iterator<Item = (ClientId, PublicKey)> + '_ {
        self.clients.iter().map(|(client, key)| (*client, *key))
    }

    /// The protocol's parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The scope of every signature in this cluster.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl Keyring<ReplicaId> for Configuration {
    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn public_key(&self, replica: ReplicaId) -> Option<PublicKey> {
        self.member(replica).map(|member| member.key)
    }

    fn seen(&self) -> Option<&SeenStatements> {
        Some(&self.seen)
    }
}

impl Keyring<ClientId> for Configuration {
    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn public_key(&self, client: ClientId) -> Option<PublicKey> {
        self.clients.get(&client).copied()
    }
}

fn check_members(members: &[Member]) -> Result<(), InvalidConfiguration> {
    let n = members.len();
    if n < 4 {
        return Err(InvalidConfiguration(format!(
            "{n} replicas tolerate no fault: at least 4 are needed (3f+1 for f faults)"
        )));
    }
    if n > Configuration::MAXIMUM_REPLICAS {
        return Err(InvalidConfiguration(format!(
            "{n} replicas are more than the {} supported",
            Configuration::MAXIMUM_REPLICAS
        )));
    }
    let (mut keys, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    for (index, member) in members.iter().enumerate() {
        if let Some(other) = keys.insert(*member.key.as_bytes(), index) {
            return Err(InvalidConfiguration(format!(
                "r{other} and r{index} have the same key {}: make a key for each with `pbft-node keygen`",
                member.key
            )));
        }
        for address in [member.peer_address, member.client_address] {
            if let Some(other) = addresses.insert(address, index) {
                return Err(InvalidConfiguration(format!(
                    "address {address} is used twice (by r{other} and r{index}): each replica needs two of its own"
                )));
            }
        }
    }
    Ok(())
}

fn check_parameters(parameters: &Parameters, n: usize) -> Result<(), InvalidConfiguration> {
    let check = |holds: bool, message: &str| {
        if holds { Ok(()) } else { Err(InvalidConfiguration(message.to_owned())) }
    };
    let p = parameters;
    check(p.checkpoint_interval >= 1, "checkpoint_interval must be at least 1")?;
    check(p.window / 2 >= p.checkpoint_interval, "window must be at least twice checkpoint_interval")?;
    check(p.window <= 65_536, "window must be at most 65536")?;
    check(p.view_timeout >= Duration::from_millis(10), "view_timeout_ms must be at least 10")?;
    check(p.view_timeout_cap >= p.view_timeout, "view_timeout_cap_ms must be at least view_timeout_ms")?;
    check(p.status_interval >= Duration::from_millis(1), "status_interval_ms must be at least 1")?;
    check(p.clock_bound >= Duration::from_millis(1), "clock_bound_ms must be at least 1")?;
    check(p.batch_requests >= 64, "batch_requests must be at least 64, the most requests of one submission")?;
    check(p.pipeline >= 1, "pipeline must be at least 1")?;
    check(p.operation_bytes >= 1, "operation_bytes must be at least 1")?;
    check(p.batch_bytes > p.operation_bytes, "batch_bytes must be larger than operation_bytes")?;
    check(p.sessions >= 1, "sessions must be at least 1")?;
    check((64..=4096).contains(&p.session_window), "session_window must be from 64 to 4096")?;
    check(p.reply_bytes >= 2 << 20, "reply_bytes must be at least 2097152 (2 MiB)")?;
    check(p.waiting_requests >= 64, "waiting_requests must be at least 64")?;
    check(p.waiting_bytes / 4 >= p.batch_bytes, "waiting_bytes must be at least four times batch_bytes")?;
    check(
        p.frame_bytes as u64 <= codec::LIMIT,
        "frame_bytes must be at most 67108864 (64 MiB): lower window",
    )?;
    let largest = p.batch_bytes.max(1536 << 10).saturating_add(64 << 10);
    check(p.frame_bytes >= largest, "frame_bytes must exceed batch_bytes, and 1.5 MiB, by at least 64 KiB")?;
    let evidence = largest_evidence(p.window, n);
    check(
        p.frame_bytes as u64 >= evidence,
        &format!(
            "two of the largest NEW-VIEWs have {evidence} bytes, more than frame_bytes: lower window or raise frame_bytes"
        ),
    )
}

/// An upper bound of the largest message's size (R4), which is evidence of two NEW-VIEWs: each a quorum of VIEW-CHANGEs
/// with a prepared certificate for every sequence of the window, and one PRE-PREPARE for each.
fn largest_evidence(window: u64, n: usize) -> u64 {
    const SIGNED: u64 = 2 + 8 + 64; // signer, length of the payload, signature
    const VOTE: u64 = 2 + 64; // one signature of a certificate
    const STATEMENT: u64 = 8 + 8 + 32; // view, sequence, digest
    let quorum = Quorum::of(n).get() as u64;
    let certificate = SIGNED + STATEMENT + 8 + (quorum - 1) * VOTE;
    let view_change = SIGNED + 64 + STATEMENT + quorum * VOTE + window * certificate;
    2 * (128 + quorum * view_change + window * (SIGNED + STATEMENT))
}

/// The distinct replicas among `signers`, for counting votes.
pub(crate) fn distinct(signers: impl IntoIterator<Item = ReplicaId>) -> usize {
    signers.into_iter().collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{configuration, members};

    fn refusal(change: impl FnOnce(&mut Vec<Member>, &mut Parameters)) -> String {
        let (mut members, mut parameters) = (members(4), Parameters::default());
        change(&mut members, &mut parameters);
        Configuration::new("test".into(), members, [], parameters).expect_err("refused").0
    }

    #[test]
    fn bad_configurations_are_refused_by_name() {
        assert!(refusal(|members, _| members.truncate(3)).contains("at least 4"));
        assert!(
            refusal(|members, _| members[1].key = members[0].key).contains("r0 and r1 have the same key")
        );
        assert!(
            refusal(|members, _| members[1].client_address = members[1].peer_address).contains("used twice")
        );
        assert!(refusal(|_, parameters| parameters.window = 255).contains("window"));
        assert!(refusal(|_, parameters| parameters.window = 16_384).contains("NEW-VIEW"));
        assert!(refusal(|_, parameters| parameters.frame_bytes = 1 << 20).contains("frame_bytes"));
        assert!(refusal(|_, parameters| parameters.frame_bytes = 1 << 30).contains("64 MiB"));
    }

    #[test]
    fn a_replica_key_is_no_client_key() {
        let members = members(4);
        let key = members[2].key;
        assert!(Configuration::new("test".into(), members, [key], Parameters::default()).is_err());
    }

    #[test]
    fn the_primary_rotates() {
        let configuration = configuration(5);
        let primaries: Vec<_> = (0..6).map(|view| configuration.primary(View(view)).0).collect();
        assert_eq!(primaries, [0, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn primaries_may_be_chosen_for_the_first_views() {
        let plain = configuration(4);
        let configuration = plain.clone().with_leaders(vec![ReplicaId(3), ReplicaId(3)]).unwrap();
        assert_ne!(configuration.scope(), plain.scope(), "no statement holds in both");
        assert!(!Arc::ptr_eq(&configuration.seen, &plain.seen));
        assert_eq!(plain.clone().with_leaders(vec![]).unwrap().scope(), plain.scope());
        let primaries: Vec<_> = (0..5).map(|view| configuration.primary(View(view)).0).collect();
        assert_eq!(primaries, [3, 3, 2, 3, 0]);
        assert_eq!(configuration.primary(View(u64::MAX)).0, 3);
        let error = configuration.with_leaders(vec![ReplicaId(4)]).unwrap_err();
        assert_eq!(error.0, "leader r4 is no member");
    }

    #[test]
    fn the_identity_covers_what_replicas_must_share_and_not_addresses() {
        let with = |change: &dyn Fn(&mut Vec<Member>, &mut Parameters)| {
            let (mut members, mut parameters) = (members(4), Parameters::default());
            change(&mut members, &mut parameters);
            Configuration::new("test".into(), members, [], parameters).unwrap().scope().cluster
        };
        let base = with(&|_, _| {});
        assert_eq!(base, with(&|members, _| members[0].peer_address.set_port(9)));
        assert_ne!(base, with(&|members, _| members.swap(0, 1)));
        assert_ne!(base, with(&|_, parameters| parameters.checkpoint_interval = 64));
    }
}
