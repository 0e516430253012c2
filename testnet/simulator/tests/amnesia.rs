//! What D8 defends against: a replica that votes again though it has forgotten what it voted for, others that lie to
//! one that recovers, and answers of another time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use pbft_crypto::{Signed, Verified};
use pbft_messages::{
    PeerMessage, RecoveryAnswer, RecoveryNonce, ReplicaId, Sequence, SessionId, ShownView, Submission, View,
    ViewChange,
};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, InstanceId, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn recovered(cluster: &Cluster, replica: ReplicaId) -> usize {
    let of =
        |it: &&(Duration, InstanceId, Report)| it.1 == replica && matches!(it.2, Report::Recovered { .. });
    cluster.reports().iter().filter(of).count()
}

/// The bounds of a replica's last recovery.
fn bounds(cluster: &Cluster, replica: ReplicaId) -> Option<(View, Sequence)> {
    cluster.reports().iter().rev().find_map(|(_, at, report)| match report {
        Report::RecoveryBounded { view, sequence } if *at == replica => Some((*view, *sequence)),
        _ => None,
    })
}

#[track_caller]
fn conclude(cluster: &mut Cluster) {
    let settled = cluster.settle(SECOND * 60);
    assert_eq!(cluster.violations(), []);
    let standings: Vec<_> = cluster.correct().map(|replica| cluster.standing(replica)).collect();
    assert!(settled, "{standings:#?}");
    cluster.run_for(MS * 50);
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{roots:?}");
}

/// One replica after another loses its disk, each when the one before says that it has recovered. A batch that only
/// r0 knows to be decided must not be forgotten by the quorum that committed to it: without D8's wait, r3 and then r1
/// take part in a quorum that decides another batch in its place.
#[test]
fn forgotten_commits_decide_no_second_batch() {
    let mut cluster = Cluster::new(Settings::new(4, 1));
    cluster.set_filter(|_, to, message| match message {
        PeerMessage::Commit(_) | PeerMessage::Committed(..) => to == r(0),
        PeerMessage::Proposal(..) | PeerMessage::Prepare(..) | PeerMessage::Prepared(..) => to != r(2),
        _ => true,
    });
    cluster.load(1, 1);
    let executed = |cluster: &Cluster| cluster.standing(r(0)).unwrap().last_executed == Sequence(1);
    assert!(cluster.run_until(SECOND, executed));
    // r0 is slow from now on, and nothing that it said before tells r2 of the batch.
    cluster.partition(&[r(0)], &[r(1), r(2), r(3)]);
    for wiped in [3, 1] {
        cluster.wipe(r(wiped));
        cluster.start(r(wiped));
        if !cluster.run_until(SECOND * 5, |cluster| recovered(cluster, r(wiped)) == 1) {
            // It may not vote yet, so nobody else may fail: the network must get better first.
            cluster.heal();
            cluster.clear_wire();
            let done = cluster.run_until(SECOND * 60, |cluster| recovered(cluster, r(wiped)) == 1);
            assert!(done, "{:?}", cluster.standing(r(wiped)));
        }
    }
    cluster.clear_wire();
    cluster.run_for(SECOND * 5);
    cluster.heal();
    conclude(&mut cluster);
}

