//! What a stopped replica's store holds. Nothing in it is believed: certificates and evidence are checked again, from
//! the public keys in the cluster file.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use pbft_crypto::{Digest, Rejected};
use pbft_messages::{
    Certificate, Checkpoint, Configuration, Conviction, Prepare, ReplicaId, Sequence, View, codec,
};
use pbft_node::{DataFolder, Inspection, SnapshotSummary, read_cluster};
use pbft_protocol::Record;

use crate::arguments::{Format, Inspect, Subject};
use crate::commands::print;
use crate::failure::{Failure, Outcome};

/// One record, as it is shown.
#[derive(Debug, Default)]
struct Row {
    kind: &'static str,
    accused: Option<ReplicaId>,
    view: Option<View>,
    sequence: Option<Sequence>,
    digest: Option<Digest>,
    detail: String,
    /// Evidence in hexadecimal digits, for `verify-evidence`.
    encoded: Option<String>,
    /// Why it does not hold, if it doesn't.
    problem: Option<String>,
}

const HEADER: [&str; 7] = ["record", "accused", "view", "sequence", "digest", "detail", "check"];

pub(crate) fn run(Inspect { subject, cluster, data, write_out }: &Inspect) -> Outcome {
    let configuration = read_cluster(cluster)?;
    let Inspection { replica, transactions, records } =
        pbft_node::inspect(&DataFolder::new(data), &configuration)?;
    let shown = |record: &&Record| match subject {
        Subject::Log => !matches!(record, Record::Evidence(_) | Record::Snapshot(..)),
        Subject::Snapshot => matches!(record, Record::Snapshot(..) | Record::Stable(_)),
        Subject::Evidence => matches!(record, Record::Evidence(_)),
    };
    let mut rows: Vec<_> = records.iter().filter(shown).map(|record| row(record, &configuration)).collect();
    if *subject == Subject::Snapshot {
        rows.extend(contents(&DataFolder::new(data), &records)?);
    }
    let bad = rows.iter().filter(|row| row.problem.is_some()).count();
    let summary = format!(
        "{} records of {replica} after {transactions} transactions; {} hold",
        rows.len(),
        rows.len() - bad
    );
    match write_out {
        Format::Simple => {
            let lines: String =
                rows.iter().map(|row| row.cells().join(" ").trim_end().to_owned() + "\n").collect();
            print(&lines)?;
        }
        Format::Table => {
            let mut table = Table::new();
            table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header(HEADER).add_rows(rows.iter().map(Row::cells));
            print(&format!("{table}\n{summary}\n"))?;
        }
        Format::Json => {
            let records: Vec<_> = rows.iter().map(Row::json).collect();
            let document = json!({ "replica": replica, "transactions": transactions, "records": records });
            print(&format!("{document}\n"))?;
        }
    }
    if bad > 0 {
        return Err(Failure::error(format!(
            "{summary}: run `pbft-node recover --unsafe-discard-store`, which keeps the old store and lets the replica rejoin"
        )));
    }
    Ok(())
}

/// What the snapshots that the records name hold, read and checked chunk by chunk.
fn contents(data: &DataFolder, records: &[Record]) -> Result<Vec<Row>, Failure> {
    let named = records.iter().filter_map(|record| match record {
        Record::Snapshot(sequence, root) => Some((*sequence, *root)),
        _ => None,
    });
    let summaries = pbft_node::summarize_snapshots(data, &named.collect())?;
    let row = |it: SnapshotSummary| Row {
        kind: "content",
        sequence: Some(it.sequence),
        digest: Some(it.root),
        detail: format!("{} chunks, {} bytes", it.chunks, it.bytes),
        ..Row::default()
    };
    Ok(summaries.into_iter().map(row).collect())
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let check = self.problem.as_ref().map_or("good".into(), |why| format!("BAD: {why}"));
        [
            self.kind.into(),
            text(self.accused.map(|it| it.to_string())),
            text(self.view.map(|it| it.to_string())),
            text(self.sequence.map(|it| it.to_string())),
            text(self.digest.map(|it| it.to_string())),
            text(Some(self.detail.clone()).filter(|it| !it.is_empty())),
            check,
        ]
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "record": self.kind, "accused": self.accused, "view": self.view, "sequence": self.sequence,
            "digest": self.digest.map(|it| it.to_string()), "detail": self.detail, "problem": self.problem,
        });
        if let Some(encoded) = &self.encoded {
            value["encoded"] = encoded.as_str().into();
        }
        value
    }

    fn checked(self, result: Result<(), Rejected>) -> Self {
        Self { problem: result.err().map(|error| error.to_string()), ..self }
    }
}

