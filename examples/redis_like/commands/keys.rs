//! Commands on keys of any kind.

use super::super::glob;
use super::{Answer, Call, NOT_A_NUMBER, Refusal, integer, scan};
use std::time::{Duration, Instant};

pub fn execute(call: &mut Call<'_>, name: &[u8], args: &[&[u8]]) -> Option<Answer> {
    match (name, args) {
        (b"DBSIZE", []) => call.out.count(call.store.len()),
        (b"FLUSHALL" | b"FLUSHDB", _) => {
            call.store.clear();
            call.out.status("OK");
        }
        (b"KEYS", [pattern]) => {
            let keys = call.store.iter(call.now).map(|(key, _)| key);
            let keys: Vec<_> = keys.filter(|key| glob::matches(pattern, key)).collect();
            call.out.strings(keys.into_iter());
        }
        (b"SCAN", [cursor, options @ ..]) => return Some(scan::keys(call, cursor, options)),
        (b"TYPE", [key]) => {
            call.out.status(call.store.get(key, call.now).map_or("none", |value| value.kind()));
        }
        (b"DEL" | b"UNLINK", [_, ..]) => {
            call.out.count(args.iter().filter(|key| call.store.remove(key, call.now)).count());
        }
        (b"EXISTS", [_, ..]) => {
            call.out.count(args.iter().filter(|key| call.store.get(key, call.now).is_some()).count());
        }
        (b"EXPIRE", [key, seconds]) => {
            return Some(integer(seconds).and_then(|seconds| expire(call, key, seconds.checked_mul(1000))));
        }
        (b"PEXPIRE", [key, milliseconds]) => {
            return Some(
                integer(milliseconds).and_then(|milliseconds| expire(call, key, Some(milliseconds))),
            );
        }
        (b"PERSIST", [key]) => {
            let had = call.store.expiry(key, call.now).flatten().is_some();
            call.store.set_expiry(key, None);
            call.out.integer(i64::from(had));
        }
        // Rounded up, so that the answer is not zero while the key exists.
        (b"TTL", [key]) => {
            let left = left(call, key);
            call.out.integer(if left < 0 { left } else { (left + 999) / 1000 });
        }
        (b"PTTL", [key]) => {
            let left = left(call, key);
            call.out.integer(left);
        }
        _ => return None,
    }
    Some(Ok(()))
}

/// So many milliseconds after now, if there is such a time.
pub fn later(now: Instant, milliseconds: i64) -> Option<Instant> {
    now.checked_add(Duration::from_millis(u64::try_from(milliseconds).ok()?))
}

fn expire(call: &mut Call<'_>, key: &[u8], milliseconds: Option<i64>) -> Answer {
    let milliseconds = milliseconds.ok_or(NOT_A_NUMBER)?;
    let there = call.store.get(key, call.now).is_some();
    if there && milliseconds <= 0 {
        call.store.remove(key, call.now);
    } else if there {
        let at = later(call.now, milliseconds).ok_or(Refusal::Text("ERR invalid expire time"))?;
        call.store.set_expiry(key, Some(at));
    }
    call.out.integer(i64::from(there));
    Ok(())
}

/// How many milliseconds are left; -1 if the key never expires, -2 if there is no such key.
fn left(call: &mut Call<'_>, key: &[u8]) -> i64 {
    match call.store.expiry(key, call.now) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from((at - call.now).as_millis()).unwrap_or(i64::MAX),
    }
}
