//! What replicas and clients say to each other: identifiers, the cluster's configuration, every message,
//! certificates and vote sets, and the one bounded codec.
mod ids;
pub use ids::{ClientId, ReplicaId, RequestNumber, Sequence, SessionId, Timestamp, View};
