//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::driver::cases::{Case, Workers};
use crate::driver::peers::{PEERS, Peer};
use crate::driver::registry::CASES;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: cargo run --release --manifest-path bench/Cargo.toml -- [OPTION]...

what is measured
  --rounds N        how often each measurement is taken (3; with --quick 1, with --thorough 5)
  --only CASE,...   only these cases; a prefix will do: --only yield,echo-1
  --peers PEER,...  only these peers
  --workers N,...   numbers of workers, for all cases (1 and one per core; the latter alone for cases beyond the first ones)
  --quick           a fifth of the work: to see that everything runs, not to compare
  --thorough        three times the work, and every case on each number of workers: an hour or two
  --instructions    count the instructions of Narrowboat's own operations, and nothing else; with --json and --compare
  --list            print the cases and the peers

where it goes, besides standard output
  --json FILE       the figures, for a later --compare or --from
  --compare FILE    also say what has become slower or faster since the run recorded in FILE, beyond the spread of the rounds
  --record FILE     all tables, as Markdown
  --plots DIR       the ratios and the curves, as SVG
  --readme FILE     the table of what was promised and its plots, between the two marks in FILE (bench/README.md)
  --from FILE       measure nothing: write all this anew from the run recorded in FILE";

/// A request of the user's.
#[derive(Debug)]
pub enum Request {
    /// Measure, or write anew what was measured.
    Measure(Options),
    /// Print the usage.
    Help,
    /// Print cases and peers.
    List,
    /// Count instructions.
    Instructions(Outputs),
}

/// How much work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// Enough to see that everything runs.
    Quick,
    /// What is compared.
    #[default]
    Standard,
    /// More of it.
    Thorough,
}

impl Extent {
    /// That many operations of the standard set, in this one.
    pub fn of(self, operations: usize) -> usize {
        match self {
            Extent::Quick => operations / 5,
            Extent::Standard => operations,
            Extent::Thorough => operations * 3,
        }
    }

    /// How long a server is measured.
    pub fn measured(self) -> Duration {
        Duration::from_secs(if self == Extent::Thorough { 3 } else { 1 })
    }

    /// How often each measurement is taken unless told.
    fn rounds(self) -> usize {
        match self {
            Extent::Quick => 1,
            Extent::Standard => 3,
            Extent::Thorough => 5,
        }
    }

    /// What the report says of it.
    pub fn words(self) -> &'static str {
        match self {
            Extent::Quick => {
                "**A quick run**: a fifth of the work. It shows that everything runs, and little else."
            }
            Extent::Standard => {
                "The standard set: reduced, so that it ends within half an hour on two cores. Cases that stand here with the \
                 largest number of workers alone were not measured with others; work of fixed amount is a third of a \
                 `--thorough` run's, and a server is measured for 1 s a round instead of 3 (at a fixed rate for 1.5 instead of \
                 4.5)."
            }
            Extent::Thorough => "The thorough set.",
        }
    }
}

/// Where results go besides standard output.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// The figures.
    pub json: Option<PathBuf>,
    /// The figures of an earlier run to compare with.
    pub compare: Option<PathBuf>,
    /// All tables.
    pub record: Option<PathBuf>,
    /// The plots.
    pub plots: Option<PathBuf>,
    /// The file with the marks: bench/README.md.
    pub readme: Option<PathBuf>,
}

/// What to measure, how thoroughly, and where it goes.
#[derive(Debug)]
pub struct Options {
    /// How often each measurement is taken.
    pub rounds: usize,
    /// The cases.
    pub cases: Vec<&'static Case>,
    /// The peers.
    pub peers: Vec<&'static Peer>,
    /// Numbers of workers.
    pub workers: Vec<usize>,
    /// Whether all cases are measured with each of them.
    pub each: bool,
    /// How much work is done.
    pub extent: Extent,
    /// A recorded run to take the figures from.
    pub from: Option<PathBuf>,
    /// Where they go.
    pub outputs: Outputs,
}

impl Options {
    /// The numbers of workers with which a case is measured.
    pub fn workers_of(&self, case: &Case) -> &[usize] {
        let last = self.workers.len() - 1;
        match case.workers {
            Workers::Most if !self.each => &self.workers[last..],
            _ => &self.workers,
        }
    }
}

