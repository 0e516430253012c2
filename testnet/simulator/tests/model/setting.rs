//! Who takes part, what the adversary may say, and what the model leaves out.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use pbft_crypto::{Digest, SecretKey, Signed, Signer as _, Verified};
use pbft_messages::{
    Body, ClientId, Commit, Configuration, Exclusive, Member, Parameters, PeerMessage, PrePrepare, Prepare,
    PreparedCertificate, Proven, ReplicaId, RequestNumber, Sequence, SessionId, Submission, Timestamp, View,
    ViewChange, VoteSet,
};

use crate::replica::{MessageId, Messages};

const ONE: Sequence = Sequence(1);

pub(crate) struct Setting {
    pub(crate) configuration: Arc<Configuration>,
    /// Two requests, which every replica has from the start.
    pub(crate) submissions: Vec<Verified<Submission>>,
    /// Who lies: r0, the primary of view 0, and perhaps r3.
    pub(crate) liars: Vec<ReplicaId>,
    /// Whether timers expire, and with them view 1 may come.
    pub(crate) expiry: bool,
    /// Whether the liars take part in view 1, besides asking for it.
    pub(crate) lies_on: bool,
    /// The two batches that r0 proposes at the one place.
    bodies: [Arc<Body>; 2],
}

impl Setting {
    pub(crate) fn new(liars: &[u16], expiry: bool, lies_on: bool) -> Self {
        let members = (0..4).map(|index| Member {
            key: Self::key(ReplicaId(index)).public_key(),
            peer_address: ([127, 0, 0, 1], 1000 + index).into(),
            client_address: ([127, 0, 0, 1], 2000 + index).into(),
        });
        let client = SecretKey::from_seed(&[200; 32]);
        let configuration = Configuration::new(
            "model".into(),
            members.collect(),
            [client.public_key()],
            Parameters::default(),
        )
        .expect("a valid configuration");
        let submission = |first| {
            let operations = vec![Bytes::from_static(b"operation")];
            let value =
                Submission::Requests { session: SessionId(1), first: RequestNumber(first), operations };
            Verified::sign(value, ClientId::from(client.public_key()), &client, configuration.scope())
        };
        let submissions = vec![submission(1), submission(2)];
        let time = Timestamp(1_000_000_000);
        let bodies = [0, 1].map(|index| Arc::new(Body::new(time, &submissions[index..=index])));
        Self {
            configuration: Arc::new(configuration),
            submissions,
            liars: liars.iter().copied().map(ReplicaId).collect(),
            expiry,
            lies_on,
            bodies,
        }
    }

    pub(crate) fn key(replica: ReplicaId) -> SecretKey {
        SecretKey::from_seed(&[replica.0 as u8 + 1; 32])
    }

    pub(crate) fn correct(&self) -> Vec<ReplicaId> {
        self.configuration.replicas().filter(|it| !self.liars.contains(it)).collect()
    }

    /// What the network carries: the agreement on sequence 1 in the views 0 and 1. The rest it loses, as it may:
    /// statuses, later sequences and views, and evidence, which each finds for itself.
    pub(crate) fn delivers(&self, message: &PeerMessage) -> bool {
        let (view, sequence) = match message {
            PeerMessage::Proposal(it, _) => place(it),
            PeerMessage::Prepare(it, _) => place(it),
            PeerMessage::Commit(it) => place(it),
            PeerMessage::ViewChange(it) => place(it),
            PeerMessage::NewView(it) => place(it),
            _ => return false,
        };
        view <= View(u64::from(self.expiry)) && sequence <= ONE
    }

    fn sign<T: Exclusive>(&self, replica: ReplicaId, value: T) -> Signed<T> {
        Verified::sign(value, replica, &Self::key(replica), self.configuration.scope()).signed().clone()
    }

