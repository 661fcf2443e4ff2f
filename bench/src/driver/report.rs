//! A run in words: on what it was taken and how, what it came to, and how Narrowboat stands in all of it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::driver::cases::Section;
use crate::driver::machine::Machine;
use crate::driver::options::Options;
use crate::driver::results::Results;
use crate::driver::row::{Row, Standing};
use crate::driver::table;

/// A run.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// What it was taken on.
    pub machine: &'a Machine,
    /// What was not there, and why.
    pub left_out: &'a [String],
    /// What came of it.
    pub results: &'a Results,
}

impl Report<'_> {
    /// All of it, as Markdown.
    pub fn document(&self) -> String {
        let mut text = format!("# Side by side, {}\n\n", self.machine.date);
        let _ = writeln!(
            text,
            "Printed by the driver of the benchmark, which README.md beside it describes, and not edited.\n"
        );
        for (name, value) in &self.machine.facts {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "\n{}\n\n{}\n", self.rounds(), self.options.extent.words());
        if !self.left_out.is_empty() {
            let _ = writeln!(text, "Left out:\n");
            for reason in self.left_out {
                let _ = writeln!(text, "- {reason}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "## Where Narrowboat stands\n\n{}", self.standings());
        let _ = writeln!(text, "## All figures\n\n{}", table::render(self.options, self.results));
        text
    }

    /// How often figures were taken.
    pub fn rounds(&self) -> String {
        match self.options.rounds {
            1 => "Peers took turns, once.".to_owned(),
            rounds => format!(
                "Peers took turns in each of {rounds} rounds; a figure is the median of the rounds, with the smallest and the \
                 largest behind it."
            ),
        }
    }

    /// How many rows are won, level and lost, and all that are lost.
    pub fn standings(&self) -> String {
        let standing = |row: &Row| row.standing(&self.options.peers, self.results);
        let rows: Vec<_> = Row::all(self.options)
            .filter_map(|row| standing(&row).map(|(how, peer)| (row, how, peer)))
            .collect();
        let count = |which| rows.iter().filter(|(_, how, _)| *how == which).count();
        let mut text = format!(
            "Of {} figures in which there is a peer, Narrowboat is ahead of the best in {}, level with it in {} (the rounds of \
             the two overlap), and behind in {}{}\n",
            rows.len(),
            count(Standing::Ahead),
            count(Standing::Level),
            count(Standing::Behind),
            if count(Standing::Behind) == 0 { "." } else { ":\n" },
        );
        for section in Section::ALL {
            let lost =
                rows.iter().filter(|(row, how, _)| row.metric.section == section && *how == Standing::Behind);
            let lost: Vec<String> = lost.map(|(row, _, peer)| self.loss(row, peer.label)).collect();
            if !lost.is_empty() {
                let _ = writeln!(text, "- {}: {}", section.title(), lost.join("; "));
            }
        }
        text
    }

    fn loss(&self, row: &Row, best: &str) -> String {
        let workers =
            if row.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", row.workers) };
        let ours = crate::driver::row::own(&self.options.peers).and_then(|own| row.median(own, self.results));
        let theirs = row.best(&self.options.peers, self.results).map(|(_, median)| median);
        let standing = table::standing(row.metric, ours, theirs);
        format!("{}, {workers}, {standing} of {best}", row.case.title_of(row.metric))
    }

    /// The directory of the plots, as a link in a file says it.
    pub fn plots_from(&self, file: &Path) -> Option<PathBuf> {
        link(file, self.options.outputs.plots.as_deref()?)
    }
}

/// What a link in one file says to get to another, below the first one's directory. Both are there.
pub fn link(from: &Path, to: &Path) -> Option<PathBuf> {
    let directory = std::path::absolute(from).ok()?.parent()?.to_owned();
    Some(std::path::absolute(to).ok()?.strip_prefix(directory).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::options::measure;
    use crate::driver::schedule::Turn;

    #[test]
    fn every_loss_is_named_and_nothing_else() {
        let options = measure("--only spawn,pingpong,chan0 --workers 1 --peers narrowboat,go");
        let mut results = Results::default();
        for (case, ours) in [("spawn", 150.0), ("pingpong", 50.0), ("chan0", 100.0)] {
            let case = options.cases.iter().find(|known| known.key == case).unwrap();
            for (peer, value) in options.peers.iter().zip([ours, 100.0]) {
                let turn = Turn { case, peer, workers: 1 };
                results.add(&turn, vec![(case.metrics[0].name, value)]);
            }
        }
        let machine = Machine { date: "Monday".into(), facts: Vec::new() };
        let report = Report { options: &options, machine: &machine, left_out: &[], results: &results };
        let text = report.standings();
        assert!(text.contains("Of 3 figures"), "{text}");
        assert!(text.contains("ahead of the best in 1, level with it in 1"), "{text}");
        assert!(text.ends_with("behind in 1:\n\n- Goroutines: spawn, 1 worker, **1.50x** of Go\n"), "{text}");
    }

    #[test]
    fn a_link_is_relative_to_the_file_that_it_is_in() {
        let of = |from: &str, to: &str| link(Path::new(from), Path::new(to));
        assert_eq!(of("README.md", "bench/plots"), Some("bench/plots".into()));
        assert_eq!(of("bench/RESULTS.md", "bench/plots"), Some("plots".into()));
        assert_eq!(of("bench/README.md", "bench/RESULTS.md"), Some("RESULTS.md".into()));
        assert_eq!(of("bench/RESULTS.md", "/elsewhere"), None);
    }
}
