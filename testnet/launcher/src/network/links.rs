//! What is wrong with a replica's links to the others, and what that does to each datagram. Pure: time and chance
//! come in from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use super::Shape;
use crate::units::Time;

/// Which way a datagram goes, as the replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Out of the replica.
    To,
    /// Into the replica.
    From,
}

impl Direction {
    const BOTH: [Self; 2] = [Self::To, Self::From];
}

/// What is wrong with one link, for a status.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkFault {
    /// The replica at the other end.
    pub peer: ReplicaId,
    /// What is wrong.
    pub trouble: Trouble,
    /// For how long still; `None` is until it is healed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Time>,
}

/// What can be wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// It is a bad line, both ways.
    Bad(Shape),
    /// Nothing passes this way.
    Cut(Direction),
}

impl Trouble {
    /// Whether all of this together, of both ends of one link, lets no connection come up. QUIC needs both ways.
    #[must_use]
    pub fn severs(both_ends: impl IntoIterator<Item = Self>) -> bool {
        let mut line = Shape::default();
        both_ends.into_iter().any(|trouble| match trouble {
            Self::Cut(_) => true,
            Self::Bad(shape) => {
                line = line.then(shape);
                line.severs()
            }
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(shape) => write!(formatter, "{shape} with"),
            Self::Cut(Direction::To) => formatter.write_str("nothing gets to"),
            Self::Cut(Direction::From) => formatter.write_str("nothing comes from"),
        }
    }
}

/// Something that lasts until a time, or for good.
#[derive(Clone, Copy, Debug)]
struct Lasting<T> {
    what: T,
    until: Option<Duration>,
}

impl<T> Lasting<T> {
    fn lasts(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn left(&self, now: Duration) -> Option<Time> {
        self.until.map(|until| Time(until.saturating_sub(now)))
    }
}

/// The faults of one link.
#[derive(Clone, Debug, Default)]
struct Link {
    bad: Option<Lasting<Shape>>,
    /// When the line has carried all that was sent so far, each way.
    free_at: BTreeMap<Direction, Duration>,
    cut: BTreeMap<Direction, Lasting<()>>,
}

impl Link {
    fn expire(&mut self, now: Duration) {
        self.bad = self.bad.take().filter(|it| it.lasts(now));
        self.cut.retain(|_, it| it.lasts(now));
    }

    fn is_good(&self) -> bool {
        self.bad.is_none() && self.cut.is_empty()
    }
}

/// The faults of all links of a replica. A later fault of the same kind on the same link takes the place of the
/// earlier one.
#[derive(Debug)]
pub(crate) struct Links {
    links: BTreeMap<ReplicaId, Link>,
    random: StdRng,
}

impl Links {
    /// Good links. `random` decides what is lost and how much is late.
    pub(crate) fn new(random: StdRng) -> Self {
        Self { links: BTreeMap::new(), random }
    }

    /// Makes the link to `peer` a bad line, until a time or until it is mended.
    pub(crate) fn spoil(&mut self, peer: ReplicaId, shape: Shape, until: Option<Duration>) {
        self.links.entry(peer).or_default().bad = Some(Lasting { what: shape, until });
    }

    /// Lets nothing pass one way on the link to `peer`, until a time or until it is healed.
    pub(crate) fn cut(&mut self, peer: ReplicaId, way: Direction, until: Option<Duration>) {
        self.links.entry(peer).or_default().cut.insert(way, Lasting { what: (), until });
    }

    /// Ends bad lines, and leaves cuts.
    pub(crate) fn mend(&mut self) {
        self.links.values_mut().for_each(|link| link.bad = None);
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) {
        self.links.clear();
    }

    /// Whether anything is wrong with any link.
    pub(crate) fn are_disturbed(&mut self, now: Duration) -> bool {
        self.links.retain(|_, link| {
            link.expire(now);
            !link.is_good()
        });
        !self.links.is_empty()
    }

    /// Whether anything is wrong with the link to `peer`.
    pub(crate) fn is_disturbed(&mut self, now: Duration, peer: ReplicaId) -> bool {
        self.are_disturbed(now) && self.links.contains_key(&peer)
    }

    /// Whether nothing passes one way on the link to `peer`.
    pub(crate) fn is_cut(&mut self, now: Duration, peer: ReplicaId, way: Direction) -> bool {
        self.is_disturbed(now, peer) && self.links.get(&peer).is_some_and(|link| link.cut.contains_key(&way))
    }

