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

    /// The name with its parameters, all at their defaults.
    #[must_use]
    pub fn usage(&self) -> String {
        let parameters = self.parameters.iter().map(|it| format!("{}={}", it.name, it.default));
        let parameters = parameters.collect::<Vec<_>>().join(",");
        if parameters.is_empty() { self.name.to_owned() } else { format!("{}:{parameters}", self.name) }
    }
}
