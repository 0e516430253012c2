//! The client's pure core: one session's state machine, without I/O, clock or tasks.
//!
//! The network shell and the simulator drive the same code. Inputs are [`Core::submit`], [`Core::read`], [`Core::on_message`],
//! [`Core::on_link`] and [`Core::tick`]; what follows from them comes out as [`Effect`]s. Time is a [`Duration`]
//! since any fixed start and must not go backwards; randomness is a seed.
//!
//! What it guarantees, whatever f replicas send: a result that it reports was computed by a correct replica (N5),
//! a number is used for one request only, and what is sent again has the same signed bytes.

mod believed_view;
mod effect;
mod flight;
mod reads;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod votes;

pub use effect::{Abandoned, Answer, Effect, FallBack, SubmitError, Ticket};
pub use session::Core;
pub use settings::Settings;

#[doc(no_inline)]
pub use std::time::Duration;
