//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::driver::cases::Case;
use crate::driver::peers::{PEERS, Peer};
use crate::driver::registry::CASES;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: cargo run --release --manifest-path bench/Cargo.toml -- [OPTION]...

  --rounds N        how often each measurement is taken (3; with --quick 1)
  --only CASE,...   only these cases; a prefix will do: --only yield,echo-1
  --peers PEER,...  only these peers
  --workers N,...   numbers of workers (1 and one per core)
  --quick           a fifth of the work: to see that everything runs, not to compare
  --json FILE       write the recorded run to FILE as well
  --compare FILE    say what has become slower or faster since the run recorded in FILE, beyond the spread of the rounds
  --plots DIR       draw the ratios and the curves into DIR, as SVG
  --instructions    count the instructions of Narrowboat's own operations, and nothing else
  --list            print the cases and the peers";

/// A request of the user's.
#[derive(Debug)]
pub enum Request {
    /// Measure.
    Measure(Options),
    /// Print the usage.
    Help,
    /// Print cases and peers.
    List,
    /// Count instructions.
    Instructions,
}

/// What to measure, and how thoroughly.
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
    /// Whether to do less of everything.
    pub quick: bool,
    /// Where the record goes.
    pub json: Option<PathBuf>,
    /// The record of an earlier run to compare with.
    pub compare: Option<PathBuf>,
    /// Where the plots go.
    pub plots: Option<PathBuf>,
}

impl Options {
    /// What the operations of a case are divided by.
    pub fn divisor(&self) -> usize {
        if self.quick { 5 } else { 1 }
    }

    /// How long a server is measured.
    pub fn measured(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 2 })
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
    let mut options = Options {
        rounds: 0,
        cases: CASES.iter().collect(),
        peers: PEERS.iter().collect(),
        workers: one_and_all(),
        quick: false,
        json: None,
        compare: None,
        plots: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => rounds = Some(number(&value()?)?),
            "--only" => options.cases = chosen(CASES, &value()?, |case, word| case.key.starts_with(word))?,
            "--peers" => options.peers = chosen(PEERS, &value()?, |peer, word| peer.key == word)?,
            "--workers" => options.workers = value()?.split(',').map(number).collect::<Result<_, _>>()?,
            "--json" => options.json = Some(value()?.into()),
            "--compare" => options.compare = Some(value()?.into()),
            "--plots" => options.plots = Some(value()?.into()),
            "--quick" => options.quick = true,
            "--instructions" => return Ok(Request::Instructions),
            "--list" => return Ok(Request::List),
            "--help" | "-h" => return Ok(Request::Help),
            other => return Err(format!("unknown option {other}\n\n{USAGE}")),
        }
    }
    options.rounds = rounds.unwrap_or(if options.quick { 1 } else { 3 });
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
        let keys: Vec<&str> = measure("--only echo-1,yield").cases.iter().map(|case| case.key).collect();
        assert_eq!(
            keys,
            ["yield-2", "yield-10", "yield-1k", "yield-10k", "yield-100k", "yield-1m", "echo-1", "echo-1k"]
        );
    }

    #[test]
    fn quick_is_one_round_unless_told() {
        assert_eq!(measure("").rounds, 3);
        assert_eq!(measure("--quick").rounds, 1);
        assert_eq!(measure("--rounds 2 --quick").rounds, 2);
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
