//! Every strategy by its name, with what to expect of it.

use crate::equivocate::Equivocate;
use crate::{Identity, Silent, Strategy};

/// What there is to know about a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name that commands use.
    pub name: &'static str,
    /// One paragraph: what it does, which rule defeats it, and what can be seen.
    pub text: &'static str,
}

/// All strategies.
pub const STRATEGIES: &[Description] = &[
    Description {
        name: Silent::NAME,
        text: "Sends nothing to anybody: no proposals, votes, replies or state, while it goes on listening and \
               keeping its own books. Defeated by VC1: requests that wait too long at a silent primary start a view \
               change, and a quorum never needs f of the replicas. Expect one pause of about the view timeout if it \
               is the primary, and none otherwise; silence leaves no evidence, since a slow network looks the same.",
    },
    Description {
        name: Equivocate::NAME,
        text: "As primary, proposes two different batches at each sequence: A to half of the backups, B to the rest, \
               and commits to both; as a backup it behaves well. Defeated by quorum intersection (no two batches get \
               certificates at one place) and by N3: each PREPARE carries the proposal that it answers, so the two \
               halves show each other the lie. Expect evidence of kind pre-prepare that names exactly this replica, \
               and with it, at once, a view change (VC1).",
    },
];

/// There is no strategy of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called {0:?}: there are {names}", names = names())]
pub struct UnknownStrategy(pub String);

fn names() -> String {
    STRATEGIES.iter().map(|description| description.name).collect::<Vec<_>>().join(" and ")
}

/// Makes the strategy called `name`, for one replica.
///
/// # Errors
/// [`UnknownStrategy`], with the names that there are.
pub fn strategy(name: &str, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    match name {
        Silent::NAME => Ok(Box::new(Silent)),
        Equivocate::NAME => Ok(Box::new(Equivocate::new(identity.clone()))),
        _ => Err(UnknownStrategy(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::testing::identity;

    #[test]
    fn every_described_strategy_can_be_made() {
        for description in STRATEGIES {
            let made = strategy(description.name, &identity(4, ReplicaId(0))).unwrap();
            assert_eq!(made.name(), description.name);
        }
        let error = strategy("lazy", &identity(4, ReplicaId(0))).err().unwrap();
        assert_eq!(error.to_string(), "no strategy is called \"lazy\": there are silent and equivocate");
    }
}
