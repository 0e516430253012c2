//! A replica whose whole world is drawn.

use pbft_protocol::initial_records;

use crate::harness::{Disk, Harness};
use crate::make::Make;

pub(super) fn among_liars(bytes: &[u8]) {
    let mut harness = Harness::start(Disk::new(initial_records())).expect("a first start succeeds");
    harness.play(&mut Make::new(bytes));
}

pub(super) fn leading(bytes: &[u8]) {
    let mut harness = Harness::start(Disk::new(initial_records())).expect("a first start succeeds");
    harness.lead(&mut Make::new(bytes));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pbft_crypto::Signed;
    use pbft_messages::{Body, PeerMessage, PrePrepare, PreparedCertificate, ReplicaId, Sequence, View};
    use pbft_protocol::{CleanShutdown, Input, Record};

    use super::*;
    use crate::harness::ME;

    /// One batch that a primary proposes to this replica, and the certificate of another one, which the others got.
    fn two_batches(make: &mut Make<'_>) -> [(Signed<PrePrepare>, PreparedCertificate, Arc<Body>); 2] {
        let (view, sequence) = (View(0), Sequence(5));
        [2, 3].map(|name| {
            let body = Make::new(&[name]).body();
            let header = make.signed(PrePrepare { view, sequence, digest: body.digest() }, ReplicaId(0));
            (header, make.prepared_at(view, sequence, body.digest()), body)
        })
    }

    /// The proposal in a certificate convicts whoever made another one, and deposes it before anything comes of the
    /// certificate; that outlives a stop in good order and a crash.
    #[test]
    fn a_certificate_of_another_batch_deposes_its_primary() {
        let mut make = Make::new(&[]);
        make.innocent = Some(ME);
        let [(header, _, accepted), (_, certificate, certified)] = two_batches(&mut make);
        let mut harness = Harness::start(Disk::new(initial_records())).expect("a first start succeeds");
        harness.deliver(ReplicaId(0), PeerMessage::Proposal(header, accepted));
        harness.catch_up();
        harness.deliver(ReplicaId(2), PeerMessage::Prepared(certificate, certified));
        harness.catch_up();
        let sends = |harness: &Harness, is_it: fn(&PeerMessage) -> bool| harness.sent.iter().any(is_it);
        assert!(sends(&harness, |it| matches!(it, PeerMessage::Evidence(_))), "two proposals at one place");
        assert!(!sends(&harness, |it| matches!(it, PeerMessage::Commit(_))), "it has left that view");
        harness.input(Input::Shutdown);
        harness.catch_up();
        // Whatever leaves it now is held against what left it before.
        harness.crash();
        harness.catch_up();
        let asks = sends(&harness, |it| matches!(it, PeerMessage::ViewChange(_)));
        assert!(asks, "what it asked for it asks for again");
    }

    /// Found by this target, when the certificate did not convict the liar yet: after a stop in good order this replica
    /// took the certified batch for the one that it had accepted, and prepared both. A store may hold both still.
    #[test]
    fn a_stop_in_good_order_changes_no_prepare() {
        let mut make = Make::new(&[]);
        make.innocent = Some(ME);
        let [(header, _, accepted), (_, certificate, certified)] = two_batches(&mut make);
        let (digest, place) = (accepted.digest(), Sequence(5));
        let shutdown = CleanShutdown { view: View(0), accepted: vec![header] };
        let records = [
            Record::Reservation(View(0), place),
            Record::Prepared(certificate),
            Record::Body(place, certified),
            Record::Body(place, accepted),
            Record::Shutdown(Some(shutdown)),
        ];
        let disk = Disk::new(initial_records().into_iter().chain(records));
        let mut harness = Harness::start(disk).expect("they fit together");
        harness.catch_up();
        let prepared: Vec<_> = harness
            .sent
            .iter()
            .filter_map(|message| match message {
                PeerMessage::Prepare(vote, _) => vote.peek().ok().map(|vote| vote.digest),
                _ => None,
            })
            .collect();
        assert_eq!(prepared, [digest]);
    }
}
