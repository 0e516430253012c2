//! A second verifier of certificates, written apart from the one that replicas use, and the books in which two of them
//! cannot conflict (I6). It shares the encoding and the keys, and counts, compares and derives by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use pbft_crypto::{Digest, Signature, Signed, Statement};
use pbft_messages::{
    Body, Commit, CommittedCertificate, Configuration, NewView, PeerMessage, PrePrepare, PreparedCertificate,
    ReplicaId, Sequence, ShownView, StableCertificate, View, ViewChange,
};
use pbft_protocol::Record;

/// Every certificate that was in use.
#[derive(Default)]
pub(crate) struct Certificates {
    prepared: BTreeMap<(Sequence, View), Digest>,
    /// The lowest view that each sequence was committed in, and the batch.
    committed: BTreeMap<Sequence, (View, Digest)>,
    stable: BTreeMap<Sequence, Digest>,
    /// The VIEW-CHANGEs that were found good and entered here. NEW-VIEWs show them again and again, and what they hold
    /// was compared with all that came before, as all that came after was with it.
    shown: BTreeMap<Signature, (Signed<ViewChange>, Rc<ViewChange>)>,
}

/// What is wrong with a certificate, in words.
type Wrong = String;

impl Certificates {
    /// Takes in a message that a correct replica sends, or has accepted.
    pub(crate) fn accepted(&mut self, message: &PeerMessage, keys: &Configuration) -> Result<(), Wrong> {
        match message {
            PeerMessage::Prepared(certificate, body) => {
                ensure(
                    body.digest() == certificate.header.peek().map_err(unreadable)?.digest,
                    "another body",
                )?;
                self.prepared(certificate, keys)
            }
            PeerMessage::Committed(certificate, body) => {
                ensure(body.digest() == certificate.statement.digest, "another body")?;
                self.decided(certificate, keys)
            }
            PeerMessage::Stable(certificate) => self.stable(certificate, keys),
            PeerMessage::ViewChange(signed) => self.view_change(signed, keys).map(drop),
            PeerMessage::NewView(signed) => self.new_view(signed, keys),
            PeerMessage::RecoveryAnswer(signed) => {
                let answer = authentic(signed, keys)?;
                answer.stable.iter().try_for_each(|certificate| self.stable(certificate, keys))?;
                let shown: &[_] = match &answer.shown {
                    ShownView::Genesis => &[],
                    ShownView::Opened(new_view) => {
                        self.new_view(new_view, keys)?;
                        &[]
                    }
                    ShownView::AskedFor(view_changes) => view_changes,
                };
                let view_changes = shown.iter().chain(&answer.view_change);
                view_changes.map(|it| self.view_change(it, keys)).try_for_each(|it| it.map(drop))
            }
            _ => Ok(()),
        }
    }

    /// Takes in what a correct replica writes. The VIEW-CHANGE and the NEW-VIEW that it writes are sent as well.
    pub(crate) fn written(&mut self, record: &Record, keys: &Configuration) -> Result<(), Wrong> {
        match record {
            Record::Prepared(certificate) => self.prepared(certificate, keys),
            Record::Committed(certificate) => self.decided(certificate, keys),
            Record::Stable(certificate) => self.stable(certificate, keys),
            _ => Ok(()),
        }
    }

    fn decided(&mut self, certificate: &CommittedCertificate, keys: &Configuration) -> Result<(), Wrong> {
        check_votes(&certificate.statement, &certificate.signatures, quorum(keys.n()), keys)?;
        self.committed(&certificate.statement)
    }

    fn prepared(&mut self, certificate: &PreparedCertificate, keys: &Configuration) -> Result<(), Wrong> {
        let header = authentic(&certificate.header, keys)?;
        let primary = keys.primary(header.view);
        ensure(certificate.header.claimed_signer() == primary, "a header that is not the primary's")?;
        let votes = &certificate.prepares;
        let (view, sequence, digest) =
            (votes.statement.view, votes.statement.sequence, votes.statement.digest);
        ensure(header == PrePrepare { view, sequence, digest }, "a header of another batch")?;
        ensure(votes.signatures.iter().all(|(voter, _)| *voter != primary), "a PREPARE of the primary")?;
        check_votes(&votes.statement, &votes.signatures, quorum(keys.n()) - 1, keys)?;
        let first = *self.prepared.entry((sequence, view)).or_insert(digest);
        ensure(first == digest, format_args!("two batches are prepared at {sequence} in view {view}"))?;
        let committed = self.committed.get(&sequence);
        let overtaken = committed.is_some_and(|(before, batch)| *before <= view && *batch != digest);
        ensure(!overtaken, format_args!("{sequence} is committed, and another batch prepared in view {view}"))
    }

