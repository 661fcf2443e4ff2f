//! What came of it: every sample, and the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use narrowboat_bench::harness::figures::{Summary, quantity};
use narrowboat_bench::harness::machine::Machine;
use narrowboat_bench::harness::process::Failure;

use crate::depth::DEPTHS;
use crate::plan::{self, BUFFERS, CONNECTIONS, Case};
use crate::strategy::Strategy;

/// The samples and failures of a run.
#[derive(Default)]
pub struct Results {
    samples: BTreeMap<(Case, Strategy, String), Vec<f64>>,
    failures: BTreeMap<(Case, Strategy), Failure>,
    left_out: Vec<String>,
}

impl Results {
    pub fn add(&mut self, case: Case, strategy: Strategy, outcome: Result<Vec<(String, f64)>, Failure>) {
        match outcome {
            Ok(figures) => {
                for (name, value) in figures {
                    self.samples.entry((case, strategy, name)).or_default().push(value);
                }
            }
            Err(failure) => drop(self.failures.insert((case, strategy), failure)),
        }
    }

    pub fn leave_out(&mut self, reason: &str) {
        self.left_out.push(reason.to_owned());
    }

    pub fn has_failed(&self, case: Case, strategy: Strategy) -> bool {
        self.failures.contains_key(&(case, strategy))
    }

    pub fn summary(&self, case: Case, strategy: Strategy, name: &str) -> Option<Summary> {
        Summary::of(self.samples.get(&(case, strategy, name.to_owned()))?)
    }

    pub fn median(&self, case: Case, strategy: Strategy, name: &str) -> Option<f64> {
        self.summary(case, strategy, name).map(|summary| summary.median)
    }

    /// The median cost of a call at each depth.
    pub fn by_depth(&self, strategy: Strategy) -> Vec<f64> {
        (0..DEPTHS).filter_map(|d| self.median(Case::Edge, strategy, &format!("depth-{d}"))).collect()
    }

    fn cell(&self, case: Case, strategy: Strategy, name: &str, unit: &str) -> String {
        if self.has_failed(case, strategy) {
            return "stops".into();
        }
        self.summary(case, strategy, name).map_or(String::new(), |summary| summary.shown(unit))
    }
}

/// A number of bytes in the words of the tables.
pub fn size(live: usize) -> String {
    if live == 0 { "0.2 KiB".into() } else { format!("{} KiB", live >> 10) }
}

