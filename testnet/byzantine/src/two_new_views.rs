use std::collections::{BTreeMap, VecDeque};

use pbft_crypto::{Digest, Signed};
use pbft_messages::{EvidenceKind, Message, NewView, PeerMessage, ReplicaId, View, ViewChange};
use pbft_protocol::{Effects, Input, Now};

use crate::own_view_change::new_view;
use crate::parameters::{Values, choice};
use crate::rewrite::retell_each;
use crate::{Description, Identity, Parameter, Pause, Proof, Sample, Stage, Strategy, UnknownStrategy};

pub(crate) const DESCRIPTION: Description = Description {
    name: "two-new-views",
    row: 41,
    parameters: &[Parameter {
        name: "spread",
        default: "all",
        meaning: "halves (each half gets one) or all (everybody gets both, each half in another order)",
    }],
    does: "As the primary of a new view, opens it twice: half of the replicas get one NEW-VIEW first, the rest another, \
           each with a quorum of VIEW-CHANGEs and what follows from them. The second shows another replica's VIEW-CHANGE in \
           place of one that the first shows, or its own without certificates, so that it carries over other batches if \
           that can be; else the same in another order.",
    defeated_by: "Quorum intersection: what was committed follows from every quorum, and no two batches get \
                  certificates at one place of the view.",
    expect: "Evidence of kind new-view where both reach a replica, and of kind pre-prepare where they carry over \
             different batches, that names exactly this replica; then the next view (VC1).",
    stage: Stage::ViewChange,
    samples: &[
        Sample { text: "two-new-views", proof: Proof::Sure(EvidenceKind::NewView) },
        Sample { text: "two-new-views:spread=halves", proof: Proof::Possible },
    ],
    pause: Pause::ViewTimeouts(3),
};

pub(crate) fn make(values: &Values<'_>, identity: &Identity) -> Result<Box<dyn Strategy>, UnknownStrategy> {
    let (spread, identity) = (values.get("spread", &identity.configuration)?, identity.clone());
    Ok(Box::new(TwoNewViews { identity, spread, heard: BTreeMap::new(), second: None }))
}

/// `two-new-views`: a primary that opens its view in two ways.
///
/// See [`DESCRIPTION`] for the rule that defeats it.
#[derive(Debug)]
struct TwoNewViews {
    identity: Identity,
    spread: Spread,
    /// The last VIEW-CHANGE that each of the others sent.
    heard: BTreeMap<ReplicaId, Signed<ViewChange>>,
    /// The second NEW-VIEW of the last view that this replica opened.
    second: Option<(View, Signed<NewView>)>,
}

choice! {
    /// Who gets them.
    Spread { Halves = "halves", All = "all" },
    "halves or all"
}

impl TwoNewViews {
    /// What one replica gets in place of a NEW-VIEW.
    fn messages_to(&mut self, to: ReplicaId, message: PeerMessage) -> Vec<PeerMessage> {
        let PeerMessage::NewView(first) = message else { return vec![message] };
        let Some(second) = self.second_to(&first) else { return vec![PeerMessage::NewView(first)] };
        let both = match self.identity.is_in_second_half(to) {
            true => [second, first],
            false => [first, second],
        };
        let told = if self.spread == Spread::All { 2 } else { 1 };
        both.into_iter().take(told).map(PeerMessage::NewView).collect()
    }

    fn second_to(&mut self, first: &Signed<NewView>) -> Option<Signed<NewView>> {
        if first.claimed_signer() != self.identity.replica {
            return None;
        }
        let first = first.peek().ok()?;
        if let Some((_, second)) = self.second.as_ref().filter(|(view, _)| *view == first.view) {
            return Some(second.clone());
        }
        let second = self.lie(&first)?;
        self.second = Some((first.view, second.clone()));
        Some(second)
    }

    /// Another NEW-VIEW for the same view: one that carries over something else, if there is one.
    fn lie(&self, first: &NewView) -> Option<Signed<NewView>> {
        let carried = |quorum: &[Signed<ViewChange>]| {
            let NewView { view, .. } = *first;
            let shown = NewView { view, view_changes: quorum.to_vec(), pre_prepares: Vec::new() };
            shown.carried_over().ok().map(|it| it.digests)
        };
        let honest = carried(&first.view_changes)?;
        let quorums = self.other_quorums(first);
        let mut possible = quorums.iter().filter_map(|it| Some((it, carried(it)?)));
        let any = possible.next()?;
        let differs = |(_, digests): &(_, Vec<Digest>)| *digests != honest;
        let (chosen, _) = if differs(&any) { any } else { possible.find(differs).unwrap_or(any) };
        new_view(&self.identity, first.view, chosen.clone())
    }

