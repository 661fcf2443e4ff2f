//! What has become slower or faster since an earlier run.
//!
//! A figure has changed if the medians of the two runs are further apart than the spreads of both together, a spread
//! being the largest sample less the smallest. It takes three rounds to have one worth the name. What has changed for the
//! peers, too, was the machine: their drift is shown beside.

use std::fmt::Write;

use crate::driver::cases::Better;
use crate::driver::peers::{PEERS, Role};
use crate::driver::record::{Figure, Record};
use crate::driver::registry;
use crate::driver::results::Summary;
use crate::driver::table::quantity;

/// No change is smaller than this part of the figure, however close together the samples are.
const LEAST: f64 = 0.02;

/// With fewer samples there is hardly a spread.
const FEWEST: usize = 3;

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// What it costs now in terms of before; of a rate, the inverse.
    Changed(f64),
    /// The difference is within the spread of the rounds.
    Noise(f64),
    /// It was there before.
    FailsNow,
    /// It failed before.
    WorksNow,
    /// One of the runs has too few rounds.
    NoSpread,
}

/// The comparison of two runs, as Markdown.
pub fn render(before: &Record, now: &Record) -> String {
    let mut text = format!("### Since {}\n\n", before.machine.date);
    for difference in differences(before, now) {
        let _ = writeln!(text, "- not the same: {difference}");
    }
    let judged: Vec<(&Figure, &Figure, String, Verdict)> = pairs(before, now).collect();
    let drift = drift(judged.iter().filter(|(_, now, ..)| !is_ours(now)).map(|&(.., verdict)| verdict));
    if let Some((drift, count)) = drift {
        let _ = writeln!(text, "- the peers' costs are {drift:.2} times those of before (median of {count})");
    }
    let without = judged.iter().filter(|(.., verdict)| *verdict == Verdict::NoSpread).count();
    if without > 0 {
        let _ =
            writeln!(text, "- not compared: {without} figures of which a run has less than {FEWEST} samples");
    }
    let is_shown = |verdict: Verdict| !matches!(verdict, Verdict::Noise(_) | Verdict::NoSpread);
    let mut shown: Vec<_> = judged.into_iter().filter(|&(.., verdict)| is_shown(verdict)).collect();
    if shown.is_empty() {
        text.push_str("\nNothing has changed beyond the spread of the rounds.\n");
        return text;
    }
    shown.sort_by_key(|(_, now, ..)| !is_ours(now));
    text.push_str("\n| case | workers | peer | before | now | |\n| --- | --- | --- | --- | --- | --- |\n");
    for (before, now, title, verdict) in shown {
        let workers = now.workers;
        let peer =
            PEERS.iter().find(|peer| peer.key == now.peer).map_or(now.peer.as_str(), |peer| peer.label);
        let figure = |of: &Figure| of.median.map_or("fails".to_owned(), |median| quantity(median, &of.unit));
        let words = match verdict {
            Verdict::Changed(cost) if cost > 1.0 => format!("**slower**, {cost:.2}x the cost"),
            Verdict::Changed(cost) => format!("faster, {cost:.2}x the cost"),
            Verdict::FailsNow => "**fails**".to_owned(),
            _ => "works".to_owned(),
        };
        let (before, now) = (figure(before), figure(now));
        let _ = writeln!(text, "| {title} | {workers} | {peer} | {before} | {now} | {words} |");
    }
    text
}

fn is_ours(figure: &Figure) -> bool {
    let role = PEERS.iter().find(|peer| peer.key == figure.peer).map(|peer| peer.role);
    matches!(role, Some(Role::Ours | Role::Variant))
}

/// The figures that both runs have and that still exist, and what the table calls them. What fails as before is no news.
fn pairs<'a>(
    before: &'a Record,
    now: &'a Record,
) -> impl Iterator<Item = (&'a Figure, &'a Figure, String, Verdict)> {
    now.figures.iter().filter_map(|figure| {
        let earlier = before.figures.iter().find(|earlier| earlier.is_same(figure))?;
        if earlier.failure.is_some() && figure.failure.is_some() {
            return None;
        }
        let case = registry::CASES.iter().find(|case| case.key == figure.case)?;
        let metric = case.metrics.iter().find(|metric| metric.name == figure.metric)?;
        if metric.better == Better::Neither {
            return None;
        }
        Some((earlier, figure, case.title_of(metric), verdict(earlier, figure, metric.better)))
    })
}

fn verdict(before: &Figure, now: &Figure, better: Better) -> Verdict {
    match (&before.failure, &now.failure) {
        (None, Some(_)) => return Verdict::FailsNow,
        (Some(_), None) => return Verdict::WorksNow,
        _ => {}
    }
    let (Some(earlier), Some(later)) = (Summary::of(&before.samples), Summary::of(&now.samples)) else {
        return Verdict::NoSpread;
    };
    if before.samples.len().min(now.samples.len()) < FEWEST {
        return Verdict::NoSpread;
    }
    let cost = better.cost(later.median, earlier.median);
    let spreads = (earlier.max - earlier.min) + (later.max - later.min);
    let apart = (later.median - earlier.median).abs();
    if apart > spreads.max(LEAST * earlier.median) { Verdict::Changed(cost) } else { Verdict::Noise(cost) }
}

