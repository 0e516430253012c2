use pbft_crypto::Verified;
use pbft_messages::{Body, Checkpoint, NewView, PeerMessage, PrePrepare, Prepare, Timestamp, VoteSet};

use super::*;
use crate::{Cluster, Settings};

const R1: ReplicaId = ReplicaId(1);

fn sign<T: pbft_crypto::Statement<Signer = ReplicaId>>(
    cluster: &Cluster,
    from: ReplicaId,
    value: T,
) -> Verified<T> {
    Verified::sign(value, from, &*cluster.identity(from).signer, cluster.configuration().scope())
}

/// r0 hears a message, and handles it; gives what it missed.
fn hear(
    witness: &mut Witness,
    run: u64,
    standing: &Standing,
    cluster: &Cluster,
    message: &Message,
) -> Vec<Place> {
    let heard = Heard::of(message, cluster.configuration());
    as_r0(run, standing, |hearer| {
        witness.hears(hearer, R1, message, &heard);
        witness.handled(Some(hearer))
    })
}

fn as_r0<T>(run: u64, standing: &Standing, does: impl FnOnce(&Hearer<'_>) -> T) -> T {
    let (at, standing, parameters) = (InstanceId(0), standing.clone(), &Parameters::default());
    does(&Hearer { at, run, standing, written: Sequence(0), parameters })
}

/// Two COMMITs of r1 at one place, heard by r0: it is a liar until somebody proves it.
#[test]
fn a_liar_that_nobody_convicts_is_named() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let identity = cluster.identity(R1);
    let standing = cluster.standing(ReplicaId(0)).unwrap();
    let mut witness = Witness::default();
    let mut hears = |run, digest: &[u8]| {
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, digest);
        let commit = Commit { view: View(0), sequence: Sequence(3), digest };
        let commit =
            Verified::sign(commit, identity.replica, &*identity.signer, identity.configuration.scope());
        hear(&mut witness, run, &standing, &cluster, &Message::Commit(commit));
        Vec::from_iter(witness.unconvicted())
    };
    assert_eq!(hears(1, b"a"), []);
    assert_eq!(hears(1, b"a"), []);
    assert_eq!(hears(2, b"b"), [], "it has started anew since, and forgotten the first");
    assert_eq!(hears(1, b"b"), [(R1, EvidenceKind::Commit)]);
    let it = Accusation { accused: R1, kind: EvidenceKind::Commit, view: View(0), sequence: Sequence(3) };
    witness.convicts(InstanceId(0), &it);
    assert!(witness.unconvicted().is_empty());
    let all = Contradictions { liars: 1, convicted: 1, reached: 1, proven: 1, ..Contradictions::default() };
    assert_eq!(witness.contradictions(), all);
}

/// Two proposals, each beside the PREPARE of another backup; a COMMIT, and another one in a certificate; what is said
/// when eight pieces are held; and what nobody hears both halves of.
#[test]
fn contradictions_are_heard_beside_votes_and_in_certificates() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let standing = cluster.standing(ReplicaId(0)).unwrap();
    let digest = |name: &[u8]| pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
    let prepare = |from: u16, name| {
        let (view, sequence, digest) = (View(0), Sequence(3), digest(name));
        let header = sign(&cluster, ReplicaId(0), PrePrepare { view, sequence, digest });
        let vote = sign(&cluster, ReplicaId(from), Prepare { view, sequence, digest });
        Message::Prepare(vote, *header.signed().signature())
    };
    let vote = |from: u16, sequence, name| {
        let value = Commit { view: View(0), sequence: Sequence(sequence), digest: digest(name) };
        sign(&cluster, ReplicaId(from), value)
    };
    let mut witness = Witness::default();
    hear(&mut witness, 1, &standing, &cluster, &prepare(2, b"a"));
    hear(&mut witness, 1, &standing, &cluster, &prepare(3, b"b"));
    let proposed = (ReplicaId(0), EvidenceKind::PrePrepare, 0, 3);
    assert_eq!(Vec::from_iter(&witness.reached), [&proposed]);

    hear(&mut witness, 1, &standing, &cluster, &Message::Commit(vote(1, 4, b"a")));
    let body = Body::new(Timestamp(1), []);
    let mut votes = VoteSet::default();
    for replica in 1..4 {
        let value = Commit { view: View(0), sequence: Sequence(4), digest: body.digest() };
        votes.insert(sign(&cluster, ReplicaId(replica), value)).unwrap();
    }
    let certificate = votes.quorum(cluster.configuration().quorum()).unwrap();
    let committed = Message::Committed(certificate, body.into());
    hear(&mut witness, 1, &standing, &cluster, &committed);
    assert!(witness.reached.contains(&(R1, EvidenceKind::Commit, 0, 4)));

    let kept = (0..KEPT as u64).map(|view| (R1, EvidenceKind::Commit, view, 9));
    witness.known.insert(InstanceId(0), kept.collect());
    for name in [b"a", b"b"] {
        hear(&mut witness, 1, &standing, &cluster, &Message::Commit(vote(1, 5, name)));
    }
    for (run, name) in [(1, b"a"), (2, b"b")] {
        hear(&mut witness, run, &standing, &cluster, &Message::Commit(vote(1, 6, name)));
    }
    let all = Contradictions { liars: 2, reached: 2, repeated: 1, apart: 1, ..Contradictions::default() };
    assert_eq!(witness.contradictions(), all);
}

