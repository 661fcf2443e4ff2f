//! Reads a trace of the scheduler. It knows the part of Perfetto's format that Narrowboat writes,
//! and rejects everything else.

use std::collections::{BTreeMap, HashMap};

/// A track: a processor, a worker, a thread, or a group of them.
#[derive(Clone, Debug, Default)]
pub struct Track {
    pub name: String,
    pub parent: u64,
}

/// A slice of a track from `begin` to `end`, in nanoseconds. A slice without an end was still open
/// when the trace ended.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    pub track: u64,
    pub name: String,
    pub begin: u64,
    pub end: Option<u64>,
    /// How many other slices of the track enclose it.
    pub depth: usize,
    /// It has no length: an event at one instant.
    pub instant: bool,
    pub numbers: HashMap<String, u64>,
    pub texts: HashMap<String, String>,
    /// The arrow that begins here, and the one that ends here.
    pub arrow_from: Option<u64>,
    pub arrow_to: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub tracks: BTreeMap<u64, Track>,
    /// In the order of their beginnings.
    pub slices: Vec<Slice>,
    /// How many bytes follow the last whole packet: none, unless the file was cut.
    pub left_over: usize,
}

type Result<T> = std::result::Result<T, String>;

/// A field: its number, and a number or bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next field; `None` if the bytes end or are not a field.
    fn next_field(&mut self) -> Option<Field<'a>> {
        let tag = self.varint()?;
        match tag & 7 {
            0 => Some(Field::Number(tag >> 3, self.varint()?)),
            1 => Some(Field::Number(tag >> 3, u64::from_le_bytes(self.take(8)?.try_into().ok()?))),
            2 => {
                let len = self.varint()?;
                Some(Field::Bytes(tag >> 3, self.take(len as usize)?))
            }
            _ => None,
        }
    }
}

/// Calls `field` with each field of a message.
fn each<'a>(message: &'a [u8], mut field: impl FnMut(Field<'a>) -> Result<()>) -> Result<()> {
    let mut fields = Fields(message);
    while !fields.0.is_empty() {
        field(fields.next_field().ok_or("a message that is none")?)?;
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())
}

/// Texts that packets refer to by number: names of slices, names of notes, and texts in notes.
#[derive(Default)]
struct Interned {
    names: HashMap<u64, String>,
    notes: HashMap<u64, String>,
    texts: HashMap<u64, String>,
}

fn lookup(table: &HashMap<u64, String>, id: u64) -> Result<String> {
    table.get(&id).cloned().ok_or_else(|| format!("{id} is interned nowhere"))
}

impl Interned {
    fn learn(&mut self, data: &[u8]) -> Result<()> {
        each(data, |field| {
            let Field::Bytes(number, entry) = field else { return Ok(()) };
            let (mut id, mut value) = (0, String::new());
            each(entry, |field| {
                match field {
                    Field::Number(1, number) => id = number,
                    Field::Bytes(2, bytes) => value = text(bytes)?,
                    _ => {}
                }
                Ok(())
            })?;
            match number {
                2 => self.names.insert(id, value),
                3 => self.notes.insert(id, value),
                29 => self.texts.insert(id, value),
                _ => return Err(format!("an unknown table {number}")),
            };
            Ok(())
        })
    }
}

/// A packet's event before it is placed.
struct Event {
    kind: u64,
    slice: Slice,
}

impl Trace {
    /// Reads a whole file.
    ///
    /// # Errors
    /// If something in it is wrong: a name that is interned nowhere, a track that is not described,
    /// an end without a beginning, an arrow that ends and never began.
    pub fn read(file: &[u8]) -> Result<Trace> {
        let mut trace = Trace::default();
        let mut interned = Interned::default();
        let mut events = Vec::new();
        let mut fields = Fields(file);
        while !fields.0.is_empty() {
            let left = fields.0.len();
            match fields.next_field() {
                Some(Field::Bytes(1, packet)) => trace.packet(packet, &mut interned, &mut events)?,
                Some(_) => return Err("something that is no packet".into()),
                None => {
                    trace.left_over = left;
                    break;
                }
            }
        }
        // As Perfetto does. Events at the same time stay in the order of the file.
        events.sort_by_key(|event| event.slice.begin);
        trace.place(events)?;
        Ok(trace)
    }

