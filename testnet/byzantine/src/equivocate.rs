use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pbft_crypto::{Digest, Signed};
use pbft_messages::{
    Body, Commit, EvidenceKind, Message, PeerMessage, PrePrepare, Prepare, ReplicaId, Sequence, Timestamp,
    View,
};
use pbft_protocol::{Effect, Effects, Input, Now};

use crate::batch::altered;
use crate::group::Group;
use crate::parameters::{Values, choice};
use crate::rewrite::rewrite;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "equivocate",
    row: 25,
    parameters: &[
        Parameter {
            name: "to",
            default: "half",
            meaning: "who gets the second batch, of those who are no accomplices",
        },
        Parameter {
            name: "differ",
            default: "time",
            meaning: "how it differs from the first: in its time, in the order of its submissions, or by the omission of \
                      one; in its time where there is nothing to reorder or omit",
        },
    ],
    does: "As primary, proposes two different batches at each sequence, A to some of the backups and B to the rest, and \
           commits to A with the first and to B with the rest. If it has accomplices who do likewise, it signs their \
           votes for A and for B too, and they keep quiet. As another's backup it behaves well.",
    defeated_by: "Quorum intersection: no two batches get certificates at one place unless more than f lie; and N3: each \
                  PREPARE carries the proposal that it answers, so the two halves show each other the lie.",
    expect: "Evidence of kind pre-prepare that names exactly this replica, and with it, at once, a view change (VC1); of \
             kind commit too where both of its COMMITs reach a replica, and of kind omission where its VIEW-CHANGE is \
             compared with the one to B. With f accomplices, two correct replicas execute different batches.",
    stage: Stage::Primary,
    samples: &Sample::all(
        Proof::Sure(EvidenceKind::PrePrepare),
        ["equivocate", "equivocate:to=1", "equivocate:differ=order", "equivocate:to=1,differ=omission"],
    ),
    pause: Pause::ViewTimeouts(1),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let configuration = &identity.configuration;
    let victims = identity.others().filter(|it| !identity.accomplices.contains_key(it));
    let lied_to = values.get::<Group>("to", configuration)?.among(victims, configuration);
    let differ = values.get("differ", configuration)?;
    Ok(Box::new(Equivocate { identity: identity.clone(), lied_to, differ, lies: BTreeMap::new() }))
}

choice! {
    /// How the second batch differs.
    Differ { Time = "time", Order = "order", Omission = "omission" },
    "time, order or omission"
}

