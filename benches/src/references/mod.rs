//! What results are compared with, measured in the same run.

mod ceiling;
mod etcd;
mod unreplicated;

pub use ceiling::{Ceiling, SignatureCosts};
pub use etcd::{Etcd, EtcdRun};
pub use unreplicated::{Unreplicated, UnreplicatedArguments, unreplicated_main};
