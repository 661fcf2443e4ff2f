//! The Markdown tables: one row per figure and number of workers, one column per peer, and how Narrowboat compares.

use std::fmt::Write;

pub use narrowboat_bench::harness::figures::quantity;

use crate::driver::cases::{Better, Metric, Section, Target};
use crate::driver::options::Options;
use crate::driver::peers::{Peer, Role};
use crate::driver::results::{Outcome, Results};
use crate::driver::row::{Row, own, ratio};

/// All tables, and below them what failed.
pub fn render(options: &Options, results: &Results) -> String {
    let mut text = String::new();
    for section in Section::ALL {
        render_section(&mut text, section, options, results);
    }
    render_failures(&mut text, options, results);
    text
}

fn render_section(text: &mut String, section: Section, options: &Options, results: &Results) {
    let rows: Vec<Row> = Row::all(options).filter(|row| row.metric.section == section).collect();
    let appears = |peer: &Peer, row: &Row| {
        let peer = options.peers.iter().find(|known| known.key == peer.key);
        peer.is_some_and(|peer| !matches!(row.outcome(peer, results), Outcome::Absent))
    };
    let peers: Vec<&Peer> =
        options.peers.iter().copied().filter(|peer| rows.iter().any(|row| appears(peer, row))).collect();
    if peers.is_empty() {
        return;
    }
    let limit = peers.iter().copied().find(|peer| peer.role == Role::Limit);

    let mut header = vec!["case".to_owned(), "workers".to_owned()];
    header.extend(peers.iter().map(|peer| peer.label.to_owned()));
    header.extend(["best peer", "ours to best", "target"].map(str::to_owned));
    header.extend(limit.map(|limit| format!("ours to {}", limit.label)));
    let _ = writeln!(text, "### {}\n", section.title());
    line(text, &header);
    line(text, &vec!["---".to_owned(); header.len()]);

    for row in rows.iter().filter(|row| peers.iter().any(|peer| appears(peer, row))) {
        let mut cells = vec![row.case.title_of(row.metric), row.workers.to_string()];
        cells.extend(peers.iter().map(|peer| cell(row.outcome(peer, results), row.metric.unit)));
        let own = own(&peers);
        let failed = own.is_some_and(|own| matches!(row.outcome(own, results), Outcome::Failed(_)));
        let ours = own.and_then(|own| row.median(own, results));
        let best = row.best(&peers, results);
        let their = best.map(|(_, median)| median);
        cells.push(best.map_or(String::new(), |(peer, _)| peer.label.to_owned()));
        cells.push(standing(row.metric, ours, their));
        cells.push(verdict(row.metric, ours, their, failed));
        if let Some(limit) = limit {
            let compared = row.metric.better != Better::Neither;
            cells.push(times(ratio(ours, row.median(limit, results)).filter(|_| compared)));
        }
        line(text, &cells);
    }
    text.push('\n');
}

