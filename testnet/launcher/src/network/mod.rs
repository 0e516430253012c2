//! Bad lines and partitions between the replicas of a running testnet.
//!
//! They act on UDP datagrams, below QUIC: what is lost is lost for QUIC too, which notices, slows down, repeats, and
//! gives a connection up, as on a real network. A layer stands between one replica's socket for peers and QUIC. What
//! it does to a link holds in both directions, since it sees what the replica sends and what it receives. Clients have a
//! socket of their own, which is left alone: a replica that is cut off from the others still hears its clients.
//!
//! | file | what it knows |
//! |---|---|
//! | `shape.rs` | what a bad line does to one datagram |
//! | `links.rs` | what is wrong with which link, and for how long |
//! | `layer.rs` | the socket that obeys |
//! | `partition.rs` | `r0,r1 | r2,r3` |

mod layer;
mod links;
mod partition;
mod shape;
mod waiting;

pub(crate) use layer::Layer;
pub use links::{Direction, LinkFault, Trouble};
pub use partition::Partition;
pub use shape::Shape;
