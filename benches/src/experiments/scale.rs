//! The same load on clusters of several sizes.

use std::time::Duration;

use serde::Serialize;

use super::show;
use crate::lab::{Figures, Lab, LabError, Load};
use crate::page::{Axis, Line, Plot, Section, Table};
use crate::references::{Ceiling, SignatureCosts};

/// One size of cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// How many replicas.
    pub n: usize,
    /// What was measured.
    pub figures: Figures,
    /// The signature ceiling of so many replicas.
    pub ceiling: Ceiling,
    /// The throughput as a part of the first size's.
    pub ratio: f64,
    /// The signature ceiling as a part of the first size's.
    pub ceiling_ratio: f64,
}

/// What sizes do to throughput.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scale {
    /// In the order in which they were tried.
    pub sizes: Vec<Size>,
}

impl Scale {
    /// Loads a new cluster of each size for so long.
    ///
    /// # Errors
    /// [`LabError`]
    pub async fn run(lab: &Lab, sizes: &[usize], load: Load, lasts: Duration) -> Result<Self, LabError> {
        let costs = SignatureCosts::measure().await;
        let mut done: Vec<Size> = Vec::with_capacity(sizes.len());
        for &n in sizes {
            let bed = lab.bed(n).await?;
            let figures = lab.run(&format!("scale-{n}"), &bed.subject()?, load, lasts).await?.figures();
            let ceiling = costs.ceiling(n, load.bundle);
            let of_first =
                |own: f64, value: fn(&Size) -> f64| done.first().map_or(1.0, |first| own / value(first));
            let ratio = of_first(figures.throughput_per_s, |first| first.figures.throughput_per_s);
            let ceiling_ratio = of_first(ceiling.requests_per_s, |first| first.ceiling.requests_per_s);
            done.push(Size { n, figures, ceiling, ratio, ceiling_ratio });
        }
        Ok(Self { sizes: done })
    }

    /// Whether every cluster kept its word.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.sizes.iter().all(|it| it.figures.kept())
    }

    /// One of the sizes.
    #[must_use]
    pub fn of(&self, n: usize) -> Option<&Size> {
        self.sizes.iter().find(|size| size.n == n)
    }

    /// For people.
    #[must_use]
    pub fn section(&self) -> Section {
        let mut table = Table::new(&[
            "replicas",
            "a second",
            "to the first",
            "ceiling's own fall",
            "p50",
            "p99",
            "verdict",
        ]);
        for it in &self.sizes {
            table.add(vec![
                it.n.to_string(),
                show::rate(it.figures.throughput_per_s),
                show::ratio(it.ratio),
                show::ratio(it.ceiling_ratio),
                show::latency(it.figures.p50_us),
                show::latency(it.figures.p99_us),
                show::verdict(&it.figures),
            ]);
        }
        let line = |name: &str, value: fn(&Size) -> f64| Line {
            name: name.to_owned(),
            points: self.sizes.iter().map(|it| (it.n as f64, value(it))).collect(),
        };
        Section::new("Size of the cluster")
            .note(
                "The same load on clusters of several sizes, all on the same cores. Each replica verifies each request, so \
                 the signature ceiling falls too: its own fall is shown beside.",
            )
            .table(table)
            .plot(Plot::Lines {
                title: "Throughput by size, to the first".into(),
                x: Axis::even("replicas"),
                y: Axis::even("ratio"),
                lines: vec![line("measured", |it| it.ratio), line("signature ceiling", |it| it.ceiling_ratio)],
                marks: Vec::new(),
            })
    }
}