fn row(record: &Record, configuration: &Configuration) -> Row {
    match record {
        Record::View(view, new_view) => {
            let row = Row { kind: "view", view: Some(*view), ..Row::default() };
            let checked = new_view.as_ref().map(|signed| signed.clone().verify(configuration).map(drop));
            row.checked(checked.unwrap_or(Ok(())))
        }
        Record::Reservation(view, through) => {
            Row { kind: "reservation", view: Some(*view), sequence: Some(*through), ..Row::default() }
        }
        Record::ViewChange(signed) => match signed.clone().verify(configuration) {
            Ok(it) => {
                let detail = format!("{} certificates", it.value().prepared.len());
                let (view, sequence) = (Some(it.value().view), Some(it.value().stable_sequence()));
                Row { kind: "view-change", view, sequence, detail, ..Row::default() }
            }
            Err(error) => Row { kind: "view-change", ..Row::default() }.checked(Err(error)),
        },
        Record::Prepared(certificate) => {
            let Prepare { view, sequence, digest } = *certificate.proposal();
            at("prepared", view, sequence, digest).checked(certificate.check(configuration))
        }
        Record::Committed(certificate) => {
            let it = &certificate.statement;
            at("committed", it.view, it.sequence, it.digest).checked(certificate.check(configuration))
        }
        Record::Body(sequence, body) => {
            let detail = format!("{} requests", body.request_ids().count());
            let (sequence, digest) = (Some(*sequence), Some(body.digest()));
            Row { kind: "body", sequence, digest, detail, ..Row::default() }
        }
        Record::Stable(certificate) => {
            let Checkpoint { sequence, root } = certificate.statement;
            let row = Row { kind: "stable", sequence: Some(sequence), digest: Some(root), ..Row::default() };
            row.checked(certificate.check(configuration))
        }
        Record::Snapshot(sequence, root) => {
            Row { kind: "snapshot", sequence: Some(*sequence), digest: Some(*root), ..Row::default() }
        }
        Record::Shutdown(shutdown) => {
            let detail = match shutdown {
                Some(shutdown) => format!("in good order, {} proposals accepted", shutdown.accepted.len()),
                None => "not in good order".into(),
            };
            let view = shutdown.as_ref().map(|shutdown| shutdown.view);
            Row { kind: "shutdown", view, detail, ..Row::default() }
        }
        Record::Recovery(nonce) => {
            let detail = if nonce.is_some() { "under way" } else { "done" };
            Row { kind: "recovery", detail: detail.into(), ..Row::default() }
        }
        Record::Evidence(evidence) => {
            let encoded = codec::encode(evidence);
            let row = Row { kind: "evidence", encoded: Some(hex::encode(&encoded)), ..Row::default() };
            match Conviction::of(&encoded, configuration) {
                Ok(Conviction { accusation: it, statements }) => Row {
                    accused: Some(it.accused),
                    view: Some(it.view),
                    sequence: Some(it.sequence),
                    detail: statements.join("; "),
                    ..row
                },
                Err(error) => row.checked(Err(error)),
            }
        }
    }
}

fn at(kind: &'static str, view: View, sequence: Sequence, digest: Digest) -> Row {
    Row { kind, view: Some(view), sequence: Some(sequence), digest: Some(digest), ..Row::default() }
}
