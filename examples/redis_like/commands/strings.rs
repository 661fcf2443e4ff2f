//! Commands on strings and counters.

use super::super::resp::number;
use super::super::store::Value;
use super::{Answer, Call, NOT_A_NUMBER, OVERFLOW, Refusal, SYNTAX, integer, keys, keyword};

type Text = Vec<u8>;

pub fn execute(call: &mut Call<'_>, name: &[u8], args: &[&[u8]]) -> Option<Answer> {
    Some(match (name, args) {
        (b"GET", [key]) => get(call, key),
        (b"SET", [key, value, options @ ..]) => set(call, key, value, options),
        (b"SETNX", [key, value]) => set_new(call, key, value),
        (b"GETDEL", [key]) => get(call, key).map(|()| {
            call.store.remove(key, call.now);
        }),
        (b"MGET", [_, ..]) => get_all(call, args),
        (b"MSET", [_, ..]) => set_all(call, args),
        (b"APPEND", [key, more]) => append(call, key, more),
        (b"STRLEN", [key]) => length(call, key),
        (b"INCR", [key]) => add(call, key, 1),
        (b"DECR", [key]) => add(call, key, -1),
        (b"INCRBY", [key, by]) => integer(by).and_then(|by| add(call, key, by)),
        (b"DECRBY", [key, by]) => {
            integer(by).and_then(|by| by.checked_neg().ok_or(OVERFLOW)).and_then(|by| add(call, key, by))
        }
        _ => return None,
    })
}

fn get(call: &mut Call<'_>, key: &[u8]) -> Answer {
    let text = call.store.typed::<Text>(key, call.now)?;
    call.out.optional(text.map(|text| &text[..]));
    Ok(())
}

fn get_all(call: &mut Call<'_>, keys: &[&[u8]]) -> Answer {
    call.out.array(keys.len());
    for key in keys {
        match call.store.get(key, call.now) {
            Some(Value::String(text)) => call.out.string(text),
            _ => call.out.nil(),
        }
    }
    Ok(())
}

fn set(call: &mut Call<'_>, key: &[u8], value: &[u8], options: &[&[u8]]) -> Answer {
    let (mut expires, mut keep, mut only_if, mut get_old) = (None, false, None, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let option = keyword(option);
        match &option[..] {
            b"EX" | b"PX" if expires.is_none() && !keep => {
                let time = integer(options.next().ok_or(SYNTAX)?)?;
                let time = time.checked_mul(if option == b"EX" { 1000 } else { 1 });
                let invalid = Refusal::Text("ERR invalid expire time in 'set' command");
                let at = time.filter(|&ms| ms > 0).and_then(|ms| keys::later(call.now, ms));
                expires = Some(at.ok_or(invalid)?);
            }
            b"KEEPTTL" if expires.is_none() => keep = true,
            b"NX" if only_if != Some(true) => only_if = Some(false),
            b"XX" if only_if != Some(false) => only_if = Some(true),
            b"GET" => get_old = true,
            _ => return Err(SYNTAX),
        }
    }
    if get_old {
        get(call, key)?;
    }
    let there = call.store.get(key, call.now).is_some();
    if only_if.is_some_and(|wanted| wanted != there) {
        if !get_old {
            call.out.nil();
        }
        return Ok(());
    }
    if keep {
        expires = call.store.expiry(key, call.now).flatten();
    }
    call.store.set(key, Value::String(value.to_vec()), expires);
    if !get_old {
        call.out.status("OK");
    }
    Ok(())
}

fn set_new(call: &mut Call<'_>, key: &[u8], value: &[u8]) -> Answer {
    let absent = call.store.get(key, call.now).is_none();
    if absent {
        call.store.set(key, Value::String(value.to_vec()), None);
    }
    call.out.integer(i64::from(absent));
    Ok(())
}

fn set_all(call: &mut Call<'_>, pairs: &[&[u8]]) -> Answer {
    if !pairs.len().is_multiple_of(2) {
        return Err(Refusal::WrongNumber);
    }
    for pair in pairs.chunks_exact(2) {
        call.store.set(pair[0], Value::String(pair[1].to_vec()), None);
    }
    call.out.status("OK");
    Ok(())
}

fn append(call: &mut Call<'_>, key: &[u8], more: &[u8]) -> Answer {
    let text: &mut Text = call.store.typed_or_new(key, call.now)?;
    text.extend_from_slice(more);
    call.out.count(text.len());
    Ok(())
}

fn length(call: &mut Call<'_>, key: &[u8]) -> Answer {
    let text = call.store.typed::<Text>(key, call.now)?;
    call.out.count(text.map_or(0, |text| text.len()));
    Ok(())
}

fn add(call: &mut Call<'_>, key: &[u8], by: i64) -> Answer {
    let sum = match call.store.typed::<Text>(key, call.now)? {
        Some(text) => {
            let before = number(text).ok_or(NOT_A_NUMBER)?;
            let sum = before.checked_add(by).ok_or(OVERFLOW)?;
            // Changes the value in place, so that the key keeps its expiry.
            *text = sum.to_string().into_bytes();
            sum
        }
        None => {
            call.store.set(key, Value::String(by.to_string().into_bytes()), None);
            by
        }
    };
    call.out.integer(sum);
    Ok(())
}
