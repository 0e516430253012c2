//! Plots as SVG. Colours are classes that the page's style gives a meaning, for light and for dark.

use std::fmt::Write as _;

use super::html::escaped;
use super::scale::{Scale, short};

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// Lines over two axes.
    Lines {
        /// What it shows.
        title: String,
        /// From left to right.
        x: Axis,
        /// From bottom to top.
        y: Axis,
        /// At most six, which are told apart by colour.
        lines: Vec<Line>,
        /// Places on the first axis.
        marks: Vec<Mark>,
    },
    /// A bar for each of several things.
    Bars(Bars),
}

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured, and in what.
    pub label: String,
    /// Whether equal distances are equal ratios.
    pub logarithmic: bool,
}

/// One line, with a dot at each point.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is about.
    pub name: String,
    /// Points in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

/// Something that happened at a place of the first axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Where.
    pub at: f64,
    /// What.
    pub label: String,
}

/// A bar for each of several things, from left to right.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// What is measured, and in what.
    pub unit: String,
    /// What each bar is about, and how long it is.
    pub bars: Vec<(String, f64)>,
    /// Lines that bars are to be compared with: where, and what each means.
    pub limits: Vec<(f64, String)>,
}

impl Axis {
    /// An axis with equal distances for equal differences, from 0.
    #[must_use]
    pub fn even(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: false }
    }

    /// An axis with equal distances for equal ratios.
    #[must_use]
    pub fn logarithmic(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: true }
    }
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 44.0;
/// How high one bar's row is.
const ROW: f64 = 26.0;
/// Where bars begin; their names are left of it.
const NAMES: f64 = 210.0;
/// How many line colours the page's style knows.
const COLOURS: usize = 6;

impl Plot {
    /// The plot as an SVG element.
    pub(super) fn svg(&self) -> String {
        match self {
            Self::Lines { title, x, y, lines, marks } => lines_svg(title, x, y, lines, marks),
            Self::Bars(bars) => bars.svg(),
        }
    }
}

