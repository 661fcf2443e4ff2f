//! The plots: memory against the number of goroutines, switches against live bytes, and calls
//! against depth.

use std::error::Error;
use std::fs;
use std::path::Path;

use narrowboat_bench::harness::curve::{Curve, Line, draw as draw_curve};

use crate::plan::{self, Case, LIVE};
use crate::report::Results;
use crate::strategy::Strategy;

/// What a goroutine parks with in any case, for an axis of live bytes.
const LEAST_LIVE: f64 = 0.2;

/// Draws everything into a directory, which is made if it is not there.
pub fn draw(directory: &Path, results: &Results) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    let memory = Curve {
        name: "memory-live-0".into(),
        title: "Memory of a parked goroutine, nothing live on its stack".into(),
        grows: "goroutines",
        unit: "bytes",
        lines: lines(|strategy| {
            let crowds = plan::crowds().filter(|&(_, live)| live == 0);
            let point = |(count, live)| {
                let cost = results.median(Case::Crowd { count, live }, strategy, "memory")?;
                Some((count as f64, cost))
            };
            crowds.filter_map(point).collect()
        }),
    };
    let switch = Curve {
        name: "switch-of-10000".into(),
        title: "Switch, 10,000 goroutines".into(),
        grows: "KiB live on its stack",
        unit: "ns",
        lines: lines(|strategy| {
            let point = |live: usize| {
                let cost = results.median(Case::Crowd { count: 10_000, live }, strategy, "switch")?;
                Some(((live as f64 / 1024.0).max(LEAST_LIVE), cost))
            };
            LIVE.into_iter().filter_map(point).collect()
        }),
    };
    let curves = [memory, switch, by_depth(results)];
    for curve in curves.iter().filter(|curve| !curve.lines.is_empty()) {
        draw_curve(&directory.join(format!("{}.svg", curve.name)), curve)?;
    }
    Ok(())
}

fn by_depth(results: &Results) -> Curve {
    Curve {
        name: "edge".into(),
        title: "A call from so deep: the hot split, and its absence".into(),
        grows: "frames of 128 bytes",
        unit: "ns",
        lines: lines(|strategy| {
            let costs = results.by_depth(strategy);
            costs.into_iter().enumerate().map(|(depth, cost)| ((depth + 1) as f64, cost)).collect()
        }),
    }
}

/// A line for each strategy with at least two points; those with no cost at all are not drawn.
fn lines(points: impl Fn(Strategy) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |strategy: Strategy| {
        let mut points = points(strategy);
        points.retain(|point| point.1 > 0.0);
        Line { label: strategy.label(), points }
    };
    Strategy::ALL.into_iter().map(line).filter(|line| line.points.len() > 1).collect()
}
