//! The names in a program's own file: of functions, without allocation or locks, so that a signal
//! handler can ask; and of thread-locals.

use memmap2::Mmap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The path of the running program.
const PATH: &CStr = c"/proc/self/exe";

const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;

const LOADED: u32 = 1;
const HEADERS: u32 = 6;
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const FUNCTION: u8 = 2;
const THREAD_LOCAL: u8 = 6;
const THREAD_LOCAL_SEGMENT: u32 = 7;

/// The running program's file, as it is mapped. It is never unmapped.
#[derive(Debug)]
pub(crate) struct Program {
    file: &'static [u8],
    /// The difference between addresses in memory and in the file.
    bias: usize,
    /// The range that it occupies in memory.
    occupies: Range<usize>,
    symbols: Range<usize>,
    strings: Range<usize>,
    path: ([u8; 512], usize),
}

impl Program {
    /// The running program. `None` if its file cannot be read or is malformed.
    pub(crate) fn running() -> Option<Program> {
        let file = map_at(PATH)?;
        let (bias, occupies) = loaded()?;
        let (symbols, strings) = symbol_table(file).unwrap_or_default();
        let mut path = [0; 512];
        // SAFETY: the length is that of the buffer.
        let len = unsafe { libc::readlink(PATH.as_ptr(), path.as_mut_ptr().cast(), path.len()) };
        Some(Program {
            file,
            bias,
            occupies,
            symbols,
            strings,
            path: (path, usize::try_from(len).unwrap_or(0)),
        })
    }

    pub(crate) fn path(&self) -> &str {
        std::str::from_utf8(&self.path.0[..self.path.1]).unwrap_or("the program")
    }

    /// Converts an address in memory to one of the program's file.
    pub(crate) fn relative(&self, address: usize) -> Option<usize> {
        self.occupies.contains(&address).then(|| address.wrapping_sub(self.bias))
    }

    /// The name, as the linker knows it, of the function that an address (of the file) belongs to.
    pub(crate) fn name(&self, relative: usize) -> Option<&str> {
        let mut symbols = self.file.get(self.symbols.clone())?.chunks_exact(SYMBOL);
        let symbol = symbols.find(|symbol| {
            let (at, size) = (number(symbol, 8), number(symbol, 16));
            symbol[4] & 0xf == FUNCTION
                && at.zip(size).is_some_and(|(at, size)| (at..at.saturating_add(size)).contains(&relative))
        })?;
        let name = self.file.get(self.strings.clone())?.get(half(symbol, 0)? as usize..)?;
        CStr::from_bytes_until_nul(name).ok()?.to_str().ok()
    }
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

fn short(from: &[u8], at: usize) -> Option<usize> {
    bytes(from, at).map(|bytes| u16::from_ne_bytes(bytes).into())
}

fn half(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_ne_bytes)
}

fn number(from: &[u8], at: usize) -> Option<usize> {
    bytes(from, at).map(usize::from_ne_bytes)
}

/// The content of a file, mapped for ever.
pub(super) fn map(path: &Path) -> Option<&'static [u8]> {
    map_at(&std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?)
}

fn map_at(path: &CStr) -> Option<&'static [u8]> {
    let file = File::open(OsStr::from_bytes(path.to_bytes())).ok()?;
    // SAFETY: a file that is changed in place while it is mapped is one that can be run no longer.
    let mapped = unsafe { Mmap::map(&file) }.ok()?;
    // SAFETY: it is never unmapped.
    let bytes = unsafe { std::slice::from_raw_parts(mapped.as_ptr(), mapped.len()) };
    std::mem::forget(mapped);
    Some(bytes)
}

