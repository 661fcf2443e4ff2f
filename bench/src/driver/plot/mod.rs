//! Plots of a run: bars of the ratios, of what the README shows and of each section, and curves of costs as the work grows.

mod data;
mod draw;

use std::error::Error;
use std::fs;
use std::path::Path;

use narrowboat_bench::harness::curve::{self, Curve};

use crate::driver::cases::Section;
use crate::driver::options::Options;
use crate::driver::results::Results;
use crate::driver::row::Row;

use data::Bar;

/// One file.
#[derive(Debug)]
struct Plot {
    title: String,
    file: String,
    /// Whether the README shows it.
    headline: bool,
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

/// Title and file of those that the README shows.
pub fn headline_names(options: &Options, results: &Results) -> Vec<(String, String)> {
    let headlines = all(options, results).into_iter().filter(|plot| plot.headline);
    headlines.map(|plot| (plot.title, plot.file)).collect()
}

/// Every plot in which there is something.
fn all(options: &Options, results: &Results) -> Vec<Plot> {
    let most = options.workers.iter().copied().max().unwrap_or(1);
    let bars = |title: &str, file: &str, headline: bool, has: &dyn Fn(&Row) -> bool| {
        let bars = data::bars(options, results, has);
        let (title, file) = (title.to_owned(), format!("ratios-{file}.svg"));
        Plot { title, file, headline, shape: Shape::Bars(bars) }
    };
    let in_short = |row: &Row| row.metric.headline && row.workers == most;
    let mut plots = vec![bars("In short", "in-short", true, &in_short)];
    for section in Section::ALL {
        plots.push(bars(section.title(), section.key(), false, &|row| row.metric.section == section));
    }
    plots.retain(|plot| !matches!(&plot.shape, Shape::Bars(bars) if bars.is_empty()));
    for (workers, curve) in data::curves(options, results) {
        let (title, file) = (curve.title.clone(), format!("curve-{}.svg", curve.name));
        plots.push(Plot { title, file, headline: workers == most, shape: Shape::Curve(curve) });
    }
    plots
}
