//! Shows which replicas can be reached, and whether the cluster answers.
//!
//! What it can know is what any client knows: each replica's link, and what f+1 replicas say alike. Whether a
//! replica that takes connections also takes part in agreement is for the replica's own metrics to tell.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use pbft_client::{Client, ClientError, Done, KvClient, KvError, LinkState};
use pbft_messages::{Configuration, ReplicaId, Reserve, View};
use pbft_service::kv::KeyValue;

use crate::arguments::{Format, Options};
use crate::connect::Setup;
use crate::failure::{Failure, Outcome};
use crate::output;

/// The key that is read to see whether the cluster answers. It need not exist.
const PROBE: &[u8] = b"\0status";

/// What one look at the cluster found.
struct Findings {
    links: Vec<LinkState>,
    view: View,
    /// How long an ordered read took, and its answer.
    read: Result<(Duration, Done<Option<KeyValue>>), KvError>,
}

pub(crate) async fn run(options: &Options) -> Outcome {
    let setup = Setup::new(options)?;
    let client = setup.connector.start_session()?;
    let (read, _) = tokio::join!(probe(&client), tokio::time::timeout(options.timeout, client.links_tried()));
    let findings = Findings { links: client.links(), view: client.view(), read };
    let configuration = &setup.configuration;
    match options.write_out {
        Format::Simple => print_lines(configuration, &findings)?,
        Format::Table => {
            let rows = replicas(configuration, &findings).map(Vec::from).collect();
            output::table(&["replica", "address", "state", "round trip / reason"], rows)?;
            output::line(&summary(configuration, &findings))?;
        }
        Format::Json => output::json(&document(configuration, &findings))?,
    }
    let outcome = match &findings.read {
        Ok(_) => Ok(()),
        Err(_) if findings.reachable() > 0 => Err(Failure::unhealthy()),
        Err(KvError::Client(error)) => Err(setup.explain(error.clone())),
        Err(error) => Err(error.clone().into()),
    };
    setup.close().await;
    outcome
}

/// Opens the session, and times an ordered read in it.
async fn probe(client: &Client) -> Result<(Duration, Done<Option<KeyValue>>), KvError> {
    client.opened().await?;
    let started = Instant::now();
    let done = KvClient::new(client.clone()).get(PROBE).await?;
    Ok((started.elapsed(), done))
}

impl Findings {
    fn reachable(&self) -> usize {
        self.links.iter().filter(|link| matches!(link, LinkState::Up { .. })).count()
    }

    /// What a client can tell of how far service is from standing still: a replica that it reaches may yet be no
    /// help to the others.
    fn reserve(&self, configuration: &Configuration) -> Reserve {
        Reserve::new(self.reachable(), configuration.quorum())
    }
}

/// For each replica: name, client address, state, detail.
fn replicas(configuration: &Configuration, findings: &Findings) -> impl Iterator<Item = [String; 4]> {
    findings.links.iter().enumerate().map(|(index, link)| {
        let replica = ReplicaId(index as u16);
        let address = configuration.member(replica).map(|member| member.client_address.to_string());
        let (state, detail) = match link {
            LinkState::Up { round_trip: Some(time) } => {
                ("reachable", format!("round trip {}", milliseconds(*time)))
            }
            LinkState::Up { round_trip: None } => ("reachable", String::new()),
            LinkState::Connecting => ("unreachable", "no answer yet".to_owned()),
            LinkState::Down { reason } => ("unreachable", reason.to_string()),
        };
        [replica.to_string(), address.unwrap_or_default(), state.to_owned(), detail]
    })
}

fn print_lines(configuration: &Configuration, findings: &Findings) -> Outcome {
    for [replica, address, state, detail] in replicas(configuration, findings) {
        output::line(format!("{replica:<4} {address:<21} {state:<11} {detail}").trim_end())?;
    }
    output::line(&summary(configuration, findings))
}

fn summary(configuration: &Configuration, findings: &Findings) -> String {
    let Findings { view, read, .. } = findings;
    match read {
        Ok((took, done)) => format!(
            "cluster {} answers: an ordered read took {} (sequence {}, revision {}); view {view}, primary {}; \
             going by the links, {}",
            configuration.name(),
            milliseconds(*took),
            done.sequence,
            done.revision,
            configuration.primary(*view),
            findings.reserve(configuration)
        ),
        Err(KvError::Client(
            ClientError::Unreachable { waited, reach } | ClientError::Unanswered { waited, reach },
        )) => format!(
            "cluster {} does not answer within {waited:?}: {} of {} replicas reachable, {} must work",
            configuration.name(),
            reach.reachable(),
            reach.links.len(),
            configuration.quorum().get()
        ),
        Err(error) => format!("cluster {} does not answer: {error}", configuration.name()),
    }
}

fn document(configuration: &Configuration, findings: &Findings) -> Value {
    let replica = |[replica, address, state, _]: [String; 4], link: &LinkState| {
        let (round_trip, reason) = match link {
            LinkState::Up { round_trip } => (round_trip.map(|time| time.as_secs_f64()), None),
            LinkState::Connecting => (None, Some("no answer yet".to_owned())),
            LinkState::Down { reason } => (None, Some(reason.to_string())),
        };
        json!({
            "replica": replica, "address": address, "reachable": state == "reachable",
            "round_trip_seconds": round_trip, "reason": reason,
        })
    };
    let rows = replicas(configuration, findings).zip(&findings.links);
    let read = match &findings.read {
        Ok((took, done)) => json!({
            "answers": true, "read_seconds": took.as_secs_f64(),
            "sequence": done.sequence.0, "revision": done.revision,
            "view": findings.view.0, "primary": configuration.primary(findings.view).to_string(),
        }),
        Err(error) => json!({ "answers": false, "reason": error.to_string() }),
    };
    json!({
        "cluster": configuration.name(),
        "replicas": rows.map(|(row, link)| replica(row, link)).collect::<Vec<_>>(),
        "service": read,
        "failures_tolerated_by_links": findings.reserve(configuration).failures(),
    })
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