    /// What the liars may say from the start: both proposals, with their bodies for whoever lacks one, and in view 0
    /// votes for either.
    pub(crate) fn lies(&self, messages: &mut Messages) -> BTreeSet<MessageId> {
        let mut lies = Vec::new();
        let primary = ReplicaId(0);
        for body in &self.bodies {
            let digest = body.digest();
            let header = self.sign(primary, PrePrepare { view: View(0), sequence: ONE, digest });
            lies.push((primary, PeerMessage::Body(Arc::clone(body))));
            for liar in &self.liars {
                lies.push((
                    *liar,
                    PeerMessage::Commit(self.sign(*liar, Commit { view: View(0), sequence: ONE, digest })),
                ));
                if *liar != primary {
                    let vote = self.sign(*liar, Prepare { view: View(0), sequence: ONE, digest });
                    lies.push((*liar, PeerMessage::Prepare(vote, *header.signature())));
                }
            }
            lies.push((primary, PeerMessage::Proposal(header, Arc::clone(body))));
        }
        if self.expiry {
            for liar in &self.liars {
                let nothing = ViewChange { view: View(1), stable: None, prepared: vec![] };
                lies.push((*liar, PeerMessage::ViewChange(self.sign(*liar, nothing))));
            }
        }
        lies.iter().filter_map(|(from, it)| messages.number(self, *from, None, it)).collect()
    }

    /// What the liars may say besides, once correct replicas have said all this: VIEW-CHANGEs with the certificates
    /// that exist, and votes in view 1 for whatever is proposed there.
    pub(crate) fn answers(
        &self,
        heard: &BTreeSet<MessageId>,
        messages: &mut Messages,
    ) -> BTreeSet<MessageId> {
        let mut lies = Vec::new();
        for body in self.bodies.iter().filter(|_| self.expiry) {
            let certificate = self.certificate(body.digest(), heard, messages);
            for liar in self.liars.iter().filter(|_| certificate.is_some()) {
                let shown = ViewChange {
                    view: View(1),
                    stable: None,
                    prepared: certificate.iter().cloned().collect(),
                };
                lies.push((*liar, PeerMessage::ViewChange(self.sign(*liar, shown))));
            }
        }
        let proposed = heard.iter().filter_map(|id| match &messages.all[usize::from(*id)].wire {
            PeerMessage::Proposal(header, _) => header.peek().ok().map(|it| (it, *header.signature())),
            PeerMessage::NewView(it) => {
                let header = it.peek().ok()?.pre_prepares.into_iter().next()?;
                Some((header.peek().ok()?, *header.signature()))
            }
            _ => None,
        });
        let proposed: Vec<_> = proposed.filter(|(it, _)| it.view == View(1) && self.lies_on).collect();
        for (PrePrepare { view, sequence, digest }, signature) in proposed {
            for liar in &self.liars {
                let vote = self.sign(*liar, Prepare { view, sequence, digest });
                lies.push((*liar, PeerMessage::Prepare(vote, signature)));
                lies.push((*liar, PeerMessage::Commit(self.sign(*liar, Commit { view, sequence, digest }))));
            }
        }
        lies.iter().filter_map(|(from, it)| messages.number(self, *from, None, it)).collect()
    }

    /// The certificate of a batch in view 0, if the PREPAREs of correct replicas and of liars suffice for one.
    fn certificate(
        &self,
        digest: Digest,
        heard: &BTreeSet<MessageId>,
        messages: &Messages,
    ) -> Option<PreparedCertificate> {
        let wanted = Prepare { view: View(0), sequence: ONE, digest };
        let mut votes = VoteSet::default();
        for id in heard {
            if let pbft_messages::Message::Prepare(vote, _) = &messages.all[usize::from(*id)].message
                && *vote.value() == wanted
            {
                votes.insert(vote.clone()).ok()?;
            }
        }
        let header = self.sign(ReplicaId(0), PrePrepare { view: View(0), sequence: ONE, digest });
        let header = header.verify(&self.configuration).ok()?;
        Some(Proven::prepared(&header, &votes, self.configuration.quorum())?.get().clone())
    }
}

fn place<T: Exclusive>(signed: &Signed<T>) -> (View, Sequence) {
    signed.peek().map_or((View(u64::MAX), ONE), |it| it.place())
}
