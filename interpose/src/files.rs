//! What brings files to their disk: `fsync`, `fdatasync`, `sync`, `syncfs`, `sync_file_range`,
//! `msync`. They wait for the disk, so they run on the pool.
//!
//! Reads and writes of files stay libc's: mostly the page cache serves them, in a small part of what
//! the way to the pool and back costs.

use crate::next::next;
use crate::pool::{give, on_pool, returned};
use crate::{define, may_park};
use libc::{c_int, c_uint, c_void, off_t, size_t};
use narrowboat_runtime::as_thread::has_usual_signals;
use std::ptr;

define! {
    "fsync" => fsync,
    "fdatasync" => fdatasync,
    "sync" => sync,
    "syncfs" => syncfs,
    "sync_file_range" => sync_file_range,
    "msync" => msync,
}
next! {
    fn fsync(descriptor: c_int) -> c_int;
    fn fdatasync(descriptor: c_int) -> c_int;
    fn sync() -> ();
    fn syncfs(descriptor: c_int) -> c_int;
    fn sync_file_range(descriptor: c_int, offset: off_t, length: off_t, flags: c_uint) -> c_int;
    fn msync(memory: *mut c_void, length: size_t, flags: c_int) -> c_int;
}

/// Runs the call on the pool if the caller may park, and here if not.
#[track_caller]
fn beside(call: impl FnOnce() -> c_int + Send + 'static) -> c_int {
    if may_park() && has_usual_signals() { give(on_pool(|| returned(call()))) } else { call() }
}

extern "C-unwind" fn fsync(descriptor: c_int) -> c_int {
    // SAFETY: no pointers.
    beside(move || unsafe { next::fsync(descriptor) })
}

extern "C-unwind" fn fdatasync(descriptor: c_int) -> c_int {
    // SAFETY: no pointers.
    beside(move || unsafe { next::fdatasync(descriptor) })
}

extern "C-unwind" fn sync() {
    beside(|| {
        // SAFETY: no arguments.
        unsafe { next::sync() };
        0
    });
}

extern "C-unwind" fn syncfs(descriptor: c_int) -> c_int {
    // SAFETY: no pointers.
    beside(move || unsafe { next::syncfs(descriptor) })
}

extern "C-unwind" fn sync_file_range(
    descriptor: c_int,
    offset: off_t,
    length: off_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: no pointers.
    beside(move || unsafe { next::sync_file_range(descriptor, offset, length, flags) })
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn msync(memory: *mut c_void, length: size_t, flags: c_int) -> c_int {
    if flags & libc::MS_SYNC == 0 {
        // SAFETY: by contract.
        return unsafe { next::msync(memory, length, flags) };
    }
    let address = memory.expose_provenance();
    // SAFETY: by contract: the memory stays mapped during the call, and is not accessed.
    beside(move || unsafe { next::msync(ptr::with_exposed_provenance_mut(address), length, flags) })
}
