//! A goroutine keeps its thread-locals for life, whichever worker carries its processor.
//!
//! Goroutines on many processors hold across receives what must not leave its thread: an `Rc` that a thread-local also
//! holds, a `RefCell` guard, the thread's random generator, an error-checking mutex of the C library. They check that
//! their thread id never changes, and meanwhile call what touches every thread behind a runtime's back: processes,
//! threads, scoped threads, the resolver, panics with backtraces, the allocator across processors.
//!
//! One runtime per process, so this file has one body; its second test runs that again under forced eviction.

use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::{Builder, Config, go};
use narrowboat_testing::{Dice, again, number_from_env, program, sized};
use rand::Rng;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::net::ToSocketAddrs;
use std::panic::{catch_unwind, resume_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

thread_local! {
    /// Counted up without atomics by every goroutine of the thread. A second thread at it at once would lose counts.
    static SHARED: Rc<Cell<usize>> = Rc::new(Cell::new(0));
    /// Borrowed by many goroutines at once, across parks; the value is the thread's own id.
    static BORROWED: RefCell<ThreadId> = RefCell::new(thread::current().id());
    /// Written before a park and read after it by one goroutine at a time, through a slot of its own.
    static SLOTS: RefCell<HashMap<usize, u64>> = RefCell::default();
}

/// What is known of each thread id that goroutines have seen, gathered from all of them.
#[derive(Default)]
struct Seen {
    counted: HashMap<ThreadId, usize>,
    reported: HashMap<ThreadId, usize>,
    carried_by: HashMap<ThreadId, HashSet<libc::c_long>>,
}

/// The kernel's number of the thread that executes this: the worker's.
fn kernel_thread() -> libc::c_long {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// A mutex of the C library that knows its owner and refuses mistakes. Its owner is a thread, by thread pointer.
struct CheckedMutex(Box<libc::pthread_mutex_t>);

impl CheckedMutex {
    fn new() -> CheckedMutex {
        let mut mutex = CheckedMutex(Box::new(libc::PTHREAD_MUTEX_INITIALIZER));
        // SAFETY: the attribute object is initialised before use and destroyed after; the mutex is not in use yet,
        // and keeps its address in the box.
        unsafe {
            let mut kind = std::mem::MaybeUninit::uninit();
            assert_eq!(libc::pthread_mutexattr_init(kind.as_mut_ptr()), 0);
            assert_eq!(libc::pthread_mutexattr_settype(kind.as_mut_ptr(), libc::PTHREAD_MUTEX_ERRORCHECK), 0);
            assert_eq!(libc::pthread_mutex_init(&mut *mutex.0, kind.as_ptr()), 0);
            assert_eq!(libc::pthread_mutexattr_destroy(kind.as_mut_ptr()), 0);
        }
        mutex
    }

    fn lock(&mut self) -> libc::c_int {
        // SAFETY: `new` initialised the mutex, and it has not moved.
        unsafe { libc::pthread_mutex_lock(&mut *self.0) }
    }

    fn unlock(&mut self) -> libc::c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(&mut *self.0) }
    }
}

impl Drop for CheckedMutex {
    fn drop(&mut self) {
        // SAFETY: `new` initialised the mutex; no other has its address.
        unsafe { libc::pthread_mutex_destroy(&mut *self.0) };
    }
}

/// One of a pair that pass a message to and fro, so that every turn parks.
struct Tortured {
    number: usize,
    turns: usize,
    dice: Dice,
    inbox: Receiver<Vec<u64>>,
    partner: Sender<Vec<u64>>,
    seen: Arc<Mutex<Seen>>,
}

impl Tortured {
    fn run(mut self) {
        let me = thread::current().id();
        let shared = SHARED.with(Rc::clone);
        let address = SHARED.with(Rc::as_ptr);
        let mut random = rand::rng();
        let mut mutex = CheckedMutex::new();
        let mut carried_by = HashSet::new();

        for turn in 0..self.turns {
            carried_by.insert(kernel_thread());
            shared.set(shared.get() + 1);
            let before: u64 = random.random();
            SLOTS.with_borrow_mut(|slots| slots.insert(self.number, before));
            assert_eq!(mutex.lock(), 0);

            BORROWED.with(|cell| {
                let guard = cell.borrow();
                self.exchange();
                assert_eq!(*guard, me, "the guard is of this thread");
                assert!(cell.try_borrow_mut().is_err(), "and still held");
            });

            assert_eq!(mutex.lock(), libc::EDEADLK, "held by the thread that this still is");
            assert_eq!(mutex.unlock(), 0, "by its owner");
            assert_eq!(mutex.unlock(), libc::EPERM, "without an owner");
            assert_eq!(thread::current().id(), me, "the thread id changed");
            assert_eq!(SHARED.with(Rc::as_ptr), address, "a thread-local moved");
            assert_eq!(SLOTS.with_borrow_mut(|slots| slots.remove(&self.number)), Some(before));
            let after: u64 = random.random();
            assert_ne!(after, before, "the generator went back");
            if turn % 64 == 63 {
                self.disturb();
                assert_eq!(thread::current().id(), me, "the thread id changed");
            }
        }
        assert!(Rc::strong_count(&shared) >= 2);

        let mut seen = self.seen.lock().unwrap();
        *seen.counted.entry(me).or_default() += self.turns;
        seen.carried_by.entry(me).or_default().extend(carried_by);
        // The last goroutine of a thread to get here reports the full count.
        seen.reported.insert(me, shared.get());
    }

