//! What clients see (I4, I5, N5), honest ones beside malicious ones.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pbft_byzantine::client_strategy;
use pbft_messages::{Outcome, PeerMessage, ReplicaId, ReplicaMessage};
use pbft_service::kv::{Answer, Reply};
use pbft_simulator::{Cluster, Fate, Faults, InstanceId, Invariant, Settings, Wire, Workload};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn settings(seed: u64) -> Settings {
    Settings { clients: 3, workload: Workload::Mixed { keys: 3 }, ..Settings::new(4, seed) }
}

/// Clients that read, write and compare the same keys see one order, whatever crashes and is lost.
#[test]
fn clients_see_one_order() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(Settings { faults: Faults::bad(), ..settings(seed) });
        cluster.load(30, 3);
        (0..3).for_each(|client| cluster.read(client, 30, MS * 10));
        for _ in 0..3 {
            for victim in [0, 1].map(ReplicaId) {
                cluster.run_for(MS * 150);
                cluster.crash(victim);
                cluster.run_for(MS * 50);
                cluster.start(victim);
            }
        }
        cluster.set_faults(Faults::none());
        assert!(cluster.settle(SECOND * 60), "seed {seed}: {} answered", cluster.answered());
        assert_eq!(cluster.violations(), [], "seed {seed}");
        assert_eq!(cluster.answered(), 90);
    }
}

/// What malicious clients send reaches the replicas, and what honest ones see is right all the while.
#[test]
fn malicious_clients_disturb_nobody() {
    for (seed, text) in ["split-requests", "renumber"].into_iter().enumerate() {
        let mut cluster = Cluster::new(settings(seed as u64));
        let identity = cluster.client_identity(&[2]);
        cluster.attack(client_strategy(text, &identity).expect("there is one"));
        for client in 0..2 {
            cluster.load_from(client, 20, 2);
        }
        cluster.run_for(SECOND * 2);
        cluster.end_attacks();
        assert!(cluster.settle(SECOND * 60), "{text}: {} answered", cluster.answered());
        assert_eq!((cluster.violations(), cluster.answered()), (&[][..], 40), "{text}");
    }
}

/// Changes what all replicas answer, so that clients believe it.
struct Liar<F>(F);

impl<F: FnMut(&mut Reply)> Wire for Liar<F> {
    fn peer(&mut self, _: Duration, _: InstanceId, _: InstanceId, _: &pbft_messages::PeerMessage) -> Fate {
        Fate::Pass
    }

    fn answer(
        &mut self,
        _: Duration,
        _: InstanceId,
        _: usize,
        message: &ReplicaMessage,
    ) -> Option<ReplicaMessage> {
        let mut message = message.clone();
        if let ReplicaMessage::Replies(replies) = &mut message {
            for reply in replies.iter_mut() {
                let Outcome::Executed(result) = &reply.outcome else { continue };
                let Ok(Ok(mut answer)) = Reply::decode(result) else { continue };
                (self.0)(&mut answer);
                reply.outcome = Outcome::Executed(pbft_messages::codec::encode(&Ok::<_, ()>(answer)).into());
            }
        }
        Some(message)
    }
}

/// The checker can fail: a wrong revision, and a comparison with the wrong outcome, are found.
#[test]
fn wrong_results_are_found() {
    let lies: [fn(&mut Reply); 2] = [
        |reply| reply.revision += 1,
        |reply| {
            if let Answer::Txn(txn) = &mut reply.answer {
                txn.succeeded = !txn.succeeded;
            }
        },
    ];
    for lie in lies {
        let mut cluster = Cluster::new(settings(1));
        cluster.set_wire(Box::new(Liar(lie)));
        cluster.load(5, 1);
        assert!(cluster.settle(SECOND * 5));
        assert_eq!(cluster.violations().len(), 15);
        assert!(cluster.violations().iter().all(|it| it.invariant == Invariant::I4));
    }
}

/// N1: what is submitted together is executed and answered one by one, each as itself (I4, I5).
#[test]
fn what_is_submitted_together_is_answered_one_by_one() {
    let mut cluster = Cluster::new(Settings { together: 5, ..Settings::new(4, 1) });
    let seen: Rc<Cell<usize>> = Rc::default();
    let most = Rc::clone(&seen);
    cluster.set_filter(move |_, _, message| {
        if let PeerMessage::Proposal(_, body) = message {
            let longest = body.submissions().iter().map(|it| it.submission().requests().len()).max();
            most.set(most.get().max(longest.unwrap_or(0)));
        }
        true
    });
    cluster.load(60, 8);
    assert!(cluster.settle(SECOND * 30));
    assert_eq!((cluster.violations(), cluster.answered(), seen.get()), (&[][..], 60, 5));
}
