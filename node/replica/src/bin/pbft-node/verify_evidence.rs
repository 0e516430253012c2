//! Evidence that somebody hands over, judged by public keys alone.

use std::io::Read as _;
use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use pbft_crypto::{Malformed, Rejected};
use pbft_messages::{Configuration, Conviction};
use pbft_node::read_cluster;

use crate::arguments::{Format, VerifyEvidence};
use crate::commands::print;
use crate::failure::{Failure, Outcome};

pub(crate) fn run(VerifyEvidence { file, cluster, write_out }: &VerifyEvidence) -> Outcome {
    let configuration = read_cluster(cluster)?;
    let pieces =
        pieces(&read(file)?).map_err(|why| Failure::bad_input(format!("{}: {why}", file.display())))?;
    let judged: Vec<_> = pieces.iter().map(|piece| judge(piece, &configuration)).collect();
    match write_out {
        Format::Simple if judged.is_empty() => print("no evidence against anybody\n")?,
        Format::Simple => print(&judged.iter().map(lines).collect::<String>())?,
        Format::Table => {
            let mut table = Table::new();
            table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
            table
                .set_header(["accused", "kind", "what it signed", "verified"])
                .add_rows(judged.iter().map(cells));
            print(&format!("{table}\n"))?;
        }
        Format::Json => {
            let judged: Vec<_> = judged.iter().map(verdict).collect();
            print(&format!("{}\n", json!({ "evidence": judged })))?;
        }
    }
    match judged.iter().filter(|it| it.is_err()).count() {
        0 => Ok(()),
        bad => Err(Failure::error(format!(
            "{bad} of {} pieces of evidence prove nothing: damaged, forged, or of another cluster than {}",
            judged.len(),
            cluster.display()
        ))),
    }
}

type Judged = Result<Conviction, Rejected>;

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| Failure::bad_input(format!("cannot read {}: {error}", file.display())))?;
    Ok(text)
}

/// The encoded pieces in a file, in hexadecimal digits.
fn pieces(text: &str) -> Result<Vec<String>, String> {
    if !text.trim_start().starts_with('{') {
        let pieces: Vec<_> = text.split_whitespace().map(Into::into).collect();
        // Nothing from a pipe is whatever failed before it, and no verdict.
        return if pieces.is_empty() { Err("there is nothing in it".into()) } else { Ok(pieces) };
    }
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let entries = ["evidence", "records"].iter().find_map(|name| document[name].as_array());
    let entries = entries.ok_or("neither \"evidence\" nor \"records\" is in it")?;
    let encoded = |entry: &Value| Some(entry["encoded"].as_str()?.to_owned());
    entries.iter().map(encoded).collect::<Option<_>>().ok_or_else(|| "an entry without \"encoded\"".into())
}

fn judge(piece: &str, configuration: &Configuration) -> Judged {
    let encoded = hex::decode(piece).map_err(|error| Malformed(error.to_string()))?;
    Conviction::of(&encoded, configuration)
}

/// The name of a kind, as in JSON.
fn kind(conviction: &Conviction) -> String {
    let kind = serde_json::to_value(conviction.accusation.kind).unwrap_or_default();
    kind.as_str().unwrap_or_default().into()
}

fn lines(judged: &Judged) -> String {
    match judged {
        Ok(it) => {
            let [first, second] = &it.statements;
            format!("{} lied ({}), verified:\n  {first}\n  {second}\n", it.accusation.accused, kind(it))
        }
        Err(why) => format!("NOT PROVEN: {why}\n"),
    }
}

fn cells(judged: &Judged) -> [String; 4] {
    match judged {
        Ok(it) => [it.accusation.accused.to_string(), kind(it), it.statements.join("\n"), "yes".into()],
        Err(why) => ["-".into(), "-".into(), "-".into(), format!("NO: {why}")],
    }
}

fn verdict(judged: &Judged) -> Value {
    match judged {
        Ok(it) => {
            let mut value = json!(it);
            value["verified"] = true.into();
            value
        }
        Err(why) => json!({ "verified": false, "problem": why.to_string() }),
    }
}
