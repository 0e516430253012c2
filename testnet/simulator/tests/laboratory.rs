//! What a cluster can be made of: keys of either kind, twins, chosen leaders, and a hand on the wire.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pbft_messages::{Outcome, PeerMessage, ReplicaId, ReplicaMessage, View};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, Fate, InstanceId, Settings, Signatures, Wire};

const SECOND: Duration = Duration::from_secs(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

#[track_caller]
fn settle(cluster: &mut Cluster) {
    assert!(cluster.settle(SECOND * 30), "{}", cluster.transcript());
    assert_eq!(cluster.violations(), []);
}

/// The kind of the keys changes no decision: both tell the same story.
#[test]
fn simulated_signatures_change_nothing() {
    let story = |signatures| {
        let mut cluster = Cluster::new(Settings { signatures, ..Settings::new(4, 1) });
        cluster.load(30, 3);
        cluster.run_for(SECOND / 20);
        cluster.crash(r(0));
        settle(&mut cluster);
        cluster.transcript()
    };
    let (simulated, real) = (story(Signatures::Simulated), story(Signatures::Real));
    for (simulated, real) in simulated.lines().zip(real.lines()) {
        assert_eq!(simulated, real);
    }
    assert_eq!(simulated.len(), real.len());
}

#[test]
fn leaders_can_be_chosen() {
    let mut cluster = Cluster::new(Settings { leaders: vec![r(2), r(2), r(1)], ..Settings::new(4, 1) });
    cluster.crash(r(2));
    cluster.load(5, 1);
    settle(&mut cluster);
    let standing = cluster.standing(r(0)).unwrap();
    assert_eq!((standing.view, standing.primary), (View(2), r(1)));
}

/// A replica that runs twice under one name can do no harm. The twin's disk is its own, so the two are soon at odds.
#[test]
fn twins_do_no_harm() {
    let mut cluster = Cluster::new(Settings { twins: vec![r(0)], ..Settings::new(4, 1) });
    let (own, twin) = (InstanceId(0), InstanceId(4));
    let others = [r(1), r(2), r(3)].map(InstanceId::from);
    cluster.partition(&[own], &others[1..]);
    cluster.partition(&[twin], &others[..1]);
    cluster.load(20, 2);
    cluster.run_for(SECOND * 10);
    cluster.heal();
    cluster.load(20, 2);
    settle(&mut cluster);
    assert_eq!(cluster.correct().collect::<Vec<_>>(), [r(1), r(2), r(3)]);
    let convicted = |report: &Report| matches!(report, Report::Evidence(it) if it.accused == r(0));
    assert!(cluster.reports().iter().any(|(_, _, report)| convicted(report)), "{}", cluster.transcript());
}

/// Loses r1's votes, sends r2 another replica's in place of r3's, and corrupts r0's answers.
struct Meddler {
    answers: Rc<Cell<usize>>,
}

impl Wire for Meddler {
    fn peer(&mut self, _: Duration, from: InstanceId, to: InstanceId, message: &PeerMessage) -> Fate {
        match message {
            PeerMessage::Commit(_) if from == r(1) => Fate::Lose,
            PeerMessage::Commit(_) if (from, to) == (r(3).into(), r(2).into()) => {
                Fate::Replace(PeerMessage::NoSnapshot(pbft_messages::Sequence(1)))
            }
            _ => Fate::Pass,
        }
    }

    fn answer(
        &mut self,
        _: Duration,
        from: InstanceId,
        _: usize,
        message: &ReplicaMessage,
    ) -> Option<ReplicaMessage> {
        let ReplicaMessage::Replies(replies) = message else { return Some(message.clone()) };
        if from != r(0) {
            return Some(message.clone());
        }
        self.answers.set(self.answers.get() + 1);
        let mut replies = replies.clone();
        replies.iter_mut().for_each(|reply| reply.outcome = Outcome::Executed("a lie".into()));
        Some(ReplicaMessage::Replies(replies))
    }
}

#[test]
fn a_wire_loses_and_changes_messages() {
    let answers = Rc::default();
    let mut cluster = Cluster::new(Settings::new(4, 1));
    cluster.set_wire(Box::new(Meddler { answers: Rc::clone(&answers) }));
    cluster.load(20, 2);
    settle(&mut cluster);
    assert!(answers.get() > 20);
}
