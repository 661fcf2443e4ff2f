//! Profiles in the format of `pprof`: a compressed message of protocol buffers, with the names and
//! lines of functions inside.
//!
//! The numbers are those of the fields in the published schema (`profile.proto`).

use flate2::Compression;
use flate2::write::GzEncoder;
use narrowboat_runtime::window::{Frame, Message};
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// Fields of `Profile`.
mod field {
    pub(super) const SAMPLE_TYPE: u64 = 1;
    pub(super) const SAMPLE: u64 = 2;
    pub(super) const MAPPING: u64 = 3;
    pub(super) const LOCATION: u64 = 4;
    pub(super) const FUNCTION: u64 = 5;
    pub(super) const STRING: u64 = 6;
    pub(super) const TIME: u64 = 9;
    pub(super) const DURATION: u64 = 10;
    pub(super) const PERIOD_TYPE: u64 = 11;
    pub(super) const PERIOD: u64 = 12;
    pub(super) const COMMENT: u64 = 13;
}

/// What a number counts, and in what unit: `("cpu", "nanoseconds")`.
pub(crate) type Unit = (&'static str, &'static str);

/// A profile while it is put together. Equal texts, functions and locations are there once.
pub(crate) struct Profile {
    out: Message,
    texts: HashMap<String, u64>,
    functions: HashMap<(u64, u64), u64>,
    locations: HashMap<(u64, u64), u64>,
}

/// The one mapping, which says that all names are known.
const PROGRAM: u64 = 1;

impl Profile {
    /// A profile whose samples have a number for each of `units`, one sample for each `period`.
    pub(crate) fn new(units: &[Unit], period: (Unit, u64)) -> Profile {
        let mut profile = Profile {
            out: Message::default(),
            texts: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        };
        // The first text is the empty one, by definition.
        profile.text("");
        for &unit in units {
            profile.unit(field::SAMPLE_TYPE, unit);
        }
        profile.unit(field::PERIOD_TYPE, period.0);
        profile.out.number(field::PERIOD, period.1);
        let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
        let program = profile.text(&program);
        profile.out.message(field::MAPPING, |mapping| {
            mapping.number(1, PROGRAM);
            mapping.number(5, program);
            // Functions, files, lines, inlined functions.
            (7..=10).for_each(|has| mapping.number(has, 1));
        });
        profile
    }

    /// Adds a sample: a number for each unit, frames with the innermost first, and labels.
    pub(crate) fn sample(&mut self, values: &[u64], frames: &[Frame], labels: &[(&str, &str)]) {
        let frames: Vec<u64> = frames.iter().map(|frame| self.location(frame)).collect();
        let labels: Vec<_> = labels.iter().map(|(key, value)| (self.text(key), self.text(value))).collect();
        self.out.message(field::SAMPLE, |sample| {
            frames.into_iter().for_each(|location| sample.number(1, location));
            values.iter().for_each(|&value| sample.number(2, value));
            for (key, value) in labels {
                sample.message(3, |label| {
                    label.number(1, key);
                    label.number(2, value);
                });
            }
        });
    }

    /// Adds a text that tools show beside the profile.
    pub(crate) fn comment(&mut self, text: &str) {
        let text = self.text(text);
        self.out.number(field::COMMENT, text);
    }

    /// The compressed profile, of a time that ends now.
    pub(crate) fn finish(mut self, lasted: Duration) -> Vec<u8> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.out.number(field::TIME, now.saturating_sub(lasted).as_nanos() as u64);
        self.out.number(field::DURATION, lasted.as_nanos() as u64);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        // A vector takes everything.
        let _ = packed.write_all(self.out.bytes());
        packed.finish().unwrap_or_default()
    }

    fn unit(&mut self, field: u64, unit: Unit) {
        let (what, unit) = (self.text(unit.0), self.text(unit.1));
        self.out.message(field, |message| {
            message.number(1, what);
            message.number(2, unit);
        });
    }

    /// The number of a text.
    fn text(&mut self, text: &str) -> u64 {
        if let Some(&number) = self.texts.get(text) {
            return number;
        }
        let number = self.texts.len() as u64;
        self.texts.insert(text.into(), number);
        self.out.text(field::STRING, text);
        number
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let key = (self.text(&frame.name), self.text(&frame.file));
        let next = self.functions.len() as u64 + 1;
        *self.functions.entry(key).or_insert_with(|| {
            self.out.message(field::FUNCTION, |function| {
                function.number(1, next);
                function.number(2, key.0);
                function.number(3, key.0);
                function.number(4, key.1);
            });
            next
        })
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        let key = (self.function(frame), u64::from(frame.line));
        let next = self.locations.len() as u64 + 1;
        *self.locations.entry(key).or_insert_with(|| {
            self.out.message(field::LOCATION, |location| {
                location.number(1, next);
                location.number(2, PROGRAM);
                location.message(4, |line| {
                    line.number(1, key.0);
                    line.number(2, key.1);
                });
            });
            next
        })
    }
}
