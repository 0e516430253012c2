//! Rows 38 to 43 of the catalogue: lies in view changes, leaders that come to nothing, and messages of any size.

use std::time::Duration;

use pbft_byzantine::strategy;
use pbft_messages::{EvidenceKind, PeerMessage, ReplicaId, View};
use pbft_protocol::{Rejection, Report};
use pbft_simulator::{Cluster, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

fn corrupt(cluster: &mut Cluster, colluders: &[ReplicaId], text: &str) {
    for replica in colluders {
        let identity = cluster.colluding_identity(*replica, colluders);
        cluster.corrupt(*replica, strategy(text, &identity).expect("there is one"));
    }
}

/// A cluster that leaves view 0, whose primary is correct, with batches that every replica holds a certificate for and
/// none has decided: COMMITs are lost, but those of the malicious.
fn with_proofs_to_show(n: u16, seed: u64, colluders: &[ReplicaId], text: &str) -> Cluster {
    let mut settings = Settings::new(n, seed);
    settings.clients = 3;
    let mut cluster = Cluster::new(settings);
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND));
    corrupt(&mut cluster, colluders, text);
    let liars = colluders.to_vec();
    cluster.set_filter(move |from, _, message| match message {
        PeerMessage::Commit(_) => liars.contains(&from),
        PeerMessage::Committed(..) => false,
        _ => true,
    });
    cluster.load(6, 2);
    let leaves = |cluster: &Cluster| {
        let mut standings = cluster.correct().filter_map(|it| cluster.standing(it));
        standings.any(|it| it.pending.is_some())
    };
    assert!(cluster.run_until(SECOND * 5, leaves), "{}", cluster.transcript());
    cluster.clear_wire();
    cluster
}

/// Ends a run: everything is answered, and executed by all the correct, in one view above 0; gives that view.
#[track_caller]
fn conclude(cluster: &mut Cluster, what: &str) -> View {
    let settled = cluster.settle(SECOND * 30);
    assert_eq!(cluster.violations(), [], "{what}");
    assert!(settled, "{what}: {}", cluster.transcript());
    cluster.run_for(SECOND);
    cluster.load(5, 1);
    assert!(cluster.settle(SECOND * 30), "{what}: {}", cluster.transcript());
    assert_eq!(cluster.violations(), [], "{what}");
    let standings: Vec<_> = cluster.correct().filter_map(|it| cluster.standing(it)).collect();
    let view = standings[0].view;
    assert!(standings.iter().all(|it| it.view == view && it.pending.is_none()), "{what}: {standings:?}");
    assert!(view > View(0), "{what}");
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{what}");
    view
}