// Writing to a string does not fail, here and below.
fn lines_svg(title: &str, x: &Axis, y: &Axis, lines: &[Line], marks: &[Mark]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = points().map(|point| point.0).chain(marks.iter().map(|mark| mark.at));
    let across = Scale::over(across, x.logarithmic, LEFT, RIGHT);
    let up = Scale::over(points().map(|point| point.1), y.logarithmic, BOTTOM, TOP);
    let mut svg = opened(title, HEIGHT);
    for tick in up.ticks() {
        let Some(at) = up.place(tick) else { continue };
        let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
        let _ =
            write!(svg, r#"<text x="{}" y="{:.1}" class="end">{}</text>"#, LEFT - 8.0, at + 4.0, short(tick));
    }
    for tick in across.ticks() {
        let Some(at) = across.place(tick) else { continue };
        let _ = write!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{BOTTOM}"/>"#);
        let _ =
            write!(svg, r#"<text x="{at:.1}" y="{}" class="middle">{}</text>"#, BOTTOM + 16.0, short(tick));
    }
    let (middle, below) = ((LEFT + RIGHT) / 2.0, HEIGHT - 8.0);
    let _ = write!(svg, r#"<text x="{middle}" y="{below}" class="middle">{}</text>"#, escaped(&x.label));
    let _ = write!(svg, r#"<text x="4" y="14">{}</text>"#, escaped(&y.label));
    for mark in marks {
        let Some(at) = across.place(mark.at) else { continue };
        let _ = write!(
            svg,
            r#"<line class="mark" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{BOTTOM}"><title>{}</title></line>"#,
            escaped(&mark.label)
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let class = number % COLOURS;
        let places = line.points.iter().filter_map(|&(x, y)| Some((x, y, across.place(x)?, up.place(y)?)));
        let places: Vec<_> = places.collect();
        let path: Vec<_> = places.iter().map(|(.., x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(svg, r#"<polyline class="line c{class}" points="{}"/>"#, path.join(" "));
        // Dots of a long series would hide it.
        for (x, y, at, height) in places.iter().filter(|_| places.len() <= 40) {
            let _ = write!(
                svg,
                r#"<circle class="dot c{class}" cx="{at:.1}" cy="{height:.1}" r="3.5"><title>{}: {}, {}</title></circle>"#,
                escaped(&line.name),
                short(*x),
                short(*y)
            );
        }
    }
    svg.push_str("</svg>");
    let mut legend = String::new();
    for (number, line) in lines.iter().enumerate() {
        let _ = write!(legend, r#"<li class="c{}">{}</li>"#, number % COLOURS, escaped(&line.name));
    }
    if let Some(mark) = marks.first() {
        let _ = write!(legend, r#"<li class="cmark">{}</li>"#, escaped(&mark.label));
    }
    figure(title, &svg, &legend)
}

impl Bars {
    fn svg(&self) -> String {
        let height = TOP + ROW * self.bars.len() as f64 + 28.0;
        let bottom = height - 28.0;
        let values = self.bars.iter().map(|bar| bar.1).chain(self.limits.iter().map(|limit| limit.0));
        // Room for the number behind the longest bar.
        let scale = Scale::over(values, false, NAMES, RIGHT - 48.0);
        let mut svg = opened(&self.title, height);
        let _ = write!(svg, r#"<text x="{NAMES}" y="14">{}</text>"#, escaped(&self.unit));
        for tick in scale.ticks() {
            let Some(at) = scale.place(tick) else { continue };
            let _ = write!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{bottom}"/>"#);
            let _ = write!(
                svg,
                r#"<text x="{at:.1}" y="{:.1}" class="middle">{}</text>"#,
                bottom + 16.0,
                short(tick)
            );
        }
        for (number, (name, value)) in self.bars.iter().enumerate() {
            let (Some(zero), Some(end)) = (scale.place(0.0), scale.place(*value)) else { continue };
            let top = TOP + ROW * number as f64;
            let middle = top + ROW / 2.0 + 4.0;
            let _ = write!(
                svg,
                r#"<text x="{}" y="{middle:.1}" class="end">{}</text>"#,
                NAMES - 8.0,
                escaped(name)
            );
            let _ = write!(
                svg,
                r#"<rect class="bar" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="3"/>"#,
                zero.min(end),
                top + 4.0,
                (end - zero).abs(),
                ROW - 8.0
            );
            let _ = write!(
                svg,
                r#"<text x="{:.1}" y="{middle:.1}">{}</text>"#,
                end.max(zero) + 6.0,
                short((value * 1000.0).round() / 1000.0)
            );
        }
        for (at, _) in &self.limits {
            let Some(at) = scale.place(*at) else { continue };
            let _ = write!(svg, r#"<line class="mark" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{bottom}"/>"#);
        }
        svg.push_str("</svg>");
        let legend = self.limits.iter();
        let legend: String =
            legend.map(|(_, meaning)| format!(r#"<li class="cmark">{}</li>"#, escaped(meaning))).collect();
        figure(&self.title, &svg, &legend)
    }
}

fn opened(title: &str, height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escaped(title))
}

fn figure(title: &str, svg: &str, legend: &str) -> String {
    let legend =
        if legend.is_empty() { String::new() } else { format!("<ul class=\"legend\">{legend}</ul>") };
    format!("<figure><figcaption>{}</figcaption>{svg}{legend}</figure>\n", escaped(title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_without_a_place_are_left_out_and_names_are_escaped() {
        let line = Line { name: "a<b".into(), points: vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN)] };
        let mark = Mark { at: 1.5, label: "view \"3\"".into() };
        let svg = Plot::Lines {
            title: "x & y".into(),
            x: Axis::even("time"),
            y: Axis::logarithmic("latency"),
            lines: vec![line],
            marks: vec![mark],
        }
        .svg();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(
            svg.contains("a&lt;b") && svg.contains("x &amp; y") && svg.contains("view &quot;3&quot;"),
            "{svg}"
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bars = vec![("half".to_owned(), 0.5), ("whole".to_owned(), 1.0)];
        let svg =
            Bars { title: "t".into(), unit: "ratio".into(), bars, limits: vec![(0.7, "70%".into())] }.svg();
        let widths: Vec<f64> = svg
            .split("<rect")
            .skip(1)
            .filter_map(|rect| rect.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
        assert!(svg.contains("class=\"mark\"") && svg.contains("70%"));
    }
}