    fn packet(&mut self, packet: &[u8], interned: &mut Interned, events: &mut Vec<Event>) -> Result<()> {
        let mut event = None;
        let mut at = 0;
        each(packet, |field| {
            match field {
                Field::Number(8, timestamp) => at = timestamp,
                Field::Bytes(11, bytes) => event = Some(bytes),
                Field::Bytes(12, data) => interned.learn(data)?,
                Field::Bytes(60, bytes) => {
                    let (mut uuid, mut track) = (0, Track::default());
                    each(bytes, |field| {
                        match field {
                            Field::Number(1, number) => uuid = number,
                            Field::Number(5, number) => track.parent = number,
                            Field::Bytes(2, bytes) => track.name = text(bytes)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    self.tracks.insert(uuid, track);
                }
                _ => {}
            }
            Ok(())
        })?;
        if let Some(bytes) = event {
            let mut event = Event { kind: 0, slice: Slice { begin: at, ..Slice::default() } };
            event.read(bytes, interned)?;
            if !self.tracks.contains_key(&event.slice.track) {
                return Err(format!("track {} is not described", event.slice.track));
            }
            events.push(event);
        }
        Ok(())
    }

    /// Builds slices from beginnings and ends.
    fn place(&mut self, events: Vec<Event>) -> Result<()> {
        let mut open: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut arrows = HashMap::new();
        for Event { kind, mut slice } in events {
            let open = open.entry(slice.track).or_default();
            if kind == 2 {
                let began =
                    open.pop().ok_or_else(|| format!("an end without a beginning at {}", slice.begin))?;
                let began = &mut self.slices[began];
                began.end = Some(slice.begin);
                began.numbers.extend(slice.numbers);
                began.texts.extend(slice.texts);
                continue;
            }
            slice.depth = open.len();
            slice.instant = kind == 3;
            if slice.instant {
                slice.end = Some(slice.begin);
            } else {
                open.push(self.slices.len());
            }
            if let Some(arrow) = slice.arrow_from
                && arrows.insert(arrow, ()).is_some()
            {
                return Err(format!("arrow {arrow} begins twice"));
            }
            if let Some(arrow) = slice.arrow_to
                && arrows.remove(&arrow).is_none()
            {
                return Err(format!("arrow {arrow} ends before it begins"));
            }
            self.slices.push(slice);
        }
        Ok(())
    }

    /// The slices and instants of one name.
    #[allow(dead_code, reason = "for tests")]
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| slice.name == name)
    }

    #[allow(dead_code, reason = "for tests")]
    pub fn track_of(&self, slice: &Slice) -> &str {
        &self.tracks[&slice.track].name
    }
}

impl Event {
    fn read(&mut self, bytes: &[u8], interned: &Interned) -> Result<()> {
        let slice = &mut self.slice;
        each(bytes, |field| {
            match field {
                Field::Number(9, kind) => self.kind = kind,
                Field::Number(10, id) => slice.name = lookup(&interned.names, id)?,
                Field::Number(11, track) => slice.track = track,
                Field::Bytes(23, bytes) => slice.name = text(bytes)?,
                Field::Number(47, arrow) => slice.arrow_from = Some(arrow),
                Field::Number(48, arrow) => slice.arrow_to = Some(arrow),
                Field::Bytes(4, note) => {
                    let mut name = String::new();
                    each(note, |field| {
                        match field {
                            Field::Number(1, id) => name = lookup(&interned.notes, id)?,
                            Field::Number(3 | 7, value) => {
                                slice.numbers.insert(name.clone(), value);
                            }
                            Field::Number(17, id) => {
                                slice.texts.insert(name.clone(), lookup(&interned.texts, id)?);
                            }
                            _ => return Err("an unknown kind of note".into()),
                        }
                        Ok(())
                    })?;
                }
                _ => return Err("an unknown field of an event".into()),
            }
            Ok(())
        })
    }
}
