//! How far a cluster is from standing still.

use std::fmt;

use crate::quorum::Quorum;

/// How many replicas work, beside how many must. Its text tells an operator what the next failure means.
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

    /// How many more failures service survives; `None` if it stands already.
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
            Some(0) => formatter.write_str("no further failure is tolerated: the next one stops service"),
            Some(1) => formatter.write_str("1 more failure is tolerated"),
            Some(more) => write!(formatter, "{more} more failures are tolerated"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_what_the_next_failure_means() {
        let of_seven = |working| Reserve::new(working, Quorum::of(7)).to_string();
        assert_eq!(of_seven(7), "2 more failures are tolerated");
        assert_eq!(of_seven(6), "1 more failure is tolerated");
        assert_eq!(of_seven(5), "no further failure is tolerated: the next one stops service");
        assert_eq!(of_seven(4), "service is stopped: 4 of 5 replicas");
        // Where n is not 3f+1, service may survive more crashes than agreement survives lies.
        assert_eq!(Reserve::new(6, Quorum::of(6)).failures(), Some(2));
    }
}
