//! Judging evidence that somebody hands over: the entry for third parties.

use serde::Serialize;

use pbft_crypto::Rejected;

use crate::{Accusation, Certificate as _, Configuration, Evidence, codec};

/// What a piece of evidence proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conviction {
    /// Who lied, and where.
    #[serde(flatten)]
    pub accusation: Accusation,
    /// What it signed, in words, and for a single statement what is wrong with it: two lines.
    pub statements: [String; 2],
}

impl Conviction {
    /// Judges encoded evidence by the public keys of the cluster, and nothing else: no store, no replica, no word of
    /// whoever handed it over.
    ///
    /// # Errors
    /// [`Rejected`] unless the bytes are exactly one piece of evidence, every signature in it is good, and together the
    /// statements prove a lie.
    ///
    /// # Example
    /// ```
    /// use pbft_crypto::{Digest, Domain, SecretKey, Signer as _, Verified};
    /// use pbft_messages::{ClusterFile, Commit, Conflict, Conviction, Evidence, ReplicaId, Sequence, View, codec};
    ///
    /// // What is public: the cluster's file. (Its keys come from seeds here, so that the example can lie with one.)
    /// let key = |replica: u8| SecretKey::from_seed(&[replica + 1; 32]);
    /// let replicas = (0..4).map(|it| format!(
    ///     "[[replica]]\nkey = \"{}\"\npeer_address = \"127.0.0.1:{}\"\nclient_address = \"127.0.0.1:{}\"\n",
    ///     key(it).public_key(), 4000 + u16::from(it), 5000 + u16::from(it),
    /// ));
    /// let text = format!("name = \"example\"\n{}", replicas.collect::<String>());
    /// let configuration = ClusterFile::parse(&text)?.configuration()?;
    ///
    /// // What r2 signed: two COMMITs at one place.
    /// let commit = |name: &[u8]| {
    ///     let digest = Digest::of(Domain::Batch, name);
    ///     let value = Commit { view: View(0), sequence: Sequence(7), digest };
    ///     Verified::sign(value, ReplicaId(2), &key(2), configuration.scope())
    /// };
    /// let conflict = Conflict::between(&commit(b"one"), &commit(b"other")).expect("they differ");
    /// let mut encoded = codec::encode(&Evidence::from(conflict));
    ///
    /// // What anybody makes of the bytes.
    /// let conviction = Conviction::of(&encoded, &configuration)?;
    /// assert_eq!(conviction.accusation.accused, ReplicaId(2));
    /// assert!(conviction.statements[1].starts_with("COMMIT of batch "));
    ///
    /// // A byte that was tampered with, and it proves nothing.
    /// *encoded.last_mut().expect("not empty") ^= 1;
    /// assert!(Conviction::of(&encoded, &configuration).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(encoded: &[u8], configuration: &Configuration) -> Result<Self, Rejected> {
        let evidence: Evidence = codec::decode(encoded)?;
        evidence.check(configuration)?;
        Ok(Self { accusation: evidence.accusation()?, statements: evidence.statements(configuration)? })
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain, Verified};

    use super::*;
    use crate::testing::{configuration, prepared, replica_key};
    use crate::{
        Checkpoint, Commit, Conflict, Exclusive, NewView, Omission, ReplicaId, Sequence, View, ViewChange,
    };

    fn sign<T: Exclusive>(value: T, replica: u16) -> Verified<T> {
        Verified::sign(value, ReplicaId(replica), &replica_key(ReplicaId(replica)), configuration(4).scope())
    }

    fn pieces() -> Vec<Evidence> {
        let root = |name: &[u8]| {
            sign(Checkpoint { sequence: Sequence(4), root: Digest::of(Domain::MerkleRoot, name) }, 3)
        };
        let committed =
            Commit { view: View(1), sequence: Sequence(6), digest: Digest::of(Domain::Batch, b"a") };
        let hiding = ViewChange { view: View(2), stable: None, prepared: vec![prepared(0, 5, "x")] };
        let wrong = NewView { view: View(1), view_changes: vec![], pre_prepares: vec![] };
        vec![
            Conflict::between(&root(b"a"), &root(b"b")).unwrap().into(),
            Omission::between(&sign(committed, 2), &sign(hiding, 2)).unwrap().into(),
            Evidence::WrongNewView(sign(wrong, 1).signed().clone()),
        ]
    }

    #[test]
    fn what_was_signed_is_said_in_words() {
        let configuration = configuration(4);
        let judged =
            pieces().into_iter().map(|it| Conviction::of(&codec::encode(&it), &configuration).unwrap());
        let judged: Vec<_> = judged.map(|it| (it.accusation.accused.0, it.statements)).collect();
        let [root, batch] =
            [(Domain::MerkleRoot, b"a"), (Domain::Batch, b"a")].map(|(it, name)| Digest::of(it, name));
        assert_eq!(judged[0].0, 3);
        assert_eq!(judged[0].1[0], format!("CHECKPOINT of state {root} at sequence 4"));
        let omission = [
            format!("COMMIT of batch {batch} in view 1, at sequence 6"),
            "VIEW-CHANGE to view 2 from checkpoint 0, showing the certificate of 5 (view 0)".into(),
        ];
        assert_eq!(judged[1], (2, omission));
        assert_eq!(judged[2].1[1], "which is malformed: a NEW-VIEW without a quorum");
    }

    #[test]
    fn a_byte_that_was_tampered_with_is_noticed_wherever_it_is() {
        let configuration = configuration(4);
        for evidence in pieces() {
            let encoded = codec::encode(&evidence);
            for at in 0..encoded.len() {
                let mut tampered = encoded.clone();
                tampered[at] ^= 1;
                assert!(Conviction::of(&tampered, &configuration).is_err(), "byte {at} of {evidence:?}");
            }
            assert!(Conviction::of(&encoded[..encoded.len() - 1], &configuration).is_err());
        }
    }
}
