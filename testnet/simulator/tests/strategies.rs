//! The malicious strategies of rows 25 to 37: none of them breaks anything, each is defeated by the rule that its
//! description names, and with f+1 liars the checker finds what it is there for.

use std::time::Duration;

use pbft_byzantine::{Description, Identity, Proof, STRATEGIES, Sample, Stage, strategy};
use pbft_messages::{Accusation, EvidenceKind, ReplicaId, View};
use pbft_protocol::{Rejection, Report, ViewChangeReason};
use pbft_simulator::{Cluster, Invariant, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn r(index: u16) -> ReplicaId {
    ReplicaId(index)
}

/// A cluster under load from three clients, in view 0, one of whose replicas follows a strategy from now on.
fn under(text: &str, liar: u16, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(Settings { clients: 3, trace: true, ..Settings::new(4, seed) });
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND * 5));
    let identity = cluster.identity(r(liar));
    corrupt(&mut cluster, &identity, text);
    cluster.load(20, 2);
    (0..3).for_each(|client| cluster.read(client, 5, MS * 50));
    cluster
}

fn corrupt(cluster: &mut Cluster, identity: &Identity, text: &str) {
    cluster.corrupt(identity.replica, strategy(text, identity).expect("there is one"));
}

/// Ends a run: all is answered and executed, everywhere alike, and nobody correct is accused. Gives the longest time
/// without an answer.
#[track_caller]
fn conclude(cluster: &mut Cluster, what: &str) -> Duration {
    let (mut pause, mut last) = (Duration::ZERO, (cluster.elapsed(), cluster.answered()));
    while !cluster.is_answered() {
        assert!(cluster.elapsed() < SECOND * 60, "{what}: {}", cluster.transcript());
        cluster.run_for(MS * 10);
        if cluster.answered() > last.1 {
            pause = pause.max(cluster.elapsed() - last.0);
            last = (cluster.elapsed(), cluster.answered());
        }
    }
    assert!(cluster.settle(SECOND * 30), "{what}: {}", cluster.transcript());
    cluster.run_for(SECOND);
    assert_eq!(cluster.violations(), [], "{what}");
    let mut roots = cluster.state_roots();
    roots.dedup();
    assert_eq!(roots.len(), 1, "{what}");
    pause
}

/// What the correct replicas told of.
fn told(cluster: &Cluster) -> Vec<(ReplicaId, &Report)> {
    let correct: Vec<_> = cluster.correct().collect();
    let reports = cluster.reports().iter().filter_map(|(_, at, report)| {
        let replica = *correct.iter().find(|it| *at == **it)?;
        Some((replica, report))
    });
    reports.collect()
}

fn accusations(cluster: &Cluster) -> Vec<(ReplicaId, &Accusation)> {
    let evidence = told(cluster).into_iter().filter_map(|(replica, report)| match report {
        Report::Evidence(accusation) => Some((replica, accusation)),
        _ => None,
    });
    evidence.collect()
}

/// Why correct replicas left view 0 of their own accord.
fn reasons(cluster: &Cluster) -> Vec<ViewChangeReason> {
    let own = told(cluster).into_iter().filter_map(|(_, report)| match report {
        Report::ViewChange { view: View(1), reason } if *reason != ViewChangeReason::Joined => Some(*reason),
        _ => None,
    });
    own.collect()
}

fn view(cluster: &Cluster) -> View {
    cluster.correct().filter_map(|it| cluster.standing(it)).map(|it| it.view).max().expect("one is up")
}

fn rejections(cluster: &Cluster) -> Vec<Rejection> {
    let rejected = told(cluster).into_iter().filter_map(|(_, report)| match report {
        Report::Rejected { from: ReplicaId(0), reason } => Some(*reason),
        _ => None,
    });
    rejected.collect()
}

/// The replicas at which a strategy has an effect, in view 0.
fn liars(description: &Description) -> &'static [u16] {
    match description.stage {
        Stage::Primary => &[0],
        Stage::Backup => &[2],
        Stage::Always | Stage::ViewChange | Stage::Transfer => &[0, 3],
    }
}

#[test]
fn every_sample_is_survived_within_its_pause_and_proven_where_it_can_be() {
    for description in STRATEGIES.iter().filter(|it| (25..=37).contains(&it.row)) {
        for (seed, Sample { text, proof }) in description.samples.iter().enumerate() {
            for liar in liars(description) {
                let what = format!("{text} by r{liar}");
                let mut cluster = under(text, *liar, seed as u64);
                let pause = conclude(&mut cluster, &what);
                let longest = description.pause.at_most(cluster.configuration().parameters().view_timeout);
                assert!(pause <= longest, "{what}: no answer for {pause:?}");
                let accused = accusations(&cluster);
                assert!(accused.iter().all(|(_, it)| it.accused == r(*liar)), "{what}: {accused:?}");
                assert!(*proof != Proof::Never || accused.is_empty(), "{what}: {accused:?}");
                if let Some(kind) = proof.kind() {
                    for replica in cluster.correct() {
                        let proven = accused.iter().any(|(by, it)| *by == replica && it.kind == kind);
                        assert!(proven, "{what}: {replica} has no proof among {accused:?}");
                    }
                }
            }
        }
    }
}

/// Runs a strategy of the primary's to the end.
fn played(text: &str) -> Cluster {
    let mut cluster = under(text, 0, 1);
    conclude(&mut cluster, text);
    cluster
}

