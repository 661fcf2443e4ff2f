//! One goroutine and the depth of its stack: calls at the edge of what there is, and recursion far beyond it.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

use narrowboat::{Builder, spawn, stack};
use narrowboat_bench::cli::{fail, report};
use narrowboat_bench::harness::figures::Summary;
use narrowboat_bench::recursion::descend;

use crate::strategy::{OWN_STACK, SEGMENT, Strategy, UNCACHED_SEGMENT};

/// The depths at which calls are timed, in frames of [`FRAME`] bytes: whole lines of the cache, so that a line does not make
/// the difference between two depths.
pub const DEPTHS: usize = 128;
const FRAME: usize = 128;
/// What is left of a frame beside the return address and three saved words.
const ARRAY: usize = FRAME - 32;

/// How many calls deep the function goes that is timed: a function that does a little.
const CALLED: usize = 2;

/// Where the edge of the first segment lies, in bytes below the first of those frames: where less than a segment's first
/// page is left. About the middle of the depths.
const EDGE: usize = DEPTHS * FRAME / 2;

/// Times so many `calls` of one function at each depth, `rounds` times.
pub fn edge(strategy: Strategy, calls: usize, rounds: usize) {
    on_stack(strategy, OWN_STACK, move || {
        let left = stack::remaining().expect("goroutines know their stacks");
        let call: &dyn Fn(usize) -> usize = match strategy {
            Strategy::Segments => &|n| stack::maybe_grow(left - EDGE, SEGMENT, || descend(n)),
            Strategy::Uncached => &|n| stack::maybe_grow(left - EDGE, UNCACHED_SEGMENT, || descend(n)),
            _ => &descend,
        };
        let samples = RefCell::new(vec![Vec::new(); DEPTHS]);
        for _ in 0..rounds {
            for (depth, samples) in samples.borrow_mut().iter_mut().enumerate() {
                at_depth(depth, &mut || {
                    let begun = Instant::now();
                    for _ in 0..calls {
                        black_box(call(black_box(CALLED)));
                    }
                    samples.push(begun.elapsed().as_nanos() as f64 / calls as f64);
                });
            }
        }
        for (depth, samples) in samples.take().iter().enumerate() {
            // The least, because what disturbs only adds, and not to all depths alike.
            report(&format!("depth-{depth}"), Summary::of(samples).expect("a round at least").min, "ns");
        }
    });
}

#[inline(never)]
fn at_depth(depth: usize, f: &mut dyn FnMut()) {
    let mut frame = [0u8; ARRAY];
    black_box(&mut frame)[0] = 1;
    if depth == 0 {
        f()
    } else {
        at_depth(depth - 1, f)
    }
    black_box(&frame);
}

/// Recurses so many `frames` deep, twice.
pub fn deep(strategy: Strategy, frames: usize) {
    // For a stack each, what the recursion needs has to be known.
    on_stack(strategy, 64 << 20, move || {
        for name in ["first", "second"] {
            let begun = Instant::now();
            let sum = match strategy {
                Strategy::Segments => descend_by_segments(frames),
                _ => descend(frames),
            };
            report(name, begun.elapsed().as_secs_f64() * 1e3, "ms");
            assert_eq!(sum, frames);
        }
    });
}

/// [`descend`], with a look at what is left in each frame.
#[inline(never)]
fn descend_by_segments(depth: usize) -> usize {
    let mut frame = [0u8; 256];
    black_box(&mut frame)[depth % 256] = 1;
    if depth == 0 {
        return 0;
    }
    let below = stack::maybe_grow(8 << 10, SEGMENT, || descend_by_segments(depth - 1));
    below + usize::from(black_box(&frame)[depth % 256])
}

/// Runs `f` in a goroutine with that kind of stack.
fn on_stack(strategy: Strategy, own: usize, f: impl FnOnce() + Send + 'static) {
    let handle = match strategy {
        Strategy::Slots => spawn(f),
        Strategy::Own => match Builder::new().own_stack(own).spawn(f) {
            Ok(handle) => handle,
            Err(error) => fail(&error.to_string()),
        },
        Strategy::Segments | Strategy::Uncached => spawn(|| stack::grow(SEGMENT, f)),
        Strategy::Shared | Strategy::Go => fail("that strategy has no such program here"),
    };
    if handle.join().is_err() {
        fail("the goroutine panicked");
    }
}
