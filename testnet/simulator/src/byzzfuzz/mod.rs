//! ByzzFuzz (Winter et al., *Randomized Testing of Byzantine Fault Tolerant Algorithms*): a few mutated messages and a
//! few partitions, in a few rounds.
//!
//! A *round* is one phase at one place: PRE-PREPARE, PREPARE or COMMIT of a view and sequence, CHECKPOINT of a sequence,
//! VIEW-CHANGE or NEW-VIEW of a view. Rounds are numbered as the cluster first comes to them, whoever speaks first. A
//! message belongs to the round of its place, also when it is sent again, and a certificate where its votes do; what has
//! no place (statuses, questions, bodies, state, answers to clients) belongs to the newest round.
//!
//! Faults come in eight rounds in a row, which begin after up to 16 others. In d of them the replicas are parted into two
//! blocks. c times a malicious replica lies (there are f of them: one of four, two of seven): in the round that was drawn,
//! or the first after it in which it has something to say, a random set of receivers, the clients perhaps among them,
//! gets one mutated copy of each of its messages, signed again with its real key. Half of the lies are small (a view or
//! sequence one up or down, an operand one less, a result one more), half are any value; there are besides other digests
//! and bodies, certificates and proofs with votes or entries taken out, repeated or forged, empty proofs, earlier
//! messages in place of new ones, changed checkpoints, pages and chunks of state, and nothing at all. All drawn from the
//! seed before the run begins.
//!
//! After the last of the rounds, or 6 s, everybody behaves, more requests come, and all must be executed (I8).

mod mutation;
mod plan;
mod play;
mod values;
mod wire;

pub use plan::Size;
pub use play::{Played, Tally, find_violation, play};
