//! A few numbers for many.

use serde::Serialize;

/// Repeated measurements of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The one in the middle, or half-way between the two there.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// What the values come to; `None` if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { count: sorted.len(), min, median: f64::midpoint(low, high), max })
    }

    /// What one value of each comes to; `None` if none has it.
    #[must_use]
    pub fn over<T>(all: &[T], value: impl Fn(&T) -> Option<f64>) -> Option<Self> {
        Self::of(&all.iter().filter_map(value).collect::<Vec<_>>())
    }
}

/// The straight line that suits a series best (least squares).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The mean of all values.
    pub mean: f64,
    /// By how much the line rises from the first point to the last.
    pub rise: f64,
}

impl Trend {
    /// The line through points, their places in order; `None` for fewer than three points.
    #[must_use]
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let (first, last) = (points.first()?.0, points.last()?.0);
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (middle, mean) = (mean(|it| it.0), mean(|it| it.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - middle).powi(2)).sum();
        let common: f64 = points.iter().map(|(x, y)| (x - middle) * (y - mean)).sum();
        (points.len() >= 3 && spread > 0.0).then(|| Self { mean, rise: common / spread * (last - first) })
    }

    /// The rise as a part of the mean.
    #[must_use]
    pub fn relative(&self) -> f64 {
        self.rise / self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_independent_of_order() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { count: 3, min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_trend_finds_the_line_and_sees_through_noise() {
        let line: Vec<_> = (0..=10).map(|x| (f64::from(x), 100.0 + 2.0 * f64::from(x))).collect();
        let trend = Trend::of(&line).unwrap();
        assert!((trend.rise - 20.0).abs() < 1e-9 && (trend.mean - 110.0).abs() < 1e-9, "{trend:?}");
        let noise: Vec<_> = (0..100).map(|x| (f64::from(x), if x % 2 == 0 { 99.0 } else { 101.0 })).collect();
        assert!(Trend::of(&noise).unwrap().relative().abs() < 0.001);
        assert_eq!(Trend::of(&line[..2]), None);
        assert_eq!(Trend::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None, "no line stands upright");
    }
}
