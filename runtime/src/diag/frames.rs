//! Where a goroutine is suspended: the [addresses](Frames) taken on its stack, resolved to names by
//! the reader.

use crate::goroutine::task;
use crate::stack::backtrace::Frames;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::c_void;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::panic::Location;

/// One function, perhaps inlined into the next.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Frame {
    /// Its name, or its address if the program has no symbols.
    pub name: String,
    /// The file of its source, or nothing if that is not known.
    pub file: String,
    /// The line of the call, or 0.
    pub line: u32,
    /// The column of the call, or 0.
    pub column: u32,
}

impl Frames {
    /// A hash: the same number for the same call path.
    pub(super) fn path(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.addresses().hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn named(&self) -> Vec<Frame> {
        self.named_by(&mut Names::default())
    }

    /// As [`named`](Frames::named), with the names of earlier calls.
    pub(super) fn named_by(&self, names: &mut Names) -> Vec<Frame> {
        self.addresses().iter().flat_map(|&address| names.of(address).to_vec()).collect()
    }
}

/// The functions at an address, innermost first: more than one if some are inlined.
fn name(address: usize) -> Vec<Frame> {
    let here = env::current_dir().map(|path| path.display().to_string() + "/").unwrap_or_default();
    let mut named = Vec::new();
    backtrace::resolve(address as *mut c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        let file = symbol.filename().map_or_else(String::new, |path| {
            let path = path.display().to_string();
            path.strip_prefix(&here).map_or(path.clone(), |rest| format!("./{rest}"))
        });
        named.push(Frame {
            // Without the hash at the end.
            name: format!("{name:#}"),
            file,
            line: symbol.lineno().unwrap_or_default(),
            column: symbol.colno().unwrap_or_default(),
        });
    });
    // A program without symbols.
    if named.is_empty() {
        named.push(Frame { name: format!("{address:#x}"), file: String::new(), line: 0, column: 0 });
    }
    named
}

/// Names of addresses, kept for the next time: to read them from debug information takes long.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Names {
    known: HashMap<usize, Vec<Frame>>,
    /// Debug information has been read since it was last given back.
    has_read: bool,
}

impl Names {
    /// More than that are not kept: all are forgotten.
    const MOST: usize = 1 << 14;

    /// The functions at an address, innermost first.
    pub fn of(&mut self, address: usize) -> &[Frame] {
        if self.known.len() >= Names::MOST {
            self.known.clear();
        }
        self.known.entry(address).or_insert_with(|| {
            self.has_read = true;
            name(address)
        })
    }

    /// Gives back what has been read of the program. The names stay.
    pub fn forget_symbols(&mut self) {
        if std::mem::take(&mut self.has_read) {
            forget_symbols();
        }
    }
}

/// Gives back what has been read of the program to name frames: some megabytes.
pub(super) fn forget_symbols() {
    backtrace::clear_symbol_cache();
}

impl Frame {
    /// `./src/main.rs:4:20`, or nothing if that is not known.
    pub fn at(&self) -> String {
        let mut at = self.file.clone();
        for number in [self.line, self.column] {
            if !at.is_empty() && number > 0 {
                at += &format!(":{number}");
            }
        }
        at
    }

    /// Whether its line is that of `place`. Both may name the file from a different folder.
    pub(super) fn is_at(&self, place: &Location<'_>) -> bool {
        let file = self.file.trim_start_matches("./");
        self.line == place.line()
            && !file.is_empty()
            && (file.ends_with(place.file()) || place.file().ends_with(file))
    }

    /// Whether this function calls the goroutine's closure. If it was inlined, only its file shows
    /// that.
    fn is_root(&self) -> bool {
        self.name.contains("narrowboat_runtime::goroutine::task::") || self.file.contains(task::FILE)
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
            || self.file.contains(OURS)
            || is_beside(&self.file)
            // The crate that stands in front of libc, in the workspace and as it is published.
            || self.file.contains("interpose/src/")
            || self.file.contains("narrowboat-interpose-")
            // The standard library as it is distributed.
            || self.file.starts_with("/rustc/")
    }
}

/// Whether a file is of a crate that goroutines wait in. The names of functions do not say so in a
/// program whose debug information has only lines: they are without their modules there.
fn is_beside(file: &str) -> bool {
    const CRATES: [&str; 3] = ["chan", "sync", "net"];
    let in_workspace = |path: &str| {
        CRATES.iter().any(|name| path.strip_prefix(name).is_some_and(|rest| rest.starts_with("/src/")))
    };
    let published = |path: &str| {
        CRATES.iter().any(|name| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
    };
    // The compiler was told of this crate by a path within the workspace, by the full path of a
    // workspace elsewhere, or by that of a published crate.
    match file!().strip_suffix("runtime/src/diag/frames.rs") {
        Some("") => file.match_indices('/').any(|(at, _)| in_workspace(&file[at + 1..])),
        Some(workspace) => file.strip_prefix(workspace).is_some_and(in_workspace),
        None => file.split("/narrowboat-").skip(1).any(published),
    }
}

/// The frames before the goroutine's root: the program's own part.
#[doc(hidden)]
pub fn up_to_the_root(frames: &[Frame]) -> &[Frame] {
    let root = frames.iter().position(Frame::is_root);
    &frames[..root.unwrap_or(frames.len())]
}

/// Writes the program's own part of these frames, a line each.
pub(super) fn write_up_to_the_root(to: &mut impl Write, frames: &[Frame]) -> fmt::Result {
    const MOST: usize = 24;
    for (index, frame) in up_to_the_root(frames).iter().enumerate() {
        if index == MOST {
            return writeln!(to, "        .. and further ones");
        }
        let at = frame.at();
        writeln!(to, "      {}{}{at}", frame.name, if at.is_empty() { "" } else { "  at " })?;
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn crates_beside_this_one_are_known_by_their_files() {
        let is_internal =
            |file: &str| Frame { name: "sleep".into(), file: file.into(), line: 1, column: 1 }.is_internal();
        assert!(is_internal("/home/ann/narrowboat/sync/src/lot.rs") && is_internal("./chan/src/lib.rs"));
        assert!(!is_internal("/home/ann/narrowboat/sync/tests/lot.rs") && !is_internal("./src/net.rs"));
        assert!(!is_internal("/home/ann/resync/src/main.rs"));
    }
}
