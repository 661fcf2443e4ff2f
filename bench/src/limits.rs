//! Limits of the kernel's that a load generator meets: open descriptors, and how sharp its timers are.

use std::io;

/// Raises the soft limit of open descriptors to the hard one and returns it.
///
/// # Errors
///
/// Those of `getrlimit` and `setrlimit`.
pub fn raise_descriptors() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, and `limit` is one.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads one `rlimit`, and `limit` is one.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Has this thread woken when it asked to be, and not up to 50 us later to save wake-ups.
///
/// # Errors
///
/// Those of `prctl`.
pub fn sharpen_timers() -> io::Result<()> {
    let nanoseconds: libc::c_ulong = 1;
    // SAFETY: the call takes no pointer.
    match unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
