//! What is drawn: bars of how Narrowboat compares, and curves of costs as the work grows.

use std::ops::RangeInclusive;

use narrowboat_bench::harness::curve::{Curve, Line};
use narrowboat_bench::placement::Placement;

use crate::driver::cases::Target;
use crate::driver::options::Options;
use crate::driver::results::Results;
use crate::driver::row::{Row, own, ratio};

/// A bar: our cost in terms of the best peer's. Of a rate it is the inverse, so that shorter is always better.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The row.
    pub label: String,
    /// Below one, Narrowboat is the better.
    pub ratio: f64,
    /// What was promised.
    pub promised: Option<f64>,
}

/// The bars of some rows, in the order of the tables.
pub fn bars(options: &Options, results: &Results, has: &dyn Fn(&Row) -> bool) -> Vec<Bar> {
    Row::all(options).filter(has).filter_map(|row| bar(&row, options, results)).collect()
}

fn bar(row: &Row, options: &Options, results: &Results) -> Option<Bar> {
    let ours = row.median(own(&options.peers)?, results);
    let (_, best) = row.best(&options.peers, results)?;
    let as_cost = |ratio: f64| row.metric.better.cost(ratio, 1.0);
    let promised = match row.metric.target {
        Target::Ratio(ratio) => Some(ratio),
        Target::Absolute(value) => ratio(Some(value), Some(best)),
        Target::Unset => None,
    };
    Some(Bar {
        label: format!("{}, {}", row.case.title_of(row.metric), workers(row.workers)),
        ratio: ratio(ours, Some(best)).map(as_cost).filter(|ratio| *ratio > 0.0 && ratio.is_finite())?,
        promised: promised.map(as_cost),
    })
}

/// Powers of two around all ratios and promises: the axis of the bars. It reaches from half to double at least.
pub fn powers(bars: &[Bar]) -> RangeInclusive<i32> {
    let ends = bars.iter().flat_map(|bar| [Some(bar.ratio), bar.promised]).flatten().map(f64::log2);
    let (low, high) = ends.fold((-1.0f64, 1.0f64), |(low, high), end| (low.min(end), high.max(end)));
    low.floor() as i32..=high.ceil() as i32
}

/// A number of workers in words.
fn workers(number: usize) -> String {
    format!("{number} worker{}", if number == 1 { "" } else { "s" })
}

/// A family of cases whose costs make a curve.
struct Family {
    name: &'static str,
    command: &'static str,
    metric: &'static str,
    what: &'static str,
    grows: &'static str,
}

const FAMILIES: [Family; 4] = [
    Family { name: "yield", command: "yield", metric: "yield", what: "Yield", grows: "goroutines" },
    Family {
        name: "arms",
        command: "arms",
        metric: "arms",
        what: "Ping-pong with a select",
        grows: "arms of the select",
    },
    Family {
        name: "sleepers",
        command: "sleepers",
        metric: "sleepers",
        what: "CPU time of a sleep",
        grows: "timers",
    },
    Family {
        name: "echo",
        command: "echo",
        metric: "cpu",
        what: "The server's CPU time of an echo",
        grows: "connections, all of them busy",
    },
];

/// Every curve of the run that has a line, with that number of workers.
pub fn curves(number: usize, options: &Options, results: &Results) -> Vec<Curve> {
    let curves = FAMILIES.iter().map(|family| {
        let is_on = |row: &Row| {
            let case = row.case;
            row.workers == number
                && case.command() == family.command
                && row.metric.name == family.metric
                && case.placement == Placement::Natural
        };
        let rows: Vec<Row> = Row::all(options).filter(is_on).collect();
        Curve {
            name: format!("{}-{number}", family.name),
            title: format!("{}, {}", family.what, workers(number)),
            grows: family.grows,
            unit: rows.first().map_or("", |row| row.metric.unit),
            lines: lines(&rows, options, results),
        }
    });
    curves.filter(|curve| !curve.lines.is_empty()).collect()
}

fn lines(rows: &[Row], options: &Options, results: &Results) -> Vec<Line> {
    let lines = options.peers.iter().map(|&peer| {
        let point = |row: &Row| Some((row.case.size()? as f64, row.median(peer, results)?));
        let mut points: Vec<(f64, f64)> = rows.iter().filter_map(point).collect();
        points.retain(|&(size, cost)| size > 0.0 && cost > 0.0);
        points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Line { label: peer.label, points }
    });
    lines.filter(|line| line.points.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::cases::Section;
    use crate::driver::options::measure;
    use crate::driver::peers::PEERS;
    use crate::driver::schedule::Turn;

    fn add(
        results: &mut Results,
        options: &Options,
        case: &str,
        peer: &str,
        metric: &'static str,
        value: f64,
    ) {
        let case = options.cases.iter().find(|known| known.key == case).unwrap();
        let peer = PEERS.iter().find(|known| known.key == peer).unwrap();
        results.add(&Turn { case, peer, workers: 1 }, vec![(metric, value)]);
    }

    #[test]
    fn a_shorter_bar_is_better_for_costs_and_for_rates() {
        let options = measure("--only pingpong-spread,http-64 --workers 1");
        let mut results = Results::default();
        add(&mut results, &options, "pingpong-spread", "narrowboat", "pingpong", 150.0);
        add(&mut results, &options, "pingpong-spread", "go", "pingpong", 300.0);
        add(&mut results, &options, "http-64", "narrowboat", "rate", 200.0);
        add(&mut results, &options, "http-64", "go", "rate", 100.0);
        let label = "ping-pong, spread, 1 worker".to_owned();
        let of = |section| bars(&options, &results, &|row: &Row| row.metric.section == section);
        assert_eq!(of(Section::Channels), [Bar { label, ratio: 0.5, promised: Some(0.6) }]);
        let network = of(Section::Network);
        assert_eq!((network.len(), network[0].ratio, network[0].promised), (1, 0.5, Some(1.1f64.recip())));
    }

    #[test]
    fn what_somebody_lacks_is_not_drawn() {
        let options = measure("--only pingpong --workers 1");
        let mut results = Results::default();
        add(&mut results, &options, "pingpong", "narrowboat", "pingpong", 150.0);
        assert_eq!(bars(&options, &results, &|_| true), []);
    }

    #[test]
    fn a_curve_goes_through_the_sizes_in_their_order() {
        let options = measure("--only yield --workers 1");
        let mut results = Results::default();
        for (case, cost) in [("yield-1m", 70.0), ("yield-2", 30.0), ("yield-1k", 50.0)] {
            add(&mut results, &options, case, "go", "yield", cost);
        }
        add(&mut results, &options, "yield-2", "tokio", "yield", 10.0);
        let curves = curves(1, &options, &results);
        assert_eq!(curves.len(), 1, "no arms, no sleepers");
        assert_eq!((curves[0].name.as_str(), curves[0].unit), ("yield-1", "ns"));
        let points = vec![(2.0, 30.0), (1e3, 50.0), (1e6, 70.0)];
        assert_eq!(curves[0].lines, [Line { label: "Go", points }], "one point makes no line");
    }

    #[test]
    fn axes_hold_everything_and_have_round_marks() {
        let bar = |ratio, promised| Bar { label: String::new(), ratio, promised };
        assert_eq!(powers(&[bar(0.9, None)]), -1..=1);
        assert_eq!(powers(&[bar(0.2, Some(0.1)), bar(5.0, None)]), -4..=3);
    }
}
