//! Throughput and latency while replicas or clients are malicious, beside the same cluster without.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use pbft_byzantine::{
    CLIENT_STRATEGIES, Description, STRATEGIES, Stage, UnknownStrategy, client_described, described,
};
use pbft_messages::ReplicaId;
use pbft_testnet::Malice;
use pbft_testnet::attack::Attack as ClientAttack;

use super::show;
use crate::lab::{Bed, Figures, Lab, LabError, Load, Run, Views};
use crate::page::{Axis, Bars, Line, Mark, Plot, Section, Table};

/// How many malicious clients attack at a time.
const CLIENTS: usize = 2;

/// Who is malicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// f replicas that do not lead.
    Backups,
    /// The replica that leads when the attack begins.
    Primary,
    /// Clients with keys of their own.
    Clients,
}

impl Who {
    /// The part of the throughput that is to be left, at least.
    #[must_use]
    pub fn floor(self) -> f64 {
        match self {
            Self::Backups => 0.70,
            Self::Primary => 0.75,
            Self::Clients => 0.90,
        }
    }
}

/// An attack to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attack {
    /// Who is malicious.
    pub who: Who,
    /// What they do: the text of a strategy.
    pub strategy: String,
}

impl Attack {
    /// One of each kind that is most to be feared.
    #[must_use]
    pub fn chosen() -> Vec<Self> {
        let attack = |who, strategy: &str| Self { who, strategy: strategy.to_owned() };
        vec![
            attack(Who::Backups, "silent"),
            attack(Who::Backups, "bad-signatures:rate=1000"),
            attack(Who::Primary, "slow"),
            attack(Who::Clients, "flood-requests"),
            attack(Who::Clients, "craft-signatures:every=10ms"),
        ]
    }

    /// What a strategy's text names.
    ///
    /// # Errors
    /// [`UnknownStrategy`], with what there is.
    pub fn named(text: &str) -> Result<Self, UnknownStrategy> {
        let who = match (client_described(text), described(text)) {
            (Ok(_), _) => Who::Clients,
            (Err(_), Ok(parts)) if parts.iter().any(|it| it.stage == Stage::Primary) => Who::Primary,
            (Err(_), Ok(_)) => Who::Backups,
            (Err(_), Err(unknown)) => return Err(unknown),
        };
        Ok(Self { who, strategy: text.to_owned() })
    }

    /// Every strategy that has an opportunity under a load and nothing else, as its author would use it; those of leaders
    /// by the primary. In view changes and while state is fetched, neither of which happens here by itself, others lie.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let acts = |it: &&Description| !matches!(it.stage, Stage::ViewChange | Stage::Transfer);
        let names = STRATEGIES.iter().chain(CLIENT_STRATEGIES).filter(acts).map(|it| it.name);
        names.filter_map(|name| Self::named(name).ok()).collect()
    }
}

/// What an attack did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// The attack.
    pub attack: Attack,
    /// The cluster before it.
    pub calm: Figures,
    /// The same cluster under it.
    pub attacked: Figures,
    /// The throughput under attack as a part of that before.
    pub throughput_ratio: f64,
    /// The median latency under attack as a multiple of that before; `null` if one of them is not known.
    pub p50_ratio: Option<f64>,
    /// Answers a second over time, under attack: seconds, and answers a second.
    pub over_time: Vec<(f64, f64)>,
    /// New views: when they were seen first, in seconds since the warm-up ended, and which.
    pub view_changes: Vec<(f64, u64)>,
}

/// What attacks do to throughput and latency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackMatrix {
    /// How many replicas each cluster has.
    pub n: usize,
    /// One after the other, each on a cluster of its own.
    pub attacks: Vec<Attacked>,
}

