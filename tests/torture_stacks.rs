//! Thousands of goroutines share a handful of stack slots, so that nearly every park is followed by a copy out and
//! a copy in. Each keeps arrays of different sizes, references into its own stack and values with destructors in frames
//! at random depths of recursion, on segments of `stack::grow` and now and then megabytes down.
//!
//! One runtime per process, so this file has one body; its other tests run that again: with eviction forced at every
//! park and the vacated bytes poisoned, with all memory given back that no stack needs at the moment, and under valgrind.
//! `NARROWBOAT_TORTURE_SECONDS` repeats it with other random numbers for at least so long.

use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::{Config, go, select, stack};
use narrowboat_testing::{
    Census, Counted, Dice, again, assert_passed, number_from_env, program, sized, tool,
};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

const MAX_DEPTH: usize = 40;
/// How far down a plunge goes at most, in bytes.
const DEEPEST: usize = 8 << 20;

/// A value that knows where it was put: it must never be seen anywhere else, nor with other contents.
struct Pinned<const N: usize> {
    seed: u64,
    address: usize,
    words: [u64; N],
    counted: Counted,
}

impl<const N: usize> Pinned<N> {
    fn new(seed: u64, census: &'static Census) -> Pinned<N> {
        let words = std::array::from_fn(|i| seed.wrapping_add(i as u64));
        Pinned { seed, address: 0, words, counted: census.value() }
    }
}

impl<const N: usize> Drop for Pinned<N> {
    fn drop(&mut self) {
        self.check();
        black_box(&self.counted);
        // Some destructors park, whether they run at the end of a scope or because a panic unwinds.
        if self.seed.is_multiple_of(61) {
            narrowboat::yield_now();
            self.check();
        }
    }
}

/// Something in a frame that can be looked at through a reference from a deeper frame.
trait Check {
    fn check(&self);
}

impl<const N: usize> Check for Pinned<N> {
    fn check(&self) {
        assert_eq!(black_box(self.address), std::ptr::from_ref(self).addr(), "a frame moved");
        for (i, &word) in black_box(&self.words).iter().enumerate() {
            assert_eq!(word, self.seed.wrapping_add(i as u64), "word {i} of {N} changed on the stack");
        }
    }
}

/// The frames below, as a list through the stack itself: each link is a local of the frame that made it.
#[derive(Clone, Copy)]
struct Chain<'a> {
    own: &'a dyn Check,
    below: Option<&'a Chain<'a>>,
    length: usize,
}

impl Chain<'_> {
    fn check(&self) {
        let mut link = Some(self);
        let mut length = self.length;
        while let Some(chain) = link {
            assert_eq!(chain.length, length);
            chain.own.check();
            link = chain.below;
            length -= 1;
        }
        assert_eq!(length, 0, "the chain ends at the goroutine's first frame");
    }
}

/// What a goroutine takes along: its generator, its share of the parks, and channels to its neighbours in a ring.
struct Tortured {
    dice: Dice,
    parks_left: usize,
    census: &'static Census,
    to_next: Sender<Box<[u64; 8]>>,
    from_previous: Receiver<Box<[u64; 8]>>,
}

impl Tortured {
    /// Parks in one of the ways there are. None waits for a partner that might not come.
    fn park(&mut self) {
        self.parks_left = self.parks_left.saturating_sub(1);
        match self.dice.roll(40) {
            0 => narrowboat::sleep(Duration::from_micros(self.dice.bits() % 500)),
            1 => {
                let (number, there) = (self.dice.bits(), chan::bounded(0));
                let (reply_to, reply) = there;
                go!(move || reply_to.send(number).unwrap());
                assert_eq!(reply.recv(), Ok(number));
            }
            2 => {
                let number = self.dice.bits();
                assert_eq!(go!(move || number + 1).join().unwrap(), number + 1);
            }
            3..=19 => {
                let _ = self.to_next.try_send(Box::new([self.dice.bits(); 8]));
                let patience = Duration::from_micros(self.dice.bits() % 200);
                select! {
                    recv(self.from_previous) -> message => {
                        if let Ok(message) = message {
                            assert_eq!(*message, [message[0]; 8]);
                        }
                    }
                    default(patience) => {}
                }
            }
            _ => narrowboat::yield_now(),
        }
    }

    /// One frame with `N` words of its own: parks, goes deeper, parks, and returns.
    #[inline(never)]
    fn frame<const N: usize>(&mut self, below: Option<&Chain<'_>>, depth: usize) -> u64 {
        let seed = self.dice.bits();
        let mut own = Pinned::<N>::new(seed, self.census);
        own.address = std::ptr::from_ref(&own).addr();
        let chain = Chain { own: &own, below, length: below.map_or(1, |below| below.length + 1) };
        self.park();
        chain.check();
        let mut sum = seed;
        while depth > 0 && self.parks_left > 0 {
            sum = sum.wrapping_add(self.deeper(Some(&chain), depth - 1));
            self.park();
            chain.check();
            if self.dice.roll(3) > 0 {
                break;
            }
        }
        if self.dice.roll(200) == 0 {
            // Unwinds through frames that have been copied out and in, to a catch somewhere below.
            resume_unwind(Box::new(Unwound(seed)));
        }
        black_box(sum)
    }

    /// Goes down for so many bytes at once, parks there, and comes back: all of it is copied if another wants the slot.
    #[inline(never)]
    fn plunge(&mut self, bytes: usize) {
        let mut frame = [0u64; 512];
        let mark = self.dice.bits();
        black_box(&mut frame)[mark as usize % 512] = mark;
        if bytes > size_of_val(&frame) {
            self.plunge(bytes - size_of_val(&frame));
        } else {
            self.park();
        }
        let seen = black_box(&frame);
        assert!(
            (0..512).all(|i| seen[i] == if i == mark as usize % 512 { mark } else { 0 }),
            "a deep frame changed"
        );
    }