    fn committed(&mut self, vote: &Commit) -> Result<(), Wrong> {
        let Commit { view, sequence, digest } = *vote;
        let entry = self.committed.entry(sequence).or_insert((view, digest));
        ensure(entry.1 == digest, format_args!("two batches are committed at {sequence}"))?;
        entry.0 = entry.0.min(view);
        let mut later = self.prepared.range((sequence, view)..=(sequence, View(u64::MAX)));
        let same = later.all(|(_, batch)| *batch == digest);
        ensure(same, format_args!("{sequence} is committed in view {view}, and another batch prepared since"))
    }

    fn stable(&mut self, certificate: &StableCertificate, keys: &Configuration) -> Result<(), Wrong> {
        check_votes(&certificate.statement, &certificate.signatures, quorum(keys.n()), keys)?;
        let (sequence, root) = (certificate.statement.sequence, certificate.statement.root);
        let first = *self.stable.entry(sequence).or_insert(root);
        ensure(first == root, format_args!("two states are stable at {sequence}"))
    }

    fn view_change(
        &mut self,
        signed: &Signed<ViewChange>,
        keys: &Configuration,
    ) -> Result<Rc<ViewChange>, Wrong> {
        if let Some((_, it)) = self.shown.get(signed.signature()).filter(|(same, _)| same == signed) {
            return Ok(Rc::clone(it));
        }
        let it = Rc::new(authentic(signed, keys)?);
        if let Some(certificate) = &it.stable {
            self.stable(certificate, keys)?;
        }
        let mut last = stable_sequence(&it);
        let end = last.plus(keys.parameters().window);
        for certificate in &it.prepared {
            self.prepared(certificate, keys)?;
            let vote = &certificate.prepares.statement;
            ensure(last < vote.sequence && vote.sequence <= end, "a VIEW-CHANGE that is out of order")?;
            ensure(vote.view < it.view, "a VIEW-CHANGE that shows a later view")?;
            last = vote.sequence;
        }
        self.shown.insert(*signed.signature(), (signed.clone(), Rc::clone(&it)));
        Ok(it)
    }

    fn new_view(&mut self, signed: &Signed<NewView>, keys: &Configuration) -> Result<(), Wrong> {
        let it = authentic(signed, keys)?;
        ensure(signed.claimed_signer() == keys.primary(it.view), "a NEW-VIEW that is not the primary's")?;
        let senders: BTreeSet<_> = it.view_changes.iter().map(Signed::claimed_signer).collect();
        let count = (senders.len(), it.view_changes.len());
        ensure(count == (quorum(keys.n()), quorum(keys.n())), "a NEW-VIEW without a quorum")?;
        let mut shown = Vec::new();
        for view_change in &it.view_changes {
            let view_change = self.view_change(view_change, keys)?;
            ensure(view_change.view == it.view, "a VIEW-CHANGE for another view")?;
            shown.push(view_change);
        }
        let expected = carried_over(&shown);
        ensure(expected.len() == it.pre_prepares.len(), "an O that is too long or too short")?;
        for (header, (sequence, digest)) in it.pre_prepares.iter().zip(expected) {
            let right = PrePrepare { view: it.view, sequence, digest };
            ensure(header.claimed_signer() == keys.primary(it.view), "a proposal that is not the primary's")?;
            ensure(authentic(header, keys)? == right, format_args!("an O that is wrong at {sequence}"))?;
        }
        Ok(())
    }
}