    /// Passes a message on and waits for the other's. The memory is freed by the one that receives it.
    fn exchange(&mut self) {
        let length = self.dice.roll(200) + 1;
        // A partner that failed has dropped its end; its joiner says why.
        let _ = self.partner.send(vec![length as u64; length]);
        let message = self.inbox.recv().expect("the partner lives");
        assert!(message.iter().all(|&word| word == message.len() as u64));
    }

    /// Something that reaches under the runtime.
    fn disturb(&mut self) {
        match self.dice.roll(40) {
            0 => assert!(Command::new("true").status().expect("starts").success()),
            1 => {
                let echo = Command::new("echo").arg(self.number.to_string()).output().expect("starts");
                assert_eq!(echo.stdout, format!("{}\n", self.number).into_bytes());
            }
            2 | 3 => {
                let me = thread::current().id();
                let other = thread::spawn(|| thread::current().id()).join().expect("ends");
                assert_ne!(other, me);
            }
            4 | 5 => self.scoped_threads_in_an_own_stack(),
            6 => {
                let mut found = "localhost:80".to_socket_addrs().expect("has an address");
                assert!(found.all(|address| address.ip().is_loopback()));
            }
            7..=10 => {
                let number = self.number;
                let caught = catch_unwind(|| resume_unwind(Box::new(number)));
                assert_eq!(caught.expect_err("panicked").downcast_ref(), Some(&number));
            }
            11 => assert!(black_box(Backtrace::force_capture().to_string()).contains("torture_locals")),
            12..=14 => {
                let number = self.number;
                let panicking = go!(move || {
                    narrowboat::yield_now();
                    resume_unwind(Box::new(number));
                });
                assert!(panicking.join().is_err());
            }
            15 => assert!(std::fs::read_to_string("/proc/self/stat").is_ok_and(|stat| !stat.is_empty())),
            _ => {
                let blocks: Vec<_> = (0..50).map(|_| vec![1_u8; self.dice.roll(5_000)]).collect();
                black_box(blocks);
            }
        }
    }

    /// Scoped threads borrow the stack of a goroutine while it parks, which needs a stack of its own.
    fn scoped_threads_in_an_own_stack(&mut self) {
        let number = self.number as u64;
        let own = Builder::new().own_stack(256 * 1024).spawn(move || {
            let mut numbers = [number; 4];
            let (tx, rx) = chan::bounded(0);
            let sum: u64 = thread::scope(|scope| {
                for number in &mut numbers {
                    let tx = tx.clone();
                    scope.spawn(move || {
                        *number += 1;
                        tx.send(*number).expect("is received");
                    });
                }
                (0..4).map(|_| rx.recv().expect("is sent")).sum()
            });
            assert_eq!((sum, numbers), (4 * (number + 1), [number + 1; 4]));
        });
        own.expect("a stack of its own").join().unwrap_or_else(|failure| resume_unwind(failure));
    }
}

/// Whether workers carry processors here, as opposed to being pinned to one each.
fn workers_swap_thread_pointers(workers: usize) -> bool {
    // Bit 1 says that programs may write the thread pointer themselves.
    // SAFETY: getauxval only reads.
    let capable = unsafe { libc::getauxval(libc::AT_HWCAP2) } & 2 != 0;
    let pinned = std::env::var_os("NARROWBOAT_PIN").is_some_and(|value| value == "1");
    capable && !pinned && workers > 1
}

#[test]
fn thread_locals_stay_with_their_goroutines() {
    let workers = number_from_env("NARROWBOAT_WORKERS").unwrap_or(2);
    Config::new()
        .stack_slots(4)
        .processors(number_from_env("NARROWBOAT_PROCESSORS").unwrap_or(8))
        .workers(workers)
        .start()
        .expect("nothing has started the runtime yet");
    let (pairs, turns) = (sized(1_000, 300), sized(400, 130));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = seen.clone();
    program(move || {
        // The first half of all goroutines exchange with the second half, which is mostly on other processors.
        let (forth, back): (Vec<_>, Vec<_>) =
            (0..pairs).map(|_| (chan::bounded(1), chan::bounded(1))).unzip();
        let one = forth.iter().zip(&back).map(|(forth, back)| (forth.0.clone(), back.1.clone()));
        let other = back.iter().zip(&forth).map(|(back, forth)| (back.0.clone(), forth.1.clone()));
        let ends: Vec<_> = one.chain(other).collect();
        drop((forth, back));
        let handles: Vec<_> = ends
            .into_iter()
            .enumerate()
            .map(|(number, (partner, inbox))| {
                let (dice, seen) = (Dice::new(number as u64 + 1), shared.clone());
                let tortured = Tortured { number, turns, dice, inbox, partner, seen };
                go!(move || tortured.run())
            })
            .collect();
        for handle in handles {
            handle.join().unwrap_or_else(|failure| resume_unwind(failure));
        }
    });

    let seen = seen.lock().unwrap();
    assert_eq!(seen.counted.values().sum::<usize>(), 2 * pairs * turns);
    assert_eq!(seen.reported, seen.counted, "counts of a thread were lost: it ran on two at once");
    if workers_swap_thread_pointers(workers) {
        assert!(seen.counted.len() > 1, "all goroutines were on one processor");
        let most = seen.carried_by.values().map(HashSet::len).max();
        assert!(most > Some(1), "no processor was ever carried by a second worker: nothing was tortured");
    }
}

#[test]
fn thread_locals_stay_under_forced_eviction() {
    again("thread_locals_stay_with_their_goroutines", &[("NARROWBOAT_STRESS", "evict")]);
}
