//! The turns of the last moments, for a picture of a certain width.

use super::clock::Clock;
use super::timeline::{Item, What};
use crate::telemetry::trace::event::{Event, Kind};
use std::collections::HashMap;
use std::time::Duration;

/// What one processor did for a while: one turn of a goroutine, or several short ones that a picture
/// would not show apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Turns {
    /// The number of the processor.
    pub processor: u16,
    /// When the first one begins and the last one ends, from the beginning of the picture.
    pub begins: Duration,
    /// See `begins`.
    pub ends: Duration,
    /// How many there are.
    pub count: usize,
    /// The goroutine that had the longest of them.
    pub goroutine: u64,
    /// Its name and labels, or the line that spawned it.
    pub name: String,
    /// How long that turn lasted.
    longest: Duration,
}

/// How many parts a picture has that are shown apart.
const WIDTH: u32 = 2000;

/// The turns among `items`, in order of their ends. The picture begins at `from`, in nanoseconds.
pub(super) fn turns(items: &[Item], clock: &Clock, from: u64, length: Duration) -> Vec<Turns> {
    let apart = length / WIDTH;
    let mut open: HashMap<u16, (&Item, Event, Duration)> = HashMap::new();
    let mut last: HashMap<u16, usize> = HashMap::new();
    let mut found: Vec<Turns> = Vec::new();
    for item in items {
        let What::Event(event) = item.what else { continue };
        let at = Duration::from_nanos(clock.nanos(event.ticks).saturating_sub(from)).min(length);
        match event.kind {
            Kind::Begins => drop(open.insert(event.processor, (item, event, at))),
            Kind::Ends => {
                let Some((item, event, begins)) = open.remove(&event.processor) else { continue };
                let lasted = at.saturating_sub(begins);
                let previous = last.get(&event.processor).map(|&index| &mut found[index]);
                match previous
                    .filter(|previous| begins.saturating_sub(previous.ends) < apart && lasted < apart)
                {
                    Some(previous) => {
                        (previous.ends, previous.count) = (at, previous.count + 1);
                        if lasted > previous.longest {
                            (previous.goroutine, previous.name) = (event.a, name(item, &event));
                            previous.longest = lasted;
                        }
                    }
                    None => {
                        last.insert(event.processor, found.len());
                        found.push(Turns {
                            processor: event.processor,
                            begins,
                            ends: at,
                            count: 1,
                            goroutine: event.a,
                            name: name(item, &event),
                            longest: lasted,
                        });
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn name(item: &Item, begins: &Event) -> String {
    match (&item.name, begins.line()) {
        (Some(name), _) => name.to_string(),
        (None, Some(line)) => line.to_string(),
        (None, None) => String::new(),
    }
}
