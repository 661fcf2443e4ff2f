//! Converts events to a trace in Perfetto's format: a stream of packets, each complete in itself,
//! so that a file is valid wherever it ends.
//!
//! The numbers are those of the fields in Perfetto's published schema (`perfetto_trace.proto`).
//! Slices nest by construction: a slice that begins on a track ends what is still open there, and
//! an end without a beginning is left out. (That happens at the edges of a recording, and where
//! events were lost.)

use super::clock::{self, Clock};
use super::timeline::{Actor, Item, What};
use crate::diag::proto::Message;
use crate::park::Reason;
use crate::sys;
use crate::telemetry::counters::Phase;
use crate::telemetry::trace::event::{self, Event, From, Kind, NOWHERE};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::Location;

/// `Trace.packet`.
const PACKET: u64 = 1;

/// Fields of `TracePacket`.
mod packet {
    pub(super) const CLOCK_SNAPSHOT: u64 = 6;
    pub(super) const TIMESTAMP: u64 = 8;
    pub(super) const SEQUENCE: u64 = 10;
    pub(super) const EVENT: u64 = 11;
    pub(super) const INTERNED: u64 = 12;
    pub(super) const SEQUENCE_FLAGS: u64 = 13;
    pub(super) const DEFAULTS: u64 = 59;
    pub(super) const TRACK: u64 = 60;
}

/// Values of `TracePacket.sequence_flags`: the interned texts so far are forgotten; interned texts
/// are needed.
const CLEARED: u64 = 1;
const NEEDED: u64 = 2;

/// Fields of `TrackDescriptor`.
mod track {
    pub(super) const UUID: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const PROCESS: u64 = 3;
    pub(super) const PARENT: u64 = 5;
    pub(super) const CHILD_ORDERING: u64 = 11;
    pub(super) const RANK: u64 = 12;
}

/// `TrackDescriptor.child_ordering`: by rank.
const EXPLICIT: u64 = 3;

/// Fields of `TrackEvent`.
mod slice {
    pub(super) const NOTE: u64 = 4;
    pub(super) const TYPE: u64 = 9;
    pub(super) const NAME_ID: u64 = 10;
    pub(super) const TRACK: u64 = 11;
    pub(super) const NAME: u64 = 23;
    pub(super) const FLOW: u64 = 47;
    pub(super) const END_OF_FLOW: u64 = 48;
}

/// Values of `TrackEvent.type`.
const BEGIN: u64 = 1;
const END: u64 = 2;
const INSTANT: u64 = 3;

/// Fields of `InternedData`.
mod interned {
    pub(super) const NAMES: u64 = 2;
    pub(super) const NOTE_NAMES: u64 = 3;
    pub(super) const TEXTS: u64 = 29;
}

/// The tracks. Processors and workers are numbered from their first one.
const PROCESS: u64 = 1;
const PROCESSORS: u64 = 2;
const WORKERS: u64 = 3;
const THREADS: u64 = 4;
const FIRST_PROCESSOR: u64 = 0x100;
const FIRST_WORKER: u64 = 0x1000;
const FIRST_THREAD: u64 = 1 << 32;

/// Names of slices that do not depend on the program.
#[derive(Clone, Copy)]
enum Name {
    Searches = 1,
    Sleeps,
    Steals,
    Polls,
    Spawns,
    Wakes,
    DeadlinePasses,
    Copies,
    Stuck,
    Lost,
    Waits,
    GoesOn,
}

const NAMES: [&str; 12] = [
    "searches",
    "sleeps",
    "steals",
    "polls",
    "spawns",
    "wakes",
    "deadline passes",
    "copies stacks",
    "stuck",
    "events lost",
    "waits",
    "goes on",
];

/// The kinds of notes on slices.
#[derive(Clone, Copy)]
enum Note {
    Goroutine = 1,
    SpawnedAt,
    Then,
    At,
    Object,
    Processor,
    Found,
    Line,
    BytesIn,
    BytesOut,
    CopiedOut,
    Milliseconds,
    Events,
    First,
}

