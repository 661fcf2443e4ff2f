//! Where a goroutine is suspended: return addresses, taken on its stack and given names by whoever
//! reads them.
//!
//! Nothing here locks while addresses are taken. std's `Backtrace` does, and a goroutine that holds
//! that lock may wait on the very processor whose loop takes the backtrace.

use crate::stack::frames;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::c_void;
use std::hash::{Hash, Hasher};

/// The addresses of one backtrace, innermost first.
#[derive(Debug)]
pub(crate) struct Frames(Vec<usize>);

/// One function, perhaps inlined into the next.
pub(super) struct Frame {
    pub(super) name: String,
    /// `./src/main.rs:4:20`, or nothing if that is not known.
    pub(super) at: String,
}

impl Frames {
    /// Of the caller.
    pub(crate) fn capture() -> Frames {
        const MOST: usize = 256;
        let mut addresses = Vec::with_capacity(32);
        frames::walk(0, &mut |ip| {
            addresses.push(ip);
            addresses.len() < MOST
        });
        Frames(addresses)
    }

    /// The same number for the same way to get there.
    pub(super) fn path(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn named(&self) -> Vec<Frame> {
        let here = env::current_dir().map(|path| path.display().to_string() + "/").unwrap_or_default();
        let mut named = Vec::new();
        for &address in &self.0 {
            backtrace::resolve(address as *mut c_void, |symbol| {
                let Some(name) = symbol.name() else { return };
                let at = symbol.filename().map_or_else(String::new, |path| {
                    let path = path.display().to_string();
                    let path = path.strip_prefix(&here).map_or(path.clone(), |rest| format!("./{rest}"));
                    let number = |n: Option<u32>| n.map(|n| format!(":{n}")).unwrap_or_default();
                    path + &number(symbol.lineno()) + &number(symbol.colno())
                });
                // Without the hash at the end.
                named.push(Frame { name: format!("{name:#}"), at });
            });
        }
        named
    }
}
