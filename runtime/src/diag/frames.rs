//! Where a goroutine is suspended: the [addresses](Frames) taken on its stack, resolved to names by
//! the reader.

use crate::goroutine::task;
use crate::stack::backtrace::Frames;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::c_void;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

/// One function, perhaps inlined into the next.
pub(super) struct Frame {
    pub(super) name: String,
    /// `./src/main.rs:4:20`, or nothing if that is not known.
    pub(super) at: String,
}

impl Frames {
    /// A hash: the same number for the same call path.
    pub(super) fn path(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.addresses().hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn named(&self) -> Vec<Frame> {
        let here = env::current_dir().map(|path| path.display().to_string() + "/").unwrap_or_default();
        let mut named = Vec::new();
        for &address in self.addresses() {
            let known = named.len();
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
            // A program without symbols.
            if named.len() == known {
                named.push(Frame { name: format!("{address:#x}"), at: String::new() });
            }
        }
        named
    }
}

/// Gives back what has been read of the program to name frames: some megabytes.
pub(super) fn forget_symbols() {
    backtrace::clear_symbol_cache();
}

impl Frame {
    /// Whether this function calls the goroutine's closure. If it was inlined, only its file shows
    /// that.
    fn is_root(&self) -> bool {
        self.name.contains("narrowboat_runtime::goroutine::task::") || self.at.contains(task::FILE)
    }

    /// Whether it is one of Narrowboat's functions or of std's.
    pub(super) fn is_internal(&self) -> bool {
        /// The folder of this crate's sources, as the compiler was told.
        const OURS: &str = file!().split_at(file!().len() - "diag/frames.rs".len()).0;
        const MODULES: [&str; 7] = [
            "narrowboat_runtime::",
            "narrowboat_chan::",
            "narrowboat_sync::",
            "narrowboat_net::",
            "narrowboat_interpose::",
            "std::",
            "core::",
        ];
        let name = self.name.trim_start_matches('<');
        name == "syscall"
            || MODULES.iter().any(|module| name.starts_with(module))
            || self.at.contains(OURS)
            // The crate that stands in front of libc, in the workspace and as it is published.
            || self.at.contains("interpose/src/")
            || self.at.contains("narrowboat-interpose-")
            // The standard library as it is distributed.
            || self.at.starts_with("/rustc/")
    }
}

/// Writes the program's own part of these frames, a line each.
pub(super) fn write_up_to_the_root(to: &mut impl Write, frames: &[Frame]) -> fmt::Result {
    const MOST: usize = 24;
    for (index, Frame { name, at }) in frames.iter().take_while(|frame| !frame.is_root()).enumerate() {
        if index == MOST {
            return writeln!(to, "        .. and further ones");
        }
        writeln!(to, "      {name}{}{at}", if at.is_empty() { "" } else { "  at " })?;
    }
    Ok(())
}
