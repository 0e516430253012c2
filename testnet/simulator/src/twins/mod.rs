//! Twins (Bano et al., *Twins: BFT Systems Made Robust*): every scenario of one size.
//!
//! A faulty replica runs as two instances with one key and a disk each, both of them honest code. Neither knows what the
//! other says, so together they equivocate and forget, in every way that the schedule of messages allows.
//!
//! What is enumerated, see [`Space`]: for each of R rounds who leads, and how the n + f instances are parted into at
//! most two blocks. Round v is view v. Messages are delivered inside a block only. Which round's blocks those are goes by
//! the view and the phase that a message belongs to, VIEW-CHANGE and NEW-VIEW included, and each scenario is played by
//! three schedules of that: all of view v by round v; its PREPAREs by the next round; its COMMITs, and what follows them,
//! by the next. Certificates that are handed over belong where their votes do; what belongs to no view, to the last one
//! that its sender has spoken in. Clients reach everybody.
//!
//! So that each round has something to decide: checkpoints come every 2 sequences; a view gets two batches through and
//! no more, clients always wait for others, and so every view ends in a view change; the two instances of a leader have
//! clocks that differ, and propose different batches. A VIEW-CHANGE is parted for 600 ms only, since a view that no block
//! has a quorum for would otherwise be asked for for ever, and hide the rounds after it. When all correct replicas are
//! past the last round, or after 8 s, everybody is connected, more requests come, and all must be executed (I8).

mod play;
mod space;
mod wire;

pub use play::{Played, Tally, find_violation, play};
pub use space::{Round, Space, TooLarge};