/// The program's offset in memory, and the range that it occupies.
fn loaded() -> Option<(usize, Range<usize>)> {
    // SAFETY: a plain query; the kernel says where it has put the program's headers and how many
    // there are.
    let (at, headers) = unsafe {
        let (at, count) = (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM));
        if at == 0 {
            return None;
        }
        let len = count as usize * PROGRAM_HEADER;
        (at as usize, std::slice::from_raw_parts(at as *const u8, len))
    };
    let mut headers_at = None;
    let (mut low, mut high) = (usize::MAX, 0);
    for header in headers.chunks_exact(PROGRAM_HEADER) {
        let (kind, address, size) = (half(header, 0)?, number(header, 16)?, number(header, 40)?);
        if kind == HEADERS {
            headers_at = Some(address);
        } else if kind == LOADED {
            (low, high) = (low.min(address), high.max(address.saturating_add(size)));
        }
    }
    let bias = at.wrapping_sub(headers_at?);
    Some((bias, low.wrapping_add(bias)..high.wrapping_add(bias)))
}

/// The symbols and their strings; for a stripped program, those that it exports.
fn symbol_table(file: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    table_of(file, SYMBOLS).or_else(|| table_of(file, DYNAMIC_SYMBOLS))
}

/// How large the thread-local segment is.
pub(super) fn thread_local_size(file: &[u8]) -> Option<usize> {
    let (at, count) = (number(file, 32)?, short(file, 56)?);
    let mut headers = file.get(at..)?.chunks_exact(PROGRAM_HEADER).take(count);
    number(headers.find(|header| half(header, 0) == Some(THREAD_LOCAL_SEGMENT))?, 40)
}

/// All thread-locals: the range in the segment, and the name as the linker knows it. `None` if the
/// file has been stripped.
pub(super) fn thread_locals(
    file: &'static [u8],
) -> Option<impl Iterator<Item = (Range<usize>, &'static str)>> {
    let (symbols, strings) = table_of(file, SYMBOLS)?;
    let strings = file.get(strings)?;
    let symbols = file.get(symbols)?.chunks_exact(SYMBOL).filter(|symbol| symbol[4] & 0xf == THREAD_LOCAL);
    Some(symbols.filter_map(|symbol| {
        let (at, size) = (number(symbol, 8)?, number(symbol, 16)?);
        let name = CStr::from_bytes_until_nul(strings.get(half(symbol, 0)? as usize..)?).ok()?;
        Some((at..at.checked_add(size)?, name.to_str().ok()?))
    }))
}

fn table_of(file: &[u8], kind: u32) -> Option<(Range<usize>, Range<usize>)> {
    let (at, count) = (number(file, 40)?, short(file, 60)?);
    let section = |index: usize| file.get(at..)?.chunks_exact(SECTION_HEADER).take(count).nth(index);
    let find = |kind| (0..count).filter_map(section).find(|section| half(section, 4) == Some(kind));
    let range = |section: &[u8]| {
        let start = number(section, 24)?;
        Some(start..start.checked_add(number(section, 32)?)?)
    };
    let symbols = find(kind)?;
    Some((range(symbols)?, range(section(half(symbols, 40)? as usize)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_function_of_this_program() {
        let program = Program::running().unwrap();
        let address = names_a_function_of_this_program as *const () as usize;
        let name = program.name(program.relative(address).unwrap()).unwrap();
        assert!(name.contains("names_a_function_of_this_program"), "{name}");
        assert_eq!(std::path::Path::new(program.path()), std::env::current_exe().unwrap());
    }

    #[test]
    fn knows_what_is_not_the_program() {
        let program = Program::running().unwrap();
        let local = 0u8;
        assert_eq!(program.relative(&raw const local as usize), None);
        assert_eq!(program.name(0), None);
    }

    #[test]
    fn is_not_led_astray_by_a_file_that_is_no_program() {
        for len in [0, 10, 63, 64, 1000] {
            for filling in [0, 1, 0x40, 0xff] {
                assert!(symbol_table(&vec![filling; len]).is_none_or(|(symbols, _)| symbols.start > 0));
            }
        }
    }
}
