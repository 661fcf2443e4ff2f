//! Segments that `grow` no longer uses, kept for the next call.
//!
//! There is one shelf per processor or plain thread, because a loop at the edge of its stack takes
//! and returns the same segment again and again, and the segment is warm where it was used last. A
//! lock per shelf lets the monitor clear unused ones; it is never contended otherwise. Threads in a
//! program that has not started the runtime keep theirs until they end.

use super::own::OwnStack;
use crate::lock::Mutex;
use crate::ours::{self, AtEnd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

/// What one shelf holds at most: as many segments as a recursion has links near its edge, and not
/// more bytes than a burst should leave behind. A larger segment costs little compared with its
/// use.
const MAX_SEGMENTS: usize = 4;
const MAX_BYTES: usize = 64 << 20;

/// The kept segments of one processor or plain thread.
pub(crate) type Shelf = Mutex<Segments>;

#[derive(Default)]
pub(crate) struct Segments {
    segments: Vec<OwnStack>,
    /// Whether anything was taken since the last trim that spared it.
    used: bool,
}

/// All shelves. This lock is taken before that of any shelf.
static SHELVES: Mutex<Vec<Arc<Shelf>>> = Mutex::new(Vec::new());
/// Whether some shelf may hold a segment, so that trimming nothing costs one load.
static SOME: AtomicBool = AtomicBool::new(false);

/// The shelf of the calling thread or processor, made at its first use. It is freed with the
/// thread: in the last destructors of a thread there is none any more.
fn mine() -> Option<&'static Shelf> {
    let mut shelf = ours::with(|ours| ours.shelf.get()).cast::<Shelf>();
    if shelf.is_null() {
        let of_processor = ours::with(|ours| !ours.processor.get().is_null());
        if !of_processor && !ours::guard_thread(AtEnd::FreeSegments, end_of_thread) {
            return None;
        }
        let new = Arc::new(Shelf::default());
        lock(&SHELVES).push(Arc::clone(&new));
        shelf = Arc::into_raw(new);
        ours::with(|ours| ours.shelf.set(shelf.cast()));
    }
    // SAFETY: the thread-local keeps a reference, which is given up only when the thread ends.
    Some(unsafe { &*shelf })
}

/// Frees the shelf of a thread that ends.
fn end_of_thread() {
    let shelf = ours::with(|ours| ours.shelf.replace(ptr::null())).cast::<Shelf>();
    if !shelf.is_null() {
        // SAFETY: made by `mine` from an `Arc`, and not used after this.
        let shelf = unsafe { Arc::from_raw(shelf) };
        lock(&SHELVES).retain(|other| !Arc::ptr_eq(other, &shelf));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// A segment of at least `bytes` bytes, if there is one: the one that was used last, which is the
/// warmest.
pub(super) fn take(bytes: usize) -> Option<OwnStack> {
    let mut shelf = lock(mine()?);
    shelf.used = true;
    let fitting = shelf.segments.iter().rposition(|segment| segment.bounds().size() >= bytes)?;
    Some(shelf.segments.remove(fitting))
}

/// Keeps a segment that is no longer used, in place of those that have not been used for longest.
pub(super) fn keep(segment: OwnStack) {
    let size = segment.bounds().size();
    if size > MAX_BYTES {
        return;
    }
    let Some(shelf) = mine() else { return };
    let mut shelf = lock(shelf);
    let mut held: usize = shelf.segments.iter().map(|segment| segment.bounds().size()).sum();
    let mut removed = Vec::new();
    while shelf.segments.len() >= MAX_SEGMENTS || held + size > MAX_BYTES {
        let oldest = shelf.segments.remove(0);
        held -= oldest.bounds().size();
        removed.push(oldest);
    }
    shelf.segments.push(segment);
    drop(shelf);
    // Unmapped after the lock has been released.
    drop(removed);
    if !SOME.load(Ordering::Relaxed) {
        SOME.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that have not been used since the last trim.
    Unused,
    All,
}

/// Gives kept segments back. Returns whether there were any.
pub(crate) fn trim(which: Which) -> bool {
    // Relaxed: what is missed now is found by the next trim. Set again while a shelf is spared.
    if !SOME.load(Ordering::Relaxed) {
        return false;
    }
    SOME.store(false, Ordering::Relaxed);
    let mut removed = Vec::new();
    for shelf in lock(&SHELVES).iter() {
        let mut shelf = lock(shelf);
        if which == Which::All || !shelf.used {
            removed.append(&mut shelf.segments);
        }
        shelf.used = false;
        if !shelf.segments.is_empty() {
            SOME.store(true, Ordering::Relaxed);
        }
    }
    !removed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(bytes: usize) -> (usize, OwnStack) {
        let segment = OwnStack::new(bytes).unwrap();
        (segment.bounds().base, segment)
    }

    fn taken(bytes: usize) -> Option<usize> {
        take(bytes).map(|segment| segment.bounds().base)
    }

    /// One test, in a process of its own, because trimming is for all threads, and other tests'
    /// runtime does it, too.
    #[test]
    fn a_shelf_keeps_a_few_that_fit_and_loses_unused_ones() {
        const NAME: &str = "stack::cache::tests::a_shelf_keeps_a_few_that_fit_and_loses_unused_ones";
        const ALONE: &str = "NARROWBOAT_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let program = std::env::current_exe().unwrap();
            let output =
                std::process::Command::new(program).args(["--exact", NAME]).env(ALONE, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        // The oldest goes when there are too many; what was put there last is taken first.
        let (_, first) = segment(1 << 20);
        keep(first);
        let others: Vec<_> = (0..MAX_SEGMENTS).map(|_| segment(1 << 20)).collect();
        let mut order: Vec<_> = others.iter().map(|(base, _)| *base).collect();
        others.into_iter().for_each(|(_, segment)| keep(segment));
        order.reverse();
        assert_eq!(std::iter::from_fn(|| taken(1 << 20)).collect::<Vec<_>>(), order);

        // One that is large enough, and none that is too large to keep.
        let ((small, small_one), (large, large_one)) = (segment(1 << 20), segment(2 << 20));
        keep(large_one);
        keep(small_one);
        assert_eq!(taken(2 << 20), Some(large));
        assert_eq!(taken(2 << 20), None);
        keep(segment(MAX_BYTES + 1).1);
        assert_eq!(taken(1 << 20), Some(small));
        assert_eq!(taken(1), None);

        // Many large ones push each other out.
        for _ in 0..MAX_SEGMENTS {
            keep(segment(MAX_BYTES / 2).1);
        }
        assert_eq!(std::iter::from_fn(|| taken(1)).count(), 2);

        // What was used lately is spared once.
        let (kept, one) = segment(1 << 20);
        keep(one);
        assert!(!trim(Which::Unused));
        let here = take(1).unwrap();
        assert_eq!(here.bounds().base, kept);
        keep(here);
        assert!(!trim(Which::Unused));
        assert!(trim(Which::Unused));
        assert_eq!(taken(1), None);

        // Another thread's, which goes with the thread otherwise.
        std::thread::spawn(|| keep(segment(1 << 20).1)).join().unwrap();
        assert!(!trim(Which::All));
        keep(segment(1 << 20).1);
        assert!(std::thread::spawn(|| trim(Which::All)).join().unwrap());
        assert_eq!(taken(1), None);
    }
}
