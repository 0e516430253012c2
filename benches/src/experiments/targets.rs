//! What is aimed at, and whether a result gets there.

use serde::Serialize;

use super::brief::Brief;
use super::show;
use super::statistics::Spread;
use super::{Attacked, Comparison, Scale, Who};
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
    /// A ratio of the figure to its aim, which is reached from 1 on.
    fn new(
        id: &'static str,
        about: &'static str,
        target: String,
        figure: String,
        ratio: Option<f64>,
    ) -> Self {
        Self { id, about, target, figure, ratio, holds: ratio.map(|ratio| ratio >= 1.0) }
    }

    /// Not judged unless it is missed, if the measurement was too short to tell more.
    fn unless(self, too_short: bool) -> Self {
        Self { holds: self.holds.filter(|holds| !(too_short && *holds)), ..self }
    }

    /// Missed if a run that it rests on left requests without an answer, or did not keep its word.
    fn resting_on(self, kept: bool) -> Self {
        Self { holds: if kept { self.holds } else { Some(false) }, ..self }
    }
}

/// Who measures once may have been lucky.
const TURNS: usize = 2;

/// How many kills of a primary tell what the longest pause is.
const KILLS: usize = 20;

/// All targets, with what a brief run measured.
pub(super) fn targets(brief: &Brief) -> Vec<Target> {
    let mut all = throughput(brief).to_vec();
    all.extend(latency(brief));
    all.push(pause(brief));
    all.push(false_alarms(brief));
    all.extend(size(brief));
    all.extend(attacks(brief));
    all.push(memory(brief));
    all
}

/// T1 and T2.
fn throughput(brief: &Brief) -> [Target; 3] {
    let (beside, bundles) = (brief.comparison.as_ref(), brief.bundle_comparison.as_ref());
    let lucky = |it: Option<Spread>| it.is_none_or(|it| it.count < TURNS);
    let (to_ceiling, to_etcd) = (beside.and_then(|it| it.to_ceiling), beside.and_then(|it| it.to_etcd));
    let rate = bundles.and_then(Comparison::throughput);
    let to_unreplicated = show::ratios(bundles.and_then(|it| it.to_unreplicated));
    [
        Target::new(
            "T1",
            "each request signed, verified everywhere, f+1 replies, sync: to the signature ceiling",
            "≥ 0.70".into(),
            format!("{}, {}", show::ratios(to_ceiling), show::rates(beside.and_then(Comparison::throughput))),
            to_ceiling.map(|it| it.median / 0.70),
        )
        .unless(lucky(to_ceiling))
        .resting_on(beside.is_none_or(Comparison::kept)),
        Target::new(
            "T1",
            "the same: to 3-node etcd",
            "≥ 1.00".into(),
            to_etcd.map_or("not measured".into(), |it| show::ratios(Some(it))),
            to_etcd.map(|it| it.median),
        )
        .unless(lucky(to_etcd))
        .resting_on(beside.is_none_or(Comparison::is_consistent)),
        Target::new(
            "T2",
            "bundles of up to 64, f+1 replies, sync",
            "≥ 70,000/s".into(),
            format!("{}, {to_unreplicated} of unreplicated", show::rates(rate)),
            rate.map(|it| it.median / 70_000.0),
        )
        .unless(lucky(rate))
        .resting_on(bundles.is_none_or(Comparison::kept)),
    ]
}

/// T3.
fn latency(brief: &Brief) -> [Target; 4] {
    let (in_memory, in_sync) = (brief.one_in_memory.as_ref(), Some(&brief.one_in_sync));
    let p50 = |about, figures: Option<&Figures>, limit: f64| {
        let p50 = figures.and_then(|it| it.p50_us);
        let ratio = p50.map(|p50| limit / p50 as f64);
        Target::new("T3", about, format!("≤ {:.1} ms", limit / 1000.0), show::latency(p50), ratio)
            .resting_on(figures.is_none_or(Figures::kept))
    };
    // One request in a hundred of a short run is a handful.
    let p99 = |about, figures: Option<&Figures>| {
        let p99 = figures.and_then(|it| it.p99_us);
        let ratio = figures.and_then(|it| it.p50_us).zip(p99).map(|(p50, p99)| 3.0 * p50 as f64 / p99 as f64);
        Target::new("T3", about, "≤ 3 × p50".into(), show::latency(p99), ratio)
            .unless(true)
            .resting_on(figures.is_none_or(Figures::kept))
    };
    [
        p50("one outstanding, memory: p50", in_memory, 1000.0),
        p50("one outstanding, sync: p50", in_sync, 1300.0),
        p99("one outstanding, memory: p99", in_memory),
        p99("one outstanding, sync: p99", in_sync),
    ]
}