    /// When a datagram on the link to `peer` comes out at the other end; `None` if it never does.
    pub(crate) fn arrival(
        &mut self,
        now: Duration,
        peer: ReplicaId,
        way: Direction,
        bytes: usize,
    ) -> Option<Duration> {
        if !self.is_disturbed(now, peer) {
            return Some(now);
        }
        let Some(Link { bad, free_at, cut }) = self.links.get_mut(&peer) else { return Some(now) };
        match bad {
            _ if cut.contains_key(&way) => None,
            Some(bad) => bad.what.arrival(now, bytes, free_at.entry(way).or_default(), &mut self.random),
            None => Some(now),
        }
    }

    /// All that is wrong.
    pub(crate) fn faults(&mut self, now: Duration) -> Vec<LinkFault> {
        self.are_disturbed(now);
        let of = |(peer, link): (&ReplicaId, &Link)| {
            let fault = |trouble, left| LinkFault { peer: *peer, trouble, left };
            let bad = link.bad.map(|bad| fault(Trouble::Bad(bad.what), bad.left(now)));
            let cut = Direction::BOTH.into_iter().filter_map(|way| Some((way, link.cut.get(&way)?)));
            let cut = cut.map(|(way, it)| fault(Trouble::Cut(way), it.left(now)));
            bad.into_iter().chain(cut).collect::<Vec<_>>()
        };
        self.links.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const R1: ReplicaId = ReplicaId(1);
    const R2: ReplicaId = ReplicaId(2);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn links() -> Links {
        Links::new(StdRng::seed_from_u64(1))
    }

    fn late(seconds: u64) -> Shape {
        Shape { latency: Time(at(seconds)), ..Shape::default() }
    }

    #[test]
    fn each_link_has_faults_of_its_own_and_a_cut_goes_one_way() {
        let mut links = links();
        links.spoil(R1, late(3), None);
        links.cut(R2, Direction::To, None);
        assert_eq!(links.arrival(at(1), R1, Direction::To, 9), Some(at(4)));
        assert_eq!(links.arrival(at(1), R1, Direction::From, 9), Some(at(4)));
        assert_eq!(links.arrival(at(1), R2, Direction::To, 9), None);
        assert_eq!(links.arrival(at(1), R2, Direction::From, 9), Some(at(1)));
        assert_eq!(links.arrival(at(1), ReplicaId(3), Direction::To, 9), Some(at(1)));
        // A cut link may be a bad line too, and is one again when it is no longer cut.
        links.spoil(R2, late(5), None);
        assert_eq!(links.arrival(at(1), R2, Direction::To, 9), None);
        assert_eq!(links.arrival(at(1), R2, Direction::From, 9), Some(at(6)));
    }

    #[test]
    fn faults_end_by_themselves_and_the_last_command_counts() {
        let mut links = links();
        links.cut(R1, Direction::To, Some(at(5)));
        links.spoil(R1, late(1), Some(at(8)));
        let told = links.faults(at(2));
        assert_eq!(told.iter().map(|it| it.left).collect::<Vec<_>>(), [Some(Time(at(6))), Some(Time(at(3)))]);
        assert_eq!(links.arrival(at(4), R1, Direction::To, 9), None);
        assert_eq!(links.arrival(at(5), R1, Direction::To, 9), Some(at(6)));
        assert!(links.is_disturbed(at(7), R1) && !links.is_disturbed(at(8), R1));
        assert!(links.faults(at(8)).is_empty());
        links.cut(R1, Direction::From, Some(at(10)));
        let cut = |links: &mut Links, way| links.is_cut(at(9), R1, way);
        assert_eq!([Direction::From, Direction::To].map(|way| cut(&mut links, way)), [true, false]);
        assert!(!links.is_cut(at(10), R1, Direction::From) && !links.is_cut(at(9), R2, Direction::From));
        links.spoil(R1, late(1), Some(at(20)));
        links.spoil(R1, late(2), None);
        assert_eq!(links.arrival(at(30), R1, Direction::To, 9), Some(at(32)));
    }

    #[test]
    fn lines_are_mended_and_cuts_are_healed() {
        let mut links = links();
        links.cut(R1, Direction::From, None);
        links.spoil(R2, late(1), None);
        links.mend();
        let cut = LinkFault { peer: R1, trouble: Trouble::Cut(Direction::From), left: None };
        assert_eq!(links.faults(at(0)), [cut]);
        links.heal();
        assert!(!links.are_disturbed(at(0)));
    }
}
