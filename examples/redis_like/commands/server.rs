//! The commands about the server, as far as redis-cli, redis-benchmark and client libraries need
//! them.

use super::{Answer, Call, Refusal, table};

pub const VERSION: &str = "7.0.0";

pub fn execute(call: &mut Call<'_>, name: &[u8], args: &[&[u8]]) -> Option<Answer> {
    let out = &mut *call.out;
    match (name, args) {
        (b"PING", []) => out.status("PONG"),
        (b"PING" | b"ECHO", [text]) => out.string(text),
        (b"SELECT", [b"0"]) => out.status("OK"),
        (b"SELECT", [_]) => return refused("ERR DB index is out of range"),
        (b"AUTH", [_] | [_, _]) => {
            return refused("ERR AUTH called without any password configured for the default user");
        }
        (b"COMMAND", [what]) if what.eq_ignore_ascii_case(b"COUNT") => out.count(table::COUNT),
        (b"COMMAND", _) => out.array(0),
        (b"CONFIG", [get, name]) if get.eq_ignore_ascii_case(b"GET") => {
            out.map(1);
            out.string(name);
            out.string(if name.eq_ignore_ascii_case(b"appendonly") { b"no" } else { b"" });
        }
        (b"CONFIG", [_, ..]) => return refused("ERR nothing can be configured here"),
        (b"INFO", _) => {
            let goroutines = narrowboat::num_goroutines();
            let keys = call.store.len();
            out.string(
                format!(
                    "# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\n\
                     # Goroutines\r\ngoroutines:{goroutines}\r\n# Keyspace\r\ndb0:keys={keys}\r\n"
                )
                .as_bytes(),
            );
        }
        _ => return None,
    }
    Some(Ok(()))
}

fn refused(text: &'static str) -> Option<Answer> {
    Some(Err(Refusal::Text(text)))
}
