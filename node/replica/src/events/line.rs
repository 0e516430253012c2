use serde::{Deserialize, Serialize};

use pbft_messages::{ReplicaId, Timestamp};
use pbft_protocol::Report;

/// One event as it stands in `events.jsonl` and on the control socket: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Where it happened.
    pub replica: ReplicaId,
    /// The event's number since the replica's start, from 0, without gaps. A restart begins anew, with the event
    /// `started`.
    pub count: u64,
    /// When, by the replica's wall clock, in nanoseconds since the Unix epoch.
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub report: Report,
}

#[cfg(test)]
mod tests {
    use pbft_crypto::{Digest, Domain};
    use pbft_messages::{Sequence, View};
    use pbft_protocol::{Halt, Rejection, ViewChangeReason};

    use super::*;

    #[test]
    fn every_kind_of_event_comes_back() {
        let digest = Digest::of(Domain::Batch, b"batch");
        let (view, sequence) = (View(1), Sequence(2));
        let reports = [
            Report::Started { view, stable: sequence, last_executed: sequence, abstains_through: None },
            Report::Prepared { view, sequence, digest },
            Report::ViewChange { view, reason: ViewChangeReason::RequestTimeout },
            Report::Evidence(crate::testing::evidence().accusation().unwrap()),
            // Named `replica`, the source would take the place of the line's own.
            Report::SourceDropped { source: ReplicaId(3) },
            Report::Rejected { from: ReplicaId(3), reason: Rejection::OldView },
            Report::Shed,
            Report::Halted(Halt::ConflictingCertificates { view, sequence }),
        ];
        for report in reports {
            let line = EventLine {
                replica: ReplicaId(1),
                count: 7,
                time: Timestamp(1_700_000_000_000_000_000),
                report,
            };
            let text = serde_json::to_string(&line).unwrap();
            assert!(
                text.starts_with(r#"{"replica":"r1","count":7,"time":1700000000000000000,"event":""#),
                "{text}"
            );
            assert_eq!(serde_json::from_str::<EventLine>(&text).unwrap(), line, "{text}");
        }
    }
}
