//! How far a cluster is from standing still.

use std::fmt;

use crate::quorum::Quorum;

/// How many replicas work, beside how many must. Its text tells an operator what the next crash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    working: usize,
    quorum: Quorum,
}

impl Reserve {
    /// The reserve of a cluster in which `working` replicas answer, behave and keep up.
    #[must_use]
    pub const fn new(working: usize, quorum: Quorum) -> Self {
        Self { working, quorum }
    }

    /// How many more crashes service survives; `None` if it stands already.
    #[must_use]
    pub const fn failures(self) -> Option<usize> {
        self.working.checked_sub(self.quorum.get())
    }
}

impl fmt::Display for Reserve {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures() {
            None => {
                write!(formatter, "service is stopped: {} of {} replicas", self.working, self.quorum.get())
            }
            Some(0) => formatter.write_str("service survives no further crash"),
            Some(1) => formatter.write_str("service survives 1 more crash"),
            Some(more) => write!(formatter, "service survives {more} more crashes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_what_the_next_crash_means() {
        let of_seven = |working| Reserve::new(working, Quorum::of(7)).to_string();
        assert_eq!(of_seven(7), "service survives 2 more crashes");
        assert_eq!(of_seven(6), "service survives 1 more crash");
        assert_eq!(of_seven(5), "service survives no further crash");
        assert_eq!(of_seven(4), "service is stopped: 4 of 5 replicas");
        // Where n is not 3f+1, service may survive more crashes than agreement survives lies.
        assert_eq!(Reserve::new(6, Quorum::of(6)).failures(), Some(2));
    }
}
