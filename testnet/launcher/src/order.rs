//! What a testnet says to one of its replicas about faults, and what the replica says of them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;

use crate::network::{LinkFault, Shape};
use crate::units::Time;

/// What is under `order` in a `fault` command of a replica's control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Order {
    /// Follow a strategy.
    Follow {
        /// Which, with its parameters.
        strategy: String,
        /// Who colludes.
        #[serde(default)]
        accomplices: BTreeSet<ReplicaId>,
        /// For how long; until told otherwise if there is nothing here.
        #[serde(default)]
        last: Option<Time>,
    },
    /// Have bad lines to these replicas.
    Spoil { peers: BTreeSet<ReplicaId>, shape: Shape, last: Option<Time> },
    /// Send nothing to these replicas, and hear nothing from those.
    Cut { to: BTreeSet<ReplicaId>, from: BTreeSet<ReplicaId>, last: Option<Time> },
    /// Behave, and have good lines; a partition stays.
    Clear,
    /// Have nothing wrong with the network.
    Heal,
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: &BTreeSet<ReplicaId>| set.iter().map(|it| format!(" {it}")).collect::<String>();
        let last = match self {
            Self::Follow { strategy, accomplices, last } => {
                let with = if accomplices.is_empty() { "" } else { " with the keys of" };
                write!(formatter, "it follows {strategy}{with}{}", names(accomplices))?;
                last
            }
            Self::Spoil { peers, shape, last } => {
                write!(formatter, "bad lines, {shape}, to{}", names(peers))?;
                last
            }
            Self::Cut { to, from, last } => {
                write!(
                    formatter,
                    "cut off, sends nothing to{}; hears nothing from{}",
                    names(to),
                    names(from)
                )?;
                last
            }
            Self::Clear => return formatter.write_str("it behaves, over good lines"),
            Self::Heal => return formatter.write_str("nothing is wrong with the network"),
        };
        last.map_or(Ok(()), |last| write!(formatter, ", for {last}"))
    }
}

/// What a replica was made to do and to suffer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// The malicious strategy that it follows.
    pub strategy: Option<Followed>,
    /// How many messages its strategies have altered, withheld or made since its process started.
    #[serde(default)]
    pub altered: u64,
    /// What is wrong with its links to the others.
    pub network: Vec<LinkFault>,
}

/// A strategy that is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// Its text, with parameters.
    pub text: String,
    /// Whose keys it has besides its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accomplices: BTreeSet<ReplicaId>,
    /// For how long still; `None` is until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_told_in_a_line() {
        let (peers, last) = (BTreeSet::from([ReplicaId(1), ReplicaId(2)]), "5s".parse().ok());
        let follow = Order::Follow { strategy: "lie".into(), accomplices: peers.clone(), last };
        assert_eq!(follow.to_string(), "it follows lie with the keys of r1 r2, for 5s");
        let shape = Shape { latency: "50ms".parse().unwrap(), ..Shape::default() };
        let spoil = Order::Spoil { peers: peers.clone(), shape, last: None };
        assert_eq!(spoil.to_string(), "bad lines, latency 50ms, to r1 r2");
        let cut = Order::Cut { to: peers, from: [ReplicaId(3)].into(), last };
        assert_eq!(cut.to_string(), "cut off, sends nothing to r1 r2; hears nothing from r3, for 5s");
    }
}
