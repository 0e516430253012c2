//! What a run is to do.

use std::time::{Duration, Instant};

use pbft_client::ReadPath;
use pbft_messages::{Configuration, Submission};
use pbft_service::kv::MAX_VALUE;
use pbft_transport::ClientLimits;

use crate::request::Request;
use crate::values::Values;
use crate::workload::Workload;

/// When the load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So long after the warm-up.
    Lasts(Duration),
    /// When so many requests were sent after the warm-up.
    Requests(u64),
}

impl Extent {
    /// When a load is over whose warm-up ends then; `None` if the answer to the last request ends it.
    pub(crate) fn end(self, measured_from: Instant) -> Option<Instant> {
        match self {
            Self::Lasts(duration) => Some(measured_from + duration),
            Self::Requests(_) => None,
        }
    }
}

/// What a request waits for before it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The answer to the one before it: a *closed loop*.
    Closed,
    /// Its time, whatever came of the others: an *open loop*.
    Open {
        /// Requests a second, all connections together.
        rate: f64,
        /// How they follow each other.
        arrivals: Arrivals,
    },
}

/// How the requests of an open loop follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// As those of many clients that know nothing of each other do: the times between them are exponential.
    Poisson,
    /// Evenly.
    Constant,
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many sessions.
    pub connections: usize,
    /// How many clients, each with a key of its own, the connections belong to: in turn.
    pub identities: usize,
    /// How many bundles a connection has under way at a time, at most.
    pub pipeline: usize,
    /// How many requests are sent under one signature.
    pub bundle: usize,
    /// What a request waits for.
    pub pace: Pace,
    /// When the load ends.
    pub extent: Extent,
    /// How long the load runs before anything is counted.
    pub warmup: Duration,
    /// The bytes of a value.
    pub payload: usize,
    /// What is asked, and of which keys.
    pub workload: Workload,
    /// How reads and scans go.
    pub read_path: ReadPath,
    /// Whether all keys are written before the load begins.
    pub preload: bool,
    /// How many keys there are; those that the workload inserts come on top.
    pub keys: u32,
    /// What all choices follow from, and the times of an open loop.
    pub seed: u64,
    /// How long a request waits for its answer. Its outcome is unknown then.
    pub timeout: Duration,
    /// The most keys to read back for the verdict.
    pub read_back: usize,
}

impl Default for Settings {
    /// A closed loop of 32 connections that writes for ten seconds.
    fn default() -> Self {
        Self {
            connections: 32,
            identities: 1,
            pipeline: 1,
            bundle: 1,
            pace: Pace::Closed,
            extent: Extent::Lasts(Duration::from_secs(10)),
            warmup: Duration::from_secs(1),
            payload: 100,
            workload: Workload::reading(0.0),
            read_path: ReadPath::Ordered,
            preload: false,
            keys: 10_000,
            seed: 0,
            timeout: Duration::from_secs(20),
            read_back: 2000,
        }
    }
}

/// Settings that cannot work, in one line that names the flag and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(pub String);

impl Settings {
    /// A run remembers the last write of each key, in 32 bytes.
    pub const MOST_KEYS: u32 = 10_000_000;

