//! The thread-local segment of the module that this code is part of: its address, its contents on a
//! new thread, and the names of its parts.

use super::symbols;
use std::ffi::CStr;
use std::ops::Range;
use std::path::PathBuf;

/// The segment of the calling thread.
pub(crate) struct Segment {
    /// The address of the calling thread's block.
    pub(crate) base: usize,
    pub(crate) len: usize,
    /// The contents on a new thread at its start; the rest is zero.
    pub(crate) image: &'static [u8],
    file: PathBuf,
}

/// A named part of the segment.
pub(crate) struct Part {
    pub(crate) at: Range<usize>,
    /// The name, as the linker knows it.
    pub(crate) name: String,
}

/// Why there is no segment.
pub(crate) const WHY_NONE: &str = "the module has no thread-local segment";

impl Segment {
    /// The segment of the module that contains `address`. `None` if the module has no
    /// thread-locals, or the system does not say.
    pub(crate) fn containing(address: usize) -> Option<Segment> {
        let mut search = Search { address, found: None };
        // SAFETY: the callback gets the address of the search, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut search).cast()) };
        search.found
    }

    /// The parts that have names, from the module's own file. `None` if the file has no symbols, or
    /// is not the one that was loaded.
    pub(crate) fn parts(&self) -> Option<Vec<Part>> {
        let file = symbols::map(&self.file)?;
        if symbols::thread_local_size(file)? != self.len {
            return None;
        }
        let parts: Vec<Part> = symbols::thread_locals(file)?
            .filter(|(at, _)| !at.is_empty() && at.end <= self.len)
            .map(|(at, name)| Part { at, name: name.to_owned() })
            .collect();
        (!parts.is_empty()).then_some(parts)
    }
}

struct Search {
    address: usize,
    found: Option<Segment>,
}

/// # Safety
/// Called by `dl_iterate_phdr` with the address of a search.
unsafe extern "C" fn each(
    info: *mut libc::dl_phdr_info,
    size: usize,
    search: *mut libc::c_void,
) -> libc::c_int {
    const KNOWN: usize = std::mem::offset_of!(libc::dl_phdr_info, dlpi_tls_data) + size_of::<usize>();
    if size < KNOWN {
        return 1;
    }
    // SAFETY: by contract; the headers of a loaded module are in memory and do not change.
    let (search, info, headers) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (&mut *search.cast::<Search>(), info, headers)
    };
    let bias = info.dlpi_addr as usize;
    let here = |header: &&libc::Elf64_Phdr| {
        let low = bias.wrapping_add(header.p_vaddr as usize);
        header.p_type == libc::PT_LOAD
            && (low..low.wrapping_add(header.p_memsz as usize)).contains(&search.address)
    };
    if headers.iter().find(here).is_none() {
        return 0;
    }
    let segment = headers.iter().find(|header| header.p_type == libc::PT_TLS);
    search.found = segment.filter(|_| !info.dlpi_tls_data.is_null()).map(|header| {
        let image = bias.wrapping_add(header.p_vaddr as usize) as *const u8;
        // SAFETY: the linker keeps the initial image in memory, as it has relocated it.
        let image = unsafe { std::slice::from_raw_parts(image, header.p_filesz as usize) };
        // SAFETY: the linker's names are strings, and are never freed.
        let name = unsafe { (!info.dlpi_name.is_null()).then(|| CStr::from_ptr(info.dlpi_name)) };
        let name = name.and_then(|name| name.to_str().ok()).filter(|name| !name.is_empty());
        Segment {
            base: info.dlpi_tls_data as usize,
            len: header.p_memsz as usize,
            image,
            // The running program has no name there.
            file: PathBuf::from(name.unwrap_or("/proc/self/exe")),
        }
    });
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local!(static ODD_ONE: Cell<u64> = const { Cell::new(0xdd0e) });

    #[test]
    fn a_thread_local_is_found_by_name_where_it_lies() {
        let segment = Segment::containing(each as *const () as usize).unwrap();
        let at = ODD_ONE.with(|value| std::ptr::from_ref(value).addr()) - segment.base;
        let parts = segment.parts().expect("tests are not stripped");
        let mut there = parts.iter().filter(|part| part.at.contains(&at));
        let part = there.next().unwrap();
        assert!(part.name.contains("ODD_ONE"), "{}", part.name);
        assert!(there.next().is_none());
        assert_eq!(segment.image[at..at + 8], 0xdd0e_u64.to_ne_bytes());
    }

    #[test]
    fn an_address_of_no_module_has_no_segment() {
        assert!(Segment::containing(Box::into_raw(Box::new(0u8)).addr()).is_none());
    }
}
