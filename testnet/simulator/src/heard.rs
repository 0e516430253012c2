//! What a message says: every statement in it that some replica signed, with its place.

use bytes::Bytes;

use pbft_crypto::{Signed, Statement, Verified};
use pbft_messages::{
    Configuration, Endorsed, EvidenceKind, Exclusive, Message, NewView, PeerMessage, PrePrepare,
    PreparedCertificate, ReplicaId, ViewChange,
};

/// A place at which a correct replica makes one statement at most: whose, of what kind, view and sequence.
pub(crate) type Place = (ReplicaId, EvidenceKind, u64, u64);

/// A statement at its place, as it was signed.
pub(crate) type Said = (Place, Bytes);

/// The statements in a message.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    /// Those that it brings by themselves: whoever hears them may keep them. The proposal beside a PREPARE is one.
    pub(crate) alone: Vec<Said>,
    /// Those that are part of a certificate, a VIEW-CHANGE or a NEW-VIEW.
    pub(crate) within: Vec<Said>,
    /// What a NEW-VIEW gives to those who enter its view: the VIEW-CHANGEs that open it, and its proposals (O).
    pub(crate) opens: Vec<Said>,
}

impl Heard {
    /// What a message that is believed says.
    pub(crate) fn of(message: &Message, configuration: &Configuration) -> Self {
        let mut it = Self::default();
        match message {
            Message::Proposal(header, _) | Message::RefusedProposal(header) => {
                it.alone.push(verified(EvidenceKind::PrePrepare, header))
            }
            Message::Prepare(vote, signature) => {
                it.alone.push(verified(EvidenceKind::Prepare, vote));
                let header = PrePrepare::voted_for(vote.value(), *signature, configuration);
                let header = header.verify(configuration).ok();
                it.alone.extend(header.map(|header| verified(EvidenceKind::PrePrepare, &header)));
            }
            Message::Commit(vote) => it.alone.push(verified(EvidenceKind::Commit, vote)),
            Message::Checkpoint(vote) => it.alone.push(verified(EvidenceKind::Checkpoint, vote)),
            Message::Prepared(certificate, _) => it.prepared(certificate.get()),
            Message::Committed(certificate, _) => it.endorsed(EvidenceKind::Commit, certificate.get()),
            Message::Stable(certificate) => it.endorsed(EvidenceKind::Checkpoint, certificate.get()),
            Message::ViewChange(view_change) => {
                it.alone.push(verified(EvidenceKind::ViewChange, view_change));
                it.shown(view_change.value());
            }
            Message::NewView(new_view) => {
                it.alone.push(verified(EvidenceKind::NewView, new_view));
                for view_change in &new_view.value().view_changes {
                    let said = claimed(EvidenceKind::ViewChange, view_change);
                    it.opens.extend(said.clone());
                    it.within.extend(said);
                    if let Ok(view_change) = view_change.peek() {
                        it.shown(&view_change);
                    }
                }
                it.opens.extend(proposals(new_view.value()));
            }
            _ => {}
        }
        it
    }

    fn shown(&mut self, view_change: &ViewChange) {
        if let Some(certificate) = &view_change.stable {
            self.endorsed(EvidenceKind::Checkpoint, certificate);
        }
        view_change.prepared.iter().for_each(|certificate| self.prepared(certificate));
    }

    fn prepared(&mut self, certificate: &PreparedCertificate) {
        self.within.extend(claimed(EvidenceKind::PrePrepare, &certificate.header));
        self.endorsed(EvidenceKind::Prepare, &certificate.prepares);
    }

    fn endorsed<T: Exclusive>(&mut self, kind: EvidenceKind, certificate: &Endorsed<T>) {
        let (view, sequence) = certificate.statement.place();
        let payload = Bytes::from(certificate.statement.encode());
        let signers = certificate.signatures.iter().map(|(signer, _)| *signer);
        self.within.extend(signers.map(|it| ((it, kind, view.0, sequence.0), payload.clone())));
    }
}

/// The proposals of a NEW-VIEW.
pub(crate) fn proposals(new_view: &NewView) -> impl Iterator<Item = Said> {
    new_view.pre_prepares.iter().filter_map(|header| claimed(EvidenceKind::PrePrepare, header))
}

/// What a message claims that its sender says in it; what it passes on is for others to answer for.
pub(crate) fn claims(message: &PeerMessage) -> Option<Said> {
    match message {
        PeerMessage::Proposal(header, _) => claimed(EvidenceKind::PrePrepare, header),
        PeerMessage::Prepare(vote, _) => claimed(EvidenceKind::Prepare, vote),
        PeerMessage::Commit(vote) => claimed(EvidenceKind::Commit, vote),
        PeerMessage::Checkpoint(vote) => claimed(EvidenceKind::Checkpoint, vote),
        PeerMessage::ViewChange(it) => claimed(EvidenceKind::ViewChange, it),
        PeerMessage::NewView(it) => claimed(EvidenceKind::NewView, it),
        _ => None,
    }
}

fn claimed<T: Exclusive>(kind: EvidenceKind, signed: &Signed<T>) -> Option<Said> {
    let (view, sequence) = signed.peek().ok()?.place();
    Some(((signed.claimed_signer(), kind, view.0, sequence.0), signed.payload().clone()))
}

fn verified<T: Exclusive + Statement<Signer = ReplicaId>>(kind: EvidenceKind, vote: &Verified<T>) -> Said {
    let (view, sequence) = vote.value().place();
    ((vote.signer(), kind, view.0, sequence.0), vote.signed().payload().clone())
}