/// A replica that asked for a view, perhaps unheard, asks never again for that one, nor votes in a lower one.
#[test]
fn a_forgotten_view_change_is_never_contradicted() {
    let mut cluster = Cluster::new(Settings::new(4, 2));
    cluster.load(30, 2);
    assert!(cluster.settle(SECOND * 5));
    let asked: Rc<RefCell<BTreeMap<View, Bytes>>> = Rc::default();
    let votes: Rc<RefCell<Vec<View>>> = Rc::default();
    let (tap, seen) = (Rc::clone(&asked), Rc::clone(&votes));
    // Nobody hears r3, which hears nothing: its client's request never gets anywhere.
    let alone: Rc<Cell<bool>> = Rc::new(Cell::new(true));
    let is_alone = Rc::clone(&alone);
    cluster.set_filter(move |from, to, message| {
        match message {
            PeerMessage::ViewChange(signed) if from == r(3) => {
                let payload = signed.payload().clone();
                let first = tap.borrow_mut().entry(signed.peek().unwrap().view).or_insert(payload).clone();
                assert_eq!(first, signed.payload(), "two VIEW-CHANGEs to one view");
            }
            PeerMessage::Prepare(vote, _) if from == r(3) => {
                seen.borrow_mut().push(vote.peek().unwrap().view)
            }
            _ => {}
        }
        !is_alone.get() || from != r(3) && to != r(3)
    });
    cluster.load(200, 2);
    cluster.submit(0, Submission::Open { session: SessionId(9) }, &[r(3)]);
    let asks = |cluster: &Cluster| cluster.standing(r(3)).unwrap().pending == Some(View(1));
    assert!(cluster.run_until(SECOND * 10, asks), "{:?}", cluster.standing(r(3)));
    cluster.run_for(MS * 100);
    assert_eq!(asked.borrow().keys().copied().collect::<Vec<_>>(), [View(1)]);
    votes.borrow_mut().clear();
    cluster.wipe(r(3));
    alone.set(false);
    cluster.start(r(3));
    assert!(cluster.run_until(SECOND * 60, |cluster| recovered(cluster, r(3)) == 1));
    assert_eq!(bounds(&cluster, r(3)).unwrap().0, View(2));
    // Wiped again before the view has come: it asks for another one.
    cluster.run_for(MS * 100);
    cluster.wipe(r(3));
    cluster.start(r(3));
    assert!(cluster.run_until(SECOND * 60, |cluster| recovered(cluster, r(3)) == 2));
    assert_eq!(bounds(&cluster, r(3)).unwrap().0, View(3));
    cluster.crash(r(0));
    cluster.load(20, 2);
    conclude(&mut cluster);
    assert!(votes.borrow().iter().all(|view| *view >= View(3)));
    assert_eq!(asked.borrow().keys().take(3).copied().collect::<Vec<_>>(), [View(1), View(2), View(3)]);
}

fn sign<T>(cluster: &Cluster, replica: ReplicaId, value: T) -> Signed<T>
where
    T: pbft_crypto::Statement<Signer = ReplicaId>,
{
    let identity = cluster.identity(replica);
    Verified::sign(value, replica, &*identity.signer, identity.configuration.scope()).signed().clone()
}

/// The last question and all answers on the wire.
type Heard = Rc<RefCell<(Option<RecoveryNonce>, Vec<(ReplicaId, PeerMessage)>)>>;

fn listen(cluster: &mut Cluster, passes: impl Fn(ReplicaId, &PeerMessage) -> bool + 'static) -> Heard {
    let heard = Heard::default();
    let tap = Rc::clone(&heard);
    cluster.set_filter(move |from, _, message| {
        match message {
            PeerMessage::AskRecovery(nonce) => tap.borrow_mut().0 = Some(*nonce),
            PeerMessage::RecoveryAnswer(_) => tap.borrow_mut().1.push((from, message.clone())),
            _ => {}
        }
        passes(from, message)
    });
    heard
}

