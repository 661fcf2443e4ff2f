//! The order of measurements. Within a round the peers take turns on each case, so that what else
//! the machine does meanwhile falls on all of them alike; rounds repeat the whole.

use std::collections::BTreeSet;

use crate::driver::build::{Program, Programs};
use crate::driver::cases::Case;
use crate::driver::options::Options;
use crate::driver::peers::{Peer, Scaling};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The case.
    pub case: &'static Case,
    /// The peer.
    pub peer: &'static Peer,
    /// The number of workers.
    pub workers: usize,
}

/// Which measurement it is: the case as it is kept, the peer, the workers.
pub type Key = (&'static str, &'static str, usize);

impl Turn {
    /// The key of the measurement. Turns at different placements of one case are the same
    /// measurement for a peer.
    pub fn key(&self) -> Key {
        (self.peer.measures(self.case), self.peer.key, self.workers)
    }
}

/// The turns of one round.
pub fn round(options: &Options, programs: &Programs) -> Vec<Turn> {
    turns(options, |program| programs.has(program))
}

fn turns(options: &Options, is_there: impl Fn(Program) -> bool) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut taken = BTreeSet::new();
    for &case in &options.cases {
        for &workers in options.workers_of(case) {
            for &peer in &options.peers {
                let turn = Turn { case, peer, workers };
                let fits = match peer.scaling {
                    Scaling::Workers => true,
                    Scaling::Most => Some(&workers) == options.workers.last(),
                    Scaling::Single => workers == 1,
                };
                if fits && is_there(peer.program) && peer.takes_part(case) && taken.insert(turn.key()) {
                    turns.push(turn);
                }
            }
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::options::measure;

    fn of(line: &str) -> Vec<(&'static str, &'static str, usize)> {
        let turns = turns(&measure(line), |_| true);
        turns.iter().map(|turn| (turn.case.key, turn.peer.key, turn.workers)).collect()
    }

    #[test]
    fn peers_take_turns_and_those_that_cannot_be_placed_have_one_for_all_placements() {
        assert_eq!(
            of("--only pingpong --peers narrowboat,go --workers 1"),
            [
                ("pingpong", "narrowboat", 1),
                ("pingpong", "go", 1),
                ("pingpong-one", "narrowboat", 1),
                ("pingpong-spread", "narrowboat", 1),
            ]
        );
        assert_eq!(
            of("--only pingpong-spread --peers narrowboat,go --workers 2"),
            [("pingpong-spread", "narrowboat", 2), ("pingpong-spread", "go", 2)]
        );
    }

    #[test]
    fn a_peer_that_is_to_save_time_has_its_turn_on_the_most_workers() {
        assert_eq!(
            of("--only yield-2 --peers go,java --workers 1,2"),
            [("yield-2", "go", 1), ("yield-2", "go", 2), ("yield-2", "java", 2)]
        );
        assert_eq!(of("--only yield-2 --peers java --workers 1"), [("yield-2", "java", 1)]);
    }

    #[test]
    fn a_single_threaded_peer_has_no_turn_on_two_workers() {
        assert_eq!(
            of("--only yield-2 --peers tokio,tokio-current --workers 1,2"),
            [("yield-2", "tokio", 1), ("yield-2", "tokio-current", 1), ("yield-2", "tokio", 2)]
        );
    }
}