impl AttackMatrix {
    /// Tries each attack on a new cluster of `n`: first so long without it, then under it.
    ///
    /// A slow primary is replaced after some view timeouts, and what counts is the service over a longer time: with it
    /// the time under attack is `primary_lasts`.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(
        lab: &Lab,
        n: usize,
        attacks: &[Attack],
        load: Load,
        lasts: Duration,
        primary_lasts: Duration,
    ) -> Result<Self, LabError> {
        let mut done = Vec::with_capacity(attacks.len());
        for (number, attack) in attacks.iter().enumerate() {
            let mut bed = lab.bed(n).await?;
            let subject = bed.subject()?;
            let name =
                format!("attack-{number:02}-{}", attack.strategy.split(':').next().unwrap_or_default());
            let calm = lab.run(&format!("{name}-calm"), &subject, load, lasts).await?;
            let stop = CancellationToken::new();
            let _stop_on_drop = stop.clone().drop_guard();
            let lasts = if attack.who == Who::Primary { primary_lasts } else { lasts };
            begin(&mut bed, attack).await?;
            let mut views = Views::default();
            let loaded = lab.run(&name, &subject, load, lasts);
            let attacked = tokio::select! {
                run = loaded => run?,
                ended = clients(&bed, attack, &stop) => return Err(ended),
                lost = views.watch(bed.testnet()) => return Err(lost),
            };
            done.push(Attacked::new(attack.clone(), &calm, &attacked, views.changes(&attacked)));
        }
        Ok(Self { n, attacks: done })
    }

    /// Whether every cluster kept its word.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.attacks.iter().flat_map(|it| [&it.calm, &it.attacked]).all(Figures::kept)
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
            "p50 before",
            "under attack",
            "ratio",
            "new views",
            "verdict",
        ]);
        for it in &self.attacks {
            table.add(vec![
                it.attack.strategy.clone(),
                match it.attack.who {
                    Who::Backups => "f backups",
                    Who::Primary => "the primary",
                    Who::Clients => "clients",
                }
                .to_owned(),
                show::rate(it.calm.throughput_per_s),
                show::rate(it.attacked.throughput_per_s),
                show::ratio(it.throughput_ratio),
                show::latency(it.calm.p50_us),
                show::latency(it.attacked.p50_us),
                it.p50_ratio.map_or("-".to_owned(), show::ratio),
                it.view_changes.len().to_string(),
                show::verdict(&it.attacked),
            ]);
        }
        let bars = Bars {
            title: "Throughput under attack, to no attack".into(),
            unit: "ratio".into(),
            bars: self.attacks.iter().map(|it| (it.attack.strategy.clone(), it.throughput_ratio)).collect(),
            limits: vec![(1.0, "as without an attack".into())],
        };
        let section = Section::new("Under attack")
            .note(format!(
                "Each attack has a cluster of {} replicas to itself, which is loaded without it first and under it then. A \
                 malicious primary is measured for a longer time, since the others replace it. Strategies that lie in view \
                 changes or while state is fetched have no opportunity here, and `--all` leaves them out.",
                self.n
            ))
            .table(table)
            .plot(Plot::Bars(bars));
        self.attacks.iter().fold(section, |section, it| section.plot(it.plot()))
    }
}

impl Attacked {
    fn new(attack: Attack, calm: &Run, attacked: &Run, view_changes: Vec<(f64, u64)>) -> Self {
        let (calm, over_time) = (calm.figures(), over_time(attacked));
        let attacked = attacked.figures();
        let p50s = attacked.p50_us.zip(calm.p50_us.filter(|it| *it > 0));
        Self {
            attack,
            throughput_ratio: attacked.throughput_per_s / calm.throughput_per_s,
            p50_ratio: p50s.map(|(under, before)| under as f64 / before as f64),
            calm,
            attacked,
            over_time,
            view_changes,
        }
    }

    fn plot(&self) -> Plot {
        let last = self.over_time.last().map_or(0.0, |point| point.0);
        let calm = self.calm.throughput_per_s;
        let mark = |(at, view): &(f64, u64)| Mark { at: *at, label: format!("a new view, {view}") };
        Plot::Lines {
            title: format!("{} over time", self.attack.strategy),
            x: Axis::even("seconds"),
            y: Axis::even("answers a second"),
            lines: vec![
                Line { name: "under attack".into(), points: self.over_time.clone() },
                Line { name: "mean without it".into(), points: vec![(0.0, calm), (last, calm)] },
            ],
            marks: self.view_changes.iter().map(mark).collect(),
        }
    }
}

/// Makes replicas malicious. Clients begin with the load.
async fn begin(bed: &mut Bed, attack: &Attack) -> Result<(), LabError> {
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

/// Answers a second, row by row.
pub(super) fn over_time(run: &Run) -> Vec<(f64, f64)> {
    let timeline = &run.measured.timeline;
    let seconds = timeline.interval.as_secs_f64();
    let point = |(number, row): (usize, &crate::Row)| {
        ((number as f64 + 0.5) * seconds, row.completed as f64 / seconds)
    };
    timeline.rows.iter().enumerate().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_tried_by_whom_it_suits() {
        let all = Attack::all();
        let who = |name: &str| all.iter().find(|it| it.strategy == name).map(|it| it.who);
        assert_eq!(who("slow"), Some(Who::Primary));
        assert_eq!(who("silent"), Some(Who::Backups));
        assert_eq!(who("flood-requests"), Some(Who::Clients));
        for without_opportunity in ["drip", "forge-proofs"] {
            assert!(Attack::named(without_opportunity).is_ok());
            assert_eq!(who(without_opportunity), None);
        }
    }

    #[test]
    fn the_chosen_attacks_exist() {
        for attack in Attack::chosen() {
            assert_eq!(Attack::named(&attack.strategy), Ok(attack));
        }
        assert!(Attack::named("no-such-thing").is_err());
    }
}