/// Two liars answer first, each as badly as it can. The recovery ends all the same, a little later and higher.
#[test]
fn liars_cannot_hold_up_a_recovery() {
    let mut cluster = Cluster::new(Settings::new(7, 3));
    cluster.load(60, 4);
    assert!(cluster.settle(SECOND * 5));
    let window = Sequence(16);
    let stable = cluster.standing(r(0)).unwrap().stable;
    let executed = cluster.standing(r(0)).unwrap().last_executed;
    cluster.wipe(r(6));
    // The liar's own honest answer does not get through.
    let heard = listen(&mut cluster, |from, message| {
        !(from == r(5) && matches!(message, PeerMessage::RecoveryAnswer(_)))
    });
    cluster.start(r(6));
    cluster.run_for(MS);
    let nonce = heard.borrow().0.expect("it asks at once");
    let certificate = |cluster: &mut Cluster| {
        cluster.run_for(MS * 5);
        heard.borrow().1.iter().find_map(|(_, message)| match message {
            PeerMessage::RecoveryAnswer(signed) => signed.peek().unwrap().stable,
            _ => None,
        })
    };
    let honest = RecoveryAnswer {
        asker: r(6),
        nonce,
        view: View(2),
        shown: ShownView::Genesis,
        last_executed: stable.plus(window.0),
        stable: None,
        view_change: None,
    };
    let absurd = [
        RecoveryAnswer { view: View(1 << 40), ..honest.clone() },
        RecoveryAnswer { view: View(u64::MAX), ..honest.clone() },
        RecoveryAnswer { last_executed: Sequence(1 << 40), ..honest.clone() },
        RecoveryAnswer {
            view: View(9),
            shown: ShownView::AskedFor(
                (4..6)
                    .map(|it| {
                        sign(&cluster, r(it), ViewChange { view: View(9), stable: None, prepared: vec![] })
                    })
                    .collect(),
            ),
            ..honest.clone()
        },
        RecoveryAnswer { nonce: RecoveryNonce([0; 32]), ..honest.clone() },
        RecoveryAnswer { asker: r(2), ..honest.clone() },
    ];
    for lie in absurd {
        let lie = PeerMessage::RecoveryAnswer(sign(&cluster, r(5), lie));
        cluster.inject(r(5), r(6), &lie);
    }
    // The worst that passes.
    let worst = RecoveryAnswer { stable: certificate(&mut cluster), ..honest };
    let worst = PeerMessage::RecoveryAnswer(sign(&cluster, r(5), worst));
    cluster.inject(r(5), r(6), &worst);
    assert!(cluster.run_until(SECOND * 60, |cluster| recovered(cluster, r(6)) == 1));
    let (view, sequence) = bounds(&cluster, r(6)).unwrap();
    assert!(view <= View(4), "view {view}");
    let (lowest, highest) = (executed.plus(window.0), stable.plus(3 * window.0));
    assert!(sequence >= lowest && sequence <= highest, "{sequence} is not in {lowest} to {highest}");
    cluster.clear_wire();
    cluster.crash(r(0));
    cluster.crash(r(1));
    cluster.load(20, 2);
    conclude(&mut cluster);
}

/// Answers to an earlier recovery, which know nothing of what was voted since, are not counted for a later one.
#[test]
fn answers_of_another_time_are_refused() {
    let mut cluster = Cluster::new(Settings::new(4, 4));
    cluster.load(30, 2);
    assert!(cluster.settle(SECOND * 5));
    let heard = listen(&mut cluster, |_, _| true);
    cluster.wipe(r(2));
    cluster.start(r(2));
    assert!(cluster.run_until(SECOND * 60, |cluster| recovered(cluster, r(2)) == 1));
    let old = heard.borrow().1.clone();
    assert!(old.len() >= 3);
    cluster.load(30, 2);
    assert!(cluster.settle(SECOND * 5));
    let _heard = listen(&mut cluster, |_, message| !matches!(message, PeerMessage::RecoveryAnswer(_)));
    cluster.wipe(r(2));
    cluster.start(r(2));
    for (from, message) in &old {
        cluster.inject(*from, r(2), message);
    }
    cluster.run_for(SECOND * 5);
    assert_eq!(cluster.standing(r(2)).unwrap().recovering, Some(Sequence(0)), "old answers counted");
    cluster.clear_wire();
    assert!(cluster.run_until(SECOND * 60, |cluster| recovered(cluster, r(2)) == 2));
    conclude(&mut cluster);
}

/// Up to f at a time recover; more than f at a time never do, and do no harm.
#[test]
fn at_most_f_recover_at_a_time() {
    for (n, wiped, recover) in [(4, 1, true), (4, 2, false), (7, 2, true), (7, 3, false)] {
        let mut cluster = Cluster::new(Settings::new(n, 5));
        cluster.load(30, 2);
        assert!(cluster.settle(SECOND * 5));
        for replica in 0..wiped {
            cluster.wipe(r(replica));
            cluster.start(r(replica));
        }
        let all = |cluster: &Cluster| (0..wiped).all(|it| recovered(cluster, r(it)) == 1);
        assert_eq!(cluster.run_until(SECOND * 30, all), recover, "{wiped} of {n}");
        assert_eq!(cluster.violations(), []);
        if recover {
            cluster.load(20, 2);
            conclude(&mut cluster);
        } else {
            // One that recovers itself answers nobody: it does not know what it knew.
            assert_eq!(bounds(&cluster, r(0)), None, "{wiped} of {n}");
        }
    }
}