/// VC4: above the highest stable checkpoint shown, at each sequence up to the highest that is prepared, the batch that
/// is prepared in the highest view, or none.
fn carried_over(shown: &[Rc<ViewChange>]) -> Vec<(Sequence, Digest)> {
    let certificates = || shown.iter().flat_map(|it| &it.prepared).map(|it| &it.prepares.statement);
    let low = shown.iter().map(|it| stable_sequence(it)).max().unwrap_or_default();
    let high = certificates().map(|it| it.sequence).max().unwrap_or_default();
    let batch = |sequence| {
        let here = certificates().filter(|it| it.sequence == sequence);
        here.max_by_key(|it| it.view).map_or_else(Body::null_digest, |it| it.digest)
    };
    (low.0 + 1..=high.0).map(Sequence).map(|sequence| (sequence, batch(sequence))).collect()
}

fn stable_sequence(it: &ViewChange) -> Sequence {
    it.stable.as_ref().map(|certificate| certificate.statement.sequence).unwrap_or_default()
}

/// The least number of votes of which any two sets share more than f replicas.
fn quorum(n: usize) -> usize {
    let f = (n - 1) / 3;
    (n + f + 1).div_ceil(2)
}

fn check_votes<T>(
    statement: &T,
    signatures: &[(ReplicaId, Signature)],
    needed: usize,
    keys: &Configuration,
) -> Result<(), Wrong>
where
    T: Statement<Signer = ReplicaId, Keyring = Configuration>,
{
    let voters: BTreeSet<_> = signatures.iter().map(|(voter, _)| *voter).collect();
    ensure(voters.len() >= needed, format_args!("{} voters where {needed} are needed", voters.len()))?;
    let payload = statement.encode();
    let good =
        |(voter, signature): &(ReplicaId, Signature)| is_signed(T::KIND, *voter, &payload, signature, keys);
    ensure(signatures.iter().all(good), "a vote with a bad signature")
}

fn authentic<T>(signed: &Signed<T>, keys: &Configuration) -> Result<T, Wrong>
where
    T: Statement<Signer = ReplicaId, Keyring = Configuration>,
{
    let good = is_signed(T::KIND, signed.claimed_signer(), signed.payload(), signed.signature(), keys);
    ensure(good, "a bad signature")?;
    signed.peek().map_err(unreadable)
}

/// Whether a replica signed these bytes as a statement of this kind, in this cluster.
fn is_signed(
    kind: u8,
    signer: ReplicaId,
    payload: &[u8],
    signature: &Signature,
    keys: &Configuration,
) -> bool {
    let scope = keys.scope();
    keys.member(signer).is_some_and(|member| {
        let (cluster, epoch) = (scope.cluster.as_bytes(), scope.epoch.to_le_bytes());
        let parts = [b"pbft/statement/1\0", &cluster[..], &epoch, &[kind], member.key.as_bytes(), payload];
        member.key.verifies(&parts.concat(), signature)
    })
}

fn ensure(holds: bool, wrong: impl fmt::Display) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong.to_string()) }
}

