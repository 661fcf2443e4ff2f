//! Used stacks of goroutines that had their own, kept for the next: a new one takes three system
//! calls and some page faults.
//!
//! There is one pool for the process, because a stack is requested where a goroutine is spawned,
//! and freed where the goroutine has lived. The monitor gives back stacks that nothing has
//! requested for a while.

use super::own::OwnStack;
use crate::lock::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};

/// The maximum that is kept: stacks, and bytes of address space.
const MAX_STACKS: usize = 1024;
const MAX_BYTES: usize = 16 << 30;

struct Kept {
    stacks: Vec<OwnStack>,
    bytes: usize,
    /// Whether any was taken since the last trim.
    used: bool,
}

static POOL: Mutex<Kept> = Mutex::new(Kept { stacks: Vec::new(), bytes: 0, used: false });
/// Whether the pool may hold something, so that trimming nothing costs one load.
static SOME: AtomicBool = AtomicBool::new(false);

fn pool() -> MutexGuard<'static, Kept> {
    POOL.lock().unwrap_or_else(|e| e.into_inner())
}

/// A stack of this size, if there is one: the one that was used last, which is the warmest.
pub(super) fn take(size: usize) -> Option<OwnStack> {
    if !SOME.load(Ordering::Relaxed) {
        return None;
    }
    let mut pool = pool();
    pool.used = true;
    let fitting = pool.stacks.iter().rposition(|stack| stack.bounds().size() == size)?;
    pool.bytes -= size;
    Some(pool.stacks.swap_remove(fitting))
}

/// Keeps a stack that nothing uses any more.
pub(super) fn keep(stack: OwnStack) {
    let size = stack.bounds().size();
    let mut pool = pool();
    if pool.stacks.len() >= MAX_STACKS || pool.bytes + size > MAX_BYTES {
        // Unmapped after the lock has been released.
        drop(pool);
        return drop(stack);
    }
    pool.bytes += size;
    pool.stacks.push(stack);
    SOME.store(true, Ordering::Relaxed);
}

/// Gives back stacks if none has been requested since the last trim; or all.
pub(crate) fn trim(all: bool) {
    if !SOME.load(Ordering::Relaxed) {
        return;
    }
    let mut pool = pool();
    let used = std::mem::take(&mut pool.used);
    if used && !all {
        return;
    }
    pool.bytes = 0;
    let stacks = std::mem::take(&mut pool.stacks);
    SOME.store(false, Ordering::Relaxed);
    drop(pool);
    drop(stacks);
}
