//! The part of a README that comes from a run: the figures with as many workers as there are cores,
//! what is lost, and the plots. It stands between two marks, in `bench/README.md`, and is not
//! edited by hand.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::driver::peers::PEERS;
use crate::driver::plot;
use crate::driver::report::{Report, link};
use crate::driver::results::Outcome;
use crate::driver::row::{Row, own};
use crate::driver::table::{line, quantity, standing, verdict};

/// The marks.
const BEGIN: &str = "<!-- side by side: begin -->";
const END: &str = "<!-- side by side: end -->";

/// A column: its title, and the peers whose figures stand in it. No row has figures of two of them.
type Column = (&'static str, &'static [&'static str]);

/// The columns. One without any figure is not shown.
const COLUMNS: [Column; 8] = [
    ("Narrowboat", &["narrowboat"]),
    ("Go", &["go"]),
    ("tokio", &["tokio"]),
    ("may", &["may"]),
    ("go-lib", &["go-lib"]),
    ("Java", &["java"]),
    ("threads", &["crossbeam", "std"]),
    ("bare epoll", &["epoll"]),
];

/// Puts the part into a README that has the marks.
///
/// # Errors
///
/// If the file cannot be read or written, or has no marks.
pub fn update(path: &Path, report: &Report<'_>) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    let part = part(path, report);
    let replaced = replace(&text, &part)
        .ok_or_else(|| io::Error::other(format!("there is no {BEGIN} before a {END} in it")))?;
    fs::write(path, replaced)
}

fn replace(text: &str, part: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!("{}\n{part}{}", &text[..begin], &text[end..]))
}

fn part(path: &Path, report: &Report<'_>) -> String {
    let options = report.options;
    let most = options.workers.iter().copied().max().unwrap_or(1);
    let fact = |name: &str| {
        let found = report.machine.facts.iter().find(|(known, _)| known == name);
        found.map_or("unknown", |(_, value)| value.as_str())
    };
    let record = options.outputs.record.as_deref().and_then(|record| link(path, record));
    let record = record.map_or(String::new(), |file| {
        let file = file.display();
        format!(" [{file}]({file}) has all of its figures with every spread, and with one worker as well.")
    });
    let mut text = format!(
        "A run of {}, on {}, Linux {}; Narrowboat {}, {}, tokio {}, may {}, go-lib {}, Java: {}, crossbeam-channel {}, {}. \
         Workers: {most}. {}{record} \
         The last column but one is ours to the best of the others, **in bold type where we lose**: below 1 is better for times and \
         memory, above 1 for rates.\n\n",
        report.machine.date,
        fact("cores"),
        fact("kernel"),
        fact("narrowboat"),
        fact("Go"),
        fact("tokio"),
        fact("may"),
        fact("go-lib"),
        fact("Java"),
        fact("crossbeam-channel"),
        fact("rustc"),
        report.rounds(),
    );
    let own = own(&options.peers);
    let takes_part =
        |row: &Row| own.is_some_and(|own| !matches!(row.outcome(own, report.results), Outcome::Absent));
    let rows: Vec<Row> = Row::all(options)
        .filter(|row| row.metric.headline && row.workers == most && takes_part(row))
        .collect();
    let columns: Vec<Column> = COLUMNS
        .into_iter()
        .filter(|column| rows.iter().any(|row| cell(row, *column, report).is_some()))
        .collect();
    let mut header = vec!["case"];
    header.extend(columns.iter().map(|(title, _)| title));
    header.extend(["to the best peer", "promised"]);
    let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
    line(&mut text, &header);
    line(&mut text, &vec!["---".to_owned(); header.len()]);
    for row in &rows {
        line(&mut text, &shown(row, &columns, report));
    }
    let _ = writeln!(text, "\n{}", report.standings());
    if let Some(directory) = report.plots_from(path) {
        for (title, file) in plot::names(options, report.results) {
            let _ = writeln!(text, "![{title}]({})\n", directory.join(file).display());
        }
    }
    text
}

fn shown(row: &Row, columns: &[Column], report: &Report<'_>) -> Vec<String> {
    let (peers, results) = (&report.options.peers, report.results);
    let mut cells = vec![row.case.title_of(row.metric)];
    cells.extend(columns.iter().map(|column| cell(row, *column, report).unwrap_or_default()));
    let ours = own(peers).and_then(|own| row.median(own, results));
    let best = row.best(peers, results);
    let theirs = best.map(|(_, median)| median);
    let whose = best.map_or(String::new(), |(peer, _)| format!(" {}", peer.label));
    cells.push(standing(row.metric, ours, theirs) + &whose);
    cells.push(verdict(row.metric, ours, theirs, ours.is_none()));
    cells
}

/// What stands in a column of a row, if a peer of that column takes part.
fn cell(row: &Row, (_, keys): Column, report: &Report<'_>) -> Option<String> {
    let mut of = PEERS.iter().filter(|peer| keys.contains(&peer.key));
    of.find_map(|peer| match row.outcome(peer, report.results) {
        Outcome::Measured(summary) => Some(quantity(summary.median, row.metric.unit)),
        Outcome::Failed(_) => Some("fails".to_owned()),
        Outcome::Absent => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::machine::Machine;
    use crate::driver::options::measure;
    use crate::driver::process::Failure;
    use crate::driver::results::Results;
    use crate::driver::schedule::Turn;

    #[test]
    fn what_stands_between_the_marks_is_replaced_and_nothing_else() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(replace(&text, "new\n").unwrap(), format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replace(&format!("{END} {BEGIN}"), "new\n"), None);
        assert_eq!(replace("no marks", "new\n"), None);
    }

    #[test]
    fn a_loss_stands_there_like_a_gain() {
        let options = measure("--only chan0 --workers 1,2 --peers narrowboat,go,crossbeam");
        let mut results = Results::default();
        for &case in &options.cases {
            for &peer in &options.peers {
                let turn = Turn { case, peer, workers: 2 };
                match (peer.key, case.key) {
                    ("crossbeam", _) => results.fail(&turn, Failure("no".into())),
                    ("go", "chan0") => results.add(&turn, vec![("chan0", 100.0)]),
                    ("narrowboat", "chan0-spread") => results.add(&turn, vec![("chan0", 150.0)]),
                    ("narrowboat", _) => results.add(&turn, vec![("chan0", 50.0)]),
                    _ => {}
                }
            }
        }
        let machine = Machine { date: "Monday".into(), facts: Vec::new() };
        let report = Report { options: &options, machine: &machine, left_out: &[], results: &results };
        let text = part(Path::new("README.md"), &report);
        assert!(
            text.contains("| case | Narrowboat | Go | threads | to the best peer | promised |"),
            "{text}"
        );
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| one to one")).collect();
        assert_eq!(
            rows,
            [
                "| one to one, 0 | 50.0 ns | 100 ns | fails | 0.50x Go | at most 0.5x: met |",
                "| one to one, 0, one processor | 50.0 ns | 100 ns | fails | 0.50x Go | at most 0.5x: met |",
                "| one to one, 0, spread | 150 ns | 100 ns | fails | **1.50x** Go | at most 0.5x: **missed** |",
            ]
        );
        assert!(text.contains("one to one, 0, spread, 2 workers, **1.50x** of Go"), "{text}");
    }
}