fn unreadable(error: pbft_crypto::Malformed) -> Wrong {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Domain, Verified};
    use pbft_messages::{Checkpoint, Endorsed, Prepare, RecoveryAnswer, RecoveryNonce};

    use super::*;
    use crate::{Cluster, Settings};

    fn sign<T: Statement<Signer = ReplicaId>>(cluster: &Cluster, from: u16, value: T) -> Verified<T> {
        let identity = cluster.identity(ReplicaId(from));
        Verified::sign(value, identity.replica, &*identity.signer, identity.configuration.scope())
    }

    /// A stable certificate of these voters.
    fn stable(cluster: &Cluster, voters: &[u16], root: &[u8]) -> StableCertificate {
        let statement = Checkpoint { sequence: Sequence(8), root: Digest::of(Domain::MerkleRoot, root) };
        let vote = |voter: &u16| {
            let identity = cluster.identity(ReplicaId(*voter));
            let scope = identity.configuration.scope();
            let vote = Verified::sign(statement.clone(), identity.replica, &*identity.signer, scope);
            (identity.replica, *vote.signed().signature())
        };
        Endorsed { signatures: voters.iter().map(vote).collect(), statement: statement.clone() }
    }

    #[test]
    fn bad_and_conflicting_certificates_are_told() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let mut books = Certificates::default();
        let mut accepted = |it| books.accepted(&PeerMessage::Stable(it), cluster.configuration());
        assert_eq!(accepted(stable(&cluster, &[0, 1, 3], b"a")), Ok(()));
        assert!(accepted(stable(&cluster, &[0, 1], b"a")).unwrap_err().contains("2 voters where 3"));
        assert!(accepted(stable(&cluster, &[0, 1, 1], b"a")).unwrap_err().contains("2 voters where 3"));
        let mut forged = stable(&cluster, &[0, 1, 2], b"a");
        forged.signatures[2].0 = ReplicaId(3);
        assert!(accepted(forged).unwrap_err().contains("bad signature"));
        assert!(accepted(stable(&cluster, &[1, 2, 3], b"b")).unwrap_err().contains("two states"));
    }

    #[test]
    fn a_batch_that_replaces_a_committed_one_is_told() {
        let digest = |name: &[u8]| Digest::of(Domain::Batch, name);
        let commit = |view, name| Commit { view: View(view), sequence: Sequence(1), digest: digest(name) };
        let mut books = Certificates::default();
        assert_eq!(books.committed(&commit(2, b"a")), Ok(()));
        assert_eq!(books.committed(&commit(1, b"a")), Ok(()), "also in an earlier view");
        assert!(books.committed(&commit(3, b"b")).is_err());
        let mut books = Certificates::default();
        books.prepared.insert((Sequence(1), View(4)), digest(b"b"));
        assert!(books.committed(&commit(2, b"a")).is_err(), "another batch was prepared since");
    }

    /// In the same view, and not only in a later one.
    #[test]
    fn a_batch_that_is_prepared_beside_a_committed_one_is_told() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let digest = |name: &[u8]| Digest::of(Domain::Batch, name);
        let prepared = |view, name| {
            let (view, sequence, digest) = (View(view), Sequence(1), digest(name));
            let header =
                sign(&cluster, view.0 as u16, PrePrepare { view, sequence, digest }).signed().clone();
            let statement = Prepare { view, sequence, digest };
            let backups = (0..4).filter(|backup| u64::from(*backup) != view.0).take(2);
            let vote =
                |backup| (ReplicaId(backup), *sign(&cluster, backup, statement.clone()).signed().signature());
            let signatures = backups.map(vote).collect();
            PreparedCertificate { header, prepares: Endorsed { statement, signatures } }
        };
        let told = |certificate| {
            let mut books = Certificates::default();
            let (view, sequence, digest) = (View(1), Sequence(1), digest(b"a"));
            books.committed(&Commit { view, sequence, digest }).unwrap();
            books.prepared(&certificate, cluster.configuration()).is_err()
        };
        let certificates = [prepared(1, b"a"), prepared(0, b"b"), prepared(1, b"b"), prepared(2, b"b")];
        assert_eq!(certificates.map(told), [false, false, true, true]);
    }

    /// Of an answer to a replica that recovers all is looked at: the NEW-VIEW, and the asker's own VIEW-CHANGE besides.
    #[test]
    fn all_of_an_answer_is_looked_at() {
        let cluster = Cluster::new(Settings::new(4, 1));
        let asks = |from, to| {
            let value = ViewChange { view: View(to), stable: None, prepared: vec![] };
            sign(&cluster, from, value).signed().clone()
        };
        let view_changes = vec![asks(0, 1), asks(1, 1), asks(2, 1)];
        let new_view = NewView { view: View(1), view_changes, pre_prepares: vec![] };
        let new_view = sign(&cluster, 1, new_view).signed().clone();
        let told = |view_change| {
            let value = RecoveryAnswer {
                asker: ReplicaId(3),
                nonce: RecoveryNonce([0; 32]),
                view: View(1),
                last_executed: Sequence(0),
                stable: None,
                shown: ShownView::Opened(new_view.clone()),
                view_change: Some(view_change),
            };
            let answer = PeerMessage::RecoveryAnswer(sign(&cluster, 2, value).signed().clone());
            Certificates::default().accepted(&answer, cluster.configuration()).is_err()
        };
        let forged =
            ViewChange { view: View(2), stable: Some(stable(&cluster, &[0, 1], b"a")), prepared: vec![] };
        assert_eq!([asks(3, 2), sign(&cluster, 3, forged).signed().clone()].map(told), [false, true]);
    }
}
