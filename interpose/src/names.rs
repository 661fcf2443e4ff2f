//! Names of hosts and services: `getaddrinfo`, `getnameinfo`. They ask servers, in a library's own
//! way, so they run on the pool. Those that need no server stay libc's.
//!
//! What belongs to a thread is that of the pool's thread: a `_res` that the caller has changed, and
//! a locale that it has chosen for itself.

use crate::error::{errno, fail};
use crate::next::next;
use crate::pool::on_pool;
use crate::{define, may_park};
use libc::{addrinfo, c_char, c_int, sockaddr, socklen_t};
use narrowboat_runtime::as_thread::has_usual_signals;
use std::ffi::CStr;
use std::net::IpAddr;
use std::{mem, ptr};

define! {
    "getaddrinfo" => getaddrinfo,
    "getnameinfo" => getnameinfo,
}
next! {
    fn getaddrinfo(
        node: *const c_char,
        service: *const c_char,
        hints: *const addrinfo,
        found: *mut *mut addrinfo,
    ) -> c_int;
    fn getnameinfo(
        address: *const sockaddr,
        length: socklen_t,
        host: *mut c_char,
        host_length: socklen_t,
        service: *mut c_char,
        service_length: socklen_t,
        flags: c_int,
    ) -> c_int;
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: by contract.
    if !may_park() || unsafe { needs_no_server(node, service, hints.as_ref()) } || !has_usual_signals() {
        // SAFETY: by contract.
        return unsafe { next::getaddrinfo(node, service, hints, found) };
    }
    // SAFETY: by contract.
    let (node, service) = unsafe { (text(node).map(CStr::to_owned), text(service).map(CStr::to_owned)) };
    // SAFETY: by contract.
    let hints = unsafe { hints.as_ref() }.map(Hints::of);
    let (answer, error, list) = on_pool(move || {
        let hints = hints.as_ref().map(Hints::as_libc);
        let mut list = ptr::null_mut();
        // SAFETY: texts and hints are ours, and there is room for the pointer.
        let answer = unsafe {
            next::getaddrinfo(
                node.as_deref().map_or(ptr::null(), CStr::as_ptr),
                service.as_deref().map_or(ptr::null(), CStr::as_ptr),
                hints.as_ref().map_or(ptr::null(), ptr::from_ref),
                &mut list,
            )
        };
        (answer, errno(), list.expose_provenance())
    });
    if answer == 0 {
        // SAFETY: by contract. The list is on the heap, and the caller's now.
        unsafe { *found = ptr::with_exposed_provenance_mut(list) };
    } else if answer == libc::EAI_SYSTEM {
        let _: c_int = fail(error);
    }
    answer
}

/// Whether libc answers at once: the host is an address, or it is to be taken for one, and the
/// service is a number.
///
/// # Safety
/// The texts are C strings, or null.
unsafe fn needs_no_server(node: *const c_char, service: *const c_char, hints: Option<&addrinfo>) -> bool {
    let flags = hints.map_or(0, |hints| hints.ai_flags);
    // SAFETY: by contract.
    let (node, service) = unsafe { (text(node), text(service)) };
    let is_address = |node: &CStr| node.to_str().is_ok_and(|node| node.parse::<IpAddr>().is_ok());
    node.is_none_or(|node| flags & libc::AI_NUMERICHOST != 0 || is_address(node))
        && service.is_none_or(|service| {
            flags & libc::AI_NUMERICSERV != 0 || service.to_bytes().iter().all(u8::is_ascii_digit)
        })
}

/// The hints that libc reads.
struct Hints {
    flags: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
}

impl Hints {
    fn of(hints: &addrinfo) -> Hints {
        Hints {
            flags: hints.ai_flags,
            family: hints.ai_family,
            kind: hints.ai_socktype,
            protocol: hints.ai_protocol,
        }
    }

    fn as_libc(&self) -> addrinfo {
        // SAFETY: numbers and pointers, for which zero is a value.
        let mut hints: addrinfo = unsafe { mem::zeroed() };
        hints.ai_flags = self.flags;
        hints.ai_family = self.family;
        hints.ai_socktype = self.kind;
        hints.ai_protocol = self.protocol;
        hints
    }
}

/// # Safety
/// A C string, or null.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: by contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// No name is longer, nor is the path of a socket.
const LONGEST: socklen_t = 4096;

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_length: socklen_t,
    service: *mut c_char,
    service_length: socklen_t,
    flags: c_int,
) -> c_int {
    let host_length = if host.is_null() { 0 } else { host_length };
    let service_length = if service.is_null() { 0 } else { service_length };
    let no_server = (host_length == 0 || flags & libc::NI_NUMERICHOST != 0)
        && (service_length == 0 || flags & libc::NI_NUMERICSERV != 0);
    if !may_park()
        || no_server
        || address.is_null()
        || length as usize > size_of::<libc::sockaddr_storage>()
        || !has_usual_signals()
    {
        // SAFETY: by contract.
        return unsafe {
            next::getnameinfo(address, length, host, host_length, service, service_length, flags)
        };
    }
    // SAFETY: plain data, for which zero is a value.
    let mut copy: libc::sockaddr_storage = unsafe { mem::zeroed() };
    // SAFETY: the caller's address can be read, and fits.
    unsafe { ptr::copy_nonoverlapping(address.cast::<u8>(), (&raw mut copy).cast(), length as usize) };
    let (answer, error, its_host, its_service) = on_pool(move || {
        let mut host = vec![0u8; host_length.min(LONGEST) as usize];
        let mut service = vec![0u8; service_length.min(LONGEST) as usize];
        // SAFETY: the address is ours, and there is room for the names.
        let answer = unsafe {
            next::getnameinfo(
                (&raw const copy).cast(),
                length,
                if host.is_empty() { ptr::null_mut() } else { host.as_mut_ptr().cast() },
                host.len() as socklen_t,
                if service.is_empty() { ptr::null_mut() } else { service.as_mut_ptr().cast() },
                service.len() as socklen_t,
                flags,
            )
        };
        (answer, errno(), host, service)
    });
    if answer == 0 {
        for (name, room) in [(its_host, host), (its_service, service)] {
            if let Ok(name) = CStr::from_bytes_until_nul(&name) {
                // SAFETY: the caller's room is as large as that which the name was found to fit in.
                unsafe { ptr::copy_nonoverlapping(name.as_ptr(), room, name.count_bytes() + 1) };
            }
        }
    } else if answer == libc::EAI_SYSTEM {
        let _: c_int = fail(error);
    }
    answer
}
