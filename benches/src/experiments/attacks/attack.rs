//! What is tried on a cluster, and by whom.

use serde::Serialize;

use pbft_byzantine::{
    CLIENT_STRATEGIES, Description, STRATEGIES, Stage, UnknownStrategy, client_described, described,
};

/// Who is malicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// f replicas that do not lead.
    Backups,
    /// The replica that leads when the attack begins.
    Primary,
    /// Clients with keys of their own.
    Clients,
}

impl Who {
    /// The part of the throughput that is to be left, at least.
    #[must_use]
    pub fn floor(self) -> f64 {
        match self {
            Self::Backups => 0.70,
            Self::Primary => 0.75,
            Self::Clients => 0.90,
        }
    }

    /// For people.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Backups => "f backups",
            Self::Primary => "the primary",
            Self::Clients => "clients",
        }
    }
}

/// An attack to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attack {
    /// Who is malicious.
    pub who: Who,
    /// What they do: the text of a strategy.
    pub strategy: String,
}

impl Attack {
    /// One of each kind that is most to be feared.
    #[must_use]
    pub fn chosen() -> Vec<Self> {
        let attack = |who, strategy: &str| Self { who, strategy: strategy.to_owned() };
        vec![
            attack(Who::Backups, "silent"),
            attack(Who::Backups, "bad-signatures:rate=1000"),
            attack(Who::Primary, "slow"),
            attack(Who::Clients, "flood-requests"),
            attack(Who::Clients, "craft-signatures:every=10ms"),
        ]
    }

    /// What a strategy's text names.
    ///
    /// # Errors
    /// [`UnknownStrategy`], with what there is.
    pub fn named(text: &str) -> Result<Self, UnknownStrategy> {
        let who = match (client_described(text), described(text)) {
            (Ok(_), _) => Who::Clients,
            (Err(_), Ok(parts)) if parts.iter().any(|it| it.stage == Stage::Primary) => Who::Primary,
            (Err(_), Ok(_)) => Who::Backups,
            (Err(_), Err(unknown)) => return Err(unknown),
        };
        Ok(Self { who, strategy: text.to_owned() })
    }

    /// Every strategy that has an opportunity under a load and nothing else, as its author would use it; those of leaders
    /// by the primary. In view changes and while state is fetched, neither of which happens here by itself, others lie.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let acts = |it: &&Description| !matches!(it.stage, Stage::ViewChange | Stage::Transfer);
        let names = STRATEGIES.iter().chain(CLIENT_STRATEGIES).filter(acts).map(|it| it.name);
        names.filter_map(|name| Self::named(name).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_tried_by_whom_it_suits() {
        let all = Attack::all();
        let who = |name: &str| all.iter().find(|it| it.strategy == name).map(|it| it.who);
        assert_eq!(who("slow"), Some(Who::Primary));
        assert_eq!(who("silent"), Some(Who::Backups));
        assert_eq!(who("flood-requests"), Some(Who::Clients));
        for without_opportunity in ["drip", "forge-proofs"] {
            assert!(Attack::named(without_opportunity).is_ok());
            assert_eq!(who(without_opportunity), None);
        }
    }

    #[test]
    fn the_chosen_attacks_exist() {
        for attack in Attack::chosen() {
            assert_eq!(Attack::named(&attack.strategy), Ok(attack));
        }
        assert!(Attack::named("no-such-thing").is_err());
    }
}
