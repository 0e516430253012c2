//! Some of the other replicas, as a parameter.

use std::collections::BTreeSet;

use pbft_messages::{Configuration, ReplicaId};

use crate::parameters::Value;

/// Which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    All,
    /// The second half: the smaller one if their number is odd.
    Half,
    /// As many, from the first one on, as make a quorum with the replica itself.
    Quorum,
    /// So many, from the last one back.
    Last(usize),
    Named(BTreeSet<ReplicaId>),
}

impl Group {
    /// Those of `others`, which are in order, that belong to it.
    pub(crate) fn among(
        &self,
        others: impl IntoIterator<Item = ReplicaId>,
        configuration: &Configuration,
    ) -> BTreeSet<ReplicaId> {
        let mut others: BTreeSet<_> = others.into_iter().collect();
        let last = |count: usize| others.iter().rev().take(count).copied().collect();
        match self {
            Self::All => others,
            Self::Half => last(others.len() / 2),
            Self::Quorum => others.into_iter().take(configuration.quorum().get() - 1).collect(),
            Self::Last(count) => last(*count),
            Self::Named(named) => {
                others.retain(|it| named.contains(it));
                others
            }
        }
    }
}

impl Value for Group {
    const FORM: &'static str = "all, half, quorum, a number, or names such as r1/r3";

    fn parse(text: &str, configuration: &Configuration) -> Option<Self> {
        let named = || {
            let names = text.split('/').map(|name| name.parse::<ReplicaId>().ok());
            names.map(|it| it.filter(|it| it.index() < configuration.n())).collect::<Option<_>>()
        };
        Some(match text {
            "all" => Self::All,
            "half" => Self::Half,
            "quorum" => Self::Quorum,
            _ => match text.parse() {
                Ok(count) if count < configuration.n() => Self::Last(count),
                Ok(_) => return None,
                Err(_) => Self::Named(named()?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{configuration, identity};

    #[test]
    fn a_group_is_counted_without_the_replica_itself() {
        let members = |text: &str, n, replica| {
            let identity = identity(n, ReplicaId(replica));
            let group = Group::parse(text, &identity.configuration).unwrap();
            let members = group.among(identity.others(), &identity.configuration);
            members.into_iter().map(|it| it.0).collect::<Vec<_>>()
        };
        assert_eq!(members("all", 4, 1), [0, 2, 3]);
        assert_eq!(members("half", 4, 1), [3]);
        assert_eq!(members("half", 7, 0), [4, 5, 6]);
        assert_eq!(members("quorum", 4, 1), [0, 2]);
        assert_eq!(members("quorum", 7, 0), [1, 2, 3, 4]);
        assert_eq!(members("2", 4, 3), [1, 2]);
        assert_eq!(members("0", 4, 3), []);
        assert_eq!(members("r0/r3", 4, 1), [0, 3]);
        for bad in ["", "4", "r4", "r1/", "r1/some", "most"] {
            assert_eq!(Group::parse(bad, &configuration(4)), None, "{bad}");
        }
    }
}
