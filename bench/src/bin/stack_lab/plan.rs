//! What is run: which program with which sizes, on which strategies, and how much work.

use std::path::PathBuf;
use std::process::Command;

use crate::depth::DEPTHS;
use crate::strategy::Strategy;

/// How many goroutines a crowd has.
const CROWDS: [usize; 5] = [1_000, 10_000, 30_000, 100_000, 1_000_000];

/// Bytes alive on the stack of each, on top of what a goroutine parks with anyway (0.2 KiB with ours).
pub const LIVE: [usize; 5] = [0, 1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// A crowd has no more live bytes in all than this. Go takes up to twice as much for it, a stack each a page more.
const MOST_LIVE: usize = 768 << 20;

/// Switches of a crowd are at least so many each: the first brings everything in.
const LAPS: usize = 2;

/// The buffers of the connections of the echo server.
pub const BUFFERS: [usize; 3] = [0x100, 4 << 10, 16 << 10];

/// How many connections it has. (A process may have 20,000 descriptors in many places.)
pub const CONNECTIONS: &str = "9000";

/// A program and its sizes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Case {
    Crowd { count: usize, live: usize },
    Edge,
    Deep,
    Echo { live: usize },
}

/// Why a crowd is not run at all, if it is not.
pub fn too_large(count: usize, live: usize) -> bool {
    count * live > MOST_LIVE
}

/// Every crowd there is a place for in the tables, whether it is run or not.
pub fn crowds() -> impl Iterator<Item = (usize, usize)> {
    LIVE.into_iter().flat_map(|live| CROWDS.map(|count| (count, live)))
}

pub fn cases(quick: bool) -> Vec<Case> {
    let crowds = crowds().filter(|&(count, live)| !too_large(count, live));
    let crowds = crowds.filter(|&(count, live)| !quick || count <= 100_000 && count * live <= MOST_LIVE / 4);
    let crowds = crowds.map(|(count, live)| Case::Crowd { count, live });
    let echoes = BUFFERS.map(|live| Case::Echo { live });
    [Case::Edge, Case::Deep].into_iter().chain(echoes).chain(crowds).collect()
}

impl Case {
    pub fn strategies(self) -> &'static [Strategy] {
        use Strategy::{Go, Own, Segments, Shared, Slots, Uncached};
        match self {
            // Without live bytes of their own goroutines share slots as it is.
            Case::Crowd { live: 0, .. } => &[Slots, Own, Segments, Go],
            Case::Crowd { .. } => &[Slots, Shared, Own, Segments, Go],
            Case::Edge => &[Slots, Own, Segments, Uncached, Go],
            // One uncached segment is more than the whole recursion needs: nothing would be chained.
            Case::Deep => &[Slots, Own, Segments, Go],
            Case::Echo { .. } => &[Slots, Own, Go],
        }
    }

    /// The command line behind the program's name, without the strategy. The work is the same for all, except for calls that
    /// ask the system for a segment each: they are a few hundredths of the others.
    fn arguments(self, strategy: Strategy, quick: bool) -> (&'static str, Vec<usize>) {
        let less = if quick { 5 } else { 1 };
        match self {
            Case::Crowd { count, live } => {
                let switches = 2_000_000 / (1 + live / 0x400) / less;
                ("crowd", vec![count, live, switches.max(LAPS * count)])
            }
            Case::Edge => {
                let (calls, rounds) = if strategy == Strategy::Uncached { (10, 75) } else { (2_000, 301) };
                ("edge", vec![DEPTHS, calls, rounds / less])
            }
            Case::Deep => ("deep", vec![100_000]),
            Case::Echo { live } => ("echo", vec![live]),
        }
    }

    /// The program that runs this with that strategy on so many workers. `go` is where the Go peer is.
    pub fn command(self, strategy: Strategy, workers: usize, quick: bool, go: Option<&PathBuf>) -> Command {
        let (program, sizes) = self.arguments(strategy, quick);
        let mut command = match (strategy, go) {
            (Strategy::Go, Some(go)) => {
                let mut command = Command::new(go);
                command.arg(if self == Case::Deep { "deep".into() } else { format!("stack-{program}") });
                command.env("GOMAXPROCS", workers.to_string());
                command
            }
            _ => {
                let mut command = Command::new(std::env::current_exe().expect("we are a file"));
                command.args(["run", strategy.key(), program]);
                command.env("NARROWBOAT_WORKERS", workers.to_string());
                // Long computations are what is measured here.
                command.env("NARROWBOAT_STUCK", "0");
                command
            }
        };
        command.args(sizes.iter().map(usize::to_string));
        command
    }

    pub fn title(self) -> String {
        match self {
            Case::Crowd { count, live } => format!("crowd of {count} with {}", crate::report::size(live)),
            Case::Edge => "edge".into(),
            Case::Deep => "deep".into(),
            Case::Echo { live } => format!("echo with buffers of {live} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crowd_has_ours_and_what_it_is_compared_with() {
        for case in cases(false) {
            assert!(
                case.strategies().contains(&Strategy::Slots) && case.strategies().contains(&Strategy::Own)
            );
        }
        assert!(cases(false).contains(&Case::Crowd { count: 1_000_000, live: 0 }));
        assert!(cases(true).len() < cases(false).len());
    }

    #[test]
    fn nobody_is_asked_for_more_memory_than_a_small_machine_has() {
        assert!(!too_large(100_000, 1 << 10) && too_large(1_000_000, 1 << 10));
    }
}
