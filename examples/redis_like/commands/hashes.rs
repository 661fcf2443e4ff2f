//! Commands on hashes.

use super::super::resp::number;
use super::super::store::Hash;
use super::{Answer, Call, OVERFLOW, Refusal, integer, scan};

pub fn execute(call: &mut Call<'_>, name: &[u8], args: &[&[u8]]) -> Option<Answer> {
    Some(match (name, args) {
        (b"HSET", [key, pairs @ ..]) => set(call, key, pairs).map(|added| call.out.count(added)),
        (b"HMSET", [key, pairs @ ..]) => set(call, key, pairs).map(|_| call.out.status("OK")),
        (b"HSETNX", [key, field, value]) => set_new(call, key, field, value),
        (b"HGET", [key, field]) => with(call, key, |hash, out| out.optional(value(hash, field))),
        (b"HMGET", [key, fields @ ..]) => with(call, key, |hash, out| {
            out.array(fields.len());
            fields.iter().for_each(|field| out.optional(value(hash, field)));
        }),
        (b"HGETALL", [key]) => with(call, key, |hash, out| {
            out.map(hash.len());
            for (field, value) in hash {
                out.string(field);
                out.string(value);
            }
        }),
        (b"HKEYS", [key]) => with(call, key, |hash, out| out.strings(hash.keys().map(Vec::as_slice))),
        (b"HVALS", [key]) => with(call, key, |hash, out| out.strings(hash.values().map(Vec::as_slice))),
        (b"HLEN", [key]) => with(call, key, |hash, out| out.count(hash.len())),
        (b"HEXISTS", [key, field]) => {
            with(call, key, |hash, out| out.integer(i64::from(hash.contains_key(*field))))
        }
        (b"HSTRLEN", [key, field]) => {
            with(call, key, |hash, out| out.count(value(hash, field).map_or(0, <[u8]>::len)))
        }
        (b"HDEL", [key, fields @ ..]) => delete(call, key, fields),
        (b"HINCRBY", [key, field, by]) => add(call, key, field, by),
        (b"HSCAN", [key, cursor, options @ ..]) => scan::hash(call, key, cursor, options),
        _ => return None,
    })
}

fn value<'a>(hash: &'a Hash, field: &[u8]) -> Option<&'a [u8]> {
    hash.get(field).map(Vec::as_slice)
}

/// Answers from a hash, which is empty if the key does not exist.
fn with(
    call: &mut Call<'_>,
    key: &[u8],
    answer: impl FnOnce(&Hash, &mut super::super::resp::Replies),
) -> Answer {
    let empty = Hash::new();
    let hash = call.store.typed(key, call.now)?.map_or(&empty, |hash: &mut Hash| hash);
    answer(hash, call.out);
    Ok(())
}

/// Returns how many fields are new.
fn set(call: &mut Call<'_>, key: &[u8], pairs: &[&[u8]]) -> Result<usize, Refusal> {
    if !pairs.len().is_multiple_of(2) {
        return Err(Refusal::WrongNumber);
    }
    let hash: &mut Hash = call.store.typed_or_new(key, call.now)?;
    let added = |pair: &&[&[u8]]| hash.insert(pair[0].to_vec(), pair[1].to_vec()).is_none();
    Ok(pairs.chunks_exact(2).filter(added).count())
}

fn set_new(call: &mut Call<'_>, key: &[u8], field: &[u8], value: &[u8]) -> Answer {
    let hash: &mut Hash = call.store.typed_or_new(key, call.now)?;
    let absent = !hash.contains_key(field);
    if absent {
        hash.insert(field.to_vec(), value.to_vec());
    }
    call.out.integer(i64::from(absent));
    Ok(())
}

fn delete(call: &mut Call<'_>, key: &[u8], fields: &[&[u8]]) -> Answer {
    let deleted = match call.store.typed::<Hash>(key, call.now)? {
        Some(hash) => fields.iter().filter(|field| hash.swap_remove(**field).is_some()).count(),
        None => 0,
    };
    call.store.prune(key);
    call.out.count(deleted);
    Ok(())
}

fn add(call: &mut Call<'_>, key: &[u8], field: &[u8], by: &[u8]) -> Answer {
    let by = integer(by)?;
    let before = call.store.typed::<Hash>(key, call.now)?.and_then(|hash| hash.get(field));
    let before = match before {
        Some(text) => number(text).ok_or(Refusal::Text("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = before.checked_add(by).ok_or(OVERFLOW)?;
    let hash: &mut Hash = call.store.typed_or_new(key, call.now)?;
    hash.insert(field.to_vec(), sum.to_string().into_bytes());
    call.out.integer(sum);
    Ok(())
}
