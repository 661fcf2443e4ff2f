//! SCAN, HSCAN and SSCAN: a walk in steps through a collection that may change between them.
//!
//! The walk goes through the places of an index map from the end to the start, and the cursor is
//! the number of places that are left. A removal puts the last element into the place that becomes
//! free. So an element that stays is never moved from a place that is left to one that was passed,
//! and is found; one may be found twice. New elements come at the end, and may not be found.

use super::super::glob;
use super::super::resp::number;
use super::super::store::{Hash, Set};
use super::{Answer, Call, Refusal, SYNTAX, integer, keyword};

const INVALID_CURSOR: Refusal = Refusal::Text("ERR invalid cursor");
const USUAL_COUNT: usize = 10;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<Vec<u8>>,
    count: usize,
    without_values: bool,
}

impl Options<'_> {
    fn parse<'a>(words: &'a [&'a [u8]], of_keys: bool, of_hash: bool) -> Result<Options<'a>, Refusal> {
        let mut options = Options { pattern: None, kind: None, count: USUAL_COUNT, without_values: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match keyword(word).as_slice() {
                b"MATCH" => options.pattern = Some(words.next().ok_or(SYNTAX)?),
                b"COUNT" => {
                    let count = integer(words.next().ok_or(SYNTAX)?)?;
                    options.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(SYNTAX)?;
                }
                b"TYPE" if of_keys => {
                    options.kind = Some(words.next().ok_or(SYNTAX)?.to_ascii_lowercase());
                }
                b"NOVALUES" if of_hash => options.without_values = true,
                _ => return Err(SYNTAX),
            }
        }
        Ok(options)
    }

    fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// The places of one step, and the cursor for the next.
fn step(cursor: &[u8], count: usize, places: usize) -> Result<(std::ops::Range<usize>, usize), Refusal> {
    let cursor = number(cursor).and_then(|cursor| usize::try_from(cursor).ok()).ok_or(INVALID_CURSOR)?;
    let end = if cursor == 0 { places } else { cursor.min(places) };
    let start = end.saturating_sub(count);
    Ok((start..end, start))
}

pub fn keys(call: &mut Call<'_>, cursor: &[u8], options: &[&[u8]]) -> Answer {
    let options = Options::parse(options, true, false)?;
    let (places, next) = step(cursor, options.count, call.store.len())?;
    let kind = options.kind.as_deref();
    let alive = places.rev().filter_map(|place| call.store.at(place, call.now));
    let right = alive
        .filter(|(key, value)| options.takes(key) && kind.is_none_or(|kind| kind == value.kind().as_bytes()));
    let keys: Vec<&[u8]> = right.map(|(key, _)| key).collect();
    call.out.array(2);
    call.out.string(next.to_string().as_bytes());
    call.out.strings(keys.into_iter());
    Ok(())
}

pub fn hash(call: &mut Call<'_>, key: &[u8], cursor: &[u8], options: &[&[u8]]) -> Answer {
    let options = Options::parse(options, false, true)?;
    let empty = Hash::new();
    let hash = call.store.typed(key, call.now)?.map_or(&empty, |hash: &mut Hash| hash);
    let (places, next) = step(cursor, options.count, hash.len())?;
    let fields = places.rev().filter_map(|place| hash.get_index(place));
    let fields: Vec<_> = fields.filter(|(field, _)| options.takes(field)).collect();
    call.out.array(2);
    call.out.string(next.to_string().as_bytes());
    call.out.array(fields.len() * if options.without_values { 1 } else { 2 });
    for (field, value) in fields {
        call.out.string(field);
        if !options.without_values {
            call.out.string(value);
        }
    }
    Ok(())
}

pub fn set(call: &mut Call<'_>, key: &[u8], cursor: &[u8], options: &[&[u8]]) -> Answer {
    let options = Options::parse(options, false, false)?;
    let empty = Set::new();
    let set = call.store.typed(key, call.now)?.map_or(&empty, |set: &mut Set| set);
    let (places, next) = step(cursor, options.count, set.len())?;
    let members = places.rev().filter_map(|place| set.get_index(place));
    let members: Vec<&[u8]> = members.filter(|member| options.takes(member)).map(Vec::as_slice).collect();
    call.out.array(2);
    call.out.string(next.to_string().as_bytes());
    call.out.strings(members.into_iter());
    Ok(())
}
