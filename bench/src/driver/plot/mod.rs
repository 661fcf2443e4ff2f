//! Plots of a run: bars of the ratios for each section, and curves of costs as the work grows.

mod data;
mod draw;

use std::error::Error;
use std::fs;
use std::path::Path;

use narrowboat_bench::harness::curve;

use crate::driver::cases::Section;
use crate::driver::options::Options;
use crate::driver::results::Results;

/// Draws everything into a directory, which is made if it is not there.
///
/// # Errors
///
/// If a file cannot be written.
pub fn draw(directory: &Path, options: &Options, results: &Results) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    for section in Section::ALL {
        let bars = data::bars(section, options, results);
        if !bars.is_empty() {
            draw::bars(&directory.join(format!("ratios-{}.svg", section.key())), section.title(), &bars)?;
        }
    }
    for curve in data::curves(options, results) {
        curve::draw(&directory.join(format!("curve-{}.svg", curve.name)), &curve)?;
    }
    Ok(())
}
