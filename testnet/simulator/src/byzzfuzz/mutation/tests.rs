//! Of what replicas really say, every copy is a lie: it differs, can be read, and where it is signed the liar signed it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use pbft_crypto::Rejected;
use pbft_messages::{Commit, Parameters};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::super::values::Reach;
use super::*;
use crate::{Cluster, Settings};

const LIAR: ReplicaId = ReplicaId(1);

/// A cluster, and what was said in it while it agreed, fetched state and changed views.
fn story() -> (Cluster, Vec<PeerMessage>) {
    let mut settings = Settings::new(4, 1);
    settings.parameters = Parameters { checkpoint_interval: 2, window: 4, ..settings.parameters };
    let mut cluster = Cluster::new(settings);
    let said: Rc<RefCell<Vec<PeerMessage>>> = Rc::default();
    let tap = Rc::clone(&said);
    cluster.set_filter(move |_, _, message| {
        tap.borrow_mut().push(message.clone());
        true
    });
    for crashed in [3, 0].map(ReplicaId) {
        cluster.crash(crashed);
        cluster.load(20, 1);
        assert!(cluster.settle(Duration::from_secs(20)));
        cluster.start(crashed);
        cluster.load(2, 1);
        assert!(cluster.settle(Duration::from_secs(20)));
    }
    cluster.clear_wire();
    let said = said.take();
    (cluster, said)
}

/// What the liar says instead, for some seeds.
fn lies(
    cluster: &Cluster,
    earlier: &[PeerMessage],
    reach: Reach,
    right: &PeerMessage,
) -> Vec<Option<PeerMessage>> {
    let identity = cluster.identity(LIAR);
    let lie = |seed| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let values = Values { reach, random: &mut random };
        Liar { identity: &identity, values, earlier }.mutate(right)
    };
    (0..24).map(lie).collect()
}

#[test]
fn every_copy_differs_and_can_be_read() {
    let (cluster, said) = story();
    let mut kinds: BTreeMap<String, Vec<&PeerMessage>> = BTreeMap::new();
    for message in &said {
        let name = format!("{message:?}");
        let end = name.find(|it: char| !it.is_alphanumeric()).unwrap_or(name.len());
        kinds.entry(name[..end].to_owned()).or_default().push(message);
    }
    assert!(kinds.len() >= 12, "{:?}", kinds.keys());
    for (kind, messages) in &kinds {
        let (mut changed, mut left_out) = (0, 0);
        for right in messages.iter().step_by(messages.len().div_ceil(5)) {
            for reach in [Reach::Small, Reach::Any] {
                for lie in lies(&cluster, &said[..40], reach, right) {
                    let Some(lie) = lie else {
                        left_out += 1;
                        continue;
                    };
                    assert_ne!(lie, **right, "{kind}");
                    assert_eq!(PeerMessage::decode(&lie.encode()), Ok(lie), "{kind}");
                    changed += 1;
                }
            }
        }
        assert!(changed > left_out && left_out > 0, "{kind}: {changed} changed, {left_out} left out");
    }
}

/// Whatever is wrong about a vote, its signature is not: else it would be refused before anybody looked at it.
#[test]
fn a_changed_vote_bears_the_liars_signature_and_is_a_little_wrong() {
    let (cluster, said) = story();
    let own = |it: &&PeerMessage| matches!(it, PeerMessage::Commit(vote) if vote.claimed_signer() == LIAR);
    let right = said.iter().filter(own).nth(4).expect("it commits");
    let PeerMessage::Commit(vote) = right else { unreachable!("it was looked for") };
    let Commit { view, sequence, digest } = vote.peek().unwrap();
    let mut wrong = [0; 3];
    for lie in lies(&cluster, &[], Reach::Small, right).into_iter().flatten() {
        let PeerMessage::Commit(lie) = lie else { panic!("{lie:?}, and nothing was said before") };
        assert!(!matches!(lie.clone().verify(cluster.configuration()), Err(Rejected::BadSignature(_))));
        assert_eq!(lie.claimed_signer(), LIAR);
        let lie = lie.peek().unwrap();
        let parts = [lie.view != view, lie.sequence != sequence, lie.digest != digest];
        assert_eq!(parts.iter().filter(|it| **it).count(), 1, "{lie:?}");
        assert!(lie.view.0.abs_diff(view.0) <= 1 && lie.sequence.0.abs_diff(sequence.0) <= 1, "{lie:?}");
        wrong.iter_mut().zip(parts).for_each(|(count, it)| *count += u32::from(it));
    }
    assert!(wrong.iter().all(|count| *count > 0), "{wrong:?}");
}
