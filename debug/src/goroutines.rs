//! All goroutines in groups, for the page and for profiles.
//!
//! To look at every goroutine costs the program something. So there is one look at a time, and
//! what it has found serves all that ask for the same within a second.

use crate::json::Json;
use narrowboat_runtime::window::{Frame, Group, Names, WaitedFor, dump_one};
use narrowboat_runtime::{GoroutineInfo, blocking, dump};
use narrowboat_sync::Mutex;
use std::fmt::Write;
use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long what has been found is good for others.
const FRESH: Duration = Duration::from_secs(1);
/// The most groups that are shown.
const MAX_GROUPS: usize = 500;
/// The most things that are listed with their waiters.
const MAX_THINGS: usize = 30;
/// How many of a group are named.
const MAX_NAMED: usize = 20;

/// What has been found lately.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<Latest>);

#[derive(Default)]
struct Latest {
    snapshot: Option<(Instant, String, Arc<Snapshot>)>,
    names: Names,
}

/// All goroutines at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) groups: Vec<Group>,
    /// How many groups there are, those included that are not shown.
    all_groups: usize,
    /// How many goroutines there are, and in how many the text was found.
    all: usize,
    found: usize,
    unstarted: usize,
    silent: Vec<usize>,
    waited_for: Vec<WaitedFor>,
}

impl Snapshots {
    /// The goroutines that `text` is found in.
    pub(crate) fn take(&self, text: &str) -> Arc<Snapshot> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, of, snapshot)) = &latest.snapshot
            && when.elapsed() < FRESH
            && of == text
        {
            return snapshot.clone();
        }
        let dump = dump();
        let mut names = std::mem::take(&mut latest.names);
        let searched = text.to_lowercase();
        // It may read debug information, and sorts what may be a million goroutines.
        let (snapshot, names) = blocking(move || {
            let mut snapshot = Snapshot {
                all: dump.goroutines().len(),
                unstarted: dump.unstarted(),
                silent: dump.silent_processors().to_vec(),
                ..Snapshot::default()
            };
            let goroutines = dump.goroutines().iter();
            snapshot.found = goroutines.filter(|goroutine| contains(goroutine, &searched)).count();
            (snapshot.groups, snapshot.all_groups) =
                dump.groups(|goroutine| contains(goroutine, &searched), MAX_GROUPS, MAX_NAMED, &mut names);
            snapshot.waited_for = dump.waited_for(|goroutine| contains(goroutine, &searched), MAX_THINGS);
            (Arc::new(snapshot), names)
        });
        latest.names = names;
        latest.snapshot = Some((Instant::now(), text.into(), snapshot.clone()));
        snapshot
    }

    /// One goroutine, as a group of its own, as JSON: null if there is none with this number.
    pub(crate) fn one(&self, id: u64) -> String {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dump = dump_one(id);
        let mut names = std::mem::take(&mut latest.names);
        let (text, names) = blocking(move || {
            let (groups, _) = dump.groups(|_| true, 1, 1, &mut names);
            let processor = dump.goroutines().first().map(GoroutineInfo::processor);
            let text = Json::object(|json| match (groups.first(), processor) {
                (Some(group), Some(processor)) => {
                    json.key("processor").number(processor);
                    json.key("goroutine").inner(|json| of_group(json, group));
                }
                _ => json.key("goroutine").nothing(),
            });
            (text, names)
        });
        latest.names = names;
        text
    }

    /// The text of a dump. It takes its turn with the others.
    pub(crate) fn text(&self) -> String {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dump = dump();
        blocking(move || dump.to_string())
    }
}

/// Whether a text in small letters is part of a goroutine's name, reason or lines, or its number.
fn contains(goroutine: &GoroutineInfo, text: &str) -> bool {
    let place = |place: &Location<'_>| place.to_string().to_lowercase().contains(text);
    text.is_empty()
        || goroutine.id().to_string() == text
        || goroutine.name().is_some_and(|name| name.to_lowercase().contains(text))
        || format!("{:?}", goroutine.reason()).to_lowercase().contains(text)
        || (!goroutine.labels().is_empty() && goroutine.labels().to_string().to_lowercase().contains(text))
        || place(goroutine.spawned_at())
        || place(goroutine.waits_at())
}

impl Snapshot {
    pub(crate) fn json(&self) -> String {
        Json::object(|json| {
            json.key("all").number(self.all);
            json.key("found").number(self.found);
            json.key("all_groups").number(self.all_groups);
            json.key("unstarted").number(self.unstarted);
            json.key("silent").each(self.silent.iter().copied(), Json::number);
            json.key("waited_for").each(&self.waited_for, |json, thing| {
                json.inner(|json| {
                    json.key("text").text(&thing.text);
                    json.key("waiters").number(thing.waiters);
                    json.key("longest").number(thing.longest.as_millis() as usize);
                });
            });
            json.key("groups").each(&self.groups, |json, group| json.inner(|json| of_group(json, group)));
        })
    }

    /// In the form of Go's `goroutine?debug=1`, without addresses.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("goroutine profile: total {}\n", self.found);
        for group in &self.groups {
            let _ = writeln!(text, "{} @", group.count);
            for (labels, count) in &group.labels {
                let _ = writeln!(text, "# labels: {labels:?} ({count} of them)");
            }
            for frame in stack(group).iter() {
                let _ = writeln!(text, "#\t{}\t{}", frame.name, frame.at());
            }
            text.push('\n');
        }
        text
    }
}

/// The frames of a group, innermost first. If its stack has not been looked at, its lines stand for
/// them.
pub(crate) fn stack(group: &Group) -> Vec<Frame> {
    if !group.frames.is_empty() {
        return group.frames.clone();
    }
    let frame = |name: &str, place: &Location<'_>| Frame {
        name: name.into(),
        file: place.file().into(),
        line: place.line(),
        column: place.column(),
    };
    let waits = group.waits_at.map(|place| frame("(waits here)", place));
    waits.into_iter().chain([frame("(spawned here)", group.spawned_at)]).collect()
}

fn of_group(json: &mut Json, group: &Group) {
    json.key("reason").text(&format!("{:?}", group.reason));
    json.key("waits_for").text(group.waits_for);
    match group.waits_at {
        Some(place) => json.key("waits_at").text(&place.to_string()),
        None => json.key("waits_at").nothing(),
    }
    json.key("spawned_at").text(&group.spawned_at.to_string());
    json.key("count").number(group.count);
    json.key("labels").each(group.labels.iter().take(MAX_NAMED), |json, (labels, count)| {
        json.inner(|json| {
            json.key("text").text(&labels.to_string());
            json.key("count").number(*count);
        });
    });
    json.key("longest").number(group.longest.as_millis() as usize);
    json.key("woken").number(group.woken);
    json.key("stack").number(group.stack);
    json.key("resident").number(group.resident);
    json.key("things").each(&group.things, |json, thing| json.text(thing));
    json.key("some").each(&group.some, |json, (id, name)| {
        json.inner(|json| {
            json.key("id").number(*id as usize);
            match name {
                Some(name) => json.key("name").text(name),
                None => json.key("name").nothing(),
            }
        });
    });
    json.key("frames").each(&group.frames, |json, frame| {
        json.inner(|json| {
            json.key("name").text(&frame.name);
            json.key("at").text(&frame.at());
        });
    });
}
