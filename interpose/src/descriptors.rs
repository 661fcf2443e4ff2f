//! What is known of descriptors by their numbers: the kind of file, and how it is watched.
//!
//! An entry is made when a goroutine first uses the descriptor here, and is forgotten when the
//! descriptor is closed or replaced. Code that closes without word of it (libc itself, a raw system
//! call) leaves an entry that is about another file:
//!
//! - A wrong kind is noticed by the call that it leads to, or leads to a call that blocks as
//!   libc's.
//! - A watch of another file is noticed when it is [confirmed](Watch::confirm).
//!
//! Any thread may call what is here. The lock of an entry is held for single system calls.

use crate::dumps;
use narrowboat_net::watch::Watch;
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::sched::poller::check_polled;
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::sync::{Arc, PoisonError};

/// What a descriptor stands for, as far as it says how to try a call without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Socket = 1,
    /// A pipe, with or without a name.
    Pipe,
    /// A terminal, or another device of its kind.
    Device,
    /// A file that is always ready: its calls are libc's.
    Regular,
    /// What has no file: an eventfd, a timer, an epoll instance and so on.
    Other,
}

impl Kind {
    fn of(status: &libc::stat) -> Kind {
        match status.st_mode & libc::S_IFMT {
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFIFO => Kind::Pipe,
            libc::S_IFCHR => Kind::Device,
            libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK | libc::S_IFLNK => Kind::Regular,
            _ => Kind::Other,
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Socket, Kind::Pipe, Kind::Device, Kind::Regular, Kind::Other]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// As many as a process can have descriptors by default (`fs.nr_open`); higher ones stay libc's.
const NUMBERS: usize = 1 << 20;

/// A [`Kind`] for each number, or 0: then nothing is known, and there is no watch. In place from
/// the start, because a signal handler may write, and must not allocate.
static KINDS: [AtomicU8; NUMBERS] = [const { AtomicU8::new(0) }; NUMBERS];

/// What else there is for a number that was waited for.
struct Entry {
    watch: Mutex<Option<Arc<Watch>>>,
    /// Held from the look whether there is a connection until it is accepted, so that goroutines do
    /// not wait in `accept` because another one was faster.
    accept: Mutex<()>,
}

const ROW: usize = 256;
type Row = [Entry; ROW];
static ROWS: [AtomicPtr<Row>; NUMBERS / ROW] = [const { AtomicPtr::new(ptr::null_mut()) }; NUMBERS / ROW];

/// The place of a number's kind; `None` for one that is too high.
#[inline]
fn place_of_kind(fd: RawFd) -> Option<&'static AtomicU8> {
    KINDS.get(usize::try_from(fd).ok()?)
}

/// The entry of a number, if its row was made.
fn existing(fd: RawFd) -> Option<&'static Entry> {
    let number = usize::try_from(fd).ok()?;
    // Acquire pairs with the release in `entry`: the row is seen whole.
    let row = ROWS.get(number / ROW)?.load(Ordering::Acquire);
    // SAFETY: null, or a row, which is never freed.
    unsafe { row.as_ref() }.map(|row| &row[number % ROW])
}

fn entry(fd: RawFd) -> Option<&'static Entry> {
    let number = usize::try_from(fd).ok()?;
    let place = ROWS.get(number / ROW)?;
    if place.load(Ordering::Relaxed).is_null() {
        let new = || Entry { watch: Mutex::new(None), accept: Mutex::new(()) };
        let row: Box<Row> = Box::new(std::array::from_fn(|_| new()));
        let row = Box::into_raw(row);
        if place.compare_exchange(ptr::null_mut(), row, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: made above, and shared with nothing.
            drop(unsafe { Box::from_raw(row) });
        }
    }
    existing(fd)
}

/// The kind of a descriptor. `None` if it is not open, or its number is too high.
#[inline]
pub(crate) fn kind(fd: RawFd) -> Option<Kind> {
    let known = place_of_kind(fd)?.load(Ordering::Relaxed);
    Kind::from_byte(known).or_else(|| learn(fd))
}

/// Looks what the descriptor is now.
#[cold]
pub(crate) fn learn(fd: RawFd) -> Option<Kind> {
    let place = place_of_kind(fd)?;
    let (kind, _) = look(fd)?;
    // Relaxed: a wrong kind is tolerated.
    place.store(kind as u8, Ordering::Relaxed);
    Some(kind)
}

/// What the descriptor is now, and the size of its file. `None` if it is not open.
pub(crate) fn look(fd: RawFd) -> Option<(Kind, usize)> {
    // SAFETY: a structure of numbers, for which zeroes are values.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for the status.
    if unsafe { libc::fstat(fd, &mut status) } != 0 {
        return None;
    }
    Some((Kind::of(&status), usize::try_from(status.st_size).unwrap_or(0)))
}

/// The watch of a descriptor, which stands for the file that the number stands for now.
///
/// # Errors
/// `EPERM` if there is nothing to wait for; `EBADF` for a number that is too high; the kernel's.
pub(crate) fn watch(fd: RawFd) -> io::Result<Arc<Watch>> {
    dumps::install();
    kind(fd);
    let Some(entry) = entry(fd) else { return Err(io::Error::from_raw_os_error(libc::EBADF)) };
    let mut place = entry.watch.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watch) = &*place
        && watch.confirm()
    {
        return Ok(Arc::clone(watch));
    }
    if let Some(watch) = place.take() {
        watch.end();
    }
    Ok(Arc::clone(place.insert(Arc::new(Watch::new(fd)?))))
}

/// The same for a caller that waits natively where there is nothing to wait for: `None`.
/// `Some(None)` if the system has not the memory, or the descriptors, for a watch.
pub(crate) fn watch_if_possible(fd: RawFd) -> Option<Option<Arc<Watch>>> {
    match watch(fd) {
        Ok(watch) => Some(Some(watch)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOMEM | libc::ENOSPC | libc::EMFILE | libc::ENFILE) => Some(None),
            _ => None,
        },
    }
}

/// Forgets what is known of a number that is about to be closed, or stands for another file now,
/// and ends the waits for it.
pub(crate) fn forget(fd: RawFd) {
    // Relaxed: what closes a descriptor knows that it was used.
    let Some(kind) = place_of_kind(fd).filter(|kind| kind.load(Ordering::Relaxed) != 0) else { return };
    kind.store(0, Ordering::Relaxed);
    // In a fork the locks may be held by threads that are not there.
    if let Some(entry) = existing(fd)
        && check_polled().is_ok()
    {
        let watch = entry.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watch) = watch {
            watch.end();
        }
    }
}

/// [`forget`] for all numbers from `first` to `last`.
pub(crate) fn forget_range(first: u32, last: u32) {
    let end = NUMBERS.min((last as usize).saturating_add(1));
    (first as usize..end).for_each(|number| forget(number as RawFd));
}

/// Calls `f` while no other goroutine is in here for this descriptor.
pub(crate) fn one_at_a_time<T>(fd: RawFd, f: impl FnOnce() -> T) -> T {
    let entry = entry(fd);
    let _turn = entry.map(|entry| entry.accept.lock().unwrap_or_else(PoisonError::into_inner));
    f()
}
