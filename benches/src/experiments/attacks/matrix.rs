//! Trying attacks, one after the other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use pbft_messages::ReplicaId;
use pbft_testnet::Malice;
use pbft_testnet::attack::Attack as ClientAttack;

use super::{Attack, Attacked, Round, Who, over_time};
use crate::experiments::show;
use crate::experiments::statistics::Spread;
use crate::experiments::stopped::early;
use crate::lab::{Bed, Figures, Lab, LabError, Load, Views, WarmedUp, warmup};
use crate::page::{Bars, Plot, Section, Table};

/// How many malicious clients attack at a time.
const CLIENTS: usize = 2;

/// What attacks do to throughput and latency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackMatrix {
    /// How many replicas each cluster has.
    pub n: usize,
    /// In the order in which they were tried.
    pub attacks: Vec<Attacked>,
    /// What ended it early; `null` if nothing did.
    pub stopped: Option<String>,
}

/// How often attacks are tried, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trials {
    /// How often each.
    pub rounds: usize,
    /// How long each load lasts.
    pub lasts: Duration,
    /// How long a load under a malicious primary lasts. The others replace it after some view timeouts, and what counts is
    /// the service over a longer time.
    pub primary_lasts: Duration,
}

impl AttackMatrix {
    /// Tries each attack on a new cluster of `n`: first so long without it, then under it. An error after the first trial
    /// ends it with what was measured until then.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(
        lab: &Lab,
        n: usize,
        attacks: &[Attack],
        load: Load,
        trials: Trials,
    ) -> Result<Self, LabError> {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); attacks.len()];
        let ended = async {
            for round in 1..=trials.rounds {
                for (number, (attack, rounds)) in attacks.iter().zip(&mut rounds).enumerate() {
                    let strategy = attack.strategy.split(':').next().unwrap_or_default();
                    let name = format!("attack-{number:02}-{strategy}-{round}");
                    rounds.push(tried(lab, &name, n, attack, load, trials).await?);
                }
            }
            Ok(())
        }
        .await;
        let stopped = early(ended, rounds.iter().all(Vec::is_empty))?;
        let attacked = |(attack, rounds): (&Attack, Vec<Round>)| Attacked::new(attack.clone(), rounds);
        Ok(Self { n, attacks: attacks.iter().zip(rounds).filter_map(attacked).collect(), stopped })
    }

    /// Whether every cluster kept its word.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.attacks.iter().flat_map(Attacked::runs).all(Figures::kept)
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut table = Table::new(&[
            "attack",
            "by",
            "a second before",
            "under attack",
            "ratio",
            "watched",
            "p50 before",
            "under attack",
            "ratio",
            "new views",
            "verdict",
        ]);
        for it in &self.attacks {
            let median =
                |value: fn(&Round) -> Option<f64>| Spread::over(&it.rounds, value).map(|it| it.median);
            let rate = |per_second: Option<f64>| per_second.map_or("-".to_owned(), show::rate);
            let latency = |us: Option<f64>| show::latency(us.map(|us| us.round() as u64));
            let watched = median(|it| Some(it.watched_s)).unwrap_or(0.0);
            table.add(vec![
                it.attack.strategy.clone(),
                it.attack.who.told().to_owned(),
                rate(median(|it| Some(it.calm.throughput_per_s))),
                rate(median(|it| Some(it.attacked.throughput_per_s))),
                show::ratios(Some(it.throughput_ratio)),
                format!("{watched:.1} s"),
                latency(median(|it| it.calm.p50_us.map(|us| us as f64))),
                latency(median(|it| it.attacked.p50_us.map(|us| us as f64))),
                show::ratios(it.p50_ratio),
                it.rounds.iter().map(|it| it.view_changes.len()).max().unwrap_or(0).to_string(),
                show::verdicts(it.runs()),
            ]);
        }
        let bar = |it: &Attacked| (it.attack.strategy.clone(), it.throughput_ratio.median);
        let bars = Bars {
            title: "Throughput under attack, to no attack".into(),
            unit: "ratio".into(),
            bars: self.attacks.iter().map(bar).collect(),
            limits: vec![(1.0, "as without an attack".into())],
        };
        let section = Section::new("Under attack")
            .notes(show::stopped(self.stopped.as_ref()))
            .note(format!(
                "Each attack has a cluster of {} replicas to itself, which is loaded without it first and under it then; of \
                 several rounds this tells medians, and the most new views. A malicious primary begins when the load's \
                 warm-up is over, and is watched for a longer time, since the others replace it: the longer, the nearer the \
                 ratio comes to 1. Others begin before the warm-up. Strategies that lie in view changes or while state is \
                 fetched have no opportunity here, and `--all` leaves them out.",
                self.n
            ))
            .table(table)
            .plot(Plot::Bars(bars));
        self.attacks.iter().filter_map(Attacked::plot).fold(section, Section::plot)
    }
}

