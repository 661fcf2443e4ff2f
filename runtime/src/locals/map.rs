//! Which bytes of the thread-local block belong to goroutines.
//!
//! Goroutines own all thread-locals of Rust code, std's included, except: the runtime's own struct,
//! what the global allocator keeps, what the scheduler's queues keep, and those of crates that the
//! program names. Thread-locals of C code stay with the processor.
//!
//! The names in the module's file tell Rust's thread-locals from C's; a stripped file has none.
//! Then all bytes count as Rust's, unless a thread that only allocates changes some: then the bytes
//! of an allocator are among them, and their number is unknown. In that case, and wherever else the
//! bytes cannot be told apart, goroutines of a processor share its thread-locals, which is reported
//! once on standard error and in [`stats`](crate::stats).

use super::probe::{self, Catches, Findings};
use crate::say::say;
use crate::sys::tls::{self, Part};
use std::ops::Range;
use std::sync::OnceLock;

/// One exchanged word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word {
    /// Its offset in the block.
    pub(super) at: usize,
    /// Which of its bits belong to goroutines.
    pub(super) mask: u64,
    /// The value on a new goroutine: that on a new thread, but for what is [`super::absent`].
    pub(super) pristine: u64,
}

/// The bytes of the thread-local block that belong to goroutines.
pub(crate) struct Map {
    pub(super) words: Vec<Word>,
    /// The indices of the words that are all set once std has made the handle of a thread.
    pub(super) handle: Vec<usize>,
    /// The offset of the runtime's own struct in the block, and the length of the block.
    pub(super) ours: usize,
    pub(super) length: usize,
    /// Whether two more words follow: a C++ runtime's state of exceptions.
    pub(super) exceptions: bool,
}

static MAP: OnceLock<Map> = OnceLock::new();
/// Why goroutines share thread-locals, if they do.
static SHARED: OnceLock<String> = OnceLock::new();

const WORD: usize = size_of::<u64>();
/// Modules of the runtime with thread-locals that no goroutine touches: comparing them would be
/// useless.
const OF_THREADS: [&str; 3] =
    ["narrowboat_runtime::ours", "narrowboat_runtime::locals::probe", "narrowboat_runtime::locals::absent"];
/// The number of words of a C++ runtime.
pub(super) const EXCEPTION_WORDS: usize = 2;

/// The map, which is made when the runtime starts. It has no words if thread-locals are shared.
#[inline]
pub(crate) fn in_force() -> &'static Map {
    MAP.get().expect("the map is made before there is a processor")
}

/// Whether goroutines have thread-locals of their own.
pub(crate) fn is_private() -> bool {
    MAP.get().is_some_and(|map| !map.words.is_empty())
}

/// Why goroutines share thread-locals, if they do.
pub(crate) fn why_shared() -> Option<&'static str> {
    SHARED.get().map(String::as_str)
}

/// Makes the map. Called once, when the runtime starts. `leave` names crates that leave their
/// thread-locals with the processor; `waits` is for the probe.
///
/// # Errors
/// If crates are named and the program has no symbols to find them by.
pub(crate) fn make(leave: &[String], waits: Catches) -> std::io::Result<()> {
    let found = probe::run(waits)?;
    let map = match found {
        Some(found) => Map::of(&found, leave),
        None => Err(tls::WHY_NONE.into()),
    };
    let map = match map {
        Ok(map) => map,
        Err(why) if leave.is_empty() => {
            say(format_args!(
                "narrowboat: goroutines of a processor share its thread-locals, and std's locks block \
                 threads: {why}"
            ));
            let _ = SHARED.set(why);
            Map { words: Vec::new(), handle: Vec::new(), ours: 0, length: 0, exceptions: false }
        }
        Err(why) => {
            return Err(std::io::Error::other(format!(
                "the thread-locals of {} cannot be left with the processors: {why}",
                leave.join(", ")
            )));
        }
    };
    let _ = MAP.set(map);
    Ok(())
}

impl Map {
    fn of(found: &Findings, leave: &[String]) -> Result<Map, String> {
        if !found.catches_destructors {
            return Err("std registers the destructors of thread-locals elsewhere (a C library that is \
                        linked statically, or a preloaded one)"
                .into());
        }
        if !found.catches_waits {
            return Err("std's system calls do not pass the runtime's function".into());
        }
        let own = found.ours..found.ours + size_of::<crate::ours::Ours>();
        let parts = found.segment.parts();
        let parts = parts.filter(|parts| parts.iter().any(|part| part.at.contains(&own.start)));
        let theirs = match &parts {
            Some(parts) => of_rust(found, parts, leave),
            None if !leave.is_empty() => {
                return Err("the program has no symbols (build it without `strip`)".into());
            }
            None => all(found)?,
        };
        let mut image = found.segment.image.to_vec();
        image.resize(found.segment.len.next_multiple_of(WORD), 0);
        if let (Some(parts), Some(mark)) = (&parts, found.absent) {
            parts.iter().for_each(|part| mark.apply(&part.name, &mut image[part.at.clone()]));
        }
        let mut words = Vec::new();
        for at in (0..found.segment.len).step_by(WORD) {
            let bit = |i: usize| {
                let is = at + i < found.segment.len && theirs[at + i] && !own.contains(&(at + i));
                if is { 0xff_u8 } else { 0 }
            };
            let mask = u64::from_ne_bytes(std::array::from_fn(bit));
            if mask != 0 {
                let pristine = u64::from_ne_bytes(image[at..at + WORD].try_into().expect("eight bytes"));
                words.push(Word { at, mask, pristine });
            }
        }
        let changed = |at: usize| found.handle.iter().skip(at).take(WORD).any(|changed| *changed);
        let handle: Vec<usize> =
            words.iter().enumerate().filter(|(_, word)| changed(word.at)).map(|(index, _)| index).collect();
        if handle.is_empty() {
            return Err("std does not keep the handle of a thread in a thread-local".into());
        }
        Ok(Map { words, handle, ours: found.ours, length: found.segment.len, exceptions: found.exceptions })
    }

