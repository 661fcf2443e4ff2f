//! One event of the scheduler: four words, written by the thread that causes it, decoded later by
//! [`crate::diag::trace`].
//!
//! | kind | detail | number | a | b |
//! |---|---|---|---|---|
//! | `Name` | which part, from 0 | length of the whole in bytes | 8 bytes | 8 bytes of the name of what the next event is about |
//! | `Thread` | | its kernel id | 8 bytes | 8 bytes of its name; it is the actor of the next event |
//! | `Carries`, `StopsCarrying` | | | | |
//! | `Phase` | a [`Phase`](crate::telemetry::counters::Phase) | | | |
//! | `Steals` | | | | |
//! | `Polls` | | events found | | |
//! | `Spawns` | | the processor | goroutine | the line, a [`Location`] |
//! | `Wakes` | 1: its deadline has passed | | goroutine | |
//! | `WakesThread`, `ThreadWaits`, `ThreadGoesOn` | | | the thread's record | |
//! | `Begins` | a [`From`] | | goroutine | the line that spawned it, a [`Location`] |
//! | `Copies` | | bytes copied in | bytes copied out | the goroutine that was copied out, or 0 |
//! | `Ends` | a [`Reason`](crate::wait::Reason), or [`GAVE_WAY`], [`FINISHED`] | | what it waits for, or 0 | the line that waits, a [`Location`], or 0 |
//! | `Stuck` | | milliseconds so far | | |
//!
//! `processor` is the one that the event is about, or the one that its actor is on; if there is
//! none, it is the actor's own.

use std::fmt::{self, Write};
use std::panic::Location;

pub(crate) const WORDS: usize = 4;
/// Bytes of a name that one event holds, and the maximum number of parts.
pub(crate) const NAME_PART: usize = 16;
pub(crate) const NAME_PARTS: usize = 4;
/// No processor, in [`Event::processor`].
pub(crate) const NOWHERE: u16 = u16::MAX;
/// Ends of a turn that are not a wait.
pub(crate) const GAVE_WAY: u8 = 254;
pub(crate) const FINISHED: u8 = 255;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Name,
    Thread,
    Carries,
    StopsCarrying,
    Phase,
    Steals,
    Polls,
    Spawns,
    Wakes,
    WakesThread,
    ThreadWaits,
    ThreadGoesOn,
    Begins,
    Copies,
    Ends,
    Stuck,
}

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::Name,
        Kind::Thread,
        Kind::Carries,
        Kind::StopsCarrying,
        Kind::Phase,
        Kind::Steals,
        Kind::Polls,
        Kind::Spawns,
        Kind::Wakes,
        Kind::WakesThread,
        Kind::ThreadWaits,
        Kind::ThreadGoesOn,
        Kind::Begins,
        Kind::Copies,
        Kind::Ends,
        Kind::Stuck,
    ];
}

/// Why a goroutine has its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum From {
    Spawn,
    Wake,
    Yield,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    /// When, by [`arch::ticks`](crate::arch::ticks).
    pub(crate) ticks: u64,
    pub(crate) kind: Kind,
    pub(crate) detail: u8,
    pub(crate) processor: u16,
    pub(crate) number: u32,
    pub(crate) a: u64,
    pub(crate) b: u64,
}

impl Event {
    #[inline]
    pub(crate) fn pack(&self) -> [u64; WORDS] {
        let Event { ticks, kind, detail, processor, number, a, b } = *self;
        let what =
            kind as u64 | u64::from(detail) << 8 | u64::from(processor) << 16 | u64::from(number) << 32;
        [ticks, what, a, b]
    }

    pub(crate) fn unpack([ticks, what, a, b]: [u64; WORDS]) -> Event {
        Event {
            ticks,
            kind: Kind::ALL[usize::from(what as u8)],
            detail: (what >> 8) as u8,
            processor: (what >> 16) as u16,
            number: (what >> 32) as u32,
            a,
            b,
        }
    }

    /// The source line that the event names.
    pub(crate) fn line(&self) -> Option<&'static Location<'static>> {
        debug_assert!(matches!(self.kind, Kind::Spawns | Kind::Begins | Kind::Ends));
        // SAFETY: in these kinds `b` is null or was made of such a reference (`super`), and
        // rings return events whole.
        unsafe { (self.b as *const Location<'static>).as_ref() }
    }
}

/// What a goroutine is called in a trace: its name, and its labels. Without either, nothing. What is
/// too long is cut off.
pub(crate) struct Name {
    bytes: [u8; NAME_PART * NAME_PARTS],
    len: usize,
}

impl Name {
    #[inline]
    pub(crate) fn of(given: Option<&str>, labels: &str, spawned_at: &Location<'_>) -> Name {
        let mut name = Name { bytes: [0; NAME_PART * NAME_PARTS], len: 0 };
        if let Some(given) = given {
            name.add(given);
        }
        if !labels.is_empty() {
            name.add_labels(labels, spawned_at);
        }
        name
    }

    #[cold]
    fn add_labels(&mut self, labels: &str, spawned_at: &Location<'_>) {
        if self.len == 0 {
            let file = spawned_at.file();
            self.add(file.rsplit('/').next().unwrap_or(file));
            // What does not fit is left out.
            let _ = write!(self, ":{}", spawned_at.line());
        }
        self.add(" ");
        self.add(labels);
    }

    fn add(&mut self, text: &str) {
        let room = self.bytes.len() - self.len;
        let fits = (0..=text.len().min(room)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The parts, for events that precede the one that they belong to.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u8, u64, u64)> {
        self.bytes[..self.len.next_multiple_of(NAME_PART)].chunks_exact(NAME_PART).zip(0..).map(
            |(bytes, part)| {
                let [a, b] = words(bytes.try_into().expect("a whole part"));
                (part, a, b)
            },
        )
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text);
        Ok(())
    }
}

pub(crate) fn words(bytes: [u8; NAME_PART]) -> [u64; 2] {
    let (a, b) = bytes.split_at(NAME_PART / 2);
    [a, b].map(|half| u64::from_ne_bytes(half.try_into().expect("half of the bytes")))
}

pub(crate) fn bytes(event: &Event) -> [u8; NAME_PART] {
    let mut bytes = [0; NAME_PART];
    bytes[..8].copy_from_slice(&event.a.to_ne_bytes());
    bytes[8..].copy_from_slice(&event.b.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goroutine_is_called_by_its_name_and_its_labels() {
        let text = |name: &Name| String::from_utf8_lossy(&name.bytes[..name.len]).into_owned();
        let here = Location::caller();
        let nameless = Name::of(None, "", here);
        assert_eq!((text(&nameless), nameless.parts().count()), (String::new(), 0));
        let labelled = Name::of(None, "request=7", here);
        assert_eq!(text(&labelled), format!("event.rs:{} request=7", here.line()));
        assert_eq!(labelled.parts().count(), 2);
        assert_eq!(text(&Name::of(Some("main"), "request=7", here)), "main request=7");
        let name = Name::of(None, &format!("path={}", "ü".repeat(100)), here);
        assert!(name.len() <= 64 && name.len() > 60 && name.parts().count() == NAME_PARTS);
        assert!(str::from_utf8(&name.bytes[..name.len]).is_ok());
    }

    #[test]
    fn events_come_back_as_they_went() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let event = Event {
                ticks: 1 << 60,
                kind,
                detail: 255,
                processor: 1023,
                number: u32::MAX,
                a: 7,
                b: u64::MAX,
            };
            assert_eq!(Event::unpack(event.pack()), event);
        }
    }
}
