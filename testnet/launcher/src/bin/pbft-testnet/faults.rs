//! `fault set`, `fault clear`, `partition` and `heal`.

use std::time::Duration;

use pbft_byzantine::{Harm, Stage, described};
use pbft_messages::ReplicaId;
use pbft_testnet::network::{Shape, Trouble};
use pbft_testnet::units::Time;
use pbft_testnet::{Malice, Roots, Testnet};

use crate::arguments::{Dir, One, PartitionArguments, SetFault};
use crate::commands::done;
use crate::output::BadInput;

/// What makes `fault set` spoil the network in place of the replica.
pub(crate) const NETWORK: &str = "network";

pub(crate) async fn set(arguments: SetFault) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&arguments.at.dir)?;
    let said = if arguments.fault == NETWORK {
        spoil(&mut testnet, arguments).await?
    } else {
        mislead(&mut testnet, arguments).await?
    };
    done(&testnet, &said).await
}

async fn spoil(testnet: &mut Testnet, arguments: SetFault) -> anyhow::Result<String> {
    let SetFault { replica, parameters, accomplices, shape, peers, last, beyond, .. } = arguments;
    if !parameters.is_empty() || !accomplices.is_empty() {
        return Err(
            BadInput("--param and --accomplices are for strategies, not for the network".into()).into()
        );
    }
    if shape == Shape::default() {
        let why =
            "say what is wrong with the network: --latency 50ms, --jitter 10ms, --loss 5%, --bandwidth 1mbit";
        return Err(BadInput(why.into()).into());
    }
    let peers = peers.into_iter().collect();
    testnet.spoil_network(replica, shape, &peers, duration(last), beyond.allow_exceed_f).await?;
    Ok(format!("{replica} has a network with {shape} from now on{}", lasting(last)))
}

async fn mislead(testnet: &mut Testnet, arguments: SetFault) -> anyhow::Result<String> {
    let SetFault { replica, fault, parameters, accomplices, shape, peers, last, beyond, .. } = arguments;
    if shape != Shape::default() || !peers.is_empty() {
        let why = format!(
            "--latency, --jitter, --loss, --bandwidth and --peers belong to {NETWORK}; parameters of a strategy are given with --param"
        );
        return Err(BadInput(why).into());
    }
    let strategy = with_parameters(fault, &parameters)?;
    let malice = Malice { strategy, accomplices: accomplices.into_iter().collect(), last: duration(last) };
    testnet.set_fault(replica, &malice, beyond.allow_exceed_f).await?;
    let primary = testnet.status(Roots::Spared).await?.primary();
    let mut said = format!("{replica} follows {} from now on{}", malice.strategy, lasting(last));
    said += &occasion(&malice.strategy, replica, primary);
    if malice.harm() == Harm::Disagreement {
        said +=
            "; it counts as one of f from now on, as long as this testnet is there, for what it signs stays";
    }
    Ok(said)
}

/// When a strategy takes effect, if that is not now.
fn occasion(strategy: &str, replica: ReplicaId, primary: Option<ReplicaId>) -> String {
    let leads = primary == Some(replica);
    let leader = primary.map_or("nobody is known to lead now".to_owned(), |it| format!("{it} leads now"));
    // It was set, so it is known.
    let described = described(strategy).unwrap_or_default();
    let occasions = described.iter().filter_map(|it| {
        let when = match it.stage {
            Stage::Primary if !leads => format!("when {replica} leads, and {leader}"),
            Stage::Backup if leads => format!("when {replica} leads no more"),
            Stage::ViewChange => "in a view change".to_owned(),
            Stage::Transfer => "while another replica fetches a state".to_owned(),
            Stage::Always | Stage::Primary | Stage::Backup => return None,
        };
        Some(format!("; {} takes effect {when}", it.name))
    });
    occasions.collect()
}

/// The strategy's text with these parameters added.
fn with_parameters(strategy: String, parameters: &[String]) -> anyhow::Result<String> {
    if parameters.is_empty() {
        return Ok(strategy);
    }
    if strategy.contains('+') {
        let why =
            format!("--param would not say whose it is: write it into the text, as in {strategy}:key=value");
        return Err(BadInput(why).into());
    }
    let sign = if strategy.contains(':') { ',' } else { ':' };
    Ok(format!("{strategy}{sign}{}", parameters.join(",")))
}

pub(crate) async fn clear(one: &One) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&one.at.dir)?;
    testnet.clear_fault(one.replica).await?;
    let status = testnet.status(Roots::Spared).await?;
    let is_cut =
        |it: &pbft_testnet::ReplicaStatus| it.network.iter().any(|it| matches!(it.trouble, Trouble::Cut(_)));
    let cut = if status.of(one.replica).is_some_and(is_cut) {
        "; what `partition` cut stays so until `heal`"
    } else {
        ""
    };
    done(&testnet, &format!("{} behaves from now on{cut}", one.replica)).await
}

pub(crate) async fn partition(arguments: PartitionArguments) -> anyhow::Result<u8> {
    let PartitionArguments { partition, last, at, beyond } = arguments;
    let mut testnet = Testnet::open(&at.dir)?;
    testnet.partition(&partition, duration(last), beyond.allow_exceed_f).await?;
    done(&testnet, &format!("the network is divided, {partition}, from now on{}", lasting(last))).await
}

pub(crate) async fn heal(at: &Dir) -> anyhow::Result<u8> {
    let mut testnet = Testnet::open(&at.dir)?;
    let paused: Vec<_> = testnet.heal().await?.iter().map(ToString::to_string).collect();
    let mut said = "the network is whole and good from now on".to_owned();
    if !paused.is_empty() {
        said += &format!(
            ", but for {}: what is paused keeps what was wrong with its links, so `heal` again after `resume`",
            paused.join(", ")
        );
    }
    done(&testnet, &said).await
}

fn duration(last: Option<Time>) -> Option<Duration> {
    last.map(|last| last.0)
}

fn lasting(last: Option<Time>) -> String {
    last.map_or(String::new(), |last| format!(", for {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_a_strategy_takes_effect() {
        let occasion = |strategy, primary| occasion(strategy, ReplicaId(1), primary);
        let (r0, r1) = (Some(ReplicaId(0)), Some(ReplicaId(1)));
        assert_eq!((occasion("silent", r0), occasion("equivocate", r1)), (String::new(), String::new()));
        let told = "; equivocate takes effect when r1 leads, and r0 leads now";
        assert_eq!(occasion("silent+equivocate", r0), told);
        assert!(occasion("equivocate", None).ends_with("nobody is known to lead now"));
        assert_eq!(
            occasion("corrupt-chunks", r0),
            "; corrupt-chunks takes effect while another replica fetches a state"
        );
    }

    #[test]
    fn parameters_become_part_of_the_text() {
        let text = |strategy: &str, parameters: &[&str]| {
            let parameters: Vec<_> = parameters.iter().map(ToString::to_string).collect();
            with_parameters(strategy.to_owned(), &parameters).map_err(|error| error.to_string())
        };
        assert_eq!(text("slow+silent", &[]).unwrap(), "slow+silent");
        assert_eq!(text("slow", &["delay=1s"]).unwrap(), "slow:delay=1s");
        assert_eq!(text("starve:delay=1s", &["client=ab"]).unwrap(), "starve:delay=1s,client=ab");
        assert!(text("slow+silent", &["delay=1s"]).unwrap_err().contains("slow+silent:key=value"));
    }
}
