//! Draws a part of a trace of the scheduler as an SVG: a row for each worker and each processor,
//! arrows from wakers to woken.
//!
//!     NARROWBOAT_TRACE=run.perfetto-trace cargo run --release --example hello
//!     cargo run --release --example trace_picture -- run.perfetto-trace run.svg
//!
//! Without further arguments it draws the busiest half millisecond; `FROM LENGTH`, both in
//! microseconds since the beginning of the trace, choose another part. A trace viewer
//! (<https://ui.perfetto.dev>) shows the whole trace, with more detail.

mod reader;

use reader::{Slice, Trace};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 110.0;
const ROW: f64 = 26.0;
const TOP: f64 = 56.0;
/// More arrows would hide the bars that they point at.
const MAX_ARROWS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trace, picture, rest @ ..] = arguments.as_slice() else {
        return Err("usage: trace_picture TRACE PICTURE.svg [FROM LENGTH]".into());
    };
    std::fs::write(picture, self::picture(&std::fs::read(trace)?, rest)?)?;
    Ok(())
}

/// The drawing of a trace: of its busiest half millisecond, or of the part that is asked for.
///
/// # Errors
/// What is wrong with the trace, or with what is asked for.
pub fn picture(file: &[u8], part: &[String]) -> Result<String, Box<dyn Error>> {
    let trace = Trace::read(file)?;
    let start = trace.slices.first().ok_or("the trace is empty")?.begin;
    // A file that is no trace can have any times.
    let nanoseconds = |text: &String| Ok::<_, Box<dyn Error>>(text.parse::<u64>()?.saturating_mul(1000));
    let (from, length) = match part {
        [from, length] => (start.saturating_add(nanoseconds(from)?), nanoseconds(length)?),
        _ => (busiest(&trace, 500_000), 500_000),
    };
    let drawing = Drawing { trace: &trace, start, from, to: from.saturating_add(length) };
    Ok(drawing.svg()?)
}

/// The start of the window of this length that has the most turns.
fn busiest(trace: &Trace, length: u64) -> u64 {
    let mut windows: HashMap<u64, usize> = HashMap::new();
    for turn in trace.slices.iter().filter(|slice| slice.numbers.contains_key("goroutine") && !slice.instant)
    {
        *windows.entry(turn.begin / length).or_default() += 1;
    }
    windows
        .into_iter()
        .max_by_key(|(window, turns)| (*turns, *window))
        .map_or(0, |(window, _)| window * length)
}

struct Drawing<'a> {
    trace: &'a Trace,
    start: u64,
    from: u64,
    to: u64,
}