pub fn render(results: &Results, machine: &Machine, rounds: usize, workers: usize, quick: bool) -> String {
    let mut text = format!("## The stack lab, {}\n\n", machine.date);
    for (name, value) in &machine.facts {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let _ = writeln!(
        text,
        "\nThe strategies took turns. Each figure is the median of {rounds} rounds (smallest-largest), on {workers} worker(s)."
    );
    if quick {
        text += "\n**A quick run**: a fifth of the work. It shows that everything runs, and little else.\n";
    }
    for reason in &results.left_out {
        let _ = writeln!(text, "\nLeft out: {reason}.");
    }
    for (name, title, unit) in [
        ("memory", "Memory of a parked goroutine: resident, and page tables", "bytes"),
        ("start", "Time to start one and see it park", "ns"),
        ("switch", "A switch to the next goroutine of the crowd", "ns"),
    ] {
        let _ = writeln!(text, "\n### {title}\n");
        crowds(&mut text, results, name, unit);
    }
    edge(&mut text, results);
    deep(&mut text, results);
    echo(&mut text, results);
    stops(&mut text, results);
    text
}

/// The strategies that crowds are run on.
const CROWDED: [Strategy; 5] =
    [Strategy::Slots, Strategy::Shared, Strategy::Own, Strategy::Segments, Strategy::Go];

fn crowds(text: &mut String, results: &Results, name: &str, unit: &str) {
    let mut header = vec!["live".to_owned(), "goroutines".to_owned()];
    header.extend(CROWDED.map(|strategy| strategy.label().to_owned()));
    header.push("slots to a stack each".into());
    head(text, &header);
    for (count, live) in plan::crowds().filter(|&(count, live)| !plan::too_large(count, live)) {
        let case = Case::Crowd { count, live };
        let mut cells = vec![size(live), quantity(count as f64, "").trim_end().to_owned()];
        cells.extend(CROWDED.map(|strategy| results.cell(case, strategy, name, unit)));
        cells.push(ratio(
            results.median(case, Strategy::Slots, name),
            results.median(case, Strategy::Own, name),
        ));
        if cells[2..].iter().any(|cell| !cell.is_empty()) {
            line(text, &cells);
        }
    }
}

fn edge(text: &mut String, results: &Results) {
    text.push_str(
        "\n### A call at the edge\n\nOne function is called in a loop from each of 128 depths, some of which lie at the edge of \
         a page, a segment, or of the stack so far. With segments, elsewhere is before the edge of the first and the edge is beyond \
         it; otherwise elsewhere is the median of all depths, and the edge is the dearest.\n\n",
    );
    head(text, &["", "elsewhere", "at the edge", "edge to elsewhere"].map(str::to_owned));
    for &strategy in Case::Edge.strategies() {
        let Some((elsewhere, edge)) = split(&results.by_depth(strategy), strategy) else { continue };
        let cells = [
            strategy.label().to_owned(),
            quantity(elsewhere, "ns"),
            quantity(edge, "ns"),
            ratio(Some(edge), Some(elsewhere)),
        ];
        line(text, &cells);
    }
}

/// What a call costs elsewhere, and at the edge. All depths of the second half are beyond the edge of a first segment.
fn split(costs: &[f64], strategy: Strategy) -> Option<(f64, f64)> {
    let quarter = costs.len() / 4;
    let median = |costs: &[f64]| Summary::of(costs).map(|summary| summary.median);
    match strategy {
        Strategy::Segments | Strategy::Uncached => {
            Some((median(costs.get(..quarter)?)?, median(costs.get(3 * quarter..)?)?))
        }
        _ => Some((median(costs)?, costs.iter().copied().reduce(f64::max)?)),
    }
}

fn deep(text: &mut String, results: &Results) {
    text.push_str("\n### Recursion 100,000 frames deep\n\n");
    head(text, &["", "first time", "second time", "to Go, first", "to Go, second"].map(str::to_owned));
    for &strategy in Case::Deep.strategies() {
        let to_go = |name| {
            ratio(results.median(Case::Deep, strategy, name), results.median(Case::Deep, Strategy::Go, name))
        };
        let cell = |name| results.cell(Case::Deep, strategy, name, "ms");
        line(
            text,
            &[strategy.label().to_owned(), cell("first"), cell("second"), to_go("first"), to_go("second")],
        );
    }
}

fn echo(text: &mut String, results: &Results) {
    let _ = writeln!(
        text,
        "\n### Echo on {CONNECTIONS} connections, all busy, with a buffer on the stack of each (Go moves it to the heap)\n"
    );
    let strategies = Case::Echo { live: BUFFERS[0] }.strategies();
    let mut header = vec!["buffer".to_owned()];
    header.extend(strategies.iter().flat_map(|s| [format!("{}: per second", s.label()), "memory".into()]));
    head(text, &header);
    for live in BUFFERS {
        let case = Case::Echo { live };
        let mut cells = vec![quantity(live as f64, "bytes")];
        for &strategy in strategies {
            cells.push(results.cell(case, strategy, "rate", "per_s"));
            cells.push(results.cell(case, strategy, "memory", "MB"));
        }
        line(text, &cells);
    }
}

fn stops(text: &mut String, results: &Results) {
    // A strategy mostly stops for one reason, whatever the size.
    let mut seen = BTreeSet::new();
    let lines: Vec<String> = results
        .failures
        .iter()
        .filter(|((_, strategy), failure)| seen.insert((*strategy, failure.0.clone())))
        .map(|((case, strategy), failure)| {
            format!("- {}, {}: {}", strategy.label(), case.title(), failure.0.replace(['\n', '|'], " "))
        })
        .collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\nWhere a strategy stops, and why:\n\n{}", lines.join("\n"));
    }
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.2}x", ours / theirs),
        _ => String::new(),
    }
}

fn head(text: &mut String, cells: &[String]) {
    line(text, cells);
    line(text, &vec!["---".to_owned(); cells.len()]);
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_that_stops_says_where_and_why() {
        let mut results = Results::default();
        let case = Case::Crowd { count: 100_000, live: 0 };
        for value in [300.0, 310.0, 305.0] {
            results.add(case, Strategy::Slots, Ok(vec![("memory".into(), value)]));
        }
        results.add(case, Strategy::Own, Err(Failure("ends after 9 stacks: no memory".into())));
        assert!(results.has_failed(case, Strategy::Own));
        let machine = Machine { date: "today".into(), facts: Vec::new() };
        let text = render(&results, &machine, 3, 1, false);
        assert!(text.contains("| 0.2 KiB | 100,000 | 305 B (300-310) |  | stops |  |  |  |"), "{text}");
        assert!(
            text.contains("- a stack each, crowd of 100000 with 0.2 KiB: ends after 9 stacks: no memory"),
            "{text}"
        );
    }

    #[test]
    fn the_edge_is_the_dearest_depth_or_what_lies_beyond_the_first_segment() {
        let mut costs = vec![5.0; DEPTHS];
        costs[70..].fill(50.0);
        assert_eq!(split(&costs, Strategy::Segments), Some((5.0, 50.0)));
        costs.fill(5.0);
        costs[9] = 6.0;
        assert_eq!(split(&costs, Strategy::Slots), Some((5.0, 6.0)));
        assert_eq!(split(&[], Strategy::Slots), None);
    }
}
