//! Who hears whom no more, as people write it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use pbft_messages::ReplicaId;

use crate::units::Unreadable;

/// A division of replicas: `r0,r1 | r2,r3`, nothing passes between the blocks; `r0,r1 > r2`, nothing passes from the
/// first to the second; `r3`, nothing passes between it and all others. Who is not named keeps all links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    text: String,
    parts: Parts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    Blocks(Vec<BTreeSet<ReplicaId>>),
    OneWay { from: BTreeSet<ReplicaId>, to: BTreeSet<ReplicaId> },
    FromAllOthers(BTreeSet<ReplicaId>),
}

impl Partition {
    /// The replicas that are named.
    pub fn named(&self) -> impl Iterator<Item = ReplicaId> {
        let (blocks, two): (&[_], [Option<&BTreeSet<_>>; 2]) = match &self.parts {
            Parts::Blocks(blocks) => (blocks, [None, None]),
            Parts::OneWay { from, to } => (&[], [Some(from), Some(to)]),
            Parts::FromAllOthers(block) => (&[], [Some(block), None]),
        };
        blocks.iter().chain(two.into_iter().flatten()).flatten().copied()
    }

    /// Whether it parts anybody from anybody, of `n` replicas.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self, n: usize) -> Result<(), String> {
        let all = || (0..n as u16).map(ReplicaId);
        if all().any(|from| all().any(|to| self.cuts(from, to))) {
            return Ok(());
        }
        Err(format!("{self} parts nobody from anybody: there are no others"))
    }

    /// Whether what one replica sends to another is lost.
    #[must_use]
    pub fn cuts(&self, from: ReplicaId, to: ReplicaId) -> bool {
        let block = |blocks: &[BTreeSet<_>], it| blocks.iter().position(|block| block.contains(&it));
        match &self.parts {
            Parts::Blocks(blocks) => match (block(blocks, from), block(blocks, to)) {
                (Some(from), Some(to)) => from != to,
                _ => false,
            },
            Parts::OneWay { from: senders, to: receivers } => {
                senders.contains(&from) && receivers.contains(&to)
            }
            Parts::FromAllOthers(block) => block.contains(&from) != block.contains(&to),
        }
    }
}

impl FromStr for Partition {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let refused = |why: &str| {
            Unreadable::new(format!(
                "{text:?} is no partition, {why}: write r0,r1 | r2,r3 or r0 > r1 (one way) or r3 (against all others)"
            ))
        };
        let mut seen = BTreeSet::new();
        let mut block = |text: &str| {
            let mut block = BTreeSet::new();
            for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
                let replica =
                    word.parse::<ReplicaId>().map_err(|_| refused(&format!("{word:?} is no replica")))?;
                if !seen.insert(replica) {
                    return Err(refused(&format!("{replica} is named twice")));
                }
                block.insert(replica);
            }
            if block.is_empty() { Err(refused("a part is empty")) } else { Ok(block) }
        };
        let blocks = text.split('|').map(&mut block);
        let parts = if text.contains('|') {
            Parts::Blocks(blocks.collect::<Result<_, _>>()?)
        } else if let Some((from, to)) = text.split_once('>') {
            Parts::OneWay { from: block(from)?, to: block(to)? }
        } else {
            Parts::FromAllOthers(block(text)?)
        };
        Ok(Self { text: text.trim().to_owned(), parts })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Partition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who loses what to whom, of four.
    fn lost(text: &str) -> String {
        let partition: Partition = text.parse().unwrap();
        let pairs = (0..4).flat_map(|from| (0..4).map(move |to| (ReplicaId(from), ReplicaId(to))));
        let cut = pairs.filter(|(from, to)| partition.cuts(*from, *to));
        cut.map(|(from, to)| format!("{}{}", from.0, to.0)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn blocks_are_cut_from_each_other_and_others_from_nobody() {
        assert_eq!(lost("r0,r1 | r2,r3"), "02 03 12 13 20 21 30 31");
        assert_eq!(lost("r0|r1|r2"), "01 02 10 12 20 21");
        assert_eq!(lost("r0 r1>r2"), "02 12");
        assert_eq!(lost(" r3 "), "03 13 23 30 31 32");
        let all: Partition = "r0,r1,r2,r3".parse().unwrap();
        assert!(all.check(4).unwrap_err().contains("parts nobody") && all.check(5).is_ok());
        let named: Vec<_> = "r3,r1 > r0".parse::<Partition>().unwrap().named().map(|it| it.0).collect();
        assert_eq!(named, [1, 3, 0]);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        for (text, why) in [
            ("", "a part is empty"),
            ("r0 |", "a part is empty"),
            ("r0 | r0", "r0 is named twice"),
            ("r0 > r1 > r2", "\">\" is no replica"),
            ("r0 > r1 | r2", "\">\" is no replica"),
            ("r0 | seven", "\"seven\" is no replica"),
        ] {
            let complaint = text.parse::<Partition>().unwrap_err().to_string();
            assert!(complaint.contains(why) && complaint.contains("r0,r1 | r2,r3"), "{complaint}");
        }
    }
}
