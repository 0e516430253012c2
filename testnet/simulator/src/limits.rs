//! The bounds of a replica's tables (I7), computed from the cluster's parameters alone.

use pbft_messages::Configuration;
use pbft_protocol::Sizes;

/// Of views to come, 32 messages a sender.
const AHEAD: usize = 32;
/// Pieces of evidence of one kind against one replica.
const EVIDENCE: usize = 8;
/// Requests of a submission: so many of one client may wait whatever else does.
const SUBMISSION: usize = 64;
/// Windows of slots that are kept below h for want of execution, and above it.
const WINDOWS: u64 = 4 + 2;
/// Bodies that may be wanted for a slot; in a view change as many again as each replica's VIEW-CHANGE shows.
const WANTED: u64 = 3;
/// Unordered reads that wait.
const READS: u64 = 1024;
/// Parts of a state that one source is asked for at a time.
const ASKED: u64 = 8;
/// Chunks of a state on their way to the disk.
const KEEPING: u64 = 32;

/// What exceeds its bound, in words, if anything does.
pub(crate) fn exceeded(sizes: &Sizes, configuration: &Configuration) -> Option<String> {
    let (n, parameters) = (configuration.n(), configuration.parameters());
    let window = parameters.window;
    let checkpoints = 2 * window / parameters.checkpoint_interval;
    let of_one = n * (parameters.waiting_requests / 2).max(SUBMISSION);
    let amounts = [
        ("slots", sizes.slots as u64, WINDOWS * window),
        ("slots carried over", sizes.carried as u64, window),
        ("slots above h", sizes.highest_slot.0.saturating_sub(sizes.stable.0), 2 * window),
        ("checkpoints", sizes.checkpoints as u64, checkpoints),
        ("VIEW-CHANGEs", sizes.view_changes as u64, n as u64),
        ("messages of views to come of one sender", sizes.ahead as u64, AHEAD as u64),
        ("bodies wanted", sizes.wanted as u64, (WANTED * WINDOWS + n as u64) * window),
        ("pieces of evidence of a kind", sizes.evidence as u64, EVIDENCE as u64),
        // A primary has room for what all backups may pass on; one client has half of that.
        ("waiting requests", sizes.waiting as u64, (n * parameters.waiting_requests) as u64),
        ("waiting requests of a client", sizes.waiting_of_one as u64, of_one as u64),
        ("bytes of waiting requests", sizes.waiting_bytes as u64, (n * parameters.waiting_bytes) as u64),
        ("sessions of a client", sizes.sessions as u64, parameters.sessions as u64),
        ("replies of a session", sizes.replies as u64, parameters.session_window),
        ("waiting reads", sizes.reads as u64, READS),
        ("parts asked of a source", sizes.asked as u64, ASKED),
        ("chunks on their way to the disk", sizes.keeping as u64, KEEPING),
    ];
    let (what, amount, bound) = amounts.into_iter().find(|(_, amount, bound)| amount > bound)?;
    Some(format!("{amount} {what}, more than {bound}"))
}

#[cfg(test)]
mod tests {
    use pbft_messages::Sequence;

    use super::*;
    use crate::Settings;

    const NONE: Sizes = Sizes {
        slots: 0,
        carried: 0,
        highest_slot: Sequence(0),
        stable: Sequence(8),
        checkpoints: 0,
        view_changes: 0,
        ahead: 0,
        wanted: 0,
        evidence: 0,
        waiting: 0,
        waiting_of_one: 0,
        waiting_bytes: 0,
        sessions: 0,
        replies: 0,
        reads: 0,
        asked: 0,
        keeping: 0,
    };

    #[test]
    fn every_bound_can_be_exceeded() {
        let settings = Settings::new(4, 1);
        let configuration = settings.configuration(&settings.keys()).expect("it is valid");
        let found = |sizes| exceeded(&sizes, &configuration);
        assert_eq!(found(NONE), None);
        assert_eq!(found(Sizes { slots: 96, carried: 16, highest_slot: Sequence(40), ..NONE }), None);
        assert_eq!(found(Sizes { slots: 97, ..NONE }).unwrap(), "97 slots, more than 96");
        assert!(found(Sizes { carried: 17, ..NONE }).is_some());
        assert!(found(Sizes { highest_slot: Sequence(41), ..NONE }).is_some());
        assert!(found(Sizes { checkpoints: 5, ..NONE }).is_some());
        assert!(found(Sizes { view_changes: 5, ..NONE }).is_some());
        assert!(found(Sizes { ahead: 33, ..NONE }).is_some());
        assert!(found(Sizes { wanted: 353, ..NONE }).is_some());
        assert!(found(Sizes { evidence: 9, ..NONE }).is_some());
        assert!(found(Sizes { waiting_of_one: 2 * 16_384 + 1, ..NONE }).is_some());
        assert_eq!(found(Sizes { waiting: 4 * 16_384, waiting_bytes: 4 * (64 << 20), ..NONE }), None);
        assert!(found(Sizes { waiting: 4 * 16_384 + 1, ..NONE }).is_some());
        assert!(found(Sizes { waiting_bytes: 4 * (64 << 20) + 1, ..NONE }).is_some());
        assert!(found(Sizes { sessions: 257, ..NONE }).is_some());
        assert!(found(Sizes { replies: 65, ..NONE }).is_some());
        assert!(found(Sizes { reads: 1025, ..NONE }).is_some());
        assert!(found(Sizes { asked: 9, ..NONE }).is_some());
        assert!(found(Sizes { keeping: 33, ..NONE }).is_some());
    }
}