    /// Other quorums of VIEW-CHANGEs for the view; the last is the same one in another order.
    fn other_quorums(&self, first: &NewView) -> Vec<Vec<Signed<ViewChange>>> {
        let NewView { view, view_changes, .. } = first;
        let own = ViewChange { view: *view, stable: None, prepared: Vec::new() };
        let own = self.identity.sign(own);
        let heard = self.heard.values().filter(|it| it.peek().is_ok_and(|it| it.view == *view));
        let mut quorums = Vec::new();
        for other in heard.chain([&own]) {
            for place in 0..view_changes.len() {
                let mut quorum = view_changes.clone();
                quorum[place] = other.clone();
                let signer = other.claimed_signer();
                let distinct = quorum.iter().filter(|it| it.claimed_signer() == signer).count() == 1;
                if distinct && quorum != *view_changes {
                    quorums.push(quorum);
                }
            }
        }
        quorums.push(view_changes.iter().rev().cloned().collect());
        quorums
    }
}

impl Strategy for TwoNewViews {
    fn name(&self) -> &str {
        DESCRIPTION.name
    }

    fn hear(&mut self, _: Now, input: Input, heard: &mut VecDeque<Input>) {
        if let Input::Message { message: Message::ViewChange(view_change), .. } = &input {
            self.heard.insert(view_change.signer(), view_change.signed().clone());
        }
        heard.push_back(input);
    }

    fn effects(&mut self, _: Now, effects: Effects) -> Effects {
        let identity = self.identity.clone();
        retell_each(&identity, effects, |it| matches!(it, PeerMessage::NewView(_)), &mut |to, message| {
            self.messages_to(to, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use pbft_crypto::Verified;
    use pbft_messages::Conflict;

    use super::*;
    use crate::testing::{configuration, identity, made, prepared, told, view_change};

    /// What each of the others gets for an honest NEW-VIEW, all of it good in every part.
    fn opened(
        strategy: &mut dyn Strategy,
        honest: &Signed<NewView>,
    ) -> BTreeMap<ReplicaId, Vec<Verified<NewView>>> {
        let mut opened: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (to, message) in told(strategy, PeerMessage::NewView(honest.clone())) {
            match message.verify(&configuration(4)) {
                Ok(Message::NewView(it)) => opened.entry(to.unwrap()).or_default().push(it),
                other => panic!("{other:?}"),
            }
        }
        opened
    }

    #[test]
    fn both_are_good_and_together_they_are_evidence() {
        let identity = identity(4, ReplicaId(1));
        for proofs in [vec![], vec![prepared(0, 1, "a")]] {
            let quorum = (1..4).map(|it| view_change(it, 1, proofs.clone())).collect();
            let honest = new_view(&identity, View(1), quorum).unwrap();
            let told = opened(&mut *made("two-new-views", &identity), &honest);
            assert_eq!(told.len(), 3);
            assert!(told.values().all(|both| Conflict::between(&both[0], &both[1]).is_some()));
            assert_eq!(told[&ReplicaId(0)][0], told[&ReplicaId(3)][1]);
            let halves = opened(&mut *made("two-new-views:spread=halves", &identity), &honest);
            assert_eq!(halves[&ReplicaId(0)], halves[&ReplicaId(2)]);
            assert!(Conflict::between(&halves[&ReplicaId(0)][0], &halves[&ReplicaId(3)][0]).is_some());
        }
    }

    /// r0 alone holds a certificate, and is heard too late to be shown.
    #[test]
    fn they_carry_over_different_batches_if_that_can_be() {
        let identity = identity(4, ReplicaId(1));
        let mut strategy = made("two-new-views", &identity);
        let late = view_change(0, 1, vec![prepared(0, 1, "a")]).verify(&configuration(4)).unwrap();
        let input = Input::Message { from: ReplicaId(0), message: Message::ViewChange(late) };
        let mut heard = VecDeque::new();
        strategy.hear(Now::default(), input.clone(), &mut heard);
        assert_eq!(heard, [input]);
        let quorum = (1..4).map(|it| view_change(it, 1, vec![])).collect();
        let told = opened(&mut *strategy, &new_view(&identity, View(1), quorum).unwrap());
        let carried: Vec<_> = told[&ReplicaId(0)].iter().map(|it| it.value().pre_prepares.len()).collect();
        assert_eq!(carried, [0, 1]);
    }
}
