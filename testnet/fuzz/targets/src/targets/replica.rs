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
    use pbft_messages::{PeerMessage, PrePrepare, ReplicaId, Sequence, View};
    use pbft_protocol::Input;

    use super::*;
    use crate::harness::ME;

    /// Found by this target: a primary that lies gives this replica one batch and the others another, which they
    /// certify. After a stop in good order it took the certified one for the one that it had accepted, and prepared both.
    /// Now that the proposal in a certificate convicts whoever made another one, it leaves the liar's view besides.
    #[test]
    fn a_stop_in_good_order_changes_no_prepare() {
        let (view, sequence) = (View(0), Sequence(5));
        let (accepted, certified) = (Make::new(&[2]).body(), Make::new(&[3]).body());
        let mut make = Make::new(&[]);
        make.innocent = Some(ME);
        let header = make.signed(PrePrepare { view, sequence, digest: accepted.digest() }, ReplicaId(0));
        let certificate = make.prepared_at(view, sequence, certified.digest());
        let mut harness = Harness::start(Disk::new(initial_records())).expect("a first start succeeds");
        harness.deliver(ReplicaId(0), PeerMessage::Proposal(header, accepted));
        harness.catch_up();
        harness.deliver(ReplicaId(2), PeerMessage::Prepared(certificate, certified));
        harness.catch_up();
        let convicts = harness.sent.iter().any(|message| matches!(message, PeerMessage::Evidence(_)));
        assert!(convicts, "two proposals at one place");
        harness.input(Input::Shutdown);
        harness.catch_up();
        // Whatever leaves it now is held against what left it before.
        harness.crash();
        harness.catch_up();
        let asks = harness.sent.iter().any(|message| matches!(message, PeerMessage::ViewChange(_)));
        assert!(asks, "what it asked for it asks for again");
    }
}