/// `equivocate`: a primary that gives one place in the order to two batches.
///
/// For each batch A that its core proposes from now on it makes a second one, B, under a header that is signed with the
/// replica's real key. Some backups get B, with a COMMIT for it, and the others A, with a COMMIT for that. When a backup
/// is sent its proposal again it gets the same lie again. Its own core believes in A.
///
/// Accomplices vote in each other's views as the primary of the view wants: it holds their keys, and sends its victims
/// their votes beside the proposal. What their own cores would say of it they keep to themselves.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct Equivocate {
    identity: Identity,
    /// Who gets the second batch.
    lied_to: BTreeSet<ReplicaId>,
    differ: Differ,
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
    /// Carries a proposal of the core out as two.
    fn propose(&mut self, header: Signed<PrePrepare>, body: Arc<Body>, out: &mut Vec<Effect>) {
        // Not this replica's own: it was passed on as it came. The null batch has no time and so no second version.
        let own = header.claimed_signer() == self.identity.replica;
        let (Ok(proposal), Some(time), true) = (header.peek(), body.time(), own) else {
            return out.push(Effect::Broadcast(PeerMessage::Proposal(header, body)));
        };
        let place = (proposal.sequence, proposal.view);
        let second = self.lies.get(&place).cloned().unwrap_or_else(|| self.lie(&proposal, &body, time));
        let first = Lie { header, body };
        for to in self.identity.others() {
            let told = if self.lied_to.contains(&to) { &second } else { &first };
            let message = PeerMessage::Proposal(told.header.clone(), Arc::clone(&told.body));
            out.push(Effect::Send { to, message });
            if !self.identity.accomplices.contains_key(&to) {
                let votes = self.votes(&proposal, told);
                out.extend(votes.into_iter().map(|message| Effect::Send { to, message }));
            }
        }
        self.lies.insert(place, second);
    }

    fn lie(&self, proposal: &PrePrepare, body: &Body, Timestamp(time): Timestamp) -> Lie {
        let other = match self.differ {
            Differ::Time => None,
            Differ::Order => altered(body, |submissions| submissions.reverse()),
            Differ::Omission => altered(body, |submissions| drop(submissions.pop())),
        };
        let other = other.filter(|it| it.digest() != body.digest());
        let body = other.unwrap_or_else(|| body.with_time(Timestamp(time.saturating_add(1))));
        let header = PrePrepare { digest: body.digest(), ..proposal.clone() };
        Lie { header: self.identity.sign(header), body: Arc::new(body) }
    }

    /// What makes a proposal look well supported: the accomplices' votes for it, and this replica's COMMIT.
    fn votes(&self, PrePrepare { view, sequence, .. }: &PrePrepare, told: &Lie) -> Vec<PeerMessage> {
        let (view, sequence, digest) = (*view, *sequence, told.body.digest());
        let Identity { replica, signer, accomplices, .. } = &self.identity;
        let prepares = accomplices.iter().map(|(accomplice, signer)| {
            let vote = self.identity.sign_as(*accomplice, &**signer, Prepare { view, sequence, digest });
            PeerMessage::Prepare(vote, *told.header.signature())
        });
        let commits = accomplices.iter().chain([(replica, signer)]).map(|(signatory, signer)| {
            let vote = Commit { view, sequence, digest };
            PeerMessage::Commit(self.identity.sign_as(*signatory, &**signer, vote))
        });
        prepares.chain(commits).collect()
    }

    /// A proposal that one backup is sent again.
    fn repeat(&self, to: ReplicaId, header: Signed<PrePrepare>, body: Arc<Body>) -> PeerMessage {
        let own = header.claimed_signer() == self.identity.replica;
        let lie = header.peek().ok().and_then(|it| self.lies.get(&(it.sequence, it.view)));
        match lie {
            Some(lie) if own && self.lied_to.contains(&to) => {
                PeerMessage::Proposal(lie.header.clone(), Arc::clone(&lie.body))
            }
            _ => PeerMessage::Proposal(header, body),
        }
    }

    /// Whether a message gives the game away: the core's own votes at a place where others were sent, and evidence
    /// against the band.
    fn betrays(&self, message: &PeerMessage) -> bool {
        match message {
            PeerMessage::Prepare(vote, _) => vote.peek().is_ok_and(|it| self.is_accomplices(it.view)),
            PeerMessage::Commit(vote) => vote.peek().is_ok_and(|it| {
                self.is_accomplices(it.view) || self.lies.contains_key(&(it.sequence, it.view))
            }),
            PeerMessage::Evidence(evidence) => {
                evidence.accusation().is_ok_and(|it| self.is_of_band(it.accused))
            }
            _ => false,
        }
    }

    /// Whether the core must not hear a message, for it would find out what its replica does.
    fn is_unheard(&self, message: &Message) -> bool {
        let foreign = |view, sequence, digest: Digest| {
            self.is_accomplices(view)
                || self.lies.get(&(sequence, view)).is_some_and(|lie| lie.body.digest() == digest)
        };
        match message {
            Message::Prepare(vote, _) => {
                let Prepare { view, sequence, digest } = *vote.value();
                foreign(view, sequence, digest)
            }
            Message::Commit(vote) => {
                let Commit { view, sequence, digest } = *vote.value();
                foreign(view, sequence, digest)
            }
            Message::Evidence(evidence) => {
                evidence.get().accusation().is_ok_and(|it| self.is_of_band(it.accused))
            }
            _ => false,
        }
    }

    /// Whether an accomplice leads a view.
    fn is_accomplices(&self, view: View) -> bool {
        self.identity.accomplices.contains_key(&self.identity.configuration.primary(view))
    }

    fn is_of_band(&self, replica: ReplicaId) -> bool {
        replica == self.identity.replica || self.identity.accomplices.contains_key(&replica)
    }
}

