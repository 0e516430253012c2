//! Who lied: what the replicas gathered, verified anew from public keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use pbft_messages::{Accusation, Certificate as _, Configuration, Evidence, ReplicaId};
use pbft_node::EvidenceEntry;

use crate::process::Condition;
use crate::{Testnet, TestnetError};

/// All that is proven against anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceReport {
    /// Each accusation once, ordered by the accused, with the proof: `pbft-node verify-evidence` judges it again.
    pub evidence: Vec<EvidenceEntry>,
    /// The replicas that were not consulted, with why: what they alone know is missing. For people, not in the JSON.
    #[serde(skip)]
    pub unasked: Vec<(ReplicaId, String)>,
}

impl EvidenceReport {
    /// Who lied, and where.
    pub fn accusations(&self) -> impl Iterator<Item = Accusation> {
        self.evidence.iter().map(|entry| entry.accusation)
    }
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
        let (mut proofs, mut unasked) = (BTreeMap::new(), Vec::new());
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
            proofs.extend(found.iter().filter_map(|it| proven(it, self.configuration())));
        }
        Ok(EvidenceReport { evidence: proofs.into_values().collect(), unasked })
    }
}

fn proven(evidence: &Evidence, configuration: &Configuration) -> Option<(Accusation, EvidenceEntry)> {
    evidence.check(configuration).ok()?;
    let entry = EvidenceEntry::new(evidence)?;
    Some((entry.accusation, entry))
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
        let entry = EvidenceEntry { accusation, encoded: "00ff".into() };
        assert_eq!(
            serde_json::to_string(&EvidenceReport { evidence: vec![entry], unasked: Vec::new() }).unwrap(),
            "{\"evidence\":[{\"accused\":\"r0\",\"kind\":\"pre-prepare\",\"view\":0,\"sequence\":7,\"encoded\":\"00ff\"}]}"
        );
    }
}
