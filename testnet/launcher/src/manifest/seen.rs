//! What could be seen of the faults, by the replicas that had none of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use pbft_messages::ReplicaId;
use pbft_node::EventLine;
use pbft_protocol::{Report, ViewChangeReason};

/// How often each thing was reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Requests for another view, by their reasons.
    pub view_changes: BTreeMap<String, usize>,
    /// New evidence.
    pub evidence: usize,
    /// Messages that were refused, by the reasons.
    pub rejected: BTreeMap<String, usize>,
    /// Sources of state that were given up.
    pub sources_dropped: usize,
}

impl Seen {
    /// Counts the events of all but the liars.
    pub(super) fn by_others(events: &[EventLine], liars: &BTreeSet<ReplicaId>) -> Self {
        let mut seen = Self::default();
        for event in events.iter().filter(|event| !liars.contains(&event.replica)) {
            match &event.report {
                // What a start brings with it is nobody's doing.
                Report::ViewChange {
                    reason: ViewChangeReason::Restarted | ViewChangeReason::Recovered,
                    ..
                } => {}
                Report::ViewChange { reason, .. } => *seen.view_changes.entry(word(reason)).or_default() += 1,
                Report::Evidence(_) => seen.evidence += 1,
                Report::Rejected { reason, .. } => *seen.rejected.entry(word(reason)).or_default() += 1,
                Report::SourceDropped { .. } => seen.sources_dropped += 1,
                _ => {}
            }
        }
        seen
    }
}

/// The word that stands for one of several alternatives.
pub(super) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |what: &str, counts: &BTreeMap<String, usize>| {
            counts.iter().map(|(reason, count)| format!("{count} {what} ({reason})")).collect::<Vec<_>>()
        };
        let mut parts = counted("view changes", &self.view_changes);
        parts.extend((self.evidence > 0).then(|| format!("{} proofs", self.evidence)));
        parts.extend(counted("refused", &self.rejected));
        parts.extend((self.sources_dropped > 0).then(|| format!("{} sources dropped", self.sources_dropped)));
        formatter.write_str(&if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use pbft_messages::{Timestamp, View};
    use pbft_protocol::Rejection;

    use super::*;

    #[test]
    fn what_others_report_is_counted_and_what_liars_report_is_not() {
        let view_change = |reason| Report::ViewChange { view: View(1), reason };
        let refused = Report::Rejected { from: ReplicaId(0), reason: Rejection::BeyondWindow };
        let reports = [
            (0, view_change(ViewChangeReason::RequestTimeout)),
            (1, view_change(ViewChangeReason::RequestTimeout)),
            (2, view_change(ViewChangeReason::RequestTimeout)),
            (2, view_change(ViewChangeReason::Restarted)),
            (3, refused),
            (3, Report::SourceDropped { source: ReplicaId(0) }),
        ];
        let event = |(count, (replica, report)): (usize, (u16, Report))| EventLine {
            replica: ReplicaId(replica),
            count: count as u64,
            time: Timestamp::default(),
            report,
        };
        let events: Vec<_> = reports.into_iter().enumerate().map(event).collect();
        let seen = Seen::by_others(&events, &[ReplicaId(0)].into());
        let told = "2 view changes (request-timeout), 1 refused (beyond-window), 1 sources dropped";
        assert_eq!(seen.to_string(), told);
        assert_eq!(Seen::default().to_string(), "nothing");
    }
}