/// Tries an attack on a new cluster.
async fn tried(
    lab: &Lab,
    name: &str,
    n: usize,
    attack: &Attack,
    load: Load,
    trials: Trials,
) -> Result<Round, LabError> {
    let mut bed = lab.bed(n).await?;
    let subject = bed.subject()?;
    let calm = lab.run(&format!("{name}-calm"), &subject, load, trials.lasts).await?;
    let lasts = if attack.who == Who::Primary { trials.primary_lasts } else { trials.lasts };
    if attack.who == Who::Backups {
        turn(&mut bed, attack).await?;
    }
    let (warms_up, warmed_up) = warmup();
    let (mut views, mut begun) = (Views::default(), None);
    let attacked = tokio::select! {
        run = lab.run_while_some_end(name, &subject, load, lasts, warms_up) => run?,
        ended = beside(&mut bed, attack, warmed_up, &mut begun, &mut views) => return Err(ended),
    };
    subject.all_live()?;
    let late = match (attack.who, begun) {
        (Who::Primary, None) => {
            return Err(LabError::Stuck(format!("the load was over before {} began", attack.strategy)));
        }
        (_, begun) => begun.map_or(Duration::ZERO, |at: Instant| {
            at.saturating_duration_since(attacked.measured.measured_from)
        }),
    };
    Ok(Round {
        watched_s: attacked.report.duration_s - late.as_secs_f64(),
        over_time: over_time(&attacked),
        view_changes: views.changes(&attacked),
        calm: calm.figures(),
        attacked: attacked.figures(),
    })
}

/// Attacks beside a load, unless it is backups who do, and takes note of new views; for ever. Why it ended.
async fn beside(
    bed: &mut Bed,
    attack: &Attack,
    warmed_up: WarmedUp,
    begun: &mut Option<Instant>,
    views: &mut Views,
) -> LabError {
    if attack.who == Who::Primary {
        warmed_up.over().await;
        if let Err(error) = turn(bed, attack).await {
            return error;
        }
        *begun = Some(Instant::now());
    }
    let stop = CancellationToken::new();
    let _stop_on_drop = stop.clone().drop_guard();
    tokio::select! {
        ended = clients(bed, attack, &stop) => ended,
        lost = views.watch(bed.testnet()) => lost,
    }
}

/// Makes replicas malicious.
async fn turn(bed: &mut Bed, attack: &Attack) -> Result<(), LabError> {
    let (_, primary) = bed.leader().await?;
    let (n, f) = (bed.testnet().configuration().n(), bed.testnet().configuration().f());
    let malicious: BTreeSet<ReplicaId> = match attack.who {
        Who::Clients => BTreeSet::new(),
        Who::Primary => BTreeSet::from([primary]),
        // The last to lead.
        Who::Backups => (1..=f).map(|back| ReplicaId(((primary.index() + n - back) % n) as u16)).collect(),
    };
    for replica in malicious {
        bed.testnet_mut().set_fault(replica, &Malice::from(attack.strategy.as_str()), false).await?;
    }
    Ok(())
}

/// Has clients attack if they are who does, for ever; why it ended.
async fn clients(bed: &Bed, attack: &Attack, stop: &CancellationToken) -> LabError {
    if attack.who != Who::Clients {
        return std::future::pending().await;
    }
    let clients = ClientAttack { strategy: attack.strategy.clone(), clients: CLIENTS, last: None };
    match clients.run(bed.testnet(), stop).await {
        Err(error) => error.into(),
        Ok(_) => LabError::Stuck(format!("the attack {} ended early", attack.strategy)),
    }
}
