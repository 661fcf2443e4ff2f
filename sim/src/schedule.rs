//! A schedule: what was decided otherwise than by default.
//!
//! By default a goroutine goes on as long as it can, and then the one with the next number has its
//! turn. A schedule lists where a run differs from that. Each entry is keyed by the goroutine's own
//! progress, and not by the number of decisions before: so an entry keeps its meaning when others
//! are left out, or when the program changes a little elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Where a decision is made: when this goroutine has had so many turns, or as the draw of this
/// number in its life. Before all turns both numbers are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Point {
    pub(crate) goroutine: u32,
    pub(crate) count: u64,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Kind {
    /// The next turn: the value is a goroutine's number.
    Turn,
    /// A draw: the value is what was drawn.
    Draw,
}

/// The decisions of a run that were not the default.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Schedule {
    /// In the order in which they were made.
    pub(crate) entries: Vec<(Point, u32)>,
}

impl Schedule {
    /// How many decisions differ from the default.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all decisions are the default.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn to_map(&self) -> BTreeMap<Point, u32> {
        self.entries.iter().copied().collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (point, value)) in self.entries.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let kind = if point.kind == Kind::Turn { '>' } else { '=' };
            write!(f, "{separator}{}.{}{kind}{value}", point.goroutine, point.count)?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        let entry = |text: &str| {
            let at = text.find(['>', '='])?;
            let (point, value) = (&text[..at], &text[at + 1..]);
            let kind = if text[at..].starts_with('>') { Kind::Turn } else { Kind::Draw };
            let (goroutine, count) = point.split_once('.')?;
            let point = Point { goroutine: goroutine.parse().ok()?, count: count.parse().ok()?, kind };
            Some((point, value.parse().ok()?))
        };
        let entries = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        entries
            .map(|text| entry(text).ok_or_else(|| format!("'{text}' is no entry of a schedule")))
            .collect::<Result<_, _>>()
            .map(|entries| Schedule { entries })
    }
}

/// All that repeats a run: the seed of its random numbers, its schedule, and the hash of its trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    pub(crate) seed: u64,
    pub(crate) schedule: Schedule,
    pub(crate) hash: u64,
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1:{}:{}:{:016x}", self.seed, self.schedule, self.hash)
    }
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Replay, String> {
        let parts: Vec<_> = text.trim().split(':').collect();
        match parts[..] {
            ["1", seed, schedule, hash] => Ok(Replay {
                seed: seed.parse().map_err(|_| format!("'{seed}' is no seed"))?,
                schedule: schedule.parse()?,
                hash: u64::from_str_radix(hash, 16).map_err(|_| format!("'{hash}' is no hash"))?,
            }),
            _ => Err(format!("'{text}' is no recorded schedule of this version")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let turn = Point { goroutine: 3, count: 17, kind: Kind::Turn };
        let draw = Point { goroutine: 1, count: 0, kind: Kind::Draw };
        for entries in [vec![], vec![(turn, 4)], vec![(turn, 4), (draw, 2)]] {
            let replay = Replay { seed: 9, schedule: Schedule { entries }, hash: 0xabc };
            assert_eq!(replay.to_string().parse(), Ok(replay));
        }
        for wrong in ["", "2:1::0", "1:x::0", "1:1:7:0", "1:1:7.1-2:0", "1:1::xyz"] {
            assert!(wrong.parse::<Replay>().is_err(), "{wrong}");
        }
    }
}
