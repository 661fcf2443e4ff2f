//! Plain threads that are cancelled (`pthread_cancel`) in a function that goroutines park in: they end,
//! as with libc's own.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;
use std::{mem, ptr};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// Cancels a thread while it is in `wait`. Its frames have nothing to drop, so they may be unwound.
fn cancel_in(wait: extern "C-unwind" fn(*mut c_void) -> *mut c_void, argument: *mut c_void) {
    // SAFETY: the thread gets a live argument. It is cancelled in a call that is a cancellation point,
    // and joined once. A function that may unwind has the same ABI.
    unsafe {
        let mut thread = mem::zeroed();
        let start = mem::transmute::<extern "C-unwind" fn(*mut c_void) -> *mut c_void, Start>(wait);
        assert_eq!(libc::pthread_create(&mut thread, ptr::null(), start, argument), 0);
        // It may be cancelled before it waits, too: then it ends at the call.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(libc::pthread_cancel(thread), 0);
        let mut outcome = ptr::null_mut();
        assert_eq!(libc::pthread_join(thread, &mut outcome), 0);
        assert_eq!(outcome.addr(), usize::MAX, "PTHREAD_CANCELED");
    }
}

extern "C-unwind" fn read(fd: *mut c_void) -> *mut c_void {
    let mut byte = 0u8;
    // SAFETY: a live byte.
    unsafe { libc::read(*fd.cast::<RawFd>(), (&raw mut byte).cast(), 1) };
    ptr::null_mut()
}

extern "C-unwind" fn recv(fd: *mut c_void) -> *mut c_void {
    let mut byte = 0u8;
    // SAFETY: a live byte.
    unsafe { libc::recv(*fd.cast::<RawFd>(), (&raw mut byte).cast(), 1, 0) };
    ptr::null_mut()
}

extern "C-unwind" fn poll(fd: *mut c_void) -> *mut c_void {
    // SAFETY: a live record.
    unsafe {
        let mut waited = libc::pollfd { fd: *fd.cast::<RawFd>(), events: libc::POLLIN, revents: 0 };
        libc::poll(&mut waited, 1, -1)
    };
    ptr::null_mut()
}

extern "C-unwind" fn sleep(_: *mut c_void) -> *mut c_void {
    // SAFETY: no pointers.
    unsafe { libc::sleep(3600) };
    ptr::null_mut()
}

#[test]
fn a_thread_that_is_cancelled_in_a_wait_ends() {
    narrowboat::go!(|| ()).join().unwrap();
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut fd = one.as_raw_fd();
    let fd = (&raw mut fd).cast();
    for wait in [read, recv, poll, sleep] {
        cancel_in(wait, fd);
    }
}
