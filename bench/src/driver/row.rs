//! A row of the results: one figure with one number of workers, and how Narrowboat compares in it. Tables and plots are
//! made of rows.

use crate::driver::cases::{Better, Case, Metric};
use crate::driver::options::Options;
use crate::driver::peers::{Peer, Role};
use crate::driver::results::{Outcome, Results};
use crate::driver::schedule::Turn;

/// One figure, with one number of workers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The case.
    pub case: &'static Case,
    /// Which of its figures.
    pub metric: &'static Metric,
    /// The number of workers.
    pub workers: usize,
}

impl Row {
    /// Every row of a run, in the order of the output.
    pub fn all(options: &Options) -> impl Iterator<Item = Row> {
        options.cases.iter().flat_map(move |&case| {
            case.metrics.iter().flat_map(move |metric| {
                options.workers_of(case).iter().map(move |&workers| Row { case, metric, workers })
            })
        })
    }

    /// What came of a peer in the row.
    pub fn outcome<'a>(&self, peer: &'static Peer, results: &'a Results) -> Outcome<'a> {
        results.outcome(&Turn { case: self.case, peer, workers: self.workers }, self.metric.name)
    }

    /// A peer's median, if it has one.
    pub fn median(&self, peer: &'static Peer, results: &Results) -> Option<f64> {
        match self.outcome(peer, results) {
            Outcome::Measured(summary) => Some(summary.median),
            _ => None,
        }
    }

    /// The competitor with the best median in the row.
    pub fn best(&self, peers: &[&'static Peer], results: &Results) -> Option<(&'static Peer, f64)> {
        let competitors = peers.iter().filter(|peer| peer.role == Role::Peer);
        if self.metric.better == Better::Neither {
            return None;
        }
        let medians = competitors.filter_map(|&peer| Some((peer, self.median(peer, results)?)));
        medians.min_by(|(_, one), (_, other)| match self.metric.better {
            Better::Higher => other.total_cmp(one),
            Better::Lower | Better::Neither => one.total_cmp(other),
        })
    }
}

/// How Narrowboat stands to the best peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Better in every round than the peer in any.
    Ahead,
    /// The rounds of the two overlap.
    Level,
    /// Worse in every round.
    Behind,
}

impl Row {
    /// How Narrowboat stands, and to whom; `None` where there is nobody to compare with.
    pub fn standing(&self, peers: &[&'static Peer], results: &Results) -> Option<(Standing, &'static Peer)> {
        let (best, _) = self.best(peers, results)?;
        let (Outcome::Measured(ours), Outcome::Measured(theirs)) =
            (self.outcome(own(peers)?, results), self.outcome(best, results))
        else {
            return None;
        };
        let standing = if ours.min <= theirs.max && theirs.min <= ours.max {
            Standing::Level
        } else if self.metric.better.cost(ours.median, theirs.median) < 1.0 {
            Standing::Ahead
        } else {
            Standing::Behind
        };
        Some((standing, best))
    }
}

/// Narrowboat itself, if it takes part.
pub fn own(peers: &[&'static Peer]) -> Option<&'static Peer> {
    peers.iter().copied().find(|peer| peer.role == Role::Ours)
}

/// Our figure in terms of theirs.
pub fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    ours.zip(theirs).filter(|&(_, theirs)| theirs > 0.0).map(|(ours, theirs)| ours / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::options::measure;
    use crate::driver::peers::PEERS;

    #[test]
    fn the_best_peer_is_the_cheapest_or_the_fastest_and_never_ourselves_or_the_limit() {
        for (only, figures, best) in [
            ("pingpong", [("narrowboat", 1.0), ("go", 400.0), ("tokio", 300.0)], "tokio"),
            ("http-64", [("narrowboat", 9.0), ("go", 4.0), ("epoll", 20.0)], "go"),
        ] {
            let options = measure(&format!("--only {only} --workers 1"));
            let row = Row::all(&options).next().unwrap();
            let mut results = Results::default();
            for (key, value) in figures {
                let peer = PEERS.iter().find(|peer| peer.key == key).unwrap();
                let turn = Turn { case: row.case, peer, workers: 1 };
                results.add(&turn, vec![(row.metric.name, value)]);
            }
            assert_eq!(row.best(&options.peers, &results).unwrap().0.key, best);
        }
    }

    #[test]
    fn rounds_that_overlap_are_level() {
        let options = measure("--only echo-64 --workers 1 --peers narrowboat,go");
        let row = Row::all(&options).next().unwrap();
        let standing = |ours: [f64; 2]| {
            let mut results = Results::default();
            for (peer, samples) in options.peers.iter().zip([ours, [100.0, 110.0]]) {
                let turn = Turn { case: row.case, peer, workers: 1 };
                samples.iter().for_each(|&sample| results.add(&turn, vec![("rate", sample)]));
            }
            row.standing(&options.peers, &results).unwrap().0
        };
        assert_eq!(standing([111.0, 150.0]), Standing::Ahead);
        assert_eq!(standing([109.0, 150.0]), Standing::Level);
        assert_eq!(standing([90.0, 99.0]), Standing::Behind);
    }

    #[test]
    fn a_ratio_needs_two_figures_to_speak_of() {
        assert_eq!(ratio(Some(50.0), Some(100.0)), Some(0.5));
        assert_eq!(ratio(Some(50.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(100.0)), None);
    }
}
