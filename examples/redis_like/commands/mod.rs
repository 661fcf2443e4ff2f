//! The commands on the data, and their answers. `table` says which there are; each other file
//! carries out those on one kind of value.

mod hashes;
mod keys;
mod lists;
mod scan;
mod server;
mod sets;
mod strings;
mod table;

use super::State;
use super::resp::{Replies, number};
use super::store::{Store, WrongType};
use std::time::Instant;

pub use server::VERSION;
pub use table::check;

/// Why a command was refused. The client gets it as an error.
enum Refusal {
    Text(&'static str),
    WrongNumber,
}

impl From<WrongType> for Refusal {
    fn from(wrong: WrongType) -> Refusal {
        Refusal::Text(wrong.text())
    }
}

type Answer = Result<(), Refusal>;

const NOT_A_NUMBER: Refusal = Refusal::Text("ERR value is not an integer or out of range");
const OVERFLOW: Refusal = Refusal::Text("ERR increment or decrement would overflow");
const SYNTAX: Refusal = Refusal::Text("ERR syntax error");

/// What a command works with.
struct Call<'a> {
    store: &'a mut Store,
    now: Instant,
    out: &'a mut Replies,
}

/// Carries out a command, and writes the answer. `name` is in upper case. The caller serves the
/// clients that wait for an element of a list afterwards.
pub fn execute(state: &mut State, now: Instant, name: &[u8], args: &[&[u8]], out: &mut Replies) {
    let answered = out.bytes.len();
    let call = &mut Call { store: &mut state.store, now, out };
    let done = match (name, args) {
        (b"PUBLISH", [channel, message]) => {
            let reached = state.hub.publish(channel, message);
            call.out.count(reached);
            Some(Ok(()))
        }
        _ => strings::execute(call, name, args)
            .or_else(|| lists::execute(call, name, args))
            .or_else(|| keys::execute(call, name, args))
            .or_else(|| hashes::execute(call, name, args))
            .or_else(|| sets::execute(call, name, args))
            .or_else(|| server::execute(call, name, args)),
    };
    match done {
        Some(Ok(())) if state.store.is_watched() => {
            table::changed(name, args).for_each(|key| state.store.touch(key));
        }
        Some(Ok(())) => {}
        Some(Err(refusal)) => {
            // An error comes in place of what was written of the answer.
            out.bytes.truncate(answered);
            match refusal {
                Refusal::Text(text) => out.error(text),
                Refusal::WrongNumber => out.error(&table::wrong_number(name)),
            }
        }
        None => out.error(&check(name, args.len()).err().unwrap_or_else(|| table::wrong_number(name))),
    }
}

fn integer(text: &[u8]) -> Result<i64, Refusal> {
    number(text).ok_or(NOT_A_NUMBER)
}

/// A word that options are compared with.
fn keyword(word: &[u8]) -> Vec<u8> {
    word.to_ascii_uppercase()
}
