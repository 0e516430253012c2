use std::collections::BTreeMap;
use std::sync::Arc;

use pbft_crypto::{Signed, Verified};
use pbft_messages::{Body, Commit, PeerMessage, PrePrepare, ReplicaId, Sequence, Timestamp, View};
use pbft_protocol::{Effect, Effects, Now};

use crate::rewrite::rewrite;
use crate::{Identity, Strategy};

/// `equivocate`: a primary that gives one place in the order to two batches.
///
/// For each batch A that its core proposes from now on it makes a second one, B: the same submissions at a time one
/// nanosecond later, under a header that is signed with the replica's real key. The first half of the backups
/// (rounded up) gets A, the rest gets B, and everybody gets its COMMIT for A and its COMMIT for B. When a backup is
/// sent its proposal again it gets the same lie again. While its replica is a backup it changes nothing.
///
/// See [`crate::STRATEGIES`] for the rule that defeats it.
#[derive(Debug)]
pub struct Equivocate {
    identity: Identity,
    /// The second batch at each place, until the place is covered by a stable checkpoint.
    lies: BTreeMap<(Sequence, View), Lie>,
}

/// A proposal of the second batch.
#[derive(Clone, Debug)]
struct Lie {
    header: Signed<PrePrepare>,
    body: Arc<Body>,
}

impl Equivocate {
    pub(crate) const NAME: &'static str = "equivocate";

    /// The strategy for one replica.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, lies: BTreeMap::new() }
    }

    /// Whether `backup` is one of those who get the second batch.
    fn is_lied_to(&self, backup: ReplicaId) -> bool {
        let (own, backups) = (self.identity.replica, self.identity.configuration.n() - 1);
        let place = backup.index() - usize::from(backup > own);
        place >= backups.div_ceil(2)
    }

    /// Carries a proposal of the core out as two.
    fn propose(&mut self, header: Signed<PrePrepare>, body: Arc<Body>, out: &mut Vec<Effect>) {
        // Not this replica's own: it was passed on as it came.
        let own = header.claimed_signer() == self.identity.replica;
        let (Ok(proposal), true) = (header.peek(), own) else {
            out.push(Effect::Broadcast(PeerMessage::Proposal(header, body)));
            return;
        };
        // The null batch has no time and so no second version.
        let Some(Timestamp(time)) = body.time() else {
            out.push(Effect::Broadcast(PeerMessage::Proposal(header, body)));
            return;
        };
        let place = (proposal.sequence, proposal.view);
        let second = self.lies.get(&place).cloned();
        let second =
            second.unwrap_or_else(|| self.lie(&proposal, body.with_time(Timestamp(time.saturating_add(1)))));
        let lied = second.body.digest();
        let configuration = Arc::clone(&self.identity.configuration);
        for to in configuration.replicas().filter(|to| *to != self.identity.replica) {
            let message = if self.is_lied_to(to) {
                PeerMessage::Proposal(second.header.clone(), Arc::clone(&second.body))
            } else {
                PeerMessage::Proposal(header.clone(), Arc::clone(&body))
            };
            out.push(Effect::Send { to, message });
        }
        for digest in [proposal.digest, lied] {
            let commit = Commit { view: proposal.view, sequence: proposal.sequence, digest };
            out.push(Effect::Broadcast(PeerMessage::Commit(self.sign(commit))));
        }
        self.lies.insert(place, second);
    }

    fn lie(&self, proposal: &PrePrepare, body: Body) -> Lie {
        let header = PrePrepare { digest: body.digest(), ..proposal.clone() };
        Lie { header: self.sign(header), body: Arc::new(body) }
    }

    fn sign<T>(&self, statement: T) -> Signed<T>
    where
        T: pbft_crypto::Statement<Signer = ReplicaId>,
    {
        let Identity { replica, signer, configuration } = &self.identity;
        Verified::sign(statement, *replica, &**signer, configuration.scope()).signed().clone()
    }

    /// A proposal that one backup is sent again.
    fn repeat(&self, to: ReplicaId, header: Signed<PrePrepare>, body: Arc<Body>) -> PeerMessage {
        let own = header.claimed_signer() == self.identity.replica;
        let lie = header.peek().ok().and_then(|it| self.lies.get(&(it.sequence, it.view)));
        match lie {
            Some(lie) if own && self.is_lied_to(to) => {
                PeerMessage::Proposal(lie.header.clone(), Arc::clone(&lie.body))
            }
            _ => PeerMessage::Proposal(header, body),
        }
    }
}

impl Strategy for Equivocate {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| match effect {
            Effect::Broadcast(PeerMessage::Proposal(header, body)) => self.propose(header, body, out),
            Effect::Send { to, message: PeerMessage::Proposal(header, body) } => {
                out.push(Effect::Send { to, message: self.repeat(to, header, body) });
            }
            Effect::Collect { through, .. } => {
                self.lies = self.lies.split_off(&(through.next(), View(0)));
                out.push(effect);
            }
            other => out.push(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Certificate as _, Conflict, Evidence, EvidenceKind, Message};
    use pbft_protocol::WriteId;

    use super::*;
    use crate::testing::{body, configuration, identity, proposal};

    /// What `strategy` makes of a proposal by `primary` in `view`.
    fn proposed(strategy: &mut Equivocate, view: u64, sequence: u64) -> Vec<Effect> {
        let (header, body) = proposal(strategy.identity.replica, view, sequence);
        let effects = vec![Effect::Broadcast(PeerMessage::Proposal(header, body))];
        strategy.effects(Now::default(), effects.into()).into()
    }