/// T4, the first part.
fn pause(brief: &Brief) -> Target {
    let (failover, about) = (brief.failover.as_ref(), "longest of 20 pauses after kill -9 of the primary");
    let Some((failover, pause)) = failover.and_then(|it| Some((it, it.pause_ms?))) else {
        return Target::new("T4", about, "≤ the view timeout + 100 ms".into(), "-".into(), None);
    };
    let limit = failover.limit_ms();
    let figure = format!("{:.0} ms, longest of {}", pause.max, pause.count);
    let ratio = limit / pause.max.max(1.0);
    Target::new("T4", about, format!("≤ {limit:.0} ms"), figure, Some(ratio))
        .unless(pause.count < KILLS)
        .resting_on(failover.is_consistent())
}

/// T4, the second part.
fn false_alarms(brief: &Brief) -> Target {
    let (target, about) = ("no new view".to_owned(), "the timeout never fires falsely under load");
    let Some(soak) = &brief.soak else { return Target::new("T4", about, target, "-".into(), None) };
    let views = soak.view_changes.len();
    let figure = format!("{views} in {:.0} s", soak.duration_s);
    Target { holds: Some(views == 0), ..Target::new("T4", about, target, figure, None) }
        .unless(!soak.is_long())
        .resting_on(soak.is_consistent())
}

/// T5.
fn size(brief: &Brief) -> [Target; 2] {
    let size = brief.scale.as_ref().and_then(|it| it.of(7));
    let kept = brief.scale.as_ref().is_none_or(Scale::is_consistent);
    let figure = || show::ratios(size.map(|it| it.ratio));
    let lucky = size.is_none_or(|it| it.ratio.count < TURNS);
    let own_fall = size.map_or("the ceiling's own".into(), |it| show::ratio(it.ceiling_ratio));
    let to = |aim: f64| size.map(|it| it.ratio.median / aim);
    [
        Target::new("T5", "n = 7: to n = 4", "≥ 0.50".into(), figure(), to(0.5)),
        Target::new(
            "T5",
            "n = 7: no worse than the ceiling's own fall",
            format!("≥ {own_fall}"),
            figure(),
            size.and_then(|it| to(it.ceiling_ratio)),
        ),
    ]
    .map(|it| it.unless(lucky).resting_on(kept))
}

/// T6.
fn attacks(brief: &Brief) -> [Target; 3] {
    [
        (Who::Backups, "under attack by f backups: the worst"),
        (Who::Primary, "under attack by a delaying primary"),
        (Who::Clients, "under attack by clients: the worst"),
    ]
    .map(|(who, about)| {
        let all = brief.attacks.as_ref().map_or(&[][..], |it| &it.attacks);
        let by = || all.iter().filter(|it| it.attack.who == who);
        let worst =
            by().min_by(|it, other| it.throughput_ratio.median.total_cmp(&other.throughput_ratio.median));
        let told = |it: &Attacked| {
            let watched = it.rounds.iter().map(|round| round.watched_s).fold(0.0, f64::max);
            let ratio = show::ratios(Some(it.throughput_ratio));
            format!("{ratio} ({}, watched for {watched:.0} s)", it.attack.strategy)
        };
        let ratio = worst.map(|it| it.throughput_ratio.median / who.floor());
        Target::new("T6", about, format!("≥ {:.2}", who.floor()), worst.map_or("-".into(), told), ratio)
            .unless(worst.is_none_or(|it| it.throughput_ratio.count < TURNS))
            .resting_on(by().flat_map(Attacked::runs).all(Figures::kept))
    })
}