const NOTES: [&str; 14] = [
    "goroutine",
    "spawned at",
    "then",
    "at",
    "object",
    "processor",
    "events found",
    "line",
    "bytes in",
    "bytes out",
    "copied out",
    "milliseconds",
    "events",
    "first turn",
];

/// Interned texts: how a turn ended (by [`Event::detail`]), then source lines in the order of their
/// appearance. Slices are named by lines, too.
const ENDS: u64 = 1;
const FIRST_LINE: u64 = 0x1000;
/// Interned names of processors.
const FIRST_PROCESSOR_NAME: u64 = 0x100;

/// What a track shows at present.
#[derive(Clone, Copy)]
struct Open {
    since: u64,
    /// What it is shown for: the worker, also on the track of the processor that it carries.
    by: Actor,
    /// The processor that it is about, if any.
    processor: u16,
}

/// An arrow that has begun: its number, and its time.
type Arrow = (u64, u64);

/// A trace under construction.
pub(super) struct Picture {
    out: Message,
    /// The tracks that have been described, each with the time of its latest event. Nothing is
    /// placed before that: if a worker is interrupted between taking the time and writing its
    /// event, the event comes late.
    tracks: HashMap<u64, u64>,
    lines: HashMap<*const Location<'static>, u64>,
    open: HashMap<u64, Open>,
    /// Arrows that have begun and not ended: by goroutine, or by a waiting thread's record. They
    /// are numbered, so that none is mistaken for a later one of the same goroutine if the
    /// beginning of that one was lost.
    goroutines: HashMap<u64, Arrow>,
    threads: HashMap<u64, Arrow>,
    arrows: u64,
    pub(super) events: u64,
    pub(super) lost: u64,
}

// SAFETY: the addresses of lines are those of statics.
unsafe impl Send for Picture {}

impl Picture {
    /// Begins with the packets that every trace begins with.
    pub(super) fn new() -> Picture {
        let mut picture = Picture {
            out: Message::default(),
            tracks: HashMap::new(),
            lines: HashMap::new(),
            open: HashMap::new(),
            goroutines: HashMap::new(),
            threads: HashMap::new(),
            arrows: 0,
            events: 0,
            lost: 0,
        };
        picture.write_header();
        picture
    }

    /// The packets drawn since the last call of `clear`.
    pub(super) fn bytes(&self) -> &[u8] {
        self.out.bytes()
    }

    pub(super) fn clear(&mut self) {
        self.out.clear();
    }

    fn packet(&mut self, flags: u64, write: impl FnOnce(&mut Message)) {
        self.out.message(PACKET, |packet| {
            // One sequence, with a number of our choice.
            packet.number(packet::SEQUENCE, 1);
            packet.number(packet::SEQUENCE_FLAGS, flags);
            write(packet);
        });
    }

    fn write_header(&mut self) {
        /// `BuiltinClock`, and the system's constants for the same clocks.
        const CLOCKS: [(u64, libc::clockid_t); 3] =
            [(1, libc::CLOCK_REALTIME), (3, libc::CLOCK_MONOTONIC), (6, sys::CLOCK_WITH_SLEEP)];
        const MONOTONIC: u64 = 3;
        self.packet(CLEARED, |packet| {
            packet.message(packet::DEFAULTS, |defaults| defaults.number(58, MONOTONIC));
            packet.message(packet::CLOCK_SNAPSHOT, |snapshot| {
                for (id, clock) in CLOCKS {
                    snapshot.message(1, |entry| {
                        entry.number(1, id);
                        entry.number(2, clock::nanos(clock));
                    });
                }
                snapshot.number(2, MONOTONIC);
            });
            packet.message(packet::INTERNED, |data| {
                let mut table = |field, first, texts: &mut dyn Iterator<Item = String>| {
                    for (text, id) in texts.zip(first..) {
                        intern(data, field, id, &text);
                    }
                };
                table(interned::NAMES, 1, &mut NAMES.iter().map(ToString::to_string));
                table(interned::NOTE_NAMES, 1, &mut NOTES.iter().map(ToString::to_string));
                let waits = Reason::ALL.iter().map(|reason| format!("waits for {}", reason.waits_for()));
                table(interned::TEXTS, ENDS, &mut waits.into_iter());
                intern(data, interned::TEXTS, ENDS + u64::from(event::GAVE_WAY), "gives way");
                intern(data, interned::TEXTS, ENDS + u64::from(event::FINISHED), "ends");
            });
        });
        let program = std::env::current_exe().ok();
        let program =
            program.as_ref().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy();
        self.packet(NEEDED, |packet| {
            packet.message(packet::TRACK, |track| {
                track.number(track::UUID, PROCESS);
                track.number(track::CHILD_ORDERING, EXPLICIT);
                track.message(track::PROCESS, |process| {
                    process.number(1, std::process::id().into());
                    process.text(6, &program);
                });
            });
        });
        self.track(PROCESSORS, PROCESS, 0, "processors");
        self.track(WORKERS, PROCESS, 1, "workers");
        self.track(THREADS, PROCESS, 2, "threads");
    }