    fn proposals(effects: &[Effect]) -> Vec<(ReplicaId, Signed<PrePrepare>, Arc<Body>)> {
        let proposals = effects.iter().filter_map(|effect| match effect {
            Effect::Send { to, message: PeerMessage::Proposal(header, body) } => {
                Some((*to, header.clone(), Arc::clone(body)))
            }
            _ => None,
        });
        proposals.collect()
    }

    #[test]
    fn half_of_the_backups_get_a_and_the_rest_b() {
        for (n, first_half) in [(4, 2), (5, 2), (6, 3), (7, 3), (10, 5)] {
            let mut strategy = Equivocate::new(identity(n, ReplicaId(1)));
            let sent = proposals(&proposed(&mut strategy, 1, 9));
            let to: Vec<_> = sent.iter().map(|(to, ..)| to.0).collect();
            assert_eq!(to, (0..n).filter(|it| *it != 1).collect::<Vec<_>>());
            let (a, b) = sent.split_at(first_half);
            assert!(
                a.iter().all(|(_, header, body)| *body == a[0].2 && header.payload() == a[0].1.payload())
            );
            assert!(
                b.iter().all(|(_, header, body)| *body == b[0].2 && header.payload() == b[0].1.payload())
            );
            assert_ne!(a[0].2.digest(), b[0].2.digest());
            assert_eq!(a[0].2.submissions().len(), b[0].2.submissions().len());
        }
    }

    #[test]
    fn both_batches_pass_as_proposals_and_together_they_are_evidence() {
        let configuration = configuration(4);
        let mut strategy = Equivocate::new(identity(4, ReplicaId(1)));
        let sent = proposals(&proposed(&mut strategy, 1, 9));
        let headers: Vec<_> = sent
            .into_iter()
            .map(|(_, header, body)| match PeerMessage::Proposal(header, body).verify(&configuration) {
                Ok(Message::Proposal(header, _)) => header,
                other => panic!("a lie that nobody would believe: {other:?}"),
            })
            .collect();
        let evidence = Evidence::from(Conflict::between(&headers[0], &headers[2]).unwrap());
        assert!(evidence.check(&configuration).is_ok());
        let accusation = evidence.accusation().unwrap();
        assert_eq!((accusation.accused, accusation.kind), (ReplicaId(1), EvidenceKind::PrePrepare));
        assert_eq!((accusation.view, accusation.sequence), (View(1), Sequence(9)));
    }

    #[test]
    fn it_commits_to_both() {
        let configuration = configuration(4);
        let mut strategy = Equivocate::new(identity(4, ReplicaId(1)));
        let effects = proposed(&mut strategy, 1, 9);
        let proposed: Vec<_> = proposals(&effects).iter().map(|(_, _, body)| body.digest()).collect();
        let commits = effects.iter().filter_map(|effect| match effect {
            Effect::Broadcast(PeerMessage::Commit(commit)) => {
                Some(commit.clone().verify(&configuration).unwrap().value().digest)
            }
            _ => None,
        });
        assert_eq!(commits.collect::<Vec<_>>(), [proposed[0], proposed[2]]);
    }

    #[test]
    fn the_lie_stands_when_it_is_repeated_and_is_forgotten_with_the_log() {
        let mut strategy = Equivocate::new(identity(4, ReplicaId(1)));
        let first = proposals(&proposed(&mut strategy, 1, 9));
        let (header, body) = proposal(ReplicaId(1), 1, 9);
        let again = |strategy: &mut Equivocate, to| {
            let message = PeerMessage::Proposal(header.clone(), Arc::clone(&body));
            let effects: Vec<_> =
                strategy.effects(Now::default(), vec![Effect::Send { to, message }].into()).into();
            proposals(&effects)[0].2.digest()
        };
        assert_eq!(again(&mut strategy, ReplicaId(3)), first[2].2.digest());
        assert_eq!(again(&mut strategy, ReplicaId(0)), first[0].2.digest());
        strategy.effects(
            Now::default(),
            vec![Effect::Collect { through: Sequence(9), keep: std::collections::BTreeSet::new() }].into(),
        );
        assert!(strategy.lies.is_empty());
    }

    #[test]
    fn what_waits_for_a_write_is_split_inside_it() {
        let mut strategy = Equivocate::new(identity(4, ReplicaId(1)));
        let (header, body) = proposal(ReplicaId(1), 1, 9);
        let then = vec![Effect::Broadcast(PeerMessage::Proposal(header, body))];
        let write = Effect::Persist { id: WriteId(1), records: Vec::new(), then };
        let effects: Vec<_> = strategy.effects(Now::default(), vec![write].into()).into();
        let [Effect::Persist { then, .. }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(proposals(then).len(), 3);
    }

    #[test]
    fn a_backup_stays_honest() {
        let mut strategy = Equivocate::new(identity(4, ReplicaId(2)));
        let (header, body) = proposal(ReplicaId(1), 1, 9);
        let effects = || {
            let fetched = PeerMessage::Body(body_of_a_proposal());
            vec![
                Effect::Broadcast(PeerMessage::Proposal(header.clone(), Arc::clone(&body))),
                Effect::Send { to: ReplicaId(0), message: fetched },
            ]
        };
        assert_eq!(strategy.effects(Now::default(), effects().into()), effects().into());
    }

    fn body_of_a_proposal() -> Arc<Body> {
        Arc::new(body())
    }
}