/// The median change of costs, and how many there are.
fn drift(verdicts: impl Iterator<Item = Verdict>) -> Option<(f64, usize)> {
    let costs: Vec<f64> = verdicts
        .filter_map(|verdict| match verdict {
            Verdict::Changed(cost) | Verdict::Noise(cost) => Some(cost),
            _ => None,
        })
        .collect();
    Some((Summary::of(&costs)?.median, costs.len()))
}

/// What else differs between the runs: the machine, the versions, the amount of work.
fn differences(before: &Record, now: &Record) -> Vec<String> {
    let of_the_moment = |name: &str| name.starts_with("load average");
    let facts = now.machine.facts.iter().filter(|(name, _)| !of_the_moment(name));
    let mut all: Vec<String> = facts
        .filter_map(|(name, value)| {
            let (_, earlier) = before.machine.facts.iter().find(|(known, _)| known == name)?;
            (earlier != value).then(|| format!("{name}: {earlier}, now {value}"))
        })
        .collect();
    if before.extent != now.extent {
        all.push(format!("amount of work: {:?}, now {:?}", before.extent, now.extent));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::machine::Machine;
    use crate::driver::options::Extent;

    fn figure(case: &str, metric: &str, peer: &str, samples: &[f64]) -> Figure {
        Figure {
            case: case.into(),
            metric: metric.into(),
            unit: "ns".into(),
            peer: peer.into(),
            workers: 1,
            median: Summary::of(samples).map(|summary| summary.median),
            samples: samples.to_vec(),
            failure: samples.is_empty().then(|| "broken".into()),
        }
    }

    fn record(kernel: &str, figures: Vec<Figure>) -> Record {
        let facts =
            vec![("kernel".into(), kernel.into()), ("load average at the start".into(), kernel.into())];
        let machine = Machine { date: "Monday".into(), facts };
        Record { machine, rounds: 3, extent: Extent::Standard, left_out: Vec::new(), figures }
    }

    fn costs(samples: &[f64]) -> Figure {
        figure("pingpong", "pingpong", "narrowboat", samples)
    }

    #[test]
    fn a_change_is_one_beyond_the_spreads_of_both_runs() {
        let before = costs(&[95.0, 100.0, 105.0]);
        let judge = |samples: &[f64], better| verdict(&before, &costs(samples), better);
        assert_eq!(judge(&[110.0, 120.0, 130.0], Better::Lower), Verdict::Noise(1.2));
        assert_eq!(judge(&[148.0, 150.0, 152.0], Better::Lower), Verdict::Changed(1.5));
        assert_eq!(judge(&[48.0, 50.0, 52.0], Better::Lower), Verdict::Changed(0.5));
        assert_eq!(judge(&[48.0, 50.0, 52.0], Better::Higher), Verdict::Changed(2.0));
    }

    #[test]
    fn too_few_rounds_or_a_hair_are_no_change() {
        let few = costs(&[100.0, 100.0]);
        assert_eq!(verdict(&few, &costs(&[300.0; 3]), Better::Lower), Verdict::NoSpread);
        let exact = costs(&[100.0; 3]);
        assert_eq!(verdict(&exact, &costs(&[101.0; 3]), Better::Lower), Verdict::Noise(1.01));
        assert_eq!(verdict(&exact, &costs(&[103.0; 3]), Better::Lower), Verdict::Changed(1.03));
    }

    #[test]
    fn the_report_names_what_changed_ours_first_and_how_the_peers_drifted() {
        let go = |samples: &[f64]| figure("pingpong", "pingpong", "go", samples);
        let before = record(
            "6.1",
            vec![
                go(&[300.0; 3]),
                costs(&[99.0, 100.0, 101.0]),
                figure("chan0", "chan0", "go", &[]),
                figure("yield-1m", "yield", "may", &[]),
                figure("forgotten", "forgotten", "go", &[1.0; 3]),
            ],
        );
        let now = record(
            "6.2",
            vec![
                go(&[600.0; 3]),
                costs(&[199.0, 200.0, 201.0]),
                figure("chan0", "chan0", "go", &[5.0, 6.0, 5.5]),
                figure("yield-1m", "yield", "may", &[]),
                figure("chan128", "chan128", "go", &[1.0; 3]),
            ],
        );
        let text = render(&before, &now);
        assert!(text.contains("- not the same: kernel: 6.1, now 6.2\n"), "{text}");
        assert!(!text.contains("load average"), "{text}");
        assert!(text.contains("the peers' costs are 2.00 times those of before (median of 1)"), "{text}");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        assert_eq!(
            rows,
            [
                "| ping-pong | 1 | Narrowboat | 100 ns | 200 ns | **slower**, 2.00x the cost |",
                "| ping-pong | 1 | Go | 300 ns | 600 ns | **slower**, 2.00x the cost |",
                "| one to one, 0 | 1 | Go | fails | 5.50 ns | works |",
            ]
        );
    }

    #[test]
    fn a_run_equals_itself() {
        let run = || record("6.1", vec![costs(&[100.0, 110.0, 90.0])]);
        assert!(render(&run(), &run()).contains("Nothing has changed"));
    }
}