/// Our figure in terms of theirs, in bold type where that is a loss.
pub fn standing(metric: &Metric, ours: Option<f64>, theirs: Option<f64>) -> String {
    let text = times(ratio(ours, theirs));
    match ours.zip(theirs) {
        Some((ours, theirs)) if metric.better.cost(ours, theirs) > 1.0 && text != "1.00x" => {
            format!("**{text}**")
        }
        _ => text,
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or(String::new(), |ratio| format!("{ratio:.2}x"))
}

/// What was to be reached, and whether it was. To fail is to miss.
pub fn verdict(metric: &Metric, ours: Option<f64>, best: Option<f64>, failed: bool) -> String {
    let at = if metric.better == Better::Higher { "at least" } else { "at most" };
    let (wanted, bound) = match metric.target {
        Target::Unset => return String::new(),
        Target::Absolute(value) => (format!("{at} {}", quantity(value, metric.unit)), Some(value)),
        Target::Ratio(ratio) => (format!("{at} {ratio:.1}x"), best.map(|best| best * ratio)),
    };
    let met = ours.zip(bound).map(|(ours, bound)| metric.better.cost(ours, bound) <= 1.0);
    match met {
        Some(true) => format!("{wanted}: met"),
        Some(false) => format!("{wanted}: **missed**"),
        None if failed => format!("{wanted}: **missed**"),
        None => wanted,
    }
}

fn cell(outcome: Outcome<'_>, of: &str) -> String {
    match outcome {
        Outcome::Absent => String::new(),
        Outcome::Failed(_) => "fails".to_owned(),
        Outcome::Measured(summary) => summary.shown(of),
    }
}

/// One line of a table.
pub fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn render_failures(text: &mut String, options: &Options, results: &Results) {
    let mut lines = Vec::new();
    for row in Row::all(options) {
        for &peer in &options.peers {
            if let Outcome::Failed(failure) = row.outcome(peer, results) {
                let reason = failure.0.replace(['\n', '|'], " ");
                lines.push(format!("- {}, {}: {reason}", row.case.title(), peer.label));
            }
        }
    }
    // A failure shows once, however many figures and numbers of workers it touches.
    let mut seen = std::collections::BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    if !lines.is_empty() {
        let _ = writeln!(text, "Failures:\n\n{}\n", lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::options::measure;
    use crate::driver::peers::PEERS;
    use crate::driver::process::Failure;
    use crate::driver::registry::CASES;
    use crate::driver::schedule::Turn;

    #[test]
    fn a_row_compares_with_the_best_peer_and_tells_whether_the_target_is_met() {
        let options = measure("--only pingpong --workers 1");
        let case = options.cases[0];
        let mut results = Results::default();
        let turn = |key, workers| {
            let peer = PEERS.iter().find(|peer| peer.key == key).unwrap();
            Turn { case, peer, workers }
        };
        for value in [140.0, 150.0, 170.0] {
            results.add(&turn("narrowboat", 1), vec![("pingpong", value)]);
        }
        results.add(&turn("go", 1), vec![("pingpong", 400.0)]);
        results.add(&turn("tokio", 1), vec![("pingpong", 300.0)]);
        results.fail(&turn("may", 1), Failure("out of maps".into()));
        results.add(&turn("crossbeam", 1), vec![("pingpong", 70_286.0)]);
        let text = render(&options, &results);
        let row = text.lines().find(|line| line.starts_with("| ping-pong | 1 |")).unwrap();
        assert_eq!(
            row,
            "| ping-pong | 1 | 150 ns (140-170) | 400 ns | 300 ns | fails | 70,286 ns | tokio | 0.50x | at most 0.6x: met |"
        );
        assert!(text.contains("- ping-pong, may: out of maps"));
    }

    #[test]
    fn a_loss_is_in_bold_type_for_costs_and_for_rates() {
        let metric =
            |key: &str| CASES.iter().find(|case| case.key == key).map(|case| &case.metrics[0]).unwrap();
        let of = |key, ours| standing(metric(key), Some(ours), Some(100.0));
        assert_eq!([of("pingpong", 50.0), of("pingpong", 150.0)], ["0.50x", "**1.50x**"]);
        assert_eq!([of("echo-64", 50.0), of("echo-64", 150.0)], ["**0.50x**", "1.50x"]);
        assert_eq!(of("pingpong", 100.1), "1.00x");
    }

    #[test]
    fn a_rate_below_its_ratio_is_missed() {
        let metric = Metric {
            name: "rate",
            label: "",
            unit: "per_s",
            better: Better::Higher,
            target: Target::Ratio(1.1),
            section: Section::Network,
            headline: true,
        };
        assert_eq!(verdict(&metric, Some(105.0), Some(100.0), false), "at least 1.1x: **missed**");
        assert_eq!(verdict(&metric, Some(111.0), Some(100.0), false), "at least 1.1x: met");
        assert_eq!(verdict(&metric, None, Some(100.0), false), "at least 1.1x");
        assert_eq!(verdict(&metric, None, Some(100.0), true), "at least 1.1x: **missed**");
    }
}
