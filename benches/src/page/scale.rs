//! From values to places on a plot.

/// Maps values to places, evenly or by their logarithm.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// Covers all the values, and 0 if it is even. Without values it covers 0 to 1, or 1 to 10. Values that are not
    /// finite, or not above 0 on a logarithmic scale, have no place and are left out.
    pub(super) fn over(values: impl Iterator<Item = f64>, logarithmic: bool, from: f64, to: f64) -> Self {
        let usable = values.filter(|value| value.is_finite() && (!logarithmic || *value > 0.0));
        let (low, high) = usable
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match (low <= high, logarithmic) {
            (false, false) => (0.0, 1.0),
            (false, true) => (1.0, 10.0),
            (true, false) => even_bounds(low.min(0.0), high.max(0.0)),
            // Room on both sides, so that no point lies on the frame.
            (true, true) => (low / 1.3, high * 1.3),
        };
        Self { low, high, from, to, logarithmic }
    }

    /// Where a value is; `None` if it has no place.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let part = if self.logarithmic {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.is_finite().then_some(self.from + part * (self.to - self.from))
    }

    /// Round values within the scale.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = step(self.high - self.low);
            let first = (self.low / step).ceil() as i64;
            let last = (self.high / step + 1e-9).floor() as i64;
            return (first..=last).map(|count| count as f64 * step).collect();
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let few = self.high / self.low < 100.0;
        let within = |factors: &[f64]| -> Vec<f64> {
            let all =
                decades.clone().flat_map(|decade| factors.iter().map(move |it| it * 10f64.powi(decade)));
            all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
        };
        within(if few { &[1.0, 2.0, 5.0] } else { &[1.0] })
    }
}

/// Bounds on whole steps.
fn even_bounds(low: f64, high: f64) -> (f64, f64) {
    if low == high {
        return (low, low + 1.0);
    }
    let step = step(high - low);
    ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step)
}

/// A round step that divides a length into 4 to 10 parts.
fn step(length: f64) -> f64 {
    let rough = length / 5.0;
    let unit = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * unit >= rough * 0.999);
    factor.unwrap_or(10.0) * unit
}

/// A number on an axis: 2500000 is 2.5M.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if scaled.abs() >= 100.0 { 0 } else { 3 };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_scales_begin_at_zero_and_end_on_a_tick() {
        let scale = Scale::over([300.0, 2350.0].into_iter(), false, 0.0, 100.0);
        assert_eq!(scale.ticks(), [0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0]);
        assert_eq!((scale.place(0.0), scale.place(2500.0)), (Some(0.0), Some(100.0)));
        assert_eq!(Scale::over([5.0].into_iter(), false, 100.0, 0.0).place(5.0), Some(0.0), "upwards");
    }

    #[test]
    fn logarithmic_scales_have_room_and_round_ticks() {
        let scale = Scale::over([1.0, 8000.0].into_iter(), true, 0.0, 1.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!(scale.place(1.0) > Some(0.0) && scale.place(8000.0) < Some(1.0));
        assert_eq!(scale.place(0.0), None, "it has no logarithm");
        assert_eq!(Scale::over([3.0, 30.0].into_iter(), true, 0.0, 1.0).ticks(), [5.0, 10.0, 20.0]);
    }

    #[test]
    fn nothing_and_one_value_have_a_scale_too() {
        for values in [vec![], vec![0.0], vec![7.0], vec![f64::NAN], vec![f64::INFINITY]] {
            for logarithmic in [false, true] {
                let scale = Scale::over(values.iter().copied(), logarithmic, 0.0, 1.0);
                assert!(scale.place(1.0).is_some() && scale.ticks().len() < 20, "{scale:?}");
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.25, 1.0, 2350.0, 12_500.0, 250_000.0, 2_500_000.0, 100.0].map(short);
        assert_eq!(texts, ["0", "0.25", "1", "2350", "12.5k", "250k", "2.5M", "100"]);
    }
}