/// A COMMIT in view 0 that a VIEW-CHANGE to view 2 does not show, though one to view 1 was never heard.
#[test]
fn whoever_hides_what_it_committed_to_is_named() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let identity = cluster.identity(R1);
    let scope = identity.configuration.scope();
    let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, b"a");
    let commit = Commit { view: View(0), sequence: Sequence(3), digest };
    let commit = Message::Commit(Verified::sign(commit, identity.replica, &*identity.signer, scope));
    let value = ViewChange { view: View(2), stable: None, prepared: vec![] };
    let bare = Message::ViewChange(Verified::sign(value, identity.replica, &*identity.signer, scope));
    let named = |later: Standing| {
        let mut witness = Witness::default();
        let mut hears = |standing: &Standing, message| hear(&mut witness, 1, standing, &cluster, message);
        hears(&cluster.standing(ReplicaId(0)).unwrap(), &commit);
        hears(&later, &bare);
        Vec::from_iter(witness.unconvicted())
    };
    let standing = cluster.standing(ReplicaId(0)).unwrap();
    assert_eq!(named(Standing { view: View(1), ..standing.clone() }), [(R1, EvidenceKind::Omission)]);
    let mut witness = Witness::default();
    assert_eq!(hear(&mut witness, 1, &standing, &cluster, &bare), []);
    let missed = [(R1, EvidenceKind::Omission, 0, 0)];
    assert_eq!(hear(&mut witness, 1, &standing, &cluster, &commit), missed, "the other way round");
    assert_eq!(named(Standing { stable: Sequence(3), ..standing.clone() }), [], "it has left the log");
    assert_eq!(named(Standing { view: View(2), ..standing }), [], "the view has begun");
}

/// A VIEW-CHANGE is compared while it is the last one of its sender and the view that it asks for has not begun.
#[test]
fn view_changes_are_to_be_compared_while_they_are_kept() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let identity = cluster.identity(R1);
    let mut standing = cluster.standing(ReplicaId(0)).unwrap();
    let mut witness = Witness::default();
    let certificate = pbft_messages::StableCertificate {
        statement: Checkpoint {
            sequence: Sequence(128),
            root: pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, b""),
        },
        signatures: vec![],
    };
    let mut hears = |standing: &Standing, view, stable: bool| {
        let stable = stable.then(|| certificate.clone());
        let value = ViewChange { view: View(view), stable, prepared: vec![] };
        let scope = identity.configuration.scope();
        let message = Message::ViewChange(Verified::sign(value, identity.replica, &*identity.signer, scope));
        hear(&mut witness, 1, standing, &cluster, &message);
        witness.reached.len()
    };
    assert_eq!((hears(&standing, 3, false), hears(&standing, 5, false)), (0, 0));
    assert_eq!(hears(&standing, 3, true), 0, "a higher one has taken its place");
    assert_eq!(hears(&standing, 5, true), 1);
    assert_eq!(hears(&standing, 6, false), 1);
    standing.view = View(6);
    assert_eq!(hears(&standing, 6, true), 2, "it is kept with the view");
    standing.view = View(7);
    assert_eq!(hears(&standing, 6, true), 2, "the view is over");
}

