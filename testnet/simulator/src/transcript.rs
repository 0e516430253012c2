//! The story of a run in readable lines, for golden transcripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use pbft_crypto::Digest;
use pbft_messages::{Body, Part, PartId, PeerMessage, ReplicaId, Sequence};
use pbft_protocol::Report;

use crate::InstanceId;

/// Lines of text, with short names for digests.
#[derive(Default)]
pub(crate) struct Transcript {
    text: String,
    names: BTreeMap<Digest, usize>,
}

impl Transcript {
    pub(crate) fn text(&self) -> String {
        self.text.clone()
    }

    pub(crate) fn line(&mut self, now: Duration, line: &str) {
        let milliseconds = now.as_secs_f64() * 1000.0;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{milliseconds:>8.1} {line}");
    }

    /// Batches and states are named in the order in which they appear: A, B, …
    fn name(&mut self, digest: &Digest) -> String {
        if *digest == Body::null_digest() {
            return "null".into();
        }
        let next = self.names.len();
        let index = *self.names.entry(*digest).or_insert(next);
        let letter = char::from(b'A' + (index % 26) as u8);
        if index < 26 { letter.to_string() } else { format!("{letter}{}", index / 26) }
    }

    pub(crate) fn message(
        &mut self,
        now: Duration,
        from: InstanceId,
        to: &[ReplicaId],
        message: &PeerMessage,
    ) {
        if let Some(what) = self.describe(message) {
            let to = match to {
                [one] => one.to_string(),
                _ => "all".into(),
            };
            self.line(now, &format!("{from} → {to}: {what}"));
        }
    }

    fn describe(&mut self, message: &PeerMessage) -> Option<String> {
        let place = |view, sequence: Sequence| format!("view {view}, sequence {sequence}");
        Some(match message {
            PeerMessage::Proposal(header, body) => {
                let header = header.peek().ok()?;
                let requests = body.request_ids().count();
                let name = self.name(&header.digest);
                format!("PRE-PREPARE {} batch {name} of {requests}", place(header.view, header.sequence))
            }
            PeerMessage::Prepare(vote, _) => {
                let vote = vote.peek().ok()?;
                format!("PREPARE {} batch {}", place(vote.view, vote.sequence), self.name(&vote.digest))
            }
            PeerMessage::Commit(vote) => {
                let vote = vote.peek().ok()?;
                format!("COMMIT {} batch {}", place(vote.view, vote.sequence), self.name(&vote.digest))
            }
            PeerMessage::Checkpoint(vote) => {
                let vote = vote.peek().ok()?;
                format!("CHECKPOINT {} state {}", vote.sequence, self.name(&vote.root))
            }
            PeerMessage::ViewChange(signed) => {
                let it = signed.peek().ok()?;
                let prepared: Vec<_> = it
                    .prepared
                    .iter()
                    .map(|certificate| {
                        let proposal = certificate.proposal();
                        format!(
                            "{} at {} in view {}",
                            self.name(&proposal.digest),
                            proposal.sequence,
                            proposal.view
                        )
                    })
                    .collect();
                format!(
                    "VIEW-CHANGE {} stable {} prepared [{}]",
                    it.view,
                    it.stable_sequence(),
                    prepared.join(", ")
                )
            }
            PeerMessage::NewView(signed) => {
                let it = signed.peek().ok()?;
                let senders: Vec<_> =
                    it.view_changes.iter().map(|it| it.claimed_signer().to_string()).collect();
                let headers: Vec<_> =
                    it.pre_prepares.iter().filter_map(|header| header.peek().ok()).collect();
                let proposals: Vec<_> = headers
                    .iter()
                    .map(|it| format!("{} at {}", self.name(&it.digest), it.sequence))
                    .collect();
                format!(
                    "NEW-VIEW {} of [{}] proposes [{}]",
                    it.view,
                    senders.join(", "),
                    proposals.join(", ")
                )
            }
            PeerMessage::Forward(_) | PeerMessage::Status(_) => return None,
            PeerMessage::FetchBody(digest) => format!("asks for batch {}", self.name(digest)),
            PeerMessage::Body(body) => format!("hands over batch {}", self.name(&body.digest())),
            PeerMessage::Prepared(certificate, _) => {
                let proposal = certificate.proposal();
                let name = self.name(&proposal.digest);
                format!("hands over prepared {} batch {name}", place(proposal.view, proposal.sequence))
            }
            PeerMessage::Committed(certificate, _) => {
                let vote = &certificate.statement;
                format!(
                    "hands over committed {} batch {}",
                    place(vote.view, vote.sequence),
                    self.name(&vote.digest)
                )
            }
            PeerMessage::Stable(certificate) => {
                format!("hands over stable {}", certificate.statement.sequence)
            }
            PeerMessage::FetchPart(PartId { sequence, part: Part::Leaves(_) }) => {
                format!("asks what state {sequence} consists of")
            }
            PeerMessage::FetchPart(PartId { sequence, part: Part::Chunk(index) }) => {
                format!("asks for chunk {index} of state {sequence}")
            }
            PeerMessage::Leaves(page) => {
                format!("tells that state {} consists of {} chunks", page.sequence, page.count)
            }
            PeerMessage::Chunk(chunk) => {
                format!("hands over chunk {} of state {}", chunk.index, chunk.sequence)
            }
            PeerMessage::NoSnapshot(sequence) => format!("does not have state {sequence}"),
            PeerMessage::Evidence(evidence) => {
                let it = evidence.accusation().ok()?;
                format!("EVIDENCE against {} ({:?}) {}", it.accused, it.kind, place(it.view, it.sequence))
            }
            PeerMessage::AskRecovery(_) => "asks what it may have signed".into(),
            PeerMessage::RecoveryAnswer(signed) => {
                let it = signed.peek().ok()?;
                format!("answers {}: view {}, executed {}", it.asker, it.view, it.last_executed)
            }
        })
    }

    /// Reports that say more than the messages do.
    pub(crate) fn report(&mut self, now: Duration, from: InstanceId, report: &Report) {
        let what = match report {
            Report::Started { view, last_executed, abstains_through, .. } => {
                let abstains =
                    abstains_through.map(|it| format!(", abstains through {it}")).unwrap_or_default();
                format!("is in view {view}, can execute through {last_executed}{abstains}")
            }
            Report::Executed { sequence, digest, requests } => {
                format!("executes {sequence}: batch {}, {requests} operations", self.name(digest))
            }
            Report::Stable { sequence, .. } => format!("has stable checkpoint {sequence}"),
            Report::ViewChange { view, reason } => format!("asks for view {view}: {reason:?}"),
            Report::ViewEntered { view, primary, .. } => format!("enters view {view} of {primary}"),
            Report::Evidence(it) => format!("holds evidence against {}", it.accused),
            Report::TransferStarted { sequence } => format!("fetches state {sequence}"),
            Report::Gathering { chunks, missing, .. } => format!("lacks {missing} of {chunks} chunks"),
            Report::Transferred { sequence } => format!("installs state {sequence}"),
            Report::RecoveryBounded { view, sequence } => {
                format!("may vote from view {view}, above stable checkpoint {sequence}")
            }
            Report::Recovered { view } => format!("has recovered, for view {view}"),
            Report::Halted(halt) => format!("stops: {halt}"),
            _ => return,
        };
        self.line(now, &format!("{from} {what}"));
    }
}