    /// How many words are exchanged.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.words.len() + if self.exceptions { EXCEPTION_WORDS } else { 0 }
    }

    /// How many words a bitmap of them takes.
    #[inline]
    pub(super) fn chunks(&self) -> usize {
        self.len().div_ceil(64)
    }

    /// For statistics: how many bytes a switch compares.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * WORD
    }
}

/// Finds the bytes of Rust's thread-locals by their names.
fn of_rust(found: &Findings, parts: &[Part], leave: &[String]) -> Vec<bool> {
    let mut theirs = vec![false; found.segment.len];
    let touched = |at: &Range<usize>| {
        found.allocator[at.clone()].contains(&true) || found.queue[at.clone()].contains(&true)
    };
    let stays = |part: &Part| {
        OF_THREADS.iter().any(|module| belongs_to(&part.name, module))
            || leave.iter().any(|name| belongs_to(&part.name, name))
    };
    for part in parts.iter().filter(|part| is_rust(&part.name)) {
        if !touched(&part.at) && !stays(part) {
            theirs[part.at.clone()].fill(true);
        }
    }
    theirs
}

/// All bytes, for a program without names.
fn all(found: &Findings) -> Result<Vec<bool>, String> {
    let own = found.ours..found.ours + size_of::<crate::ours::Ours>();
    if found.allocator.iter().enumerate().any(|(at, changed)| *changed && !own.contains(&at)) {
        return Err("the program has no symbols to tell the allocator's thread-locals from the others \
                    (build it without `strip`)"
            .into());
    }
    let mut theirs = vec![true; found.segment.len];
    for (word, changed) in theirs.chunks_mut(WORD).zip(found.queue.chunks(WORD)) {
        // A whole word, because a byte that changes to zero, or part of a pointer, is not seen by
        // itself.
        if changed.contains(&true) {
            word.fill(false);
        }
    }
    Ok(theirs)
}

/// Whether a symbol is mangled as rustc does it.
fn is_rust(symbol: &str) -> bool {
    let legacy = |symbol: &str| {
        // "17h", sixteen digits, "E", and perhaps a suffix of LLVM's.
        symbol.rfind("17h").is_some_and(|at| {
            let hash = &symbol.as_bytes()[at + 3..];
            hash.len() > 16 && hash[..16].iter().all(u8::is_ascii_hexdigit) && hash[16] == b'E'
        })
    };
    symbol.starts_with("_R") || (symbol.starts_with("_ZN") && legacy(symbol))
}

/// Whether a thread-local is declared in this crate, or in this module of one.
fn belongs_to(symbol: &str, krate: &str) -> bool {
    let path = format!("{:#}", rustc_demangle::demangle(symbol));
    let krate = krate.replace('-', "_");
    let path = path.trim_start_matches(['<', '&']);
    path.strip_prefix(&krate).is_some_and(|rest| rest.starts_with("::") || rest.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rust_and_of_c_are_told_apart() {
        let rust = [
            "_ZN15crossbeam_epoch7default6HANDLE28_$u7b$$u7b$closure$u7d$$u7d$3VAL17h71966c7ce671858fE",
            "_ZN3std9panicking11panic_count17LOCAL_PANIC_COUNT17h0123456789abcdefE.llvm.123",
            "_RNvNtNtCsjrHSEGnQ3l9_3std6thread7current7CURRENT",
        ];
        let other = ["_rjem_je_tsd_tls", "__mi_theap_default", "tcache", "_ZN3foo3barE", "errno", ""];
        assert!(rust.iter().all(|name| is_rust(name)));
        assert!(!other.iter().any(|name| is_rust(name)));
        assert!(belongs_to(rust[0], "crossbeam-epoch") && !belongs_to(rust[0], "crossbeam"));
        assert!(belongs_to(rust[2], "std") && !belongs_to(rust[2], "st"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no thread pointer")]
    fn the_map_of_this_program_has_stds_thread_locals_and_not_ours() {
        // The runtime makes the map when it starts.
        crate::spawn(|| ()).join().unwrap();
        let map = in_force();
        assert_eq!(why_shared(), None);
        assert!(map.handle.len() == 2 && map.words.len() < 1000, "{:?} {:?}", map.handle, map.words);
        let inside = |address: usize| {
            // On this thread the block is elsewhere than on the probe's; the offsets are the same.
            let segment = super::super::segment().unwrap();
            let at = address - segment.base;
            map.words.iter().any(|word| (word.at..word.at + WORD).contains(&at))
        };
        thread_local!(static THEIRS: std::cell::Cell<u64> = const { std::cell::Cell::new(7) });
        assert!(THEIRS.with(|theirs| inside(std::ptr::from_ref(theirs).addr())));
        assert!(!crate::ours::with(|ours| inside(std::ptr::from_ref(ours).addr())));
        assert!(!inside(super::super::absent::address_of_probed()));
    }
}