/// What a message brings counts once it is handled: what is proven then, or not though there is room for it. Where the
/// power goes meanwhile, nothing counts.
#[test]
fn what_is_known_is_counted_when_a_message_is_handled() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let standing = cluster.standing(ReplicaId(0)).unwrap();
    let place = |sequence| (R1, EvidenceKind::Commit, 0, sequence);
    let mut witness = Witness::default();
    let kept = (1..=6).map(|sequence| {
        let (view, sequence) = (View(7), Sequence(sequence));
        Accusation { accused: R1, kind: EvidenceKind::Commit, view, sequence }
    });
    witness.starts(InstanceId(0), kept.clone());
    let mut handles = |run, found: &[u64], proven: &[u64]| {
        as_r0(1, &standing, |hearer| {
            witness.met.places = found.iter().copied().map(place).collect();
            for sequence in proven {
                let (view, sequence) = (View(0), Sequence(*sequence));
                let it = Accusation { accused: R1, kind: EvidenceKind::Commit, view, sequence };
                witness.convicts(InstanceId(0), &it);
            }
            let missed = witness.handled(Some(hearer).filter(|_| run == 1));
            (missed, witness.reached.len(), witness.repeated.len())
        })
    };
    assert_eq!(handles(1, &[1], &[]), (vec![place(1)], 1, 0));
    assert_eq!(handles(2, &[2], &[]), (vec![], 1, 0), "it has lost its power");
    assert_eq!(handles(1, &[3, 4, 5, 6], &[4, 5]), (vec![], 3, 2), "there was room for two");
    witness.starts(InstanceId(0), kept);
    witness.met.places.insert(place(7));
    assert_eq!(
        as_r0(2, &standing, |hearer| witness.handled(Some(hearer))),
        [place(7)],
        "there is room again"
    );
}

/// What comes for a view that has not begun is compared once it has; and the COMMIT among it takes the place of that of an
/// earlier view, with which nobody compares any more.
#[test]
fn what_came_ahead_is_heard_when_its_view_begins() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let before = cluster.standing(ReplicaId(0)).unwrap();
    let commit = |view, name: &[u8]| {
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
        let value = Commit { view: View(view), sequence: Sequence(3), digest };
        Message::Commit(sign(&cluster, R1, value))
    };
    let in_view = |view| Standing { view: View(view), ..before.clone() };
    let mut witness = Witness::default();
    for (view, name) in [(0, b"a"), (1, b"a"), (2, b"a"), (1, b"b")] {
        assert_eq!(hear(&mut witness, 1, &before, &cluster, &commit(view, name)), []);
    }
    as_r0(1, &in_view(2), |hearer| witness.enters(hearer, View(2)));
    assert_eq!(
        hear(&mut witness, 1, &in_view(2), &cluster, &commit(1, b"b")),
        [],
        "it was forgotten for view 2"
    );
    assert_eq!(hear(&mut witness, 1, &in_view(3), &cluster, &commit(0, b"b")), [], "that of view 2 is kept");
    let former = (R1, EvidenceKind::Commit, 2, 3);
    assert_eq!(hear(&mut witness, 1, &in_view(3), &cluster, &commit(2, b"b")), [former]);
}

