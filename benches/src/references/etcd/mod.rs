//! etcd, which is trusted not to lie: three nodes on this machine, under the same load.
//!
//! Its clients speak gRPC. What is measured here is the server, so the client is as small as it can be: HTTP/2 by the
//! crate `h2`, and the two fields of a put written by hand, which is less work than any gRPC library does. It speaks
//! to the leader, as ours does to the primary: a follower would only pass its requests on.

mod cluster;
mod drive;
mod protocol;

pub use cluster::Etcd;
pub use drive::EtcdRun;
