//! The commands that act on a testnet, and those that show it.

use std::path::Path;

use pbft_testnet::{ClusterStatus, Durability, Options, ReplicaStatus, Roots, Testnet};

use crate::arguments::{Format, One, Shown};
use crate::output::{json, note, result, table, word};

pub(crate) async fn up(dir: &Path, n: Option<usize>, durability: Option<Durability>) -> anyhow::Result<u8> {
    let testnet = Testnet::up(Options { n, durability, ..Options::new(dir)? }).await?;
    let (configuration, folder) = (testnet.configuration(), testnet.folder());
    let (n, f, name) = (configuration.n(), configuration.f(), configuration.name());
    let mut banner = format!("{n} replicas of {name} serve; they tolerate f = {f} faulty\n\n");
    for replica in configuration.replicas() {
        let Some(member) = configuration.member(replica) else { continue };
        banner += &format!(
            "  {:<4} clients {:<16} peers {:<16} log {}\n",
            replica.to_string(),
            member.client_address.to_string(),
            member.peer_address.to_string(),
            folder.log(replica).display()
        );
    }
    let (dir, cluster) = (folder.path().display(), folder.cluster_file());
    banner += &format!(
        "\ndurability {}; admitted client key {}\n",
        testnet.durability()?,
        folder.client_key().display()
    );
    banner += &format!("\n  pbft-client --cluster {} put greeting hello\n", cluster.display());
    banner += &format!("  pbft-testnet status --dir {dir}\n  pbft-testnet down --dir {dir}");
    result(&banner)?;
    if testnet.durability()? == Durability::Memory {
        note(
            "warning: with durability memory, a replica that stops comes back by recovery only; more than f at once lose the cluster",
        );
    }
    Ok(0)
}

pub(crate) async fn down(dir: &Path) -> anyhow::Result<u8> {
    let stopped = Testnet::open(dir)?.down().await?;
    note(&format!("{stopped} replicas stopped"));
    Ok(0)
}

pub(crate) async fn kill(one: &One) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&one.at.dir)?;
    testnet.kill(one.replica).await?;
    done(&testnet, &format!("{} is dead", one.replica)).await
}

pub(crate) async fn pause(one: &One) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&one.at.dir)?;
    testnet.pause(one.replica).await?;
    done(&testnet, &format!("{} is paused", one.replica)).await
}

pub(crate) async fn resume(one: &One) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&one.at.dir)?;
    testnet.resume(one.replica).await?;
    done(&testnet, &format!("{} goes on", one.replica)).await
}

pub(crate) async fn restart(one: &One, allow_exceed_f: bool) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&one.at.dir)?;
    testnet.restart(one.replica, allow_exceed_f).await?;
    done(&testnet, &format!("{} listens", one.replica)).await
}

pub(crate) async fn wipe_disk(one: &One, allow_exceed_f: bool) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&one.at.dir)?;
    testnet.wipe_disk(one.replica, allow_exceed_f).await?;
    done(&testnet, &format!("{} listens, with an empty disk", one.replica)).await
}

/// Says what was done, and what it leaves of the fault budget.
pub(crate) async fn done(testnet: &Testnet, what: &str) -> anyhow::Result<u8> {
    let status = testnet.status(Roots::Spared).await?;
    note(&format!("{what}; {}", status.budget()));
    if let Some(breaks) = status.breaks() {
        note(&format!("warning: {breaks}"));
    }
    Ok(0)
}

/// The exit code of a status of a cluster whose service is stopped.
const UNHEALTHY: u8 = 5;

pub(crate) async fn status(shown: &Shown) -> anyhow::Result<u8> {
    let status = Testnet::open(&shown.at.dir)?.status(Roots::Asked).await?;
    match shown.write {
        Format::Json => json(&status)?,
        Format::Table => {
            let header = ["replica", "state", "view", "executed", "stable", "state root", "faults"];
            let mut rows = table(header);
            for it in &status.replicas {
                rows.add_row(cells(it));
            }
            result(&format!("{rows}\n{}", status.budget()))?;
        }
        Format::Simple => print_simple(&status)?,
    }
    Ok(if status.serves() { 0 } else { UNHEALTHY })
}

fn print_simple(status: &ClusterStatus) -> std::io::Result<()> {
    for it in &status.replicas {
        result(&cells(it).join(" "))?;
    }
    result(&status.budget())
}

fn cells(it: &ReplicaStatus) -> [String; 7] {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let state = match (it.alive, it.is_primary, it.lag) {
        (false, ..) => "dead".to_owned(),
        (true, None, _) => "no answer".to_owned(),
        (true, Some(_), Some(lag)) => lag.to_string(),
        (true, Some(true), None) => "primary".to_owned(),
        (true, Some(false), None) => "backup".to_owned(),
    };
    let afflictions = it.afflictions();
    let root = match (&it.state_root, it.state_root_at) {
        (Some(root), Some(at)) => format!("{} at {at}", &root[..root.len().min(12)]),
        _ => "-".to_owned(),
    };
    [
        it.replica.to_string(),
        state,
        number(it.view),
        number(it.last_executed),
        number(it.stable),
        root,
        if afflictions.is_empty() { "-".to_owned() } else { afflictions.join(", ") },
    ]
}

pub(crate) async fn evidence(shown: &Shown) -> anyhow::Result<u8> {
    let report = Testnet::open(&shown.at.dir)?.evidence().await?;
    for (replica, why) in &report.unasked {
        note(&format!("{replica} was not asked: {}", why.replace('\n', " ")));
    }
    match shown.write {
        Format::Json => json(&report)?,
        Format::Simple | Format::Table if report.evidence.is_empty() => note("no evidence against anybody"),
        Format::Table => {
            let mut rows = table(["accused", "contradicts itself in", "view", "sequence"]);
            for it in report.accusations() {
                let (view, sequence) = (it.view.to_string(), it.sequence.to_string());
                rows.add_row([it.accused.to_string(), word(&it.kind), view, sequence]);
            }
            result(&rows.to_string())?;
        }
        Format::Simple => {
            for it in report.accusations() {
                let kind = word(&it.kind);
                result(&format!("{} {kind} view {} sequence {}", it.accused, it.view, it.sequence))?;
            }
        }
    }
    Ok(0)
}