    /// A frame of random size; now and then one that catches what unwinds from above it, or one on a segment.
    fn deeper(&mut self, below: Option<&Chain<'_>>, depth: usize) -> u64 {
        match self.dice.roll(4_000) {
            0 => {
                // Half of them shallower than a sixteenth of the deepest.
                let most = DEEPEST >> self.dice.roll(8);
                let bytes = most - self.dice.roll(most / 2);
                // Without optimisation frames are larger than what is in them.
                stack::maybe_grow(3 * bytes, 3 * bytes, || self.plunge(bytes));
            }
            1..100 => return stack::grow(MAX_DEPTH * (32 << 10), || self.any_frame(below, depth)),
            _ => {}
        }
        if self.dice.roll(8) == 0 {
            return self.catching(|this| this.any_frame(below, depth));
        }
        self.any_frame(below, depth)
    }

    fn any_frame(&mut self, below: Option<&Chain<'_>>, depth: usize) -> u64 {
        match self.dice.roll(64) {
            0 => self.frame::<1024>(below, depth),
            1..=4 => self.frame::<200>(below, depth),
            5..=20 => self.frame::<33>(below, depth),
            21..=40 => self.frame::<7>(below, depth),
            _ => self.frame::<1>(below, depth),
        }
    }

    fn catching(&mut self, f: impl FnOnce(&mut Self) -> u64) -> u64 {
        match catch_unwind(AssertUnwindSafe(|| f(self))) {
            Ok(sum) => sum,
            Err(payload) => match payload.downcast::<Unwound>() {
                Ok(unwound) => unwound.0,
                // A failed check: on to the one that joins.
                Err(failure) => resume_unwind(failure),
            },
        }
    }

    fn run(mut self) -> usize {
        let planned = self.parks_left;
        while self.parks_left > 0 {
            let depth = self.dice.roll(MAX_DEPTH);
            self.catching(|this| this.any_frame(None, depth));
        }
        planned
    }
}

/// The payload of panics that are part of the torture.
struct Unwound(u64);

#[test]
fn locals_survive_sharing_a_few_slots() {
    // Four slots for some hundreds of goroutines each. The environment overrides what is said here about workers.
    Config::new()
        .stack_slots(4)
        .processors(number_from_env("NARROWBOAT_PROCESSORS").unwrap_or(8))
        .workers(number_from_env("NARROWBOAT_WORKERS").unwrap_or(2))
        .start()
        .expect("nothing has started the runtime yet");
    let seconds = number_from_env("NARROWBOAT_TORTURE_SECONDS").unwrap_or(0);
    let (start, mut seed) = (Instant::now(), 1);
    loop {
        seed = torture(seed);
        if start.elapsed() >= Duration::from_secs(seconds as u64) {
            break;
        }
    }
}

/// One round; says which random numbers are next.
fn torture(seed: u64) -> u64 {
    let (goroutines, parks) = (sized(3_000, 1_000), sized(400, 200));
    let census = Census::leaked();
    let parked: usize = program(move || {
        let (mut senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..goroutines).map(|_| chan::bounded(2)).unzip();
        // A long way round, so that most neighbours in the ring are on different processors.
        senders.rotate_left(goroutines / 2 + 1);
        let handles: Vec<_> = (0..goroutines)
            .map(|n| {
                let tortured = Tortured {
                    dice: Dice::new(seed + n as u64),
                    parks_left: parks,
                    census,
                    to_next: senders.pop().expect("one for each"),
                    from_previous: receivers.pop().expect("one for each"),
                };
                go!(move || tortured.run())
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|failure| resume_unwind(failure))).sum()
    });
    assert_eq!(parked, goroutines * parks);
    assert!(census.made() > goroutines * parks / 4, "only {} frames were made", census.made());
    assert_eq!(census.dropped(), census.made(), "every frame's value is dropped once");
    seed + goroutines as u64
}

#[test]
fn locals_survive_eviction_at_every_park() {
    again("locals_survive_sharing_a_few_slots", &[("NARROWBOAT_STRESS", "evict")]);
}

#[test]
fn locals_survive_when_all_that_is_not_needed_is_given_back() {
    let variables = [("NARROWBOAT_STRESS", "scavenge"), ("NARROWBOAT_TEST_SCALE", "40")];
    again("locals_survive_sharing_a_few_slots", &variables);
}

/// A small round under memcheck. There is no user-mode write of the thread pointer there, so processors are pinned.
#[test]
#[ignore = "minutes in every mode; `.ci/memcheck.sh` runs it once"]
fn memcheck_has_nothing_to_object() {
    let name = "locals_survive_sharing_a_few_slots";
    let Some(mut valgrind) = tool("valgrind") else { return };
    // Memcheck takes note of every page of a stack when it comes into being.
    let output = valgrind
        .args(["--error-exitcode=99", "--quiet"])
        .arg(std::env::current_exe().expect("a test knows its binary"))
        .args(["--exact", name, "--test-threads=1"])
        .envs([
            ("NARROWBOAT_TEST_SCALE", "1"),
            ("NARROWBOAT_PROCESSORS", "2"),
            ("NARROWBOAT_MAX_STACK", "524288"),
        ])
        .output()
        .expect("valgrind runs");
    assert_passed(&output, 1);
}
