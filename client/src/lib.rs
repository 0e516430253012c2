//! Talks to a PBFT cluster: believes what f+1 replicas say alike, and nothing less.
//!
//! * [`Client`] is one session with a cluster: it submits operations and gets results, each with its place in the
//!   cluster's total order. It is a handle, cheap to clone.
//! * [`Connector`] opens many sessions over one UDP socket, for load generators and servers.
//!   Reads may go unordered, which is cheaper: see [`ReadPath`].
//! * [`KvClient`] speaks to the built-in key-value store.
//! * [`core`] is the state machine behind them, without I/O; the simulator drives the same one. It is all there is
//!   of this crate without the feature `network`.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use pbft_client::{Client, ClientSettings, KvClient};
//!
//! let cluster = pbft_messages::ClusterFile::parse(&std::fs::read_to_string("cluster.toml")?)?.configuration()?;
//! let identity = pbft_crypto::key_file::read("client.key".as_ref())?;
//! let store = KvClient::new(Client::connect(&cluster, identity, ClientSettings::default()).await?);
//! store.put("fruit/apple", "red").await?;
//! # Ok(()) }
//! ```
//!
//! # When the time is up
//! A request that was sent may take effect although no answer came in time. [`ClientError::OutcomeUnknown`] says
//! so, and [`ClientError::may_have_taken_effect`] tells for each error whether it is safe to try again.

pub mod core;

#[cfg(feature = "network")]
mod client;
#[cfg(feature = "network")]
mod connector;
#[cfg(feature = "network")]
mod error;
#[cfg(feature = "network")]
mod kv;
#[cfg(feature = "network")]
mod links;
#[cfg(feature = "network")]
mod session;
#[cfg(feature = "network")]
mod turnstile;

#[cfg(feature = "network")]
pub use {
    client::{Answered, Client, Executed, ReadPath},
    connector::{ClientSettings, Connector},
    error::{ClientError, Reach},
    kv::{Done, KvClient, KvError, Pages},
    links::{LinkFailure, LinkState, Links},
};
