//! What channels and waits cost, in heap bytes and allocations. A program of its own, because it brings its own allocator.

use narrowboat_chan::{Receiver, Select, Sender, bounded, select};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts the allocations of those threads that ask for it. The thread-locals of a goroutine are its processor's, so for a
/// goroutine those count that its processor makes for it, too.
struct Meter;

thread_local! {
    static METERED: Cell<bool> = const { Cell::new(false) };
    /// All that was asked for.
    static BYTES: Cell<usize> = const { Cell::new(0) };
    /// What was asked for less what was given back.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(allocated: usize, freed: usize) {
    if METERED.get() {
        BYTES.set(BYTES.get() + allocated);
        HELD.set(HELD.get() + allocated as isize - freed as isize);
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static METER: Meter = Meter;

/// The bytes that `f` asks for, whether it gives them back or not.
fn bytes_of<T>(f: impl FnOnce() -> T) -> (usize, T) {
    let before = BYTES.get();
    METERED.set(true);
    let result = f();
    METERED.set(false);
    (BYTES.get() - before, result)
}

#[test]
fn an_empty_channel_is_small() {
    let sizes = [
        bytes_of(|| bounded::<()>(0)).0,
        bytes_of(|| bounded::<u64>(0)).0,
        bytes_of(|| bounded::<[u64; 32]>(0)).0,
    ];
    assert!(sizes.iter().all(|size| (1..=200).contains(size)), "{sizes:?} bytes");
}

#[test]
fn a_wait_node_is_small() {
    assert!(size_of::<narrowboat_runtime::park::WaitNode>() <= 64);
}

const ROUNDS: usize = 1_000;

/// Receives after a first receive that does not count: a thread gets its place to wait once. Returns the bytes that the
/// receives asked for.
fn receive_blocked(rx: &Receiver<u64>) -> usize {
    assert_eq!(rx.recv(), Ok(0));
    let (bytes, ()) = bytes_of(|| {
        for n in 1..ROUNDS as u64 {
            assert_eq!(rx.recv(), Ok(n));
        }
    });
    bytes
}

/// Sends only to a receiver that waits.
fn feed(tx: &Sender<u64>) {
    for n in 0..ROUNDS as u64 {
        let mut select = Select::new();
        select.send(tx);
        select.ready();
        tx.try_send(n).unwrap();
    }
}

#[test]
fn a_blocked_receive_of_a_thread_allocates_nothing() {
    let (tx, rx) = bounded(0);
    let receiver = std::thread::spawn(move || receive_blocked(&rx));
    feed(&tx);
    assert_eq!(receiver.join().unwrap(), 0);
}

#[test]
fn a_blocked_receive_of_a_goroutine_allocates_nothing_beyond_the_goroutine() {
    if std::env::var_os("NARROWBOAT_STRESS").is_some() {
        // Every park then makes an image of the stack, which is the goroutine's own and only comes when its slot is wanted.
        return;
    }
    let (tx, rx) = bounded(0);
    let receiver = narrowboat_runtime::spawn(move || receive_blocked(&rx));
    feed(&tx);
    let bytes = receiver.join().unwrap();
    // The first to stand in its processor's ready queue has room made for it there, whenever that is.
    assert!(bytes <= 64, "{bytes} bytes for {ROUNDS} receives");
}

#[test]
fn a_million_selects_beside_a_silent_channel_keep_nothing() {
    let (_keep, done) = bounded::<()>(0);
    let (tx, rx) = bounded(1);
    let (bytes, ()) = bytes_of(|| {
        for n in 0..1_000_000_u32 {
            tx.send(n).unwrap();
            select! { recv(done) -> _ => unreachable!(), recv(rx) -> msg => assert_eq!(msg, Ok(n)) }
        }
    });
    assert_eq!(bytes, 0, "selects that find a message");

    let (tx, rx) = bounded(0);
    let receiver = std::thread::spawn(move || {
        let before = HELD.get();
        let (bytes, ()) = bytes_of(|| {
            for n in 0..ROUNDS as u64 {
                select! { recv(done) -> _ => unreachable!(), recv(rx) -> msg => assert_eq!(msg, Ok(n)) }
            }
        });
        (bytes, HELD.get() - before)
    });
    feed(&tx);
    let (bytes, held) = receiver.join().unwrap();
    // One node for the second arm, each time; and the thread's place to wait, once.
    assert!(bytes <= 64 * ROUNDS + 512, "{bytes} bytes for selects that wait");
    assert!(held <= 512, "{held} bytes are left of them");
}
