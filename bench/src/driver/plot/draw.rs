//! Drawing, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::driver::plot::data::{Bar, powers};

type Drawn = Result<(), Box<dyn Error>>;

const FONT: &str = "sans-serif";
const WIDTH: u32 = 1000;
const MET: RGBColor = RGBColor(46, 125, 80);
const MISSED: RGBColor = RGBColor(190, 70, 60);
const UNPROMISED: RGBColor = RGBColor(90, 120, 170);

/// Bars on a logarithmic axis, from one to the ratio, with a mark at what was promised. The first is on top.
pub fn bars(path: &Path, title: &str, bars: &[Bar]) -> Drawn {
    const BAR: u32 = 22;
    const NAMES: i32 = 400;
    const AROUND: u32 = 110;
    let root = SVGBackend::new(path, (WIDTH, AROUND + BAR * bars.len() as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let marks: Vec<f64> = powers(bars).map(|power| f64::from(power).exp2()).collect();
    let across = (marks[0]..marks[marks.len() - 1]).log_scale().with_key_points(marks);
    let top = bars.len() as f64;
    let middle = |index: usize| top - index as f64 - 0.5;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{title}: cost in terms of the best peer's"), (FONT, 20))
        .margin(12)
        .margin_left(NAMES)
        .margin_right(24)
        .x_label_area_size(40)
        .build_cartesian_2d(across, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|ratio| format!("{ratio}x"))
        .x_desc("left of 1x Narrowboat is better; the black mark is what was promised")
        .label_style((FONT, 13))
        .draw()?;
    let to_the_left = (FONT, 13).into_text_style(&root).pos(Pos::new(HPos::Right, VPos::Center));
    for (index, bar) in bars.iter().enumerate() {
        let (_, height) = chart.backend_coord(&(1.0, middle(index)));
        root.draw(&Text::new(bar.label.as_str(), (NAMES - 8, height), to_the_left.clone()))?;
    }
    chart.draw_series(bars.iter().enumerate().map(|(index, bar)| {
        let color = match bar.promised {
            Some(promised) if bar.ratio <= promised => MET,
            Some(_) => MISSED,
            None => UNPROMISED,
        };
        let corners = [(1.0, middle(index) - 0.35), (bar.ratio, middle(index) + 0.35)];
        Rectangle::new(corners, color.filled())
    }))?;
    let marks = bars.iter().enumerate().filter_map(|(index, bar)| {
        let promised = bar.promised?;
        let ends = [(promised, middle(index) - 0.5), (promised, middle(index) + 0.5)];
        Some(PathElement::new(ends, BLACK.stroke_width(2)))
    });
    chart.draw_series(marks)?;
    chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, top)], BLACK)])?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What drawing leaves in a file.
    fn drawn(name: &str, draw: impl FnOnce(&Path) -> Drawn) -> String {
        let path = std::env::temp_dir().join(format!("narrowboat-bench-{}-{name}.svg", std::process::id()));
        draw(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text
    }

    #[test]
    fn every_bar_has_its_name_and_the_color_of_its_verdict() {
        let bar = |label: &str, ratio, promised| Bar { label: label.into(), ratio, promised };
        let all = [bar("kept", 0.5, Some(0.6)), bar("broken", 9.0, Some(0.6)), bar("neither", 0.04, None)];
        let text = drawn("bars", |path| bars(path, "Channels", &all));
        for part in
            ["kept", "broken", "neither", "#2E7D50", "#BE463C", "#5A78AA", "Channels", "0.03125x", "16x"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let one = drawn("one-bar", |path| bars(path, "Channels", &all[..1]));
        assert!(one.contains("kept") && !one.contains("broken"));
    }
}
