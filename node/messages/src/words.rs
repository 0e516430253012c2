//! Statements in words, for whoever judges evidence.

use std::fmt;

use pbft_crypto::Signed;

use crate::{Checkpoint, Commit, NewView, PrePrepare, Prepare, ViewChange};

macro_rules! words_at_a_place {
    ($($statement:ident => $name:literal),*) => {
        $(impl fmt::Display for $statement {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { view, sequence, digest } = self;
                write!(formatter, concat!($name, " of batch {} in view {}, at sequence {}"), digest, view, sequence)
            }
        })*
    };
}

words_at_a_place!(PrePrepare => "PRE-PREPARE", Prepare => "PREPARE", Commit => "COMMIT");

impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CHECKPOINT of state {} at sequence {}", self.root, self.sequence)
    }
}

impl fmt::Display for ViewChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VIEW-CHANGE to view {} from checkpoint {}, ", self.view, self.stable_sequence())?;
        let shown: Vec<_> = self.prepared.iter().map(|it| it.proposal()).collect();
        match shown[..] {
            [] => formatter.write_str("showing no certificate"),
            [one] => write!(formatter, "showing the certificate of {} (view {})", one.sequence, one.view),
            [first, .., last] => write!(
                formatter,
                "showing {} certificates, from {} (view {}) to {} (view {})",
                shown.len(),
                first.sequence,
                first.view,
                last.sequence,
                last.view
            ),
        }
    }
}

impl fmt::Display for NewView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asking: Vec<_> = self.view_changes.iter().map(Signed::claimed_signer).collect();
        let asking: Vec<_> = asking.iter().map(ToString::to_string).collect();
        write!(
            formatter,
            "NEW-VIEW of view {}, asked for by {}, proposing {} batches",
            self.view,
            asking.join(" "),
            self.pre_prepares.len()
        )
    }
}