impl Drawing<'_> {
    fn x(&self, at: u64) -> f64 {
        let at = at.clamp(self.from, self.to) - self.from;
        LEFT + (WIDTH - LEFT - 10.0) * at as f64 / (self.to - self.from) as f64
    }

    fn shows(&self, slice: &Slice) -> bool {
        slice.begin < self.to && slice.end.unwrap_or(u64::MAX) > self.from
    }

    /// The tracks with slices in the drawing: workers first, then processors, then threads.
    fn rows(&self) -> BTreeMap<u64, usize> {
        let shown =
            |track: &u64| self.trace.slices.iter().any(|slice| slice.track == *track && self.shows(slice));
        let mut tracks: Vec<u64> = self.trace.tracks.keys().copied().filter(shown).collect();
        let group = |track: &u64| {
            let parent = self.trace.tracks.get(&self.trace.tracks[track].parent);
            match parent.map_or("", |parent| &parent.name) {
                "workers" => 0,
                "processors" => 1,
                _ => 2,
            }
        };
        tracks.sort_by_key(|track| (group(track), *track));
        tracks.into_iter().zip(0..).collect()
    }

    fn svg(&self) -> Result<String, std::fmt::Error> {
        let rows = self.rows();
        let height = TOP + ROW * rows.len() as f64 + 20.0;
        let mut svg = String::new();
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">
<defs><marker id="a" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5" markerHeight="5" orient="auto"><path d="M0 0L6 3L0 6z" fill="#333"/></marker></defs>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>"##
        )?;
        self.axis(&mut svg, height)?;
        for (track, row) in &rows {
            let y = TOP + ROW * *row as f64;
            writeln!(
                svg,
                r##"<text x="6" y="{:.1}">{}</text><line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/>"##,
                y + 17.0,
                escaped(&self.trace.tracks[track].name)
            )?;
        }
        for slice in self.trace.slices.iter().filter(|slice| self.shows(slice)) {
            self.slice(&mut svg, slice, TOP + ROW * rows[&slice.track] as f64)?;
        }
        self.arrows(&mut svg, &rows)?;
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    /// Draws the time axis, in microseconds from the start of the drawing, and the caption.
    fn axis(&self, svg: &mut String, height: f64) -> std::fmt::Result {
        writeln!(
            svg,
            r##"<text x="{LEFT}" y="16">{:.3} ms after the trace began; each bar on a processor is a turn of a goroutine, named by the line that spawned it or by its name; arrows: from a waker to what it woke</text>"##,
            (self.from - self.start.min(self.from)) as f64 / 1e6
        )?;
        for tenth in 0..=10 {
            let length = self.to - self.from;
            let at = self.from + length / 10 * tenth + length % 10 * tenth / 10;
            let x = self.x(at);
            writeln!(
                svg,
                r##"<line x1="{x:.1}" x2="{x:.1}" y1="40" y2="{height:.1}" stroke="#eee"/><text x="{x:.1}" y="36" text-anchor="middle" fill="#666">{} us</text>"##,
                (at - self.from) / 1000
            )?;
        }
        Ok(())
    }

    fn slice(&self, svg: &mut String, slice: &Slice, y: f64) -> std::fmt::Result {
        let (x, end) = (self.x(slice.begin), self.x(slice.end.unwrap_or(self.to)));
        let (top, height) =
            (y + 4.0 + 9.0 * slice.depth.min(1) as f64, if slice.depth == 0 { 18.0 } else { 7.0 });
        if slice.instant {
            let middle = top + height / 2.0;
            return writeln!(svg, r##"<circle cx="{x:.1}" cy="{middle:.1}" r="1.6" fill="#333"/>"##);
        }
        let width = (end - x).max(0.4);
        writeln!(
            svg,
            r##"<rect x="{x:.2}" y="{top:.1}" width="{width:.2}" height="{height}" fill="{}"/>"##,
            colour(&slice.name)
        )?;
        // As much of the name as fits.
        let room = (width / 6.2) as usize;
        if slice.depth == 0 && room >= 4 {
            let name: String = slice.name.chars().take(room).collect();
            writeln!(svg, r##"<text x="{:.1}" y="{:.1}">{}</text>"##, x + 2.0, y + 17.0, escaped(&name))?;
        }
        Ok(())
    }

    fn arrows(&self, svg: &mut String, rows: &BTreeMap<u64, usize>) -> std::fmt::Result {
        let mut begun = HashMap::new();
        let mut drawn = 0;
        for slice in self.trace.slices.iter().filter(|slice| (self.from..self.to).contains(&slice.begin)) {
            if let Some(arrow) = slice.arrow_from {
                begun.insert(arrow, slice);
            }
            let Some(waker) = slice.arrow_to.and_then(|arrow| begun.remove(&arrow)) else { continue };
            if drawn == MAX_ARROWS {
                break;
            }
            drawn += 1;
            let (x1, x2) = (self.x(waker.begin), self.x(slice.begin));
            let y = |track| rows.get(&track).map(|row| TOP + ROW * *row as f64 + 13.0);
            // An instant at the very beginning of the drawing is not in it, and may have no row.
            let (Some(y1), Some(y2)) = (y(waker.track), y(slice.track)) else { continue };
            let bend = if waker.track == slice.track { -14.0 } else { 0.0 };
            let middle = (x1 + x2) / 2.0;
            writeln!(
                svg,
                r##"<path d="M{x1:.1} {y1:.1}C{middle:.1} {:.1} {middle:.1} {:.1} {x2:.1} {y2:.1}" fill="none" stroke="#333" stroke-width="0.7" stroke-opacity="0.7" marker-end="url(#a)"/>"##,
                y1 + bend,
                y2 + bend
            )?;
        }
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A colour for each name, light enough for text on it.
fn colour(name: &str) -> String {
    match name {
        "sleeps" => "#f2f2f2".into(),
        "searches" => "#dcdcdc".into(),
        "copies stacks" => "#c0392b".into(),
        _ => {
            let hash = name.bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            format!("hsl({} 55% {}%)", hash % 360, 70 + hash / 360 % 3 * 5)
        }
    }
}