    /// Checks the settings, also against what the cluster takes.
    ///
    /// # Errors
    /// [`InvalidSettings`]
    pub fn check(&self, cluster: &Configuration) -> Result<(), InvalidSettings> {
        let parameters = cluster.parameters();
        let require = |holds: bool, message: &dyn Fn() -> String| {
            if holds { Ok(()) } else { Err(InvalidSettings(message())) }
        };
        require(self.identities >= 1, &|| "--identities must be at least 1".to_owned())?;
        // Above the first limit replicas refuse connections, above the second they forget the first sessions while the
        // last are opened.
        let limits = ClientLimits::default();
        let of_one = limits.connections_per_client.min(parameters.sessions);
        let most = of_one.saturating_mul(self.identities).min(limits.connections);
        require((1..=most).contains(&self.connections), &|| {
            format!(
                "--connections must be from 1 to {most}: a replica of this cluster takes {of_one} of one client, and \
                 {} in all; see --identities",
                limits.connections
            )
        })?;
        let window = usize::try_from(parameters.session_window).unwrap_or(usize::MAX);
        require((1..=Submission::MAXIMUM_REQUESTS).contains(&self.bundle), &|| {
            format!("--bundle must be from 1 to {}", Submission::MAXIMUM_REQUESTS)
        })?;
        let under_way = self.pipeline.saturating_mul(self.bundle);
        require((1..=window).contains(&under_way), &|| {
            format!(
                "--pipeline times --bundle must be from 1 to {window}, the window of a session of this cluster"
            )
        })?;
        require(self.read_path == ReadPath::Ordered || self.bundle == 1, &|| {
            "--read-path unordered works with --bundle 1 only: such a read is sent without a signature"
                .to_owned()
        })?;
        if let Pace::Open { rate, .. } = self.pace {
            require((0.001..=1e7).contains(&rate), &|| {
                "--rate must be from 0.001 to 10000000 requests a second".to_owned()
            })?;
        }
        require(self.extent != Extent::Requests(0), &|| "--requests must be at least 1".to_owned())?;
        require(self.workload.is_whole(), &|| "--read-ratio must be from 0 to 1".to_owned())?;
        require((1..=Self::MOST_KEYS).contains(&self.keys), &|| {
            format!("--keys must be from 1 to {}", Self::MOST_KEYS)
        })?;
        require(self.read_back >= 1, &|| "--read-back must be at least 1".to_owned())?;
        require((Values::MINIMUM..=MAX_VALUE).contains(&self.payload), &|| {
            let least = Values::MINIMUM;
            format!("--payload must be from {least} (a value tells who wrote it) to {MAX_VALUE} bytes")
        })?;
        let write = Request::Modify { key: u32::MAX, number: 0 };
        let largest = write.operation(&Values::new(0, self.payload)).len();
        let limit = parameters.operation_bytes;
        require(largest <= limit, &|| {
            format!(
                "--payload {}: a write of it has up to {largest} bytes, and this cluster takes {limit}",
                self.payload
            )
        })?;
        let (bundle, limit) = (largest.saturating_mul(self.bundle), parameters.batch_bytes);
        require(bundle <= limit, &|| {
            format!(
                "--bundle {} with --payload {}: a bundle has up to {bundle} bytes, and this cluster takes {limit}",
                self.bundle, self.payload
            )
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::SocketAddr;

    use pbft_crypto::{SecretKey, Signer as _};
    use pbft_messages::{Member, Parameters};

    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings { workload: Workload::reading(0.25), seed: 7, ..Settings::default() }
    }

    pub(crate) fn configuration() -> Configuration {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let member = |index: u8| Member {
            key: SecretKey::from_seed(&[index + 1; 32]).public_key(),
            peer_address: address(1000 + u16::from(index)),
            client_address: address(2000 + u16::from(index)),
        };
        let parameters = Parameters { operation_bytes: 4096, ..Parameters::default() };
        Configuration::new("test".into(), (0..4).map(member).collect(), [], parameters).unwrap()
    }

    #[test]
    fn settings_are_checked_against_the_cluster() {
        let check = |change: &dyn Fn(&mut Settings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.check(&configuration())
        };
        assert_eq!(check(&|_| {}), Ok(()));
        assert_eq!(check(&|settings| settings.payload = Values::MINIMUM), Ok(()));
        type Change<'a> = &'a dyn Fn(&mut Settings);
        let wrong: [(&str, Change<'_>); 18] = [
            ("--connections", &|settings| settings.connections = 0),
            ("to 128", &|settings| settings.connections = 129),
            ("to 256", &|settings| (settings.connections, settings.identities) = (257, 2)),
            ("to 1024", &|settings| (settings.connections, settings.identities) = (1025, 100)),
            ("--identities", &|settings| settings.identities = 0),
            ("--bundle", &|settings| settings.bundle = 65),
            ("to 64", &|settings| (settings.pipeline, settings.bundle) = (13, 5)),
            ("--pipeline", &|settings| settings.pipeline = 0),
            ("--read-path", &|settings| {
                (settings.read_path, settings.bundle) = (ReadPath::Unordered, 2);
            }),
            ("--rate", &|settings| {
                settings.pace = Pace::Open { rate: 0.0, arrivals: Arrivals::Poisson };
            }),
            ("--requests", &|settings| settings.extent = Extent::Requests(0)),
            ("--read-ratio", &|settings| settings.workload = Workload::reading(1.1)),
            ("--read-ratio", &|settings| settings.workload = Workload::reading(f64::NAN)),
            ("--keys", &|settings| settings.keys = 0),
            ("--keys", &|settings| settings.keys = 10_000_001),
            ("--read-back", &|settings| settings.read_back = 0),
            ("--payload", &|settings| settings.payload = Values::MINIMUM - 1),
            ("4096", &|settings| settings.payload = 4096),
        ];
        for (named, change) in wrong {
            let error = check(change).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
