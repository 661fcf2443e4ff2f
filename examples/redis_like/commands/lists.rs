//! Commands on lists. Blocking pops that must wait are carried out by `client`.

use super::super::store::{End, List};
use super::{Answer, Call, Refusal, integer};

pub fn execute(call: &mut Call<'_>, name: &[u8], args: &[&[u8]]) -> Option<Answer> {
    Some(match (name, args) {
        (b"LPUSH", [key, elements @ ..]) if !elements.is_empty() => push(call, key, End::Left, elements),
        (b"RPUSH", [key, elements @ ..]) if !elements.is_empty() => push(call, key, End::Right, elements),
        (b"LPOP", [key, count @ ..]) if count.len() <= 1 => pop(call, key, End::Left, count),
        (b"RPOP", [key, count @ ..]) if count.len() <= 1 => pop(call, key, End::Right, count),
        (b"BLPOP", [keys @ .., _]) => pop_first(call, keys, End::Left),
        (b"BRPOP", [keys @ .., _]) => pop_first(call, keys, End::Right),
        (b"LLEN", [key]) => length(call, key),
        (b"LINDEX", [key, index]) => element(call, key, index),
        (b"LRANGE", [key, from, to]) => range(call, key, from, to),
        _ => return None,
    })
}

fn push(call: &mut Call<'_>, key: &[u8], end: End, elements: &[&[u8]]) -> Answer {
    let mut length = 0;
    for element in elements {
        length = call.store.push(key, end, element.to_vec(), call.now)?;
    }
    call.out.count(length);
    Ok(())
}

fn pop(call: &mut Call<'_>, key: &[u8], end: End, count: &[&[u8]]) -> Answer {
    let Some(count) = count.first() else {
        let element = call.store.pop(key, end, call.now)?;
        call.out.optional(element.as_deref());
        return Ok(());
    };
    let count = usize::try_from(integer(count)?)
        .map_err(|_| Refusal::Text("ERR value is out of range, must be positive"))?;
    let Some(length) = call.store.typed::<List>(key, call.now)?.map(|list| list.len()) else {
        call.out.nil_array();
        return Ok(());
    };
    call.out.array(count.min(length));
    for _ in 0..count.min(length) {
        let element = call.store.pop(key, end, call.now)?;
        call.out.string(&element.expect("counted"));
    }
    Ok(())
}

/// The first list that has an element. A transaction does not wait for one.
fn pop_first(call: &mut Call<'_>, keys: &[&[u8]], end: End) -> Answer {
    for key in keys {
        if let Some(element) = call.store.pop(key, end, call.now)? {
            call.out.strings([*key, &element].into_iter());
            return Ok(());
        }
    }
    call.out.nil_array();
    Ok(())
}

fn length(call: &mut Call<'_>, key: &[u8]) -> Answer {
    let list = call.store.typed::<List>(key, call.now)?;
    call.out.count(list.map_or(0, |list| list.len()));
    Ok(())
}

fn element(call: &mut Call<'_>, key: &[u8], index: &[u8]) -> Answer {
    let index = integer(index)?;
    let element = call.store.typed::<List>(key, call.now)?.and_then(|list| {
        let index = if index < 0 { index.checked_add(list.len() as i64)? } else { index };
        list.get(usize::try_from(index).ok()?)
    });
    call.out.optional(element.map(Vec::as_slice));
    Ok(())
}

fn range(call: &mut Call<'_>, key: &[u8], from: &[u8], to: &[u8]) -> Answer {
    let (from, to) = (integer(from)?, integer(to)?);
    let empty = List::new();
    let list = call.store.typed(key, call.now)?.map_or(&empty, |list: &mut List| list);
    let length = list.len() as i64;
    // Negative indices count from the end.
    let absolute = |index: i64| if index < 0 { (index + length).max(0) } else { index.min(length) } as usize;
    let from = absolute(from);
    let to = if to < -length { 0 } else { absolute(to).saturating_add(1).min(list.len()) };
    call.out.strings(list.range(from.min(to)..to).map(Vec::as_slice));
    Ok(())
}
