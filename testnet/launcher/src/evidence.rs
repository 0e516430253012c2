//! Who lied: what the replicas gathered, verified anew from public keys.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use pbft_messages::{Accusation, Configuration, Evidence, Proven, ReplicaId};

use crate::process::Condition;
use crate::{Testnet, TestnetError};

/// All that is proven against anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceReport {
    /// Each accusation once, ordered by the accused.
    pub evidence: Vec<Accusation>,
    /// The replicas that were not consulted, with why: what they alone know is missing. For people, not in the JSON.
    #[serde(skip)]
    pub unasked: Vec<(ReplicaId, String)>,
}

impl Testnet {
    /// Gathers the evidence of every replica: of those that run by asking, of those that don't from their stores.
    /// Nothing is believed: each piece is checked with nothing but the public keys of `cluster.toml`, and one that
    /// does not hold is left out.
    ///
    /// # Errors
    /// [`TestnetError`], only if the testnet's own files cannot be read.
    pub async fn evidence(&self) -> Result<EvidenceReport, TestnetError> {
        let state = self.state()?;
        let (mut accusations, mut unasked) = (BTreeSet::new(), Vec::new());
        for replica in self.configuration().replicas() {
            let found = match state.living(replica) {
                Some((_, Condition::Running)) => {
                    self.control(replica).evidence().await.map_err(|error| error.to_string())
                }
                // A paused replica neither answers nor lets its store be read.
                Some(_) => Err("it is paused".to_owned()),
                None => {
                    pbft_node::read_evidence(&self.folder().data(replica)).map_err(|error| error.to_string())
                }
            };
            let found: Vec<Evidence> = found.unwrap_or_else(|why| {
                unasked.push((replica, why));
                Vec::new()
            });
            accusations.extend(found.into_iter().filter_map(|it| proven(it, self.configuration())));
        }
        Ok(EvidenceReport { evidence: accusations.into_iter().collect(), unasked })
    }
}

fn proven(evidence: Evidence, configuration: &Configuration) -> Option<Accusation> {
    Proven::new(evidence, configuration).ok()?.get().accusation().ok()
}

#[cfg(test)]
mod tests {
    use pbft_messages::{EvidenceKind, Sequence, View};

    use super::*;

    #[test]
    fn the_json_is_as_scripts_expect_it() {
        let accusation = Accusation {
            accused: ReplicaId(0),
            kind: EvidenceKind::PrePrepare,
            view: View(0),
            sequence: Sequence(7),
        };
        assert_eq!(
            serde_json::to_string(&EvidenceReport { evidence: vec![accusation], unasked: Vec::new() })
                .unwrap(),
            "{\"evidence\":[{\"accused\":\"r0\",\"kind\":\"pre-prepare\",\"view\":0,\"sequence\":7}]}"
        );
    }
}
