//! The order of measurements. Within a round the peers take turns on each case, so that what else the machine does
//! meanwhile falls on all of them alike; rounds repeat the whole.

use crate::driver::build::Programs;
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
    /// The number of workers; `None` for a peer that cannot be told.
    pub workers: Option<usize>,
}

/// The turns of one round.
pub fn round(options: &Options, programs: &Programs) -> Vec<Turn> {
    let mut turns = Vec::new();
    for &case in &options.cases {
        for (i, &workers) in options.workers.iter().enumerate() {
            for &peer in &options.peers {
                if !programs.has(peer.program) || !peer.takes_part(case) {
                    continue;
                }
                match peer.scaling {
                    Scaling::Workers => turns.push(Turn { case, peer, workers: Some(workers) }),
                    Scaling::Single if workers == 1 => turns.push(Turn { case, peer, workers: Some(1) }),
                    Scaling::Unbounded if i == 0 => turns.push(Turn { case, peer, workers: None }),
                    Scaling::Single | Scaling::Unbounded => {}
                }
            }
        }
    }
    turns
}
