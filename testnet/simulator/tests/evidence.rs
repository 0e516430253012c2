//! Evidence (section E) in whole clusters: a replica whose VIEW-CHANGE hides what it committed to is found out, whoever
//! hears what first; everybody ends up with the proof; and whoever is correct is never accused.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pbft_byzantine::{Identity, strategy};
use pbft_crypto::Verified;
use pbft_messages::{Body, Commit, EvidenceKind, PeerMessage, PrePrepare, ReplicaId, View};
use pbft_protocol::Report;
use pbft_simulator::{Cluster, Faults, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const LIAR: ReplicaId = ReplicaId(3);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// Who holds proof of this kind against the liar.
fn convinced(cluster: &Cluster, kind: EvidenceKind) -> Vec<ReplicaId> {
    let holds = |replica: &ReplicaId| {
        cluster.reports().iter().any(|(_, at, report)| {
            at == replica && matches!(report, Report::Evidence(it) if it.accused == LIAR && it.kind == kind)
        })
    };
    cluster.correct().filter(holds).collect()
}

fn entered(cluster: &Cluster, replica: u16, view: u64) -> bool {
    cluster.standing(r(replica)).is_some_and(|standing| standing.view >= View(view))
}

/// Five batches decided, none covered by a checkpoint, and then a view change in which r3 shows nothing of them. r0, the
/// primary that is left, is cut off meanwhile.
fn omitting(cluster: &mut Cluster) {
    let identity = cluster.identity(LIAR);
    cluster.corrupt(LIAR, strategy("omit-proofs", &identity).expect("there is one"));
    cluster.load(4, 1);
    assert!(cluster.settle(SECOND * 5));
    cluster.partition(&[r(0)], &[r(1), r(2), LIAR]);
    cluster.load(1, 1);
    assert!(cluster.run_until(SECOND * 10, |it| entered(it, 1, 1) && entered(it, 2, 1)));
}

#[test]
fn a_view_change_that_hides_commits_is_proof_for_everybody() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(Settings::new(4, seed));
        omitting(&mut cluster);
        assert_eq!(convinced(&cluster, EvidenceKind::Omission), [r(1), r(2)], "{}", cluster.transcript());
        cluster.heal();
        let all = |it: &Cluster| convinced(it, EvidenceKind::Omission).len() == 3;
        assert!(cluster.run_until(SECOND * 5, all), "seed {seed}: r0 learns of it");
        assert!(cluster.settle(SECOND * 20));
        assert_eq!(cluster.violations(), []);
    }
}

/// The other way round: the COMMITs of the liar are slow, and come when the view that forgot them has begun.
#[test]
fn a_commit_that_comes_late_is_compared_with_the_view_changes_that_opened_the_view() {
    let mut cluster = Cluster::new(Settings::new(4, 1));
    let delayed: Rc<RefCell<Vec<PeerMessage>>> = Rc::default();
    let tap = Rc::clone(&delayed);
    // Its core is honest, and would tell on it.
    let of_interest = |it: &PeerMessage| {
        matches!(it, PeerMessage::Commit(_) | PeerMessage::Committed(..) | PeerMessage::Evidence(_))
    };
    cluster.set_filter(move |from, to, message| {
        let late = from == LIAR && of_interest(message);
        if late && to == r(1) {
            tap.borrow_mut().push(message.clone());
        }
        !late
    });
    omitting(&mut cluster);
    cluster.run_for(MS * 100);
    assert!(convinced(&cluster, EvidenceKind::Omission).is_empty());
    let commits = delayed.take();
    let view_0 =
        |it: &&PeerMessage| matches!(it, PeerMessage::Commit(it) if it.peek().unwrap().view == View(0));
    cluster.inject(LIAR, r(1), commits.iter().find(view_0).expect("it committed"));
    cluster.run_for(MS * 100);
    assert_eq!(convinced(&cluster, EvidenceKind::Omission), [r(1), r(2)], "{}", cluster.transcript());
}

