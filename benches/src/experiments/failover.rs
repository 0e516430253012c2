//! How long service pauses when the primary is killed.

use std::time::Duration;

use serde::Serialize;

use pbft_messages::ReplicaId;

use super::show;
use super::statistics::Spread;
use super::stopped::early;
use crate::lab::{Bed, Figures, Lab, LabError, Load, warmup};
use crate::page::{Bars, Plot, Section, Table};
use crate::timeline::Pause;

/// What a change of view may take beyond the timeout.
const BEYOND_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the load runs before the primary is killed.
const CALM: Duration = Duration::from_millis(1500);

/// How long the load goes on after service must have come back.
const AFTER: Duration = Duration::from_millis(1500);

/// One death of a primary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kill {
    /// Who was killed.
    pub replica: ReplicaId,
    /// The longest time without any answer that lasted until after the kill.
    pub pause_ms: f64,
    /// The load around it.
    pub figures: Figures,
}

/// What the death of a primary costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failover {
    /// How many replicas the cluster has.
    pub n: usize,
    /// How long backups wait for the primary.
    pub view_timeout_ms: f64,
    /// One after the other.
    pub kills: Vec<Kill>,
    /// The pauses together; `null` if nobody was killed.
    pub pause_ms: Option<Spread>,
    /// What ended it early; `null` if nothing did.
    pub stopped: Option<String>,
}

impl Failover {
    /// Kills the primary of a cluster of `n` so many times under load, and starts it again each time. An error after the
    /// first ends it with the deaths until then.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(lab: &Lab, n: usize, times: usize, load: Load) -> Result<Self, LabError> {
        let mut bed = lab.bed(n).await?;
        let view_timeout = bed.testnet().configuration().parameters().view_timeout;
        let mut kills = Vec::with_capacity(times);
        let ended = async {
            for number in 1..=times {
                let killed = kill(lab, &mut bed, number, load, view_timeout).await?;
                let replica = killed.replica;
                kills.push(killed);
                bed.testnet_mut().restart(replica, false).await?;
                bed.whole().await?;
            }
            Ok(())
        }
        .await;
        let stopped = early(ended, kills.is_empty())?;
        let view_timeout_ms = view_timeout.as_secs_f64() * 1e3;
        let pause_ms = Spread::over(&kills, |kill| Some(kill.pause_ms));
        Ok(Self { n, view_timeout_ms, kills, pause_ms, stopped })
    }

    /// The longest pause that is accepted.
    #[must_use]
    pub fn limit_ms(&self) -> f64 {
        self.view_timeout_ms + BEYOND_TIMEOUT.as_secs_f64() * 1e3
    }

    /// Whether no pause was longer.
    #[must_use]
    pub fn is_within_limit(&self) -> bool {
        self.pause_ms.is_some_and(|pause| pause.max <= self.limit_ms())
    }

    /// Whether the cluster kept its word each time.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.kills.iter().all(|kill| kill.figures.kept())
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut table =
            Table::new(&["kills", "shortest pause", "median", "longest", "view timeout + 100 ms", "verdict"]);
        if let Some(Spread { count, min, median, max }) = self.pause_ms {
            let shown = |ms: f64| format!("{ms:.0} ms");
            let verdict = show::verdicts(self.kills.iter().map(|kill| &kill.figures));
            let limit = self.limit_ms();
            table.add(vec![count.to_string(), shown(min), shown(median), shown(max), shown(limit), verdict]);
        }
        let bar =
            |(number, kill): (usize, &Kill)| (format!("{}: {}", number + 1, kill.replica), kill.pause_ms);
        Section::new("Death of the primary")
            .notes(show::stopped(self.stopped.as_ref()))
            .note(
                "The primary is killed (kill -9) under load, and started again when service goes on. The pause is the longest \
                 time without an answer to any client, from the last answer before the kill to the first one after it.",
            )
            .table(table)
            .plot(Plot::Bars(Bars {
                title: "Pause of service after kill -9 of the primary".into(),
                unit: "ms".into(),
                bars: self.kills.iter().enumerate().map(bar).collect(),
                limits: vec![(self.limit_ms(), "view timeout + 100 ms".into())],
            }))
    }
}

async fn kill(
    lab: &Lab,
    bed: &mut Bed,
    number: usize,
    load: Load,
    view_timeout: Duration,
) -> Result<Kill, LabError> {
    let subject = bed.subject()?;
    let lasts = CALM + view_timeout * 2 + AFTER;
    let (warms_up, warmed_up) = warmup();
    let killed = async {
        warmed_up.over().await;
        tokio::time::sleep(CALM).await;
        // Now, since the view may have changed under load; soon, so that the load outlasts what the kill brings.
        let leader = tokio::time::timeout(AFTER, bed.leader()).await;
        let (_, primary) = leader.map_err(|_| LabError::Stuck("nobody leads under load".into()))??;
        bed.testnet_mut().kill(primary).await?;
        Ok((primary, std::time::Instant::now()))
    };
    let name = format!("failover-{number:02}");
    let (run, (primary, killed)) =
        tokio::try_join!(lab.run_while_some_end(&name, &subject, load, lasts, warms_up), killed)?;
    let killed = killed.saturating_duration_since(run.measured.measured_from);
    let pause = longest_past(&run.measured.timeline.pauses, killed).ok_or_else(|| {
        LabError::Stuck(format!(
            "{primary}, the primary, was killed when the load was over: nothing was measured"
        ))
    })?;
    let pause_ms = pause.as_secs_f64() * 1e3;
    lab.progress.step(&format!("{primary}, the primary, was killed: service paused {pause_ms:.0} ms"));
    Ok(Kill { replica: primary, pause_ms, figures: run.figures() })
}

/// The longest pause that lasted until after the kill; none if the load ended before.
fn longest_past(pauses: &[Pause], killed: Duration) -> Option<Duration> {
    pauses.iter().filter(|pause| pause.from + pause.length >= killed).map(|pause| pause.length).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_after_the_load_is_no_pause_of_nothing() {
        let seconds = Duration::from_secs;
        let pauses = [(0, 3), (4, 2), (9, 1)]
            .map(|(from, length)| Pause { from: seconds(from), length: seconds(length) });
        assert_eq!(longest_past(&pauses, seconds(5)), Some(seconds(2)));
        assert_eq!(longest_past(&pauses, seconds(7)), Some(seconds(1)));
        assert_eq!(longest_past(&pauses, seconds(11)), None);
    }
}
