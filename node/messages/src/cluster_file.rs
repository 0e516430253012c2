//! `cluster.toml`: the public file that describes a cluster, the same at every replica and client.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Configuration, InvalidConfiguration, Member, Parameters};

/// The file as written. Unknown keys are errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// The cluster's name, part of its identity.
    pub name: String,
    /// The protocol's parameters; what is left out has its default.
    #[serde(default)]
    pub parameters: ParametersTable,
    /// The replicas; the first is r0.
    #[serde(default)]
    pub replica: Vec<ReplicaTable>,
    /// The admitted clients.
    #[serde(default)]
    pub client: Vec<ClientTable>,
}

/// One `[[replica]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicaTable {
    /// Its public key, 64 hexadecimal digits.
    pub key: String,
    /// Where other replicas reach it, `address:port`.
    pub peer_address: SocketAddr,
    /// Where clients reach it, `address:port`.
    pub client_address: SocketAddr,
}

/// One `[[client]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTable {
    /// Its public key, 64 hexadecimal digits.
    pub key: String,
}

macro_rules! parameters_table {
    ($($(#[$documentation:meta])* $field:ident: $type:ty = $parameter:ident as $convert:ident),* $(,)?) => {
        /// `[parameters]`: see [`Parameters`] for their meaning.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct ParametersTable {
            $($(#[$documentation])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl ParametersTable {
            fn apply(&self) -> Parameters {
                let mut parameters = Parameters::default();
                $(if let Some(value) = self.$field { parameters.$parameter = $convert(value); })*
                parameters
            }
        }
    };
}

fn same<T>(value: T) -> T {
    value
}

fn milliseconds(value: u32) -> Duration {
    Duration::from_millis(value.into())
}

parameters_table! {
    /// [`Parameters::checkpoint_interval`]
    checkpoint_interval: u64 = checkpoint_interval as same,
    /// [`Parameters::window`]
    window: u64 = window as same,
    /// [`Parameters::view_timeout`]
    view_timeout_ms: u32 = view_timeout as milliseconds,
    /// [`Parameters::view_timeout_cap`]
    view_timeout_cap_ms: u32 = view_timeout_cap as milliseconds,
    /// [`Parameters::status_interval`]
    status_interval_ms: u32 = status_interval as milliseconds,
    /// [`Parameters::clock_bound`]
    clock_bound_ms: u32 = clock_bound as milliseconds,
    /// [`Parameters::batch_requests`]
    batch_requests: usize = batch_requests as same,
    /// [`Parameters::batch_bytes`]
    batch_bytes: usize = batch_bytes as same,
    /// [`Parameters::pipeline`]
    pipeline: u64 = pipeline as same,
    /// [`Parameters::operation_bytes`]
    operation_bytes: usize = operation_bytes as same,
    /// [`Parameters::frame_bytes`]
    frame_bytes: usize = frame_bytes as same,
    /// [`Parameters::sessions`]
    sessions: usize = sessions as same,
    /// [`Parameters::session_window`]
    session_window: u64 = session_window as same,
    /// [`Parameters::reply_bytes`]
    reply_bytes: usize = reply_bytes as same,
    /// [`Parameters::waiting_requests`]
    waiting_requests: usize = waiting_requests as same,
    /// [`Parameters::waiting_bytes`]
    waiting_bytes: usize = waiting_bytes as same,
}

impl ClusterFile {
    /// Reads the text of a `cluster.toml`.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] with the line and the key, in one line of text.
    pub fn parse(text: &str) -> Result<Self, InvalidConfiguration> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            InvalidConfiguration(format!("line {line}: {}", error.message().replace('\n', " ")))
        })
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Strings, numbers and tables in this order always serialize.
        toml::to_string(self).expect("a cluster file always serializes")
    }

    /// Checks the file and makes the configuration that it describes.
    ///
    /// # Errors
    /// [`InvalidConfiguration`], naming the entry and the remedy.
    pub fn configuration(&self) -> Result<Configuration, InvalidConfiguration> {
        let key = |whose: String, text: &str| {
            text.parse().map_err(|error| InvalidConfiguration(format!("key {text:?} of {whose}: {error}")))
        };
        let members = self.replica.iter().enumerate().map(|(index, replica)| {
            Ok(Member {
                key: key(format!("r{index}"), &replica.key)?,
                peer_address: replica.peer_address,
                client_address: replica.client_address,
            })
        });
        let members = members.collect::<Result<_, InvalidConfiguration>>()?;
        let clients =
            self.client.iter().enumerate().map(|(index, client)| key(format!("client {index}"), &client.key));
        let clients = clients.collect::<Result<Vec<_>, _>>()?;
        let mut parameters = self.parameters.apply();
        if self.parameters.frame_bytes.is_none() {
            parameters = parameters.with_frames_for(self.replica.len());
        }
        Configuration::new(self.name.clone(), members, clients, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::members;

    fn file() -> ClusterFile {
        let replica = members(4)
            .iter()
            .map(|member| ReplicaTable {
                key: member.key.to_string(),
                peer_address: member.peer_address,
                client_address: member.client_address,
            })
            .collect();
        ClusterFile { name: "test".into(), parameters: ParametersTable::default(), replica, client: vec![] }
    }

    #[test]
    fn a_file_comes_back() {
        let text = file().to_text();
        let configuration = ClusterFile::parse(&text).unwrap().configuration().unwrap();
        assert_eq!(configuration.n(), 4);
        assert_eq!(*configuration.parameters(), Parameters::default());
    }

    #[test]
    fn parameters_are_read() {
        let text =
            format!("{}\n", file().to_text()).replace("[parameters]", "[parameters]\nview_timeout_ms = 700");
        let text = if text.contains("[parameters]") {
            text
        } else {
            format!("{text}[parameters]\nview_timeout_ms = 700\n")
        };
        let configuration = ClusterFile::parse(&text).unwrap().configuration().unwrap();
        assert_eq!(configuration.parameters().view_timeout, Duration::from_millis(700));
    }

    #[test]
    fn unknown_keys_and_weak_keys_are_errors_that_name_them() {
        let error = ClusterFile::parse("name = \"a\"\ncolour = 3\n").unwrap_err();
        assert!(
            error.0.contains("line 2") && error.0.contains("colour") && !error.0.contains('\n'),
            "{error}"
        );
        let nobody = ClusterFile { replica: vec![], ..file() };
        assert!(nobody.configuration().unwrap_err().0.contains("replica"));
        let mut weak = file();
        weak.replica[2].key = "00".repeat(32);
        assert!(weak.configuration().unwrap_err().0.contains("of r2"));
    }
}
