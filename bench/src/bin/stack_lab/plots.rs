//! The plots: memory, starts and switches against the number of goroutines and against live bytes, and calls against depth.

use std::error::Error;
use std::fs;
use std::path::Path;

use narrowboat_bench::harness::curve::{Curve, Line, draw as draw_curve};

use crate::plan::{self, Case, LIVE};
use crate::report::{Results, size};
use crate::strategy::Strategy;

/// What a goroutine parks with in any case, for an axis of live bytes.
const LEAST_LIVE: f64 = 0.2;

/// Draws everything into a directory, which is made if it is not there.
pub fn draw(directory: &Path, results: &Results) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    let mut curves = vec![by_depth(results)];
    for (name, what, unit) in [
        ("memory", "Memory of a parked goroutine", "bytes"),
        ("start", "Start until parked", "ns"),
        ("switch", "Switch", "ns"),
    ] {
        for live in LIVE {
            curves.push(Curve {
                name: format!("{name}-live-{live}"),
                title: format!("{what}, {} live on its stack", size(live)),
                grows: "goroutines",
                unit,
                lines: lines(|strategy| {
                    plan::crowds()
                        .filter(|crowd| crowd.1 == live)
                        .filter_map(|(count, live)| {
                            let cost = results.median(Case::Crowd { count, live }, strategy, name)?;
                            Some((count as f64, cost))
                        })
                        .collect()
                }),
            });
        }
        for count in [1_000, 10_000, 30_000] {
            curves.push(Curve {
                name: format!("{name}-of-{count}"),
                title: format!("{what}, {count} goroutines"),
                grows: "KiB live on its stack",
                unit,
                lines: lines(|strategy| {
                    let point = |live: usize| {
                        let cost = results.median(Case::Crowd { count, live }, strategy, name)?;
                        Some(((live as f64 / 1024.0).max(LEAST_LIVE), cost))
                    };
                    LIVE.into_iter().filter_map(point).collect()
                }),
            });
        }
    }
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
