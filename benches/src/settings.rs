//! What a run is to do.

use std::time::Duration;

use bytes::Bytes;

use pbft_messages::Configuration;
use pbft_service::kv::{MAX_VALUE, Operation};
use pbft_transport::ClientLimits;

use crate::workload::{Values, key};

/// When the load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So long after the warm-up.
    Lasts(Duration),
    /// When so many requests were sent after the warm-up.
    Requests(u64),
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many sessions, each with one request on its way at a time.
    pub connections: usize,
    /// When the load ends.
    pub extent: Extent,
    /// How long the load runs before anything is counted.
    pub warmup: Duration,
    /// The bytes of a value.
    pub payload: usize,
    /// The part of the requests that read, 0 to 1; the others write.
    pub read_ratio: f64,
    /// How many keys there are; each request takes one of them, all with the same probability.
    pub keys: u32,
    /// What the choice of keys and of reads follows from.
    pub seed: u64,
    /// How long a request waits for its answer. Its outcome is unknown then.
    pub timeout: Duration,
    /// The most keys to read back for the verdict.
    pub read_back: usize,
}

/// Settings that cannot work, in one line that names the flag and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(pub String);

impl Settings {
    /// Checks the settings, also against what the cluster takes.
    ///
    /// # Errors
    /// [`InvalidSettings`]
    pub fn check(&self, cluster: &Configuration) -> Result<(), InvalidSettings> {
        let parameters = cluster.parameters();
        let require = |holds: bool, message: &dyn Fn() -> String| {
            if holds { Ok(()) } else { Err(InvalidSettings(message())) }
        };
        // Above the one limit replicas refuse connections, above the other they forget the first sessions while the
        // last are opened.
        let connections = ClientLimits::default().connections_per_client;
        let most = connections.min(parameters.sessions);
        require((1..=most).contains(&self.connections), &|| {
            format!(
                "--connections must be from 1 to {most}, as many as a replica of this cluster takes of one client"
            )
        })?;
        require(self.extent != Extent::Requests(0), &|| "--requests must be at least 1".to_owned())?;
        require((0.0..=1.0).contains(&self.read_ratio), &|| "--read-ratio must be from 0 to 1".to_owned())?;
        require(self.keys >= 1, &|| "--keys must be at least 1".to_owned())?;
        require(self.read_back >= 1, &|| "--read-back must be at least 1".to_owned())?;
        require((Values::MINIMUM..=MAX_VALUE).contains(&self.payload), &|| {
            let least = Values::MINIMUM;
            format!("--payload must be from {least} (a value tells who wrote it) to {MAX_VALUE} bytes")
        })?;
        let largest = Operation::put(key(u32::MAX), Bytes::from(vec![0; self.payload])).encode().len();
        require(largest <= parameters.operation_bytes, &|| {
            let limit = parameters.operation_bytes;
            format!(
                "--payload {}: a write of it has {largest} bytes, and this cluster takes {limit}",
                self.payload
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
        Settings {
            connections: 32,
            extent: Extent::Lasts(Duration::from_secs(10)),
            warmup: Duration::from_secs(1),
            payload: 100,
            read_ratio: 0.25,
            keys: 10_000,
            seed: 7,
            timeout: Duration::from_secs(20),
            read_back: 2000,
        }
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
        let wrong: [(&str, Change<'_>); 9] = [
            ("--connections", &|settings| settings.connections = 0),
            ("to 128", &|settings| settings.connections = 129),
            ("--requests", &|settings| settings.extent = Extent::Requests(0)),
            ("--read-ratio", &|settings| settings.read_ratio = 1.1),
            ("--read-ratio", &|settings| settings.read_ratio = f64::NAN),
            ("--keys", &|settings| settings.keys = 0),
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
