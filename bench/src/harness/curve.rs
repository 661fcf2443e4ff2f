//! Curves of costs as the work grows: lines on two logarithmic axes, as SVG.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

const FONT: &str = "sans-serif";
const WIDTH: u32 = 1000;

/// Costs as the work grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What its file is called.
    pub name: String,
    /// The heading.
    pub title: String,
    /// What grows.
    pub grows: &'static str,
    /// What the costs are in.
    pub unit: &'static str,
    /// A line for each peer with at least two points.
    pub lines: Vec<Line>,
}

impl Curve {
    /// From the smallest to the largest size and cost, and of the costs a bit more on both sides.
    pub fn ranges(&self) -> (Range<f64>, Range<f64>) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let around = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)))
        };
        let (least, most) = around(&mut points().map(|point| point.0));
        let (low, high) = around(&mut points().map(|point| point.1));
        (least..most, low / 1.3..high * 1.3)
    }

    /// What the axis of sizes is marked with: the sizes at which there is a point, in their order, or round numbers where
    /// those are too many.
    pub fn sizes(&self) -> Vec<f64> {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let mut sizes: Vec<f64> = points.map(|&(size, _)| size).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        if sizes.len() > 12 { round_numbers(&self.ranges().0) } else { sizes }
    }
}

/// A line of a curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The peer.
    pub label: &'static str,
    /// Size and cost, in the order of sizes.
    pub points: Vec<(f64, f64)>,
}

/// Round numbers in a range, for the axis of costs: 1, 2 and 5 times the powers of ten.
pub fn round_numbers(range: &Range<f64>) -> Vec<f64> {
    let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let steps = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
    steps.filter(|step| (range.start..=range.end).contains(step)).collect()
}

/// Lines on two logarithmic axes, and beside them what they are.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw(path: &Path, curve: &Curve) -> Result<(), Box<dyn Error>> {
    const LEGEND: i32 = 210;
    const ENTRY: i32 = 22;
    /// More would run into each other.
    const MOST_DOTS: usize = 32;
    let root = SVGBackend::new(path, (WIDTH, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let (area, legend) = root.split_horizontally(WIDTH as i32 - LEGEND);
    let (sizes, costs) = curve.ranges();
    let mut chart = ChartBuilder::on(&area)
        .caption(&curve.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d(
            (sizes.start..sizes.end).log_scale().with_key_points(curve.sizes()),
            (costs.start..costs.end).log_scale().with_key_points(round_numbers(&costs)),
        )?;
    chart
        .configure_mesh()
        .x_desc(curve.grows)
        .y_desc(format!("{} each", curve.unit))
        .x_label_formatter(&|size| format!("{size}"))
        .y_label_formatter(&|cost| format!("{cost}"))
        .label_style((FONT, 13))
        .draw()?;
    for (index, line) in curve.lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        chart.draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?;
        if line.points.len() <= MOST_DOTS {
            chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 4, color.filled())))?;
        }
        let height = 60 + ENTRY * index as i32;
        legend.draw(&PathElement::new([(0, height), (20, height)], color.stroke_width(2)))?;
        legend.draw(&Text::new(line.label, (28, height - 6), (FONT, 13)))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What drawing leaves in a file.
    fn drawn(name: &str, draw: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>) -> String {
        let path = std::env::temp_dir().join(format!("narrowboat-bench-{}-{name}.svg", std::process::id()));
        draw(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text
    }

    #[test]
    fn every_line_has_its_name_and_every_size_its_mark() {
        let line = |label, points: &[(f64, f64)]| Line { label, points: points.to_vec() };
        let lines =
            vec![line("Go", &[(1.0, 90.0), (64.0, 4_000.0)]), line("may", &[(2.0, 90.0), (64.0, 90.0)])];
        let (name, title) = ("arms-1".into(), "Select".into());
        let text =
            drawn("curve", |path| draw(path, &Curve { name, title, grows: "arms", unit: "ns", lines }));
        for part in ["Go", "may", "Select", "arms", "ns each", ">\n64\n<", ">\n2\n<", ">\n1000\n<"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn axes_hold_everything_and_have_round_marks() {
        assert_eq!(round_numbers(&(15.0..600.0)), [20.0, 50.0, 100.0, 200.0, 500.0]);
        let lines = vec![
            Line { label: "Go", points: vec![(2.0, 26.0), (8.0, 10.0)] },
            Line { label: "may", points: vec![(1.0, 13.0), (8.0, 100.0)] },
        ];
        let curve = Curve { name: String::new(), title: String::new(), grows: "", unit: "", lines };
        assert_eq!(curve.sizes(), [1.0, 2.0, 8.0]);
        assert_eq!(curve.ranges(), (1.0..8.0, 10.0 / 1.3..100.0 * 1.3));
    }
}
