//! The plots that the README shows: bars of the ratios in short, and curves of costs as the work
//! grows, with the most workers of the run.

mod data;
mod draw;

use std::error::Error;
use std::fs;
use std::path::Path;

use narrowboat_bench::harness::curve::{self, Curve};

use crate::driver::options::Options;
use crate::driver::results::Results;
use crate::driver::row::Row;

use data::Bar;

/// One file.
#[derive(Debug)]
struct Plot {
    title: String,
    file: String,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Bars(Vec<Bar>),
    Curve(Curve),
}

/// Draws everything into a directory, which is made if it is not there.
///
/// # Errors
///
/// If a file cannot be written.
pub fn draw(directory: &Path, options: &Options, results: &Results) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    for plot in all(options, results) {
        let path = directory.join(&plot.file);
        match &plot.shape {
            Shape::Bars(bars) => draw::bars(&path, &plot.title, bars)?,
            Shape::Curve(line) => curve::draw(&path, line)?,
        }
    }
    Ok(())
}

/// Title and file of every plot.
pub fn names(options: &Options, results: &Results) -> Vec<(String, String)> {
    all(options, results).into_iter().map(|plot| (plot.title, plot.file)).collect()
}

/// Every plot in which there is something.
fn all(options: &Options, results: &Results) -> Vec<Plot> {
    let Some(most) = options.workers.iter().copied().max() else { return Vec::new() };
    let in_short = |row: &Row| row.metric.headline && row.workers == most;
    let bars = data::bars(options, results, &in_short);
    let bars = (!bars.is_empty()).then(|| Plot {
        title: "In short".to_owned(),
        file: "ratios-in-short.svg".to_owned(),
        shape: Shape::Bars(bars),
    });
    let curves = data::curves(most, options, results).into_iter().map(|curve| Plot {
        title: curve.title.clone(),
        file: format!("curve-{}.svg", curve.name),
        shape: Shape::Curve(curve),
    });
    bars.into_iter().chain(curves).collect()
}
