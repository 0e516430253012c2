//! Clients and replicas: the replica's side is [`listener`], the client's side is [`endpoint`].
//!
//! Each session of a client has one connection to each replica, with one stream that both sides send on. The hello
//! says which session it serves.

mod connection;
mod endpoint;
mod events;
mod link;
mod listener;
mod table;
mod waiting;

pub use endpoint::ClientEndpoint;
pub use events::{ClientEvent, ClientEvents, ConnectionId};
pub use link::{LinkEvent, LinkSender};
pub use listener::{ClientListener, ClientSettings, ListenerStatistics};