/// N2: what is invented, far away or misdated is refused, and the view ends by the timer of what waits.
#[test]
fn what_no_correct_primary_proposes_is_refused_and_ends_its_view() {
    let refused = [
        ("invent", None),
        ("invent:what=stranger", None),
        ("invent:what=digest", None),
        ("skip:by=1000000000", Some(Rejection::BeyondWindow)),
        ("misdate", Some(Rejection::StaleTime)),
        ("misdate:time=behind", Some(Rejection::StaleTime)),
    ];
    for (text, rejection) in refused {
        let cluster = played(text);
        assert_eq!(view(&cluster), View(1), "{text}");
        // The liar's own core gives the view up too, and may be the first.
        let patience = [ViewChangeReason::RequestTimeout, ViewChangeReason::PrimaryLeft];
        let reasons = reasons(&cluster);
        assert!(reasons.iter().all(|it| patience.contains(it)), "{text}: {reasons:?}");
        // What does not verify never reaches a core.
        assert_eq!(
            rejections(&cluster).iter().find(|it| Some(**it) == rejection).copied(),
            rejection,
            "{text}"
        );
    }
}

/// N3, fault 8: a primary's PREPARE for its own proposal breaks a rule and contradicts nothing: it is refused, and all
/// goes on.
#[test]
fn a_primarys_own_prepare_convicts_nobody_and_ends_no_view() {
    let cluster = played("contradict:votes=own");
    assert_eq!((view(&cluster), accusations(&cluster)), (View(0), vec![]));
}

/// N6: within the bound a wrong time is accepted, and changes nothing else.
#[test]
fn a_time_within_the_bound_is_accepted() {
    for text in ["misdate:by=100ms", "misdate:time=behind,by=1s", "misdate:time=frozen"] {
        let cluster = played(text);
        assert_eq!(view(&cluster), View(0), "{text}");
        let early = cluster.agreed_times().filter(|(executed, agreed)| agreed > executed).count();
        assert_eq!(early > 0, text == "misdate:by=100ms", "{text}");
    }
}

/// N4, VC4: nothing after a gap is executed, and the next primary fills it with a null batch.
#[test]
fn gaps_are_filled_with_null_batches() {
    let cluster = played("skip:by=2");
    let filled = told(&cluster)
        .into_iter()
        .any(|(_, report)| matches!(report, Report::ViewEntered { view: View(1), null: 2.., .. }));
    assert!(filled, "{}", cluster.transcript());
}

/// C4: a proposal that only one backup hears reaches the others by way of its PREPARE.
#[test]
fn a_proposal_that_few_hear_is_handed_on() {
    assert_eq!(view(&played("partial:to=1")), View(0));
}

/// VC1: one replica leads nobody away but from its own view, and NEW-VIEWs without a quorum open none.
#[test]
fn views_that_one_replica_asks_for_are_not_joined() {
    for text in ["stampede", "stampede:step=1000000", "usurp"] {
        let mut cluster = under(text, 3, 2);
        conclude(&mut cluster, text);
        assert_eq!(view(&cluster), View(0), "{text}");
    }
    assert_eq!(view(&played("stampede")), View(1));
}

/// Several strategies at once are one malicious replica, and no more.
#[test]
fn several_at_once_are_survived() {
    for (seed, text) in [
        "equivocate+lie+bad-signatures:rate=10",
        "equivocate:differ=order+contradict+stale-reads",
        "partial:to=1,kinds=all+stampede",
        "slow:delay=40%+misdate:by=100ms+lie:about=refusals",
    ]
    .into_iter()
    .enumerate()
    {
        let mut cluster = under(text, 0, 20 + seed as u64);
        conclude(&mut cluster, text);
        let accused = accusations(&cluster);
        assert!(accused.iter().all(|(_, it)| it.accused == r(0)), "{text}: {accused:?}");
    }
}

/// A cluster of n in which the first replicas are one adversary's, and lie as one.
fn conspiracy(n: u16, liars: u16, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(Settings { clients: 3, trace: true, ..Settings::new(n, seed) });
    cluster.load(3, 1);
    assert!(cluster.settle(SECOND * 5));
    let band: Vec<_> = (0..liars).map(r).collect();
    for liar in &band {
        let identity = cluster.colluding_identity(*liar, &band);
        corrupt(&mut cluster, &identity, "equivocate");
    }
    cluster
}

/// Quorum intersection: f replicas that sign whatever the others of them want split nobody.
#[test]
fn f_conspirators_are_survived_and_proven_guilty() {
    for (n, f) in [(4, 1), (7, 2), (10, 3)] {
        let mut cluster = conspiracy(n, f, 3);
        cluster.load(20, 2);
        conclude(&mut cluster, &format!("{f} of {n}"));
        let accused = accusations(&cluster);
        assert!(accused.iter().all(|(_, it)| it.accused < r(f)), "{accused:?}");
        let proven = accused.iter().any(|(_, it)| it.kind == EvidenceKind::PrePrepare && it.accused == r(0));
        assert!(proven, "{f} of {n}: {accused:?}");
    }
}

/// The positive control: with f+1 of them two correct replicas execute different batches, and the checker says so.
/// Where each half of the victims is more than one, the network has to keep the halves apart for a moment: they would
/// show each other the lie.
#[test]
fn f_plus_1_conspirators_break_agreement() {
    for (n, liars) in [(4, 2), (7, 3)] {
        let mut cluster = conspiracy(n, liars, 4);
        let victims: Vec<_> = (liars..n).map(r).collect();
        let (first, second) = victims.split_at(victims.len() / 2);
        if n > 4 {
            cluster.partition(first, second);
        }
        cluster.load(20, 2);
        let broken = |cluster: &Cluster| cluster.violations().iter().any(|it| it.invariant == Invariant::I1);
        assert!(cluster.run_until(SECOND * 5, broken), "{liars} of {n}: {}", cluster.transcript());
    }
}
