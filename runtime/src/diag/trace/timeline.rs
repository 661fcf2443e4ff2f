//! The events of all rings in order of time.

use crate::telemetry::trace::event::{self, Event, Kind, WORDS};
use crate::telemetry::trace::{self as events, Events, Owner};
use std::time::Duration;

/// What has caused an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Actor {
    Worker(usize),
    Thread { id: u32, name: [u8; event::NAME_PART] },
}

/// One event, with what the events before it in its ring have told about it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) actor: Actor,
    pub(super) what: What,
    /// The name of the goroutine that the event is about.
    pub(super) name: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Event(Event),
    /// This many events of the actor are missing: they were overwritten before they could be read.
    /// Those of threads are lost together, whichever is named.
    Lost {
        ticks: u64,
        events: u64,
    },
}

impl Item {
    pub(super) fn ticks(&self) -> u64 {
        match self.what {
            What::Event(event) => event.ticks,
            What::Lost { ticks, .. } => ticks,
        }
    }
}

/// How far one ring has been read.
struct Reader {
    owner: Owner,
    ring: &'static Events,
    next: u64,
    last_ticks: u64,
    /// Parts of a name, and the thread, that the next event belongs to.
    name: Vec<u8>,
    actor: Option<Actor>,
}

pub(super) struct Timeline {
    readers: Vec<Reader>,
    /// Events that were read too early to be shown: the other rings had been read when they
    /// happened.
    young: Vec<Item>,
    raw: Vec<[u64; WORDS]>,
    /// Whether overwritten events count as lost. For the flight recorder they do not.
    complete: bool,
    /// The most that one ring had to show last time.
    fullest: usize,
}

impl Timeline {
    /// A timeline of what happens from now on.
    pub(super) fn from_now() -> Timeline {
        let mut timeline = Timeline::new(true);
        timeline.add_rings();
        for reader in &mut timeline.readers {
            reader.next = reader.ring.count();
        }
        timeline
    }

    /// A timeline of what the rings still hold.
    pub(super) fn of_the_past() -> Timeline {
        Timeline::new(false)
    }

    fn new(complete: bool) -> Timeline {
        Timeline { readers: Vec::new(), young: Vec::new(), raw: Vec::new(), complete, fullest: 0 }
    }

    fn add_rings(&mut self) {
        // Rings are only ever added, at the end.
        let known = self.readers.len();
        self.readers.extend(events::rings().into_iter().skip(known).map(|(owner, ring)| {
            let actor = match owner {
                Owner::Worker(index) => Some(Actor::Worker(index)),
                Owner::Threads => None,
            };
            Reader { owner, ring, next: 0, last_ticks: 0, name: Vec::new(), actor }
        }));
    }

    /// The events up to `until` that have not been returned before, in order of time. Events older
    /// than `since` are left out.
    pub(super) fn take(&mut self, since: u64, until: u64) -> Vec<Item> {
        self.add_rings();
        let mut items = std::mem::take(&mut self.young);
        self.fullest = 0;
        for reader in &mut self.readers {
            self.raw.clear();
            let read = reader.ring.read(reader.next, &mut self.raw);
            reader.next = read.next;
            self.fullest = self.fullest.max(self.raw.len());
            if self.complete && read.lost > 0 {
                reader.note_loss(read.lost, self.raw.first().map_or(since, |raw| raw[0]), &mut items);
            }
            for raw in &self.raw {
                reader.understand(Event::unpack(*raw), &mut items);
            }
        }
        items.retain(|item| item.ticks() >= since);
        // Stable: events of one ring with the same time stay in their order. The rings are sorted
        // already, or nearly.
        items.sort_by_key(Item::ticks);
        let old = items.partition_point(|item| item.ticks() <= until);
        self.young = items.split_off(old);
        items
    }

    /// When to read again, if the last pause was `last`: a ring should never be more than a
    /// quarter full.
    pub(super) fn pause(&self, last: Duration) -> Duration {
        let capacity = events::events_per_ring();
        match self.fullest {
            much if much > capacity / 4 => last / 2,
            little if little < capacity / 16 => last * 2,
            _ => last,
        }
    }
}

impl Reader {
    fn note_loss(&mut self, events: u64, first_after: u64, to: &mut Vec<Item>) {
        self.name.clear();
        if self.owner == Owner::Threads {
            self.actor = None;
        }
        let actor = self.actor.unwrap_or(Actor::Thread { id: 0, name: *b"other threads\0\0\0" });
        let ticks = if self.last_ticks == 0 { first_after } else { self.last_ticks };
        to.push(Item { actor, what: What::Lost { ticks, events }, name: None });
    }

    fn understand(&mut self, event: Event, to: &mut Vec<Item>) {
        self.last_ticks = event.ticks;
        match event.kind {
            Kind::Name => {
                if event.detail == 0 {
                    self.name.clear();
                }
                self.name.extend(event::bytes(&event));
                self.name.truncate(event.number as usize);
            }
            Kind::Thread => self.actor = Some(Actor::Thread { id: event.number, name: event::bytes(&event) }),
            _ => {
                // Without its actor, which was lost, the event cannot be placed.
                let Some(actor) = self.actor else { return };
                let name = (!self.name.is_empty()).then(|| String::from_utf8_lossy(&self.name).into());
                self.name.clear();
                to.push(Item { actor, what: What::Event(event), name });
            }
        }
    }
}