/// T7.
fn memory(brief: &Brief) -> Target {
    let (about, target) = ("a replica's resident set: flat, below 256 MB", "flat, < 256 MB".to_owned());
    let Some(soak) = &brief.soak else { return Target::new("T7", about, target, "-".into(), None) };
    let rise = soak.memory_rise().map_or("too short".into(), |it| format!("{:+.1}%", it * 100.0));
    let figure = format!("{rise} in {:.0} s, {}", soak.duration_s, show::megabytes(soak.max_bytes()));
    // Caches and the store's files fill up for a while, so that a short run can only show that it is too much.
    let holds = if soak.is_long() { soak.is_flat() } else { soak.is_small() };
    Target { holds: Some(holds), ..Target::new("T7", about, target, figure, None) }
        .unless(!soak.is_long())
        .resting_on(soak.is_consistent())
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

#[cfg(test)]
mod tests {
    use pbft_messages::ReplicaId;

    use super::*;
    use crate::experiments::scale::tests::ceiling;
    use crate::experiments::soak::tests::{memory, soak};
    use crate::experiments::{Attack, AttackMatrix, Failover, Kill, Plan, Round, Soak, Sweep, Turn};
    use crate::lab::figures;

    /// Turns of so many requests a second, at a signature ceiling of 10,000.
    fn comparison(rates: &[f64]) -> Comparison {
        let turn = |&rate: &f64| Turn {
            ceiling: crate::references::Ceiling { requests_per_s: 10_000.0, ..ceiling(4) },
            ours: figures(rate, 1000, 2000),
            unreplicated: None,
            etcd: None,
        };
        Comparison::new(None, rates.iter().map(turn).collect(), None)
    }

    fn failover(pauses: &[f64]) -> Failover {
        let kill = |&pause_ms: &f64| Kill { replica: ReplicaId(0), pause_ms, figures: figures(1.0, 1, 2) };
        let kills = pauses.iter().map(kill).collect();
        Failover { n: 4, view_timeout_ms: 1000.0, kills, pause_ms: Spread::of(pauses), stopped: None }
    }

    /// Silent backups, with so much throughput left by round.
    fn silent(ratios: &[f64]) -> AttackMatrix {
        let round = |&ratio: &f64| Round {
            calm: figures(100.0, 1, 2),
            attacked: figures(100.0 * ratio, 1, 2),
            watched_s: 2.0,
            over_time: Vec::new(),
            view_changes: Vec::new(),
        };
        let attacked = Attacked::new(Attack::named("silent").unwrap(), ratios.iter().map(round).collect());
        AttackMatrix { n: 4, attacks: attacked.into_iter().collect(), stopped: None }
    }

    fn scale(ratios: &[f64]) -> Scale {
        let first = vec![figures(100.0, 1, 2); ratios.len()];
        let other = ratios.iter().map(|ratio| figures(100.0 * ratio, 1, 2)).collect();
        Scale::new(vec![(ceiling(4), first), (ceiling(7), other)], None)
    }

    /// All is reached, by measurements that tell.
    fn good() -> Brief {
        let sweep = Sweep {
            bundle: 1,
            points: Vec::new(),
            peak: figures(1.0, 1, 2),
            ceiling: ceiling(4),
            ratio_to_ceiling: 1.0,
            stopped: None,
        };
        Brief {
            format: 2,
            plan: Plan::default(),
            targets: Vec::new(),
            failed: Vec::new(),
            one_in_memory: Some(figures(1.0, 1000, 3000)),
            one_in_sync: figures(1.0, 1300, 3900),
            sweep,
            bundles: None,
            comparison: Some(comparison(&[7000.0, 7000.0])),
            bundle_comparison: Some(comparison(&[70_000.0, 70_000.0])),
            scale: Some(scale(&[0.7, 0.7])),
            attacks: Some(silent(&[0.7, 0.8])),
            failover: Some(failover(&[1100.0; 20])),
            soak: Some(long()),
            took_s: 1.0,
        }
    }

    fn long() -> Soak {
        Soak { duration_s: 600.0, ..soak(vec![memory(|_| 1e6)]) }
    }

    /// Whether the targets hold whose number and subject begin so.
    fn holds(brief: &Brief, name: &str) -> Vec<Option<bool>> {
        let named = |it: &Target| format!("{} {}", it.id, it.about).starts_with(name);
        targets(brief).iter().filter(|it| named(it)).map(|it| it.holds).collect()
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn each_target_is_held_or_missed_by_what_it_rests_on() {
        type Change = fn(&mut Brief);
        let table: [(&str, Change, &[Option<bool>]); 28] = [
            ("T1", |_| {}, &[YES, None]),
            ("T1 each", |it| it.comparison = Some(comparison(&[6999.0, 6999.0])), &[NO]),
            ("T1 each", |it| it.comparison = Some(comparison(&[9000.0])), &[None]),
            ("T1 each", |it| it.comparison = None, &[None]),
            ("T2", |_| {}, &[YES]),
            ("T2", |it| it.bundle_comparison = Some(comparison(&[60_000.0])), &[NO]),
            ("T3", |_| {}, &[YES, YES, None, None]),
            ("T3", |it| it.one_in_sync = figures(1.0, 1301, 3904), &[YES, NO, None, NO]),
            ("T3", |it| it.one_in_memory = None, &[None, YES, None, None]),
            ("T4 longest", |_| {}, &[YES]),
            ("T4 longest", |it| it.failover = Some(failover(&[900.0; 19])), &[None]),
            ("T4 longest", |it| it.failover = Some(failover(&[900.0, 1101.0])), &[NO]),
            ("T4 longest", |it| it.failover = None, &[None]),
            ("T4 the timeout", |_| {}, &[YES]),
            ("T4 the timeout", |it| it.soak = Some(Soak { duration_s: 599.0, ..long() }), &[None]),
            (
                "T4 the timeout",
                |it| it.soak = Some(Soak { duration_s: 9.0, view_changes: vec![(1.0, 1)], ..long() }),
                &[NO],
            ),
            ("T5", |_| {}, &[YES, YES]),
            ("T5", |it| it.scale = Some(scale(&[0.55, 0.56])), &[YES, NO]),
            ("T5", |it| it.scale = Some(scale(&[0.7])), &[None, None]),
            ("T5", |it| it.scale = None, &[None, None]),
            ("T6", |_| {}, &[YES, None, None]),
            ("T6", |it| it.attacks = Some(silent(&[0.9])), &[None; 3]),
            ("T6", |it| it.attacks = Some(silent(&[0.6])), &[NO, None, None]),
            ("T6", |it| it.attacks = None, &[None; 3]),
            ("T7", |_| {}, &[YES]),
            ("T7", |it| it.soak = Some(Soak { duration_s: 599.0, ..long() }), &[None]),
            ("T7", |it| it.soak = Some(Soak { memory: vec![memory(|_| 257e6)], ..soak(Vec::new()) }), &[NO]),
            ("T7", |it| it.soak = None, &[None]),
        ];
        for (name, change, expected) in table {
            let mut brief = good();
            change(&mut brief);
            assert_eq!(holds(&brief, name), expected, "{name}: {:?}", targets(&brief));
        }
    }

    #[test]
    fn no_target_is_held_by_a_run_with_requests_that_were_not_answered() {
        let mut brief = good();
        let spoil = |it: &mut Figures| it.unknown = 1;
        spoil(&mut brief.one_in_sync);
        brief.one_in_memory.iter_mut().for_each(spoil);
        let turns =
            brief.comparison.iter_mut().chain(&mut brief.bundle_comparison).map(|it| &mut it.turns[0]);
        turns.for_each(|turn| spoil(&mut turn.ours));
        spoil(&mut brief.scale.as_mut().unwrap().sizes[0].rounds[0]);
        spoil(&mut brief.attacks.as_mut().unwrap().attacks[0].rounds[0].calm);
        spoil(&mut brief.failover.as_mut().unwrap().kills[0].figures);
        spoil(&mut brief.soak.as_mut().unwrap().figures);
        let held: Vec<_> = targets(&brief).into_iter().filter(|it| it.holds == YES).collect();
        assert_eq!(held, []);
        assert_eq!(holds(&brief, "T4"), [NO, NO]);
    }
}
