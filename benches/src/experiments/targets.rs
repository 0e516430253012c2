//! What is aimed at, and whether a result gets there.

use serde::Serialize;

use super::brief::Brief;
use super::show;
use super::statistics::Spread;
use super::{Attacked, Who};
use crate::lab::Figures;
use crate::page::{Section, Table};

/// One aim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Its number.
    pub id: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What is aimed at.
    pub target: String,
    /// What was measured.
    pub figure: String,
    /// The figure as a part of the aim: 1 or more is good. `null` where there is no such number.
    pub ratio: Option<f64>,
    /// Whether it is reached; `null` if it was not measured, or not for long enough to tell.
    pub holds: Option<bool>,
}

impl Target {
    /// More is better.
    fn at_least(
        id: &'static str,
        about: &'static str,
        target: String,
        figure: String,
        ratio: Option<f64>,
    ) -> Self {
        Self { id, about, target, figure, ratio, holds: ratio.map(|ratio| ratio >= 1.0) }
    }
}

/// How many kills of a primary tell what the longest pause is.
const KILLS: usize = 20;

/// All targets, with what a brief run measured.
pub(super) fn targets(brief: &Brief) -> Vec<Target> {
    let mut all = Vec::new();

    let told = |it: Option<Spread>| it.map_or("-".into(), |it| it.told());
    let rates = |it: Option<Spread>| it.map_or("-".into(), show::rates);

    let to_ceiling = brief.comparison.to_ceiling;
    all.push(Target::at_least(
        "T1",
        "each request signed, verified everywhere, f+1 replies, sync: to the signature ceiling",
        "≥ 0.70".into(),
        format!("{}, {}", told(to_ceiling), rates(brief.comparison.throughput())),
        to_ceiling.map(|it| it.median / 0.70),
    ));
    let to_etcd = brief.comparison.to_etcd;
    all.push(Target::at_least(
        "T1",
        "the same: to 3-node etcd",
        "≥ 1.00".into(),
        to_etcd.map_or("etcd is not installed".into(), |it| it.told()),
        to_etcd.map(|it| it.median),
    ));

    let bundles = brief.bundle_comparison.throughput();
    all.push(Target::at_least(
        "T2",
        "bundles of up to 64, f+1 replies, sync",
        "≥ 70,000/s".into(),
        format!("{}, {} of unreplicated", rates(bundles), told(brief.bundle_comparison.to_unreplicated)),
        bundles.map(|it| it.median / 70_000.0),
    ));

    for (about, figures, limit) in [
        ("one outstanding, memory: p50", &brief.one_in_memory, 1000.0),
        ("one outstanding, sync: p50", &brief.one_in_sync, 1300.0),
    ] {
        let target = format!("≤ {:.1} ms", limit / 1000.0);
        let ratio = figures.p50_us.map(|p50| limit / p50 as f64);
        all.push(Target::at_least("T3", about, target, show::latency(figures.p50_us), ratio));
    }
    for (about, figures) in [
        ("one outstanding, memory: p99", &brief.one_in_memory),
        ("one outstanding, sync: p99", &brief.one_in_sync),
    ] {
        let Figures { p50_us, p99_us, .. } = figures;
        let ratio = p50_us.zip(*p99_us).map(|(p50, p99)| 3.0 * p50 as f64 / p99 as f64);
        all.push(Target::at_least("T3", about, "≤ 3 × p50".into(), show::latency(*p99_us), ratio));
    }

    let (failover, limit) = (&brief.failover, brief.failover.limit_ms());
    let pause = failover.pause_ms;
    all.push(Target {
        id: "T4",
        about: "longest of 20 pauses after kill -9 of the primary",
        target: format!("≤ {limit:.0} ms"),
        figure: pause.map_or("-".into(), |it| format!("{:.0} ms, longest of {}", it.max, it.count)),
        ratio: pause.map(|it| limit / it.max.max(1.0)),
        // Fewer can only show that it is too long.
        holds: pause.filter(|it| it.count >= KILLS || it.max > limit).map(|it| it.max <= limit),
    });
    let soak = &brief.soak;
    let views = soak.view_changes.len();
    all.push(Target {
        id: "T4",
        about: "the timeout never fires falsely under load",
        target: "no new view".into(),
        figure: format!("{views} in {:.0} s", soak.duration_s),
        ratio: None,
        // A short run can only show that it does.
        holds: (soak.is_long() || views > 0).then_some(views == 0),
    });

    if let Some(size) = brief.scale.of(7) {
        let figure = show::ratio(size.ratio);
        all.push(Target::at_least(
            "T5",
            "n = 7: to n = 4",
            "≥ 0.50".into(),
            figure.clone(),
            Some(size.ratio / 0.5),
        ));
        let target = format!("≥ {}", show::ratio(size.ceiling_ratio));
        let ratio = Some(size.ratio / size.ceiling_ratio);
        all.push(Target::at_least(
            "T5",
            "n = 7: no worse than the ceiling's own fall",
            target,
            figure,
            ratio,
        ));
    }

    for (who, about) in [
        (Who::Backups, "under attack by f backups: the worst"),
        (Who::Primary, "under attack by a delaying primary"),
        (Who::Clients, "under attack by clients: the worst"),
    ] {
        let by = brief.attacks.attacks.iter().filter(|it| it.attack.who == who);
        let less =
            |one: &&Attacked, other: &&Attacked| one.throughput_ratio.total_cmp(&other.throughput_ratio);
        let worst = by.min_by(less);
        all.push(Target::at_least(
            "T6",
            about,
            format!("≥ {:.2}", who.floor()),
            worst.map_or("-".into(), |it| {
                format!("{} ({})", show::ratio(it.throughput_ratio), it.attack.strategy)
            }),
            worst.map(|it| it.throughput_ratio / who.floor()),
        ));
    }

    let rise = soak.memory_rise().map_or("too short".into(), |it| format!("{:+.1}%", it * 100.0));
    all.push(Target {
        id: "T7",
        about: "a replica's resident set: flat, below 256 MB",
        target: "flat, < 256 MB".into(),
        figure: format!("{rise} in {:.0} s, {}", soak.duration_s, show::megabytes(soak.max_bytes())),
        ratio: None,
        // Caches and the store's files fill up for a while, so a short run can only show that it is too much.
        holds: (soak.is_long() || !soak.is_small()).then(|| soak.is_flat()),
    });
    all
}

/// The targets for people.
pub(super) fn section(targets: &[Target]) -> Section {
    let mut table = Table::new(&["", "what", "target", "figure", "ratio", "holds"]);
    for it in targets {
        table.add(vec![
            it.id.to_owned(),
            it.about.to_owned(),
            it.target.clone(),
            it.figure.clone(),
            it.ratio.map_or("-".to_owned(), show::ratio),
            match it.holds {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not judged",
            }
            .to_owned(),
        ]);
    }
    Section::new("Targets")
        .note(
            "The ratio is the figure to its target: 1 or more is as good as was aimed at. What takes longer \
             than a short form to be seen is not judged, unless it is missed.",
        )
        .table(table)
}