impl Strategy for Equivocate {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: Now, input: Input, heard: &mut VecDeque<Input>) {
        let unheard = matches!(&input, Input::Message { message, .. } if self.is_unheard(message));
        if !unheard {
            heard.push_back(input);
        }
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        rewrite(effects, &mut |effect, out| match effect {
            Effect::Broadcast(PeerMessage::Proposal(header, body)) => self.propose(header, body, out),
            Effect::Send { to, message: PeerMessage::Proposal(header, body) } => {
                out.push(Effect::Send { to, message: self.repeat(to, header, body) });
            }
            Effect::Broadcast(message) | Effect::Send { message, .. } if self.betrays(&message) => {}
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
    use pbft_messages::{Certificate as _, Conflict, Evidence, Message};
    use pbft_protocol::WriteId;

    use super::*;
    use crate::testing::{band, body, configuration, identity, proposal, submission};

    /// The strategy that lies to the half of those who are no accomplices.
    fn equivocate(identity: &Identity, differ: Differ) -> Equivocate {
        let victims = identity.others().filter(|it| !identity.accomplices.contains_key(it));
        let lied_to = Group::Half.among(victims, &identity.configuration);
        Equivocate { identity: identity.clone(), lied_to, differ, lies: BTreeMap::new() }
    }

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
            let mut strategy = equivocate(&identity(n, ReplicaId(1)), Differ::Time);
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
        let mut strategy = equivocate(&identity(4, ReplicaId(1)), Differ::Time);
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

    /// The votes that a replica is sent: whose, and for what.
    fn votes(effects: &[Effect], receiver: ReplicaId) -> Vec<(&'static str, ReplicaId, Digest)> {
        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Send { to, message } if *to == receiver => Some(message.clone()),
            _ => None,
        });
        let vote = |message: PeerMessage| match message.verify(&configuration(4)).unwrap() {
            Message::Prepare(vote, _) => Some(("prepare", vote.signer(), vote.value().digest)),
            Message::Commit(vote) => Some(("commit", vote.signer(), vote.value().digest)),
            _ => None,
        };
        sent.filter_map(vote).collect()
    }

    #[test]
    fn it_commits_to_what_each_half_got() {
        let mut strategy = equivocate(&identity(4, ReplicaId(1)), Differ::Time);
        let effects = proposed(&mut strategy, 1, 9);
        for (to, _, body) in proposals(&effects) {
            assert_eq!(votes(&effects, to), [("commit", ReplicaId(1), body.digest())]);
        }
        // What its core commits to in the end is not said to all.
        let commit = Commit { view: View(1), sequence: Sequence(9), digest: body().digest() };
        let commit = Effect::Broadcast(PeerMessage::Commit(strategy.identity.sign(commit)));
        assert_eq!(strategy.effects(Now::default(), vec![commit].into()), Effects::new());
    }