    /// Describes a track when it is first used.
    fn track(&mut self, uuid: u64, parent: u64, rank: u64, name: &str) {
        let Entry::Vacant(new) = self.tracks.entry(uuid) else { return };
        new.insert(0);
        self.packet(NEEDED, |packet| {
            packet.message(packet::TRACK, |track| {
                track.number(track::UUID, uuid);
                track.number(track::PARENT, parent);
                track.text(track::NAME, name);
                track.number(track::CHILD_ORDERING, EXPLICIT);
                track.number(track::RANK, rank);
            });
        });
    }

    fn processor(&mut self, index: u16) -> u64 {
        let uuid = FIRST_PROCESSOR + u64::from(index);
        if !self.tracks.contains_key(&uuid) {
            let name = format!("processor {index}");
            self.track(uuid, PROCESSORS, index.into(), &name);
            self.packet(NEEDED, |packet| {
                packet.message(packet::INTERNED, |data| {
                    intern(data, interned::NAMES, FIRST_PROCESSOR_NAME + u64::from(index), &name);
                });
            });
        }
        uuid
    }

    fn actor(&mut self, actor: Actor) -> u64 {
        match actor {
            Actor::Worker(index) => {
                let uuid = FIRST_WORKER + index as u64;
                self.track(uuid, WORKERS, index as u64, &format!("worker {index}"));
                uuid
            }
            Actor::Thread { id, name } => {
                let uuid = FIRST_THREAD + u64::from(id);
                if !self.tracks.contains_key(&uuid) {
                    let name = String::from_utf8_lossy(&name);
                    let name = format!("{} {id}", name.trim_end_matches('\0'));
                    self.track(uuid, THREADS, id.into(), &name);
                }
                uuid
            }
        }
    }

    /// The number of a line as an interned name and text.
    fn line(&mut self, line: &'static Location<'static>) -> u64 {
        let known = self.lines.len() as u64;
        let id = *self.lines.entry(line).or_insert(FIRST_LINE + known);
        if id == FIRST_LINE + known {
            // Enough of the path to distinguish files.
            let short = line.file().rsplit('/').take(2).collect::<Vec<_>>();
            let short = short.into_iter().rev().collect::<Vec<_>>().join("/");
            self.packet(NEEDED, |packet| {
                packet.message(packet::INTERNED, |data| {
                    intern(data, interned::NAMES, id, &format!("{short}:{}", line.line()));
                    intern(data, interned::TEXTS, id, &line.to_string());
                });
            });
        }
        id
    }

    /// The time at which an event that happened at `at` is shown.
    fn shown(&self, track: u64, at: u64) -> u64 {
        at.max(self.tracks.get(&track).copied().unwrap_or_default())
    }

    fn event(&mut self, kind: u64, track: u64, at: u64, write: impl FnOnce(&mut Message)) {
        let at = self.shown(track, at);
        self.tracks.insert(track, at);
        self.packet(NEEDED, |packet| {
            packet.number(packet::TIMESTAMP, at);
            packet.message(packet::EVENT, |event| {
                event.number(slice::TYPE, kind);
                event.number(slice::TRACK, track);
                write(event);
            });
        });
    }

