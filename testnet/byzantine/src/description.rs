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
    /// Whole texts for [`crate::strategy`] that a generator may draw from; they suit every cluster.
    pub samples: &'static [&'static str],
    /// The kind of the evidence that convicts it, if it signs contradictions.
    pub proof: Option<EvidenceKind>,
    /// How long the service may pause because of it.
    pub pause: Pause,
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

    /// The name with its parameters, all at their defaults.
    #[must_use]
    pub fn usage(&self) -> String {
        let parameters = self.parameters.iter().map(|it| format!("{}={}", it.name, it.default));
        let parameters = parameters.collect::<Vec<_>>().join(",");
        if parameters.is_empty() { self.name.to_owned() } else { format!("{}:{parameters}", self.name) }
    }
}
