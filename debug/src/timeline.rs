//! What the processors did in the last second, for the page to draw.

use crate::json::Json;
use narrowboat_runtime::window::{Looking, Turns, latest_turns, recorder_is_on};
use narrowboat_runtime::{blocking, sleep};
use narrowboat_sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_secs(1);
/// How long a picture is good for others.
const FRESH: Duration = Duration::from_secs(1);
/// The most parts of one picture. Of more, the latest are shown.
const MAX_PARTS: usize = 30_000;

/// The latest picture. One is made at a time.
#[derive(Default)]
pub(crate) struct Timelines(Mutex<Option<(Instant, Arc<String>)>>);

impl Timelines {
    /// The last second, as JSON. If the flight recorder is off, the next second is recorded.
    pub(crate) fn take(&self) -> Arc<String> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, text)) = &*latest
            && when.elapsed() < FRESH
        {
            return text.clone();
        }
        let recorded = recorder_is_on();
        let looking = Looking::begin();
        if !recorded {
            sleep(LENGTH);
        }
        let text = blocking(|| json(&latest_turns(LENGTH)));
        drop(looking);
        let text = Arc::new(text);
        *latest = Some((Instant::now(), text.clone()));
        text
    }
}

/// Names are there once; the other arrays have an element for each part.
fn json(turns: &[Turns]) -> String {
    let turns = &turns[turns.len().saturating_sub(MAX_PARTS)..];
    let mut names = Vec::new();
    let mut known = HashMap::new();
    let named: Vec<usize> = turns
        .iter()
        .map(|turns| {
            *known.entry(&turns.name).or_insert_with(|| {
                names.push(&turns.name);
                names.len() - 1
            })
        })
        .collect();
    type Number = fn(&Turns) -> usize;
    let numbers: [(&str, Number); 5] = [
        ("processor", |turns| turns.processor.into()),
        ("begins", |turns| turns.begins.as_micros() as usize),
        ("ends", |turns| turns.ends.as_micros() as usize),
        ("count", |turns| turns.count),
        ("goroutine", |turns| turns.goroutine as usize),
    ];
    Json::object(|json| {
        json.key("length").number(LENGTH.as_micros() as usize);
        json.key("names").each(names, |json, name| json.text(name));
        json.key("name").each(named, Json::number);
        for (name, of) in numbers {
            json.key(name).each(turns.iter().map(of), Json::number);
        }
    })
}