/// Of which kinds there is evidence, all of it against one replica.
#[track_caller]
fn evidence(cluster: &Cluster, against: ReplicaId) -> Vec<EvidenceKind> {
    let mut kinds: Vec<_> = cluster
        .reports()
        .iter()
        .filter_map(|(_, _, report)| match report {
            Report::Evidence(it) => Some(*it),
            _ => None,
        })
        .inspect(|it| assert_eq!(it.accused, against))
        .map(|it| it.kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// VC4: what others show is carried over, whoever leads the new view.
#[test]
fn row_38_certificates_that_are_left_out_are_shown_by_others() {
    for text in ["omit-proofs", "omit-proofs:omit=last"] {
        for liar in 1..4 {
            let mut cluster = with_proofs_to_show(4, 38, &[r(liar)], text);
            let what = format!("{text} by r{liar}");
            conclude(&mut cluster, &what);
            assert!(evidence(&cluster, r(liar)).contains(&EvidenceKind::Omission), "{what}");
        }
    }
}

/// Two of seven leave out what they hold, one of them the next primary.
#[test]
fn row_38_also_by_f_of_seven() {
    let mut cluster = with_proofs_to_show(7, 38, &[r(1), r(5)], "omit-proofs");
    conclude(&mut cluster, "omit-proofs");
}

/// VC3: a VIEW-CHANGE that is bad in any part counts for nothing, and the others' suffice.
#[test]
fn row_39_forged_certificates_change_nothing() {
    for text in ["forge-proofs", "forge-proofs:proofs=repeated", "forge-proofs:proofs=stale"] {
        for liar in 1..4 {
            let mut cluster = with_proofs_to_show(4, 39, &[r(liar)], text);
            let view = conclude(&mut cluster, &format!("{text} by r{liar}"));
            // A primary whose own VIEW-CHANGE is bad opens no view; a stale one does no harm.
            let skipped = liar == 1 && !text.ends_with("stale");
            assert_eq!(view, View(if skipped { 2 } else { 1 }), "{text} by r{liar}");
        }
    }
    let mut cluster = with_proofs_to_show(7, 39, &[r(2), r(6)], "forge-proofs");
    conclude(&mut cluster, "forge-proofs, with an accomplice");
}

/// VC5: whoever signs a NEW-VIEW that does not follow is proven a liar, and the next view comes at once.
#[test]
fn row_40_a_new_view_that_does_not_follow_is_evidence() {
    for entry in ["null", "digest", "missing", "extra"] {
        let text = format!("wrong-new-view:entry={entry}");
        let mut cluster = with_proofs_to_show(4, 40, &[r(1)], &text);
        assert_eq!(conclude(&mut cluster, &text), View(2));
        assert_eq!(evidence(&cluster, r(1)), [EvidenceKind::NewView], "{text}");
    }
}

/// Quorum intersection, and VC1: who opens a view twice is proven a liar.
#[test]
fn row_41_two_new_views_are_evidence() {
    let mut cluster = with_proofs_to_show(4, 41, &[r(1)], "two-new-views");
    conclude(&mut cluster, "two-new-views");
    assert!(evidence(&cluster, r(1)).contains(&EvidenceKind::NewView));
    for n in [4, 7] {
        let mut cluster = with_proofs_to_show(n, 41, &[r(1)], "two-new-views:spread=halves");
        conclude(&mut cluster, "two-new-views:spread=halves");
    }
}

/// VC7: each bad leader costs a timeout, the second twice as much, and then a good one leads.
#[test]
fn row_42_f_bad_leaders_in_a_row_cost_f_timeouts() {
    for (text, limit) in
        [("bad-leader", MS * 2500), ("bad-leader:as=idle", MS * 2500), ("equivocate", MS * 2500)]
    {
        let mut cluster = Cluster::new(Settings::new(7, 42));
        corrupt(&mut cluster, &[r(0), r(1)], text);
        cluster.load(5, 1);
        assert!(cluster.settle(SECOND * 20), "{text}: {}", cluster.transcript());
        assert!(cluster.elapsed() < limit, "{text}: {:?}", cluster.elapsed());
        assert_eq!(conclude(&mut cluster, text), View(2), "{text}");
    }
}

/// R3: what is as large as a link carries is refused by those who did not ask for it; what is larger never arrives.
#[test]
fn row_43_messages_of_any_size_stop_nobody() {
    for (percent, arrives) in [(100, true), (101, false)] {
        let text = format!("oversize:percent={percent},every=100ms");
        let mut cluster = Cluster::new(Settings::new(4, 43));
        corrupt(&mut cluster, &[r(2)], &text);
        cluster.load(20, 1);
        assert!(cluster.settle(SECOND * 5), "{text}");
        cluster.run_for(MS * 300);
        assert_eq!(cluster.violations(), []);
        let refused = cluster.reports().iter().filter(|(_, _, report)| {
            matches!(report, Report::Rejected { from, reason: Rejection::Unasked } if *from == r(2))
        });
        assert_eq!(refused.count() > 0, arrives, "{text}");
        assert_eq!(cluster.standing(r(0)).map(|it| it.view), Some(View(0)));
    }
}
