//! HELLO and CLIENT: which protocol a client speaks, and what it says of itself.

use super::resp::{Protocol, Replies, number};

/// What the server knows of a client.
pub struct Identity {
    pub id: u64,
    name: Vec<u8>,
}

impl Identity {
    pub fn new(id: u64) -> Identity {
        Identity { id, name: Vec::new() }
    }

    /// # Errors
    /// What the client is told whose name is none.
    fn rename(&mut self, name: &[u8]) -> Result<(), &'static str> {
        if name.iter().any(|byte| !byte.is_ascii_graphic()) {
            return Err("ERR Client names cannot contain spaces, newlines or special characters.");
        }
        self.name = name.to_vec();
        Ok(())
    }
}

/// Carries out HELLO. The protocol cannot change (`may_change`) once messages may be on their way to
/// the client.
pub fn hello(identity: &mut Identity, args: &[&[u8]], may_change: bool, out: &mut Replies) {
    match negotiate(identity, args, out.protocol) {
        Ok(protocol) if protocol == out.protocol || may_change => out.protocol = protocol,
        Ok(_) => return out.error("ERR the protocol cannot change after a subscription"),
        Err(text) => return out.error(text),
    }
    out.map(7);
    out.string(b"server");
    out.string(b"redis");
    out.string(b"version");
    out.string(super::commands::VERSION.as_bytes());
    out.string(b"proto");
    out.integer(if out.protocol == Protocol::Resp2 { 2 } else { 3 });
    out.string(b"id");
    out.integer(identity.id as i64);
    out.string(b"mode");
    out.string(b"standalone");
    out.string(b"role");
    out.string(b"master");
    out.string(b"modules");
    out.array(0);
}

/// The protocol that the client asks for. Notes its name.
fn negotiate(identity: &mut Identity, args: &[&[u8]], current: Protocol) -> Result<Protocol, &'static str> {
    let Some((version, options)) = args.split_first() else { return Ok(current) };
    let protocol = match number(version) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        Some(_) => return Err("NOPROTO unsupported protocol version"),
        None => return Err("ERR Protocol version is not an integer or out of range"),
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match (&option.to_ascii_uppercase()[..], options.next(), options.len()) {
            (b"SETNAME", Some(name), _) => identity.rename(name)?,
            (b"AUTH", Some(_), 1..) => {
                return Err("WRONGPASS invalid username-password pair or user is disabled.");
            }
            _ => return Err("ERR Syntax error in HELLO"),
        }
    }
    Ok(protocol)
}

/// Carries out CLIENT.
pub fn client(identity: &mut Identity, what: &[u8], args: &[&[u8]], out: &mut Replies) {
    match (&what.to_ascii_uppercase()[..], args) {
        (b"ID", []) => out.integer(identity.id as i64),
        (b"GETNAME", []) => {
            let name = &identity.name[..];
            out.optional((!name.is_empty()).then_some(name));
        }
        (b"SETNAME", [name]) => match identity.rename(name) {
            Ok(()) => out.status("OK"),
            Err(text) => out.error(text),
        },
        // The library's name and version, which nothing here shows.
        (b"SETINFO", [_, _]) => out.status("OK"),
        _ => out.error(&format!("ERR unknown subcommand '{}'", String::from_utf8_lossy(what))),
    }
}