    fn instant(&mut self, track: u64, at: u64, name: Name, write: impl FnOnce(&mut Message)) {
        self.event(INSTANT, track, at, |event| {
            event.number(slice::NAME_ID, name as u64);
            write(event);
        });
    }

    fn begin(&mut self, track: u64, at: u64, by: Actor, processor: u16, write: impl FnOnce(&mut Message)) {
        self.end(track, at, |_| ());
        self.open.insert(track, Open { since: at, by, processor });
        self.event(BEGIN, track, at, write);
    }

    fn end(&mut self, track: u64, at: u64, write: impl FnOnce(&mut Message)) {
        if self.open.remove(&track).is_some() {
            self.event(END, track, at, write);
        }
    }

    /// Draws the next item.
    pub(super) fn draw(&mut self, item: &Item, clock: &Clock) {
        let at = clock.nanos(item.ticks());
        match item.what {
            What::Event(event) => {
                self.events += 1;
                self.draw_event(item, event, at);
            }
            What::Lost { events, .. } => {
                self.lost += events;
                self.draw_loss(item.actor, events, at);
            }
        }
    }

    /// Ends everything that the actor had begun, as far as is known.
    fn draw_loss(&mut self, actor: Actor, events: u64, at: u64) {
        let mut tracks: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.by == actor).map(|(track, _)| *track).collect();
        tracks.sort_unstable();
        for track in tracks {
            self.end(track, at, |_| ());
        }
        let track = self.actor(actor);
        self.instant(track, at, Name::Lost, |event| number(event, Note::Events, events));
    }

    fn draw_event(&mut self, item: &Item, event: Event, at: u64) {
        let by = item.actor;
        let Event { kind, processor, a, b, .. } = event;
        let actor = match kind {
            Kind::Spawns | Kind::Wakes | Kind::Polls | Kind::WakesThread if processor != NOWHERE => {
                self.processor(processor)
            }
            Kind::Begins | Kind::Copies | Kind::Ends => self.processor(processor),
            _ => self.actor(by),
        };
        match kind {
            Kind::Name | Kind::Thread => {}
            Kind::Carries => {
                self.processor(processor);
                let name = FIRST_PROCESSOR_NAME + u64::from(processor);
                self.begin(actor, at, by, processor, |event| event.number(slice::NAME_ID, name));
            }
            Kind::StopsCarrying => {
                // A worker may have begun to carry the next processor before it records the end of
                // this one.
                for track in [actor, self.processor(processor)] {
                    if self.open.get(&track).is_some_and(|open| open.by == by && open.processor == processor)
                    {
                        self.end(track, at, |_| ());
                    }
                }
            }
            Kind::Phase => {
                self.end(actor, at, |_| ());
                let name = [(Phase::Searching, Name::Searches), (Phase::Sleeping, Name::Sleeps)]
                    .into_iter()
                    .find(|(phase, _)| *phase as u8 == event.detail);
                if let Some((_, name)) = name {
                    self.begin(actor, at, by, processor, |event| event.number(slice::NAME_ID, name as u64));
                }
            }
            Kind::Steals => {
                self.instant(actor, at, Name::Steals, |event| {
                    number(event, Note::Processor, processor.into())
                });
            }
            Kind::Polls => {
                self.instant(actor, at, Name::Polls, |slice| number(slice, Note::Found, event.number.into()));
            }
            Kind::Spawns => {
                let line = event.line().map(|line| self.line(line));
                let arrow = self.arrow(actor, at);
                self.goroutines.insert(a, arrow);
                self.instant(actor, at, Name::Spawns, |slice| {
                    slice.fixed(slice::FLOW, arrow.0);
                    number(slice, Note::Goroutine, a);
                    number(slice, Note::Processor, event.number.into());
                    text(slice, Note::Line, line);
                });
            }
            Kind::Wakes => {
                let arrow = self.arrow(actor, at);
                self.goroutines.insert(a, arrow);
                let name = if event.detail == 1 { Name::DeadlinePasses } else { Name::Wakes };
                self.instant(actor, at, name, |slice| {
                    slice.fixed(slice::FLOW, arrow.0);
                    number(slice, Note::Goroutine, a);
                });
            }
            Kind::WakesThread => {
                let arrow = self.arrow(actor, at);
                self.threads.insert(a, arrow);
                self.instant(actor, at, Name::Wakes, |slice| slice.fixed(slice::FLOW, arrow.0));
            }
            Kind::ThreadWaits => {
                self.begin(actor, at, by, processor, |slice| {
                    slice.number(slice::NAME_ID, Name::Waits as u64)
                });
            }
            Kind::ThreadGoesOn => {
                let arrow = self.threads.remove(&a).filter(|arrow| arrow.1 <= self.shown(actor, at));
                self.end(actor, at, |_| ());
                self.instant(actor, at, Name::GoesOn, |slice| end_of(slice, arrow));
            }
            Kind::Begins => {
                let line = event.line().map(|line| self.line(line));
                let arrow = self.goroutines.remove(&a).filter(|arrow| arrow.1 <= self.shown(actor, at));
                let first = event.detail == From::Spawn as u8;
                self.begin(actor, at, by, processor, |slice| {
                    match &item.name {
                        Some(name) => slice.text(slice::NAME, name),
                        None => slice.number(slice::NAME_ID, line.unwrap_or_default()),
                    }
                    end_of(slice, arrow);
                    number(slice, Note::Goroutine, a);
                    text(slice, Note::SpawnedAt, line);
                    if first {
                        number(slice, Note::First, 1);
                    }
                });
            }
            Kind::Copies => {
                // The copy began together with the turn that it is for.
                let Some(Open { since, .. }) = self.open.get(&actor).copied() else { return };
                self.event(BEGIN, actor, since, |slice| {
                    slice.number(slice::NAME_ID, Name::Copies as u64);
                    number(slice, Note::BytesIn, event.number.into());
                    number(slice, Note::BytesOut, a);
                    if b != 0 {
                        number(slice, Note::CopiedOut, b);
                    }
                });
                self.event(END, actor, at, |_| ());
            }
            Kind::Ends => {
                let line = event.line().map(|line| self.line(line));
                self.end(actor, at, |slice| {
                    text(slice, Note::Then, Some(ENDS + u64::from(event.detail)));
                    text(slice, Note::At, line);
                    if a != 0 {
                        pointer(slice, Note::Object, a);
                    }
                });
            }
            Kind::Stuck => {
                self.instant(actor, at, Name::Stuck, |slice| {
                    number(slice, Note::Processor, processor.into());
                    number(slice, Note::Milliseconds, event.number.into());
                });
            }
        }
    }

    /// Begins an arrow from this track.
    fn arrow(&mut self, track: u64, at: u64) -> Arrow {
        self.arrows += 1;
        (self.arrows, self.shown(track, at))
    }
}

fn intern(data: &mut Message, field: u64, id: u64, text: &str) {
    data.message(field, |entry| {
        entry.number(1, id);
        entry.text(2, text);
    });
}

fn end_of(event: &mut Message, arrow: Option<Arrow>) {
    if let Some((arrow, _)) = arrow {
        event.fixed(slice::END_OF_FLOW, arrow);
    }
}

/// Fields of `DebugAnnotation` are 1, the interned name, and one for each kind of value.
fn number(event: &mut Message, note: Note, value: u64) {
    event.message(slice::NOTE, |annotation| {
        annotation.number(1, note as u64);
        annotation.number(3, value);
    });
}

fn pointer(event: &mut Message, note: Note, value: u64) {
    event.message(slice::NOTE, |annotation| {
        annotation.number(1, note as u64);
        annotation.number(7, value);
    });
}

/// Adds an interned text.
fn text(event: &mut Message, note: Note, id: Option<u64>) {
    if let Some(id) = id {
        event.message(slice::NOTE, |annotation| {
            annotation.number(1, note as u64);
            annotation.number(17, id);
        });
    }
}
