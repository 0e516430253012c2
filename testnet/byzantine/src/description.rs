//! What people and generators are told of a strategy.

use std::time::Duration;

use pbft_messages::EvidenceKind;
use serde::Serialize;

/// What there is to know about a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The name that commands use.
    pub name: &'static str,
    /// Its row in the catalogue of faults.
    pub row: u8,
    /// What may follow the name.
    pub parameters: &'static [Parameter],
    /// What it does, in a few sentences; the first one stands for it in lists.
    pub does: &'static str,
    /// The rule that defeats it, and how.
    pub defeated_by: &'static str,
    /// What can be seen while it is at work.
    pub expect: &'static str,
    /// When it has an effect.
    pub stage: Stage,
    /// What a generator may draw from: the first one stands for the strategy.
    pub samples: &'static [Sample],
    /// How long the service may pause because of it.
    pub pause: Pause,
}

/// A strategy with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The whole text for [`crate::strategy`]; it suits every cluster.
    pub text: &'static str,
    /// What convicts who follows it.
    pub proof: Proof,
}

impl Sample {
    /// Several that are proven alike.
    pub(crate) const fn all<const N: usize>(proof: Proof, texts: [&'static str; N]) -> [Self; N] {
        let mut samples = [Self { text: "", proof }; N];
        let mut place = 0;
        while place < N {
            samples[place].text = texts[place];
            place += 1;
        }
        samples
    }
}

/// Whether evidence convicts a replica that did what it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Never: nothing that it signs contradicts anything.
    Never,
    /// Where what it signs happens to meet what it has signed elsewhere, or both halves of a lie reach one replica.
    Possible,
    /// Always, evidence of this kind among others: each correct replica holds it in the end.
    Sure(EvidenceKind),
}

impl Proof {
    /// The kind of the evidence that there will be.
    #[must_use]
    pub const fn kind(self) -> Option<EvidenceKind> {
        match self {
            Self::Sure(kind) => Some(kind),
            Self::Never | Self::Possible => None,
        }
    }
}

/// What more than f replicas could do to a cluster, if all of them followed a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Service stands still.
    Standstill,
    /// Clients believe what is not so.
    FalseAnswers,
    /// Correct replicas execute different things.
    Disagreement,
}

/// The strategies that tell clients what is not so, and sign no contradictions.
const FALSE_ANSWERS: [&str; 2] = ["lie", "stale-reads"];

/// Something that can be chosen about a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// The name before the `=`.
    pub name: &'static str,
    /// The value if it is left out.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// When a strategy has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// At any time.
    Always,
    /// While its replica leads.
    Primary,
    /// While its replica is a backup.
    Backup,
    /// In a view change.
    ViewChange,
    /// While another replica fetches state.
    Transfer,
}

/// How long the service may pause at a time because of one malicious replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// Not at all.
    None,
    /// For about so many view timeouts.
    ViewTimeouts(u32),
}

impl Pause {
    /// The longest pause that is no cause for concern: agreement, and a loaded machine, take time too.
    #[must_use]
    pub fn at_most(self, view_timeout: Duration) -> Duration {
        match self {
            Self::None => view_timeout / 2,
            Self::ViewTimeouts(count) => view_timeout * (count + 1),
        }
    }
}

impl Description {
    /// The first sentence of what it does.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.does.find(". ").map_or(self.does, |end| &self.does[..=end])
    }

    /// What convicts who follows its first sample.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.samples.first().map_or(Proof::Never, |sample| sample.proof)
    }

    /// What more than f replicas that follow it could do at worst, whatever the parameters.
    #[must_use]
    pub fn harm(&self) -> Harm {
        if self.samples.iter().any(|sample| sample.proof != Proof::Never) {
            Harm::Disagreement
        } else if FALSE_ANSWERS.contains(&self.name) {
            Harm::FalseAnswers
        } else {
            Harm::Standstill
        }
    }

    /// The name with its parameters, all at their defaults.
    #[must_use]
    pub fn usage(&self) -> String {
        let parameters = self.parameters.iter().map(|it| format!("{}={}", it.name, it.default));
        let parameters = parameters.collect::<Vec<_>>().join(",");
        if parameters.is_empty() { self.name.to_owned() } else { format!("{}:{parameters}", self.name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRATEGIES;

    #[test]
    fn harm_is_known_of_every_strategy() {
        let harm = |name| STRATEGIES.iter().find(|it| it.name == name).unwrap().harm();
        assert_eq!((harm("silent"), harm("starve")), (Harm::Standstill, Harm::Standstill));
        assert_eq!(FALSE_ANSWERS.map(harm), [Harm::FalseAnswers; 2]);
        assert_eq!(harm("equivocate"), Harm::Disagreement);
    }
}