    #[test]
    fn the_second_batch_differs_as_asked() {
        let (header, _) = proposal(ReplicaId(1), 1, 9);
        let differ = |differ, submissions: &[_]| {
            let body = Arc::new(Body::new(Timestamp(5), submissions));
            let effects = vec![Effect::Broadcast(PeerMessage::Proposal(header.clone(), body))];
            let mut strategy = equivocate(&identity(4, ReplicaId(1)), differ);
            let effects = Vec::from(strategy.effects(Now::default(), effects.into()));
            Body::clone(&proposals(&effects)[2].2)
        };
        let (a, b) = (submission(1), submission(2));
        let both = [a.clone(), b.clone()];
        assert_eq!(differ(Differ::Time, &both), Body::new(Timestamp(6), &both));
        assert_eq!(differ(Differ::Order, &both), Body::new(Timestamp(5), [&b, &a]));
        assert_eq!(differ(Differ::Omission, &both), Body::new(Timestamp(5), [&a]));
        assert_eq!(differ(Differ::Order, &both[..1]), Body::new(Timestamp(6), [&a]));
        assert_eq!(differ(Differ::Omission, &[]), Body::new(Timestamp(6), []));
    }

    #[test]
    fn accomplices_vote_for_both_and_say_nothing_themselves() {
        let [mut primary, mut accomplice] =
            band(4, [ReplicaId(1), ReplicaId(2)]).map(|it| equivocate(&it, Differ::Time));
        let effects = proposed(&mut primary, 1, 9);
        let digests: BTreeMap<_, _> =
            proposals(&effects).into_iter().map(|(to, _, body)| (to, body.digest())).collect();
        let [a, b] = [digests[&ReplicaId(0)], digests[&ReplicaId(3)]];
        assert_eq!(digests.into_values().collect::<Vec<_>>(), [a, a, b]);
        for (to, told) in [(0, a), (3, b)] {
            let expected = ["prepare", "commit"].map(|kind| (kind, ReplicaId(2), told));
            let expected = [&expected[..], &[("commit", ReplicaId(1), told)]].concat();
            assert_eq!(votes(&effects, ReplicaId(to)), expected, "r{to}");
        }
        assert_eq!(votes(&effects, ReplicaId(2)), []);
        let commit = Commit { view: View(1), sequence: Sequence(9), digest: a };
        let elsewhere = Commit { view: View(3), ..commit.clone() };
        let commits = [commit, elsewhere]
            .map(|it| Effect::Broadcast(PeerMessage::Commit(accomplice.identity.sign(it))));
        let passed = accomplice.effects(Now::default(), commits.to_vec().into());
        assert_eq!(Vec::from(passed), commits[1..]);
    }

    #[test]
    fn its_own_core_hears_nothing_of_the_lie() {
        let mut strategy = equivocate(&identity(4, ReplicaId(1)), Differ::Time);
        let bodies: Vec<_> = proposals(&proposed(&mut strategy, 1, 9)).into_iter().map(|it| it.2).collect();
        let mut hears = |body: &Body| {
            let vote = Commit { view: View(1), sequence: Sequence(9), digest: body.digest() };
            let vote = identity(4, ReplicaId(3)).sign(vote);
            let message = PeerMessage::Commit(vote).verify(&configuration(4)).unwrap();
            let mut heard = VecDeque::new();
            strategy.hear(Now::default(), Input::Message { from: ReplicaId(3), message }, &mut heard);
            heard.len() == 1
        };
        assert_eq!((hears(&bodies[0]), hears(&bodies[2])), (true, false));
    }

    #[test]
    fn the_lie_stands_when_it_is_repeated_and_is_forgotten_with_the_log() {
        let mut strategy = equivocate(&identity(4, ReplicaId(1)), Differ::Time);
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
        let mut strategy = equivocate(&identity(4, ReplicaId(1)), Differ::Time);
        let (header, body) = proposal(ReplicaId(1), 1, 9);
        let then = vec![Effect::Broadcast(PeerMessage::Proposal(header, body))];
        let write = Effect::Persist { id: WriteId(1), records: Vec::new(), then };
        let effects: Vec<_> = strategy.effects(Now::default(), vec![write].into()).into();
        let [Effect::Persist { then, .. }] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(proposals(then).len(), 3);
    }

    #[test]
    fn a_backup_stays_honest() {
        let mut strategy = equivocate(&identity(4, ReplicaId(2)), Differ::Time);
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