/// A replica that was down when the others told each other is handed the proof (C4), and who held it before a crash
/// holds it after.
#[test]
fn evidence_reaches_who_was_down_and_survives_restarts() {
    let mut cluster = Cluster::new(Settings::new(4, 2));
    cluster.load(4, 1);
    assert!(cluster.settle(SECOND * 5));
    cluster.crash(r(2));
    let commit = |cluster: &Cluster, name: &[u8]| {
        let Identity { replica, signer, configuration, .. } = cluster.identity(LIAR);
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
        let value = Commit { view: View(0), sequence: pbft_messages::Sequence(7), digest };
        let signed: Verified<Commit> = Verified::sign(value, replica, &*signer, configuration.scope());
        PeerMessage::Commit(signed.signed().clone())
    };
    let identity = cluster.identity(LIAR);
    cluster.corrupt(LIAR, strategy("silent", &identity).unwrap());
    for name in [b"a", b"b"] {
        let message = commit(&cluster, name);
        cluster.inject(LIAR, r(1), &message);
    }
    cluster.run_for(SECOND);
    assert_eq!(convinced(&cluster, EvidenceKind::Commit), [r(0), r(1)]);
    cluster.start(r(2));
    cluster.run_for(SECOND);
    assert_eq!(convinced(&cluster, EvidenceKind::Commit), [r(0), r(1), r(2)]);
    let found = |cluster: &Cluster| {
        cluster.reports().iter().filter(|(.., report)| matches!(report, Report::Evidence(_))).count()
    };
    let before = found(&cluster);
    for replica in 0..3 {
        cluster.crash(r(replica));
    }
    for replica in 0..3 {
        cluster.start(r(replica));
    }
    cluster.run_for(SECOND);
    assert_eq!(found(&cluster), before, "nobody learned it anew");
}

/// Two proposals at one place are proof, though no replica takes either: their bodies are others than they name.
#[test]
fn proposals_with_bad_bodies_are_proof() {
    let mut cluster = Cluster::new(Settings::new(4, 3));
    let Identity { replica, signer, configuration, .. } = cluster.identity(r(0));
    cluster.corrupt(r(0), strategy("silent", &cluster.identity(r(0))).unwrap());
    for name in [b"a", b"b"] {
        assert!(cluster.proven(r(1)).is_empty());
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
        let header = PrePrepare { view: View(0), sequence: pbft_messages::Sequence(1), digest };
        let header: Verified<PrePrepare> = Verified::sign(header, replica, &*signer, configuration.scope());
        let body = Body::new(pbft_messages::Timestamp(1), []).into();
        cluster.inject(r(0), r(1), &PeerMessage::Proposal(header.signed().clone(), body));
        cluster.run_for(MS);
    }
    assert!(cluster.proven(r(1)).contains(&(r(0), EvidenceKind::PrePrepare)));
    assert_eq!((cluster.contradictions().reached, cluster.contradictions().proven), (1, 1));
}

/// Whatever correct replicas go through, nothing that they ever signed is an omission: crashes, lost disks, power cuts,
/// partitions and view changes under load on a bad network. The cluster looks at all that they send, also to nobody.
#[test]
fn no_correct_replica_hides_what_it_committed_to() {
    let mut asked = 0;
    for seed in 0..16u64 {
        let n = [4, 7][seed as usize % 2];
        let faults = Faults { loss: 0.02, jitter: MS * 5, ..Faults::bad() };
        let mut cluster = Cluster::new(Settings { clients: 2, faults, ..Settings::new(n, seed) });
        cluster.load(60, 4);
        for round in 0..6u64 {
            cluster.run_for(MS * 20 * (1 + (seed * 5 + round * 3) as u32 % 7));
            let victim = r(((seed + round) % u64::from(n)) as u16);
            let others: Vec<_> = cluster.correct().filter(|it| *it != victim).collect();
            match (seed / 2 + round) % 4 {
                0 => cluster.crash(victim),
                1 => cluster.partition(&[victim], &others),
                2 => cluster.wipe(victim),
                _ => (0..n).for_each(|replica| cluster.crash(r(replica))),
            }
            cluster.run_for(MS * 700);
            cluster.heal();
            for replica in (0..n).map(r).filter(|it| cluster.standing(*it).is_none()).collect::<Vec<_>>() {
                cluster.start(replica);
            }
            // One that lost its disk is the one of the f until it has recovered.
            let settled = |it: &Cluster| it.standing(victim).is_some_and(|it| it.recovering.is_none());
            assert!(cluster.run_until(SECOND * 60, settled), "seed {seed}");
        }
        cluster.set_faults(Faults::none());
        assert!(cluster.settle(SECOND * 60), "seed {seed}");
        assert_eq!(cluster.violations(), [], "seed {seed}");
        asked += cluster.reports().iter().filter(|it| matches!(it.2, Report::ViewChange { .. })).count();
    }
    assert!(asked > 200, "{asked} VIEW-CHANGEs are too few to mean anything");
}
