use imbl::Vector;

use super::history::Position;

/// What changed between two snapshots.
#[derive(Clone)]
pub(super) enum Touched {
    /// Where records were added or removed, in no order; some may have been both. Persistent, since a state is also
    /// cloned to be queried.
    Records(Vector<Position>),
    /// More than there are records: looking at all of them is as well.
    Everything,
}

impl Touched {
    pub(super) fn nothing() -> Self {
        Self::Records(Vector::new())
    }

    /// Adds a record that was added or removed, of a history that now has so many.
    pub(super) fn add(&mut self, position: Position, all: usize) {
        match self {
            Self::Records(records) if records.len() < all => records.push_back(position),
            _ => *self = Self::Everything,
        }
    }
}
