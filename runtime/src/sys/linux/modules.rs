//! The unwind tables of the program and of the libraries that are loaded, for a reader that finds
//! the frames of samples. They are copied, because a library may be unloaded meanwhile.

use crate::sys::modules::Module;
use libc::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;

/// The most bytes that are copied of a file.
const MOST: usize = 256 << 20;

/// All modules that have unwind tables.
pub(crate) fn all_modules() -> Vec<Module> {
    extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, to: *mut c_void) -> c_int {
        // SAFETY: `all_modules` passes its list, and the loader what it has loaded, which stays
        // while this runs. A panic, from an allocation that fails, must not unwind into the loader.
        let added = catch_unwind(AssertUnwindSafe(|| unsafe {
            let to = &mut *to.cast::<Vec<Module>>();
            to.extend(module(&*info));
        }));
        c_int::from(added.is_err())
    }
    let mut modules = Vec::new();
    // SAFETY: `visit` takes the list that it is given, and no more.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut modules).cast()) };
    modules
}

/// # Safety
/// The loader has passed `info`, and has not returned.
unsafe fn module(info: &libc::dl_phdr_info) -> Option<Module> {
    // SAFETY: by contract.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let range = |header: &libc::Elf64_Phdr| {
        let at = info.dlpi_addr.wrapping_add(header.p_vaddr);
        at..at.wrapping_add(header.p_memsz)
    };
    let table = range(headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?);
    let mut loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let segment = loaded.clone().map(range).find(|segment| segment.contains(&table.start))?;
    let length = usize::try_from(segment.end - table.start).ok()?.min(MOST);
    // SAFETY: the segment is mapped and readable: the unwinder reads it, too.
    let bytes = unsafe { slice::from_raw_parts(table.start as *const u8, length) };
    let code = loaded.by_ref().filter(|header| header.p_flags & libc::PF_X != 0).map(range).collect();
    Some(Module { code, table_at: table.start, bytes: bytes.to_vec() })
}
