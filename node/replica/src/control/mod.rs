//! The control socket: a Unix socket in the data folder, for the replica's owner and for test programs.
//!
//! A request is one JSON object on a line, with its name under `command`; the answer is one line, or for `events` one
//! line an event. An answer that is an object with `error` says why the command was not carried out.
//!
//! | command | answer |
//! |---|---|
//! | `status` | a [`Status`]; `"state_root": false` spares the computation of the root |
//! | `events` | [`crate::EventLine`]s from number `from` (0) on; with `"follow": true` further ones as they happen. `{"skipped": n}` tells of events that are no longer kept |
//! | `evidence` | `{"evidence": [`[`EvidenceEntry`]`, …]}` |
//! | `metrics` | `{"metrics": text}`, in Prometheus' text form |
//! | `ready` | a [`Ready`], once the replica listens: it does so before this socket is there |
//! | `fault` | what the replica's outlet answers; a production replica has no faults |
//! | `stop` | `{"stopping": true}`; the replica then stops in good order |

mod answers;
mod client;
mod path;
mod server;
mod status;

pub use answers::{EvidenceEntry, Ready};
pub use client::{ControlClient, ControlError};
pub use status::{PeerStatus, Status};

pub(crate) use server::{ControlServer, ControlSocket, Desk};

use serde::Deserialize;

/// A request; of `fault` the outlet reads the rest.
#[derive(Debug, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
enum Request {
    Status {
        #[serde(default = "yes")]
        state_root: bool,
    },
    Events {
        #[serde(default)]
        follow: bool,
        #[serde(default)]
        from: u64,
    },
    Evidence,
    Metrics,
    Ready,
    Fault,
    Stop,
}

fn yes() -> bool {
    true
}
