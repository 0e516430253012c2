//! What a load is sent to.

use std::path::PathBuf;

use pbft_messages::Configuration;
use pbft_testnet::process::ProcessId;

/// Something that clients can load, and whose processes can be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The cluster, as clients see it.
    pub cluster: Configuration,
    /// The key of an admitted client.
    pub client_key: PathBuf,
    /// Its processes.
    pub processes: Vec<ProcessId>,
}