/// What a NEW-VIEW gives to whoever enters by it: its proposals, and the VIEW-CHANGEs that open it.
#[test]
fn what_opens_a_view_is_compared_once_it_has_begun() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let before = cluster.standing(ReplicaId(0)).unwrap();
    let entered = Standing { view: View(1), ..before.clone() };
    let digest = |name: &[u8]| pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
    let header = |name: &[u8]| {
        sign(&cluster, R1, PrePrepare { view: View(1), sequence: Sequence(3), digest: digest(name) })
    };
    let commit = |from: u16| {
        let value = Commit { view: View(0), sequence: Sequence(3), digest: digest(b"a") };
        Message::Commit(sign(&cluster, ReplicaId(from), value))
    };
    let asks = |from: u16| {
        let value = ViewChange { view: View(1), stable: None, prepared: vec![] };
        sign(&cluster, ReplicaId(from), value).signed().clone()
    };
    let view_changes = vec![asks(2), asks(3)];
    let new_view = NewView { view: View(1), view_changes, pre_prepares: vec![header(b"a").signed().clone()] };
    let new_view = Message::NewView(sign(&cluster, R1, new_view));
    let proposed = (R1, EvidenceKind::PrePrepare, 1, 3);
    let omitted = |from| (ReplicaId(from), EvidenceKind::Omission, 0, 0);
    for enters in [true, false] {
        let mut witness = Witness::default();
        for from in [1, 2] {
            assert_eq!(hear(&mut witness, 1, &before, &cluster, &commit(from)), []);
        }
        let heard = Heard::of(&new_view, cluster.configuration());
        as_r0(1, &before, |hearer| witness.hears(hearer, R1, &new_view, &heard));
        let standing = if enters { &entered } else { &before };
        assert_eq!(as_r0(1, standing, |hearer| witness.handled(Some(hearer))), [omitted(2)]);
        let told = Message::ViewChange(asks(1).verify(cluster.configuration()).unwrap());
        let told = enters.then(|| hear(&mut witness, 1, &entered, &cluster, &told));
        assert_eq!(told, enters.then(|| vec![omitted(1)]), "it asked for the view late");
        let late = hear(&mut witness, 1, &entered, &cluster, &commit(3));
        assert_eq!(late, Vec::from_iter(enters.then_some(omitted(3))));
        let other = Message::RefusedProposal(header(b"b"));
        let other = hear(&mut witness, 1, &entered, &cluster, &other);
        assert_eq!(other, Vec::from_iter(enters.then_some(proposed)));

        // After a restart it has what opened the view from its disk.
        let asks = Message::ViewChange(asks(3).verify(cluster.configuration()).unwrap());
        for said in [asks, commit(3)] {
            assert_eq!(hear(&mut witness, 2, &entered, &cluster, &said), []);
        }
    }
}

/// Whichever a replica says first, and whoever hears it: what it committed to must be in what it shows.
#[test]
fn a_correct_replica_that_hides_its_commit_is_noticed() {
    let cluster = Cluster::new(Settings::new(4, 1));
    let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, b"a");
    let commit = |view| {
        let value = Commit { view: View(view), sequence: Sequence(3), digest };
        PeerMessage::Commit(sign(&cluster, R1, value).signed().clone())
    };
    let bare = |view| {
        let value = ViewChange { view: View(view), stable: None, prepared: vec![] };
        PeerMessage::ViewChange(sign(&cluster, R1, value).signed().clone())
    };
    let told = "hides its COMMIT at 3 in view 1 from the view change to 2".to_owned();
    for said in [[commit(1), bare(2)], [bare(2), commit(1)]] {
        let mut own = Own::default();
        let [first, second] = said.each_ref().map(|it| own.says(R1, it));
        assert_eq!((first, second), (Ok(()), Err(told.clone())));
    }
    let mut own = Own::default();
    for said in [bare(1), commit(1), bare(1), commit(2)] {
        assert_eq!(own.says(R1, &said), Ok(()));
    }
    assert_eq!(own.says(ReplicaId(2), &bare(3)), Ok(()), "it passes on what another one said");

    let header = |name: &[u8]| {
        let digest = pbft_crypto::Digest::of(pbft_crypto::Domain::Batch, name);
        let value = PrePrepare { view: View(5), sequence: Sequence(3), digest };
        sign(&cluster, R1, value).signed().clone()
    };
    let new_view = NewView { view: View(5), view_changes: vec![], pre_prepares: vec![header(b"a")] };
    let new_view = PeerMessage::NewView(sign(&cluster, R1, new_view).signed().clone());
    assert_eq!(own.says(R1, &new_view), Ok(()));
    let body = std::sync::Arc::new(Body::null());
    let told = "contradicts itself (PrePrepare) at 3 in view 5".to_owned();
    assert_eq!(own.says(R1, &PeerMessage::Proposal(header(b"b"), body)), Err(told));
}