/// Reads the arguments.
///
/// # Errors
///
/// A message that says which argument is wrong.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Request, String> {
    let mut arguments = arguments.into_iter();
    let mut rounds = None;
    let mut instructions = false;
    let mut options = Options {
        rounds: 0,
        cases: CASES.iter().collect(),
        peers: PEERS.iter().collect(),
        workers: one_and_all(),
        each: false,
        extent: Extent::Standard,
        from: None,
        outputs: Outputs::default(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let mut file = || value().map(|path| Some(path.into()));
        match argument.as_str() {
            "--json" => options.outputs.json = file()?,
            "--compare" => options.outputs.compare = file()?,
            "--record" => options.outputs.record = file()?,
            "--plots" => options.outputs.plots = file()?,
            "--readme" => options.outputs.readme = file()?,
            "--from" => options.from = file()?,
            "--rounds" => rounds = Some(number(&value()?)?),
            "--only" => options.cases = chosen(CASES, &value()?, |case, word| case.key.starts_with(word))?,
            "--peers" => options.peers = chosen(PEERS, &value()?, |peer, word| peer.key == word)?,
            "--workers" => {
                options.workers = value()?.split(',').map(number).collect::<Result<_, _>>()?;
                options.workers.sort_unstable();
                options.each = true;
            }
            "--quick" => options.extent = Extent::Quick,
            "--thorough" => (options.extent, options.each) = (Extent::Thorough, true),
            "--instructions" => instructions = true,
            "--list" => return Ok(Request::List),
            "--help" | "-h" => return Ok(Request::Help),
            other => return Err(format!("unknown option {other}\n\n{USAGE}")),
        }
    }
    if instructions {
        return Ok(Request::Instructions(options.outputs));
    }
    options.rounds = rounds.unwrap_or(options.extent.rounds());
    Ok(Request::Measure(options))
}

fn one_and_all() -> Vec<usize> {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => vec![1],
        cores => vec![1, cores],
    }
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|&n| n > 0).ok_or(format!("not a positive number: {word}"))
}

fn chosen<T>(
    all: &'static [T],
    list: &str,
    is: impl Fn(&T, &str) -> bool,
) -> Result<Vec<&'static T>, String> {
    let words: Vec<&str> = list.split(',').collect();
    if let Some(word) = words.iter().find(|word| !all.iter().any(|item| is(item, word))) {
        return Err(format!("nothing is called {word}; --list shows what there is"));
    }
    Ok(all.iter().filter(|item| words.iter().any(|word| is(item, word))).collect())
}

/// The options of a command line, for tests.
#[cfg(test)]
pub fn measure(line: &str) -> Options {
    match parse(line.split_whitespace().map(String::from)) {
        Ok(Request::Measure(options)) => options,
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_takes_prefixes_and_keeps_the_order_of_the_registry() {
        let keys: Vec<&str> = measure("--only echo-1,yield-1").cases.iter().map(|case| case.key).collect();
        let yields = ["yield-10", "yield-100", "yield-1k", "yield-10k", "yield-100k", "yield-1m"];
        assert_eq!(keys[..6], yields);
        assert_eq!(keys[6..], ["echo-1", "echo-1k"]);
    }

    #[test]
    fn rounds_go_with_the_extent_unless_told() {
        assert_eq!(measure("").rounds, 3);
        assert_eq!(measure("--quick").rounds, 1);
        assert_eq!(measure("--rounds 2 --thorough").rounds, 2);
    }

    #[test]
    fn cases_beyond_the_first_ones_are_measured_with_most_workers_unless_told() {
        let of = |line: &str| {
            let mut options = measure(line);
            if !options.each || options.workers.len() < 2 {
                options.workers = vec![1, 2];
            }
            options.workers_of(options.cases[0]).to_vec()
        };
        assert_eq!(of("--only pingpong"), [1, 2]);
        assert_eq!(of("--only arms-8"), [2]);
        assert_eq!(of("--only arms-8 --workers 4,2"), [2, 4]);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in
            [("--only nosuch", "nosuch"), ("--rounds 0", "0"), ("--rounds", "--rounds"), ("-x", "-x")]
        {
            let error = parse(line.split_whitespace().map(String::from)).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
