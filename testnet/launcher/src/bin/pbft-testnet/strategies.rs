//! `fault list`: the strategies, one by one or in short, and who follows which.

use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use pbft_byzantine::{CLIENT_STRATEGIES, Description, Pause, Proof, STRATEGIES, described};
use pbft_testnet::{ClusterStatus, Roots, Testnet, TestnetError};

use crate::arguments::{Format, Listed};
use crate::faults::NETWORK;
use crate::output::{BadInput, json, note, result, table, word};

pub(crate) async fn list(listed: &Listed) -> anyhow::Result<u8> {
    if listed.name.as_deref() == Some(NETWORK) {
        return network(listed.write);
    }
    let status = match &listed.dir {
        Some(dir) => status(dir).await?,
        None => None,
    };
    let (of_replicas, of_clients) = match &listed.name {
        Some(text) => named(text)?,
        None => (STRATEGIES.to_vec(), CLIENT_STRATEGIES.to_vec()),
    };
    let shown = || of_replicas.iter().chain(&of_clients);
    match listed.write {
        Format::Json => print_json(&of_replicas, &of_clients, status.as_ref())?,
        Format::Table if listed.name.is_some() => {
            for (it, command) in of_replicas
                .iter()
                .map(|it| (it, "fault set r0"))
                .chain(of_clients.iter().map(|it| (it, "attack")))
            {
                result(&page(it, command).to_string())?;
            }
        }
        Format::Table => {
            let mut rows = table(["row", "strategy", "what it does"]);
            for it in shown() {
                rows.add_row([&it.row.to_string(), it.name, it.summary()]);
            }
            result(&rows.to_string())?;
            note("`fault list NAME` tells all of one: its parameters, what defeats it, what to expect");
        }
        Format::Simple => {
            for it in shown() {
                result(&format!("{} {} {}", it.row, it.usage(), it.summary()))?;
            }
        }
    }
    if let (Some(status), Format::Simple | Format::Table) = (&status, listed.write) {
        result(&status.budget())?;
    }
    Ok(0)
}

/// The strategies that a text names: those of replicas, or one of clients.
fn named(text: &str) -> Result<(Vec<Description>, Vec<Description>), TestnetError> {
    match CLIENT_STRATEGIES.iter().find(|it| it.name == text) {
        Some(found) => Ok((Vec::new(), vec![*found])),
        None => Ok((described(text)?.into_iter().copied().collect(), Vec::new())),
    }
}

/// Where the testnet stands, if there is one: the folder may be that of one that was, from the environment.
async fn status(dir: &Path) -> anyhow::Result<Option<ClusterStatus>> {
    match Testnet::open(dir) {
        Ok(testnet) => Ok(Some(testnet.status(Roots::Spared).await?)),
        Err(TestnetError::NoTestnet { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What `fault set rN network` does, which is no strategy.
fn network(format: Format) -> anyhow::Result<u8> {
    if format == Format::Json {
        return Err(BadInput(format!("{NETWORK} is no strategy: `fault set --help` tells of it")).into());
    }
    let mut page = plain_page();
    page.add_row([NETWORK, "no strategy: the replica behaves, and its lines are bad"]);
    page.add_row([
        "does",
        "Delays and loses datagrams between the replica and the others, below QUIC, which repeats them.",
    ]);
    page.add_row(["--latency TIME", "how much later each datagram arrives, each way"]);
    page.add_row(["--jitter TIME", "by how much that varies, up and down"]);
    page.add_row(["--loss SHARE", "the share of datagrams that never arrive"]);
    page.add_row(["--bandwidth RATE", "how much passes to and from each other replica"]);
    page.add_row(["--peers rN,…", "only the lines to these"]);
    page.add_row(["expect", "Uses up nothing of f while something gets through; no evidence."]);
    page.add_row([
        "for example",
        "pbft-testnet fault set r2 network --latency 50ms --jitter 10ms --loss 5% --dir DIR",
    ]);
    result(&page.to_string())?;
    Ok(0)
}

/// A table that looks like text.
fn plain_page() -> Table {
    let mut page = Table::new();
    page.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    page
}

fn print_json(
    of_replicas: &[Description],
    of_clients: &[Description],
    status: Option<&ClusterStatus>,
) -> anyhow::Result<()> {
    let mut told = serde_json::json!({ "strategies": of_replicas, "client_strategies": of_clients });
    if let Some(status) = status {
        let followers = status.replicas.iter().filter_map(|it| Some((it.replica, it.strategy.as_deref()?)));
        told["followed"] =
            followers.map(|(replica, text)| (replica.to_string(), serde_json::json!(text))).collect();
        told["faults_tolerated"] = status.faults_tolerated.into();
        told["faults_in_use"] = status.faults_in_use.into();
    }
    json(&told)?;
    Ok(())
}

/// All that there is to know about one strategy, and how it is set.
fn page(it: &Description, command: &str) -> Table {
    let mut page = plain_page();
    page.add_row([it.name, &format!("row {} of the catalogue of faults", it.row)]);
    page.add_row(["does", it.does]);
    for parameter in it.parameters {
        let name = format!("{}={}", parameter.name, parameter.default);
        page.add_row([&name, parameter.meaning]);
    }
    page.add_row(["defeated by", it.defeated_by]);
    page.add_row(["expect", it.expect]);
    page.add_row(["pause", &pause(it.pause)]);
    page.add_row(["evidence", &evidence(it.proof())]);
    for (place, sample) in it.samples.iter().enumerate() {
        let label = if place == 0 { "for example" } else { "" };
        let mut example = format!("pbft-testnet {command} {} --dir DIR", sample.text);
        if sample.proof != it.proof() {
            example = format!("{example} (evidence: {})", evidence(sample.proof));
        }
        page.add_row([label, &example]);
    }
    page
}

/// Which evidence there is in the end.
fn evidence(proof: Proof) -> String {
    match proof {
        Proof::Never => "none".to_owned(),
        Proof::Possible => "perhaps".to_owned(),
        Proof::Sure(kind) => word(&kind),
    }
}

/// How long service may pause.
fn pause(pause: Pause) -> String {
    match pause {
        Pause::None => "none: service goes on".to_owned(),
        Pause::ViewTimeouts(1) => "about one view timeout at a time".to_owned(),
        Pause::ViewTimeouts(count) => format!("about {count} view timeouts at a time"),
    }
}
