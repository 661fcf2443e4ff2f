//! Commands on sets.

use super::super::resp::Replies;
use super::super::store::{Set, WrongType};
use super::{Answer, Call, Refusal, integer, scan};
use rand::Rng;

pub fn execute(call: &mut Call<'_>, name: &[u8], args: &[&[u8]]) -> Option<Answer> {
    Some(match (name, args) {
        (b"SADD", [key, members @ ..]) => add(call, key, members),
        (b"SREM", [key, members @ ..]) => remove(call, key, members),
        (b"SCARD", [key]) => with(call, key, |set, out| out.count(set.len())),
        (b"SISMEMBER", [key, member]) => {
            with(call, key, |set, out| out.integer(i64::from(set.contains(*member))))
        }
        (b"SMISMEMBER", [key, members @ ..]) => with(call, key, |set, out| {
            out.array(members.len());
            members.iter().for_each(|member| out.integer(i64::from(set.contains(*member))));
        }),
        (b"SMEMBERS", [key]) => with(call, key, answer_set),
        (b"SPOP", [key, count @ ..]) if count.len() <= 1 => pop(call, key, count.first().copied()),
        (b"SRANDMEMBER", [key, count @ ..]) if count.len() <= 1 => random(call, key, count.first().copied()),
        (b"SMOVE", [from, to, member]) => move_member(call, from, to, member),
        (b"SINTER", [_, ..]) => combine(call, args, |all, other| all.retain(|member| other.contains(member))),
        (b"SUNION", [_, ..]) => combine(call, args, |all, other| all.extend(other.iter().cloned())),
        (b"SDIFF", [_, ..]) => combine(call, args, |all, other| all.retain(|member| !other.contains(member))),
        (b"SSCAN", [key, cursor, options @ ..]) => scan::set(call, key, cursor, options),
        _ => return None,
    })
}

/// Answers from a set, which is empty if the key does not exist.
fn with(call: &mut Call<'_>, key: &[u8], answer: impl FnOnce(&Set, &mut Replies)) -> Answer {
    let empty = Set::new();
    let set = call.store.typed(key, call.now)?.map_or(&empty, |set: &mut Set| set);
    answer(set, call.out);
    Ok(())
}

fn answer_set(set: &Set, out: &mut Replies) {
    out.set(set.len());
    set.iter().for_each(|member| out.string(member));
}

fn add(call: &mut Call<'_>, key: &[u8], members: &[&[u8]]) -> Answer {
    let set: &mut Set = call.store.typed_or_new(key, call.now)?;
    let added = members.iter().filter(|member| set.insert(member.to_vec())).count();
    call.out.count(added);
    Ok(())
}

fn remove(call: &mut Call<'_>, key: &[u8], members: &[&[u8]]) -> Answer {
    let removed = match call.store.typed::<Set>(key, call.now)? {
        Some(set) => members.iter().filter(|member| set.swap_remove(**member)).count(),
        None => 0,
    };
    call.store.prune(key);
    call.out.count(removed);
    Ok(())
}

fn pop(call: &mut Call<'_>, key: &[u8], count: Option<&[u8]>) -> Answer {
    let positive = Refusal::Text("ERR value is out of range, must be positive");
    let wanted = count.map(|count| usize::try_from(integer(count)?).map_err(|_| positive)).transpose()?;
    let mut popped = Vec::new();
    if let Some(set) = call.store.typed::<Set>(key, call.now)? {
        while popped.len() < wanted.unwrap_or(1) && !set.is_empty() {
            popped.extend(set.swap_remove_index(rand::rng().random_range(0..set.len())));
        }
    }
    call.store.prune(key);
    match wanted {
        None => call.out.optional(popped.first().map(Vec::as_slice)),
        Some(_) => {
            call.out.set(popped.len());
            popped.iter().for_each(|member| call.out.string(member));
        }
    }
    Ok(())
}

/// With a negative count a member may come several times.
fn random(call: &mut Call<'_>, key: &[u8], count: Option<&[u8]>) -> Answer {
    /// A client must not be able to ask for an answer without end.
    const MOST: u64 = 1 << 20;
    let count = count.map(integer).transpose()?;
    if count.is_some_and(|count| count.unsigned_abs() > MOST) {
        return Err(Refusal::Text("ERR value is out of range"));
    }
    with(call, key, |set, out| {
        let mut random = rand::rng();
        let any = |random: &mut rand::rngs::ThreadRng| set.get_index(random.random_range(0..set.len()));
        match count {
            None if set.is_empty() => out.nil(),
            None => out.optional(any(&mut random).map(Vec::as_slice)),
            Some(0..) => {
                let count = (count.unwrap_or(0) as usize).min(set.len());
                let chosen = rand::seq::index::sample(&mut random, set.len(), count);
                out.strings(chosen.into_vec().into_iter().map(|index| &set[index][..]));
            }
            Some(_) if set.is_empty() => out.array(0),
            Some(count) => {
                let chosen =
                    (0..count.unsigned_abs() as usize).map(|_| any(&mut random).expect("has members"));
                out.strings(chosen.map(Vec::as_slice));
            }
        }
    })
}

fn move_member(call: &mut Call<'_>, from: &[u8], to: &[u8], member: &[u8]) -> Answer {
    // Both must be sets before either changes.
    call.store.typed::<Set>(to, call.now)?;
    let moved = match call.store.typed::<Set>(from, call.now)? {
        Some(set) if from == to => set.contains(member),
        Some(set) => set.swap_remove(member),
        None => false,
    };
    call.store.prune(from);
    if moved {
        call.store.typed_or_new::<Set>(to, call.now)?.insert(member.to_vec());
    }
    call.out.integer(i64::from(moved));
    Ok(())
}

/// Combines the sets in their order.
fn combine(call: &mut Call<'_>, keys: &[&[u8]], with: impl Fn(&mut Set, &Set)) -> Answer {
    let mut sets = keys.iter().map(|key| {
        let set = call.store.typed::<Set>(key, call.now)?;
        Ok::<_, WrongType>(set.map_or_else(Set::new, |set| set.clone()))
    });
    let mut all = sets.next().expect("a command has a first key")?;
    for set in sets {
        with(&mut all, &set?);
    }
    answer_set(&all, call.out);
    Ok(())
}
