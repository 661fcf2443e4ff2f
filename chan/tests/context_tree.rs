//! Large trees of contexts, and trees that many change at a time.

use narrowboat_chan::context::{
    Cancel, Context, Error, background, with_cancel, with_deadline, with_timeout, with_value,
};
use narrowboat_testing::{Census, Dice, LONG, Work, go, sized, suite};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

fn count() -> usize {
    sized(100_000, 40_000)
}

/// On a stack on which nothing can recurse a hundred thousand times, and in a goroutine.
fn on_little_stack(work: fn()) {
    std::thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap().join().unwrap();
    go(work).join();
}

/// Each context of the tree, with the cancel of the first; `parent` says of which each is a child.
fn tree(mut parent: impl FnMut(usize) -> usize) -> (Vec<Context>, Cancel) {
    let (top, cancel) = with_cancel(&background());
    let mut all = vec![top];
    for n in 1..count() {
        let child = match n % 3 {
            0 => with_timeout(&all[parent(n)], LONG * 60).0,
            _ => with_cancel(&all[parent(n)]).0,
        };
        all.push(child);
    }
    (all, cancel)
}

fn is_cancelled_at_once(parent: impl FnMut(usize) -> usize) {
    let (all, cancel) = tree(parent);
    assert!(all.iter().all(|ctx| !ctx.is_done()));
    cancel.cancel();
    assert!(all.iter().all(|ctx| ctx.err() == Some(Error::Canceled)));
}

fn a_hundred_thousand_children_are_cancelled() {
    on_little_stack(|| is_cancelled_at_once(|_| 0));
}

fn a_chain_of_a_hundred_thousand_is_cancelled() {
    on_little_stack(|| is_cancelled_at_once(|n| n - 1));
}

fn a_mixed_tree_of_a_hundred_thousand_is_cancelled() {
    on_little_stack(|| {
        let mut dice = Dice::new(9);
        is_cancelled_at_once(|n| if n % 2 == 0 { n - 1 } else { dice.roll(n as u64) as usize });
    });
}

fn a_long_chain_is_dropped_from_its_end_with_all_its_values() {
    static CENSUS: Census = Census::new();
    on_little_stack(|| {
        for cancelled in [false, true] {
            let (mut ctx, cancel) = with_cancel(&background());
            for n in 0..count() {
                ctx = with_value(&ctx, CENSUS.value());
                if n % 2 == 0 {
                    ctx = with_cancel(&ctx).0;
                }
            }
            assert_eq!(CENSUS.alive(), count());
            if cancelled {
                cancel.cancel();
                assert!(ctx.is_done());
            }
            drop(ctx);
            assert_eq!(CENSUS.alive(), 0);
        }
    });
}

fn a_long_chain_expires_from_the_top() {
    on_little_stack(|| {
        let (top, _cancel) = with_deadline(&background(), Instant::now());
        let mut ctx = top;
        for _ in 0..count() {
            ctx = with_cancel(&ctx).0;
        }
        assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
    });
}

fn children_come_and_go_under_a_parent_that_stays() {
    let (parent, cancel) = with_cancel(&background());
    let keep: Vec<_> = (0..100).map(|_| with_cancel(&parent).0).collect();
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let parent = parent.clone();
            go(move || {
                for k in 0..sized(100_000, 20_000) {
                    let (child, cancel) = with_cancel(&parent);
                    if k % 4 == n {
                        cancel.cancel();
                        assert!(child.is_done());
                    }
                }
            })
        })
        .collect();
    workers.into_iter().for_each(Work::join);
    assert!(!parent.is_done());
    cancel.cancel();
    assert!(keep.iter().all(Context::is_done));
}

/// Cancels at several places, new children everywhere, and drops, all at the same time, on goroutines and threads. When
/// a cancel has returned, everything that was below it is done; what was added meanwhile is done at the end.
fn a_tree_under_attack() {
    static CENSUS: Census = Census::new();

    struct Node {
        ctx: Context,
        cancel: Cancel,
        /// The places in the list of all that are above this one.
        above: Vec<usize>,
    }

    for round in 0..sized(1_000, 200) {
        let (top, cancel) = with_cancel(&with_value(&background(), CENSUS.value()));
        let nodes = Arc::new(Mutex::new(vec![Some(Node { ctx: top, cancel, above: Vec::new() })]));
        let ended = Arc::new(AtomicBool::new(false));
        let woken = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(2));
        let mut waiters = Vec::new();

        let grow = |dice: &mut Dice, nodes: &Mutex<Vec<Option<Node>>>| {
            let (parent, mut above) = {
                let nodes = nodes.lock().unwrap();
                let place = dice.roll(nodes.len() as u64) as usize;
                let Some(node) = &nodes[place] else { return };
                let mut above = node.above.clone();
                above.push(place);
                (node.ctx.clone(), above)
            };
            let was_done = parent.is_done();
            let (ctx, cancel) = with_cancel(&with_value(&parent, CENSUS.value()));
            assert!(!was_done || ctx.is_done(), "born alive below the dead");
            above.sort_unstable();
            nodes.lock().unwrap().push(Some(Node { ctx, cancel, above }));
        };
        let mut dice = Dice::new(round as u64);
        for _ in 0..40 {
            grow(&mut dice, &nodes);
        }
        for _ in 0..4 {
            let ctx = nodes.lock().unwrap().last().unwrap().as_ref().unwrap().ctx.clone();
            let woken = woken.clone();
            waiters.push(go(move || {
                assert!(ctx.done().recv_timeout(LONG).unwrap_err().is_disconnected());
                woken.fetch_add(1, Ordering::Relaxed);
            }));
        }
        let others: Vec<_> = (0..4)
            .map(|party| {
                let (nodes, ended, start) = (nodes.clone(), ended.clone(), start.clone());
                let mut dice = Dice::new((round * 4 + party) as u64 + 1000);
                let work = move || {
                    if party == 0 {
                        start.wait();
                    }
                    for step in 0..200 {
                        match party {
                            0 | 1 => grow(&mut dice, &nodes),
                            2 => {
                                let place = {
                                    let nodes = nodes.lock().unwrap();
                                    dice.roll(nodes.len() as u64 - 1) as usize + 1
                                };
                                let dropped = nodes.lock().unwrap()[place].take();
                                drop(dropped);
                            }
                            _ if step % 20 != 0 => narrowboat_runtime::yield_now(),
                            _ => cancel_one(&nodes, |len| dice.roll(len as u64) as usize),
                        }
                        if ended.load(Ordering::Relaxed) && step > 100 {
                            break;
                        }
                    }
                };
                if party % 2 == 0 { Work::Thread(std::thread::spawn(work)) } else { go(work) }
            })
            .collect();

        /// Cancels one, and checks those that were below it before.
        fn cancel_one(nodes: &Mutex<Vec<Option<Node>>>, place: impl FnOnce(usize) -> usize) {
            let (cancel, below) = {
                let nodes = nodes.lock().unwrap();
                let place = place(nodes.len());
                let Some(node) = &nodes[place] else { return };
                let below = nodes.iter().flatten().filter(|node| node.above.contains(&place));
                (node.cancel.clone(), below.map(|node| node.ctx.clone()).collect::<Vec<_>>())
            };
            cancel.cancel();
            assert!(below.iter().all(|ctx| ctx.err() == Some(Error::Canceled)), "it runs on");
        }

        start.wait();
        cancel_one(&nodes, |_| 0);
        ended.store(true, Ordering::Relaxed);
        others.into_iter().for_each(Work::join);
        assert!(nodes.lock().unwrap().iter().flatten().all(|node| node.ctx.is_done()));
        waiters.into_iter().for_each(Work::join);
        assert_eq!(woken.load(Ordering::Relaxed), 4);
        drop(nodes);
        assert_eq!(CENSUS.alive(), 0, "round {round}: something leaks");
    }
}

/// How long a large tree takes, for reading: `cargo test --release --test context_tree -- --ignored --nocapture`.
fn time_to_cancel() {
    for shift in 0..4 {
        let size = 12_500 << shift;
        for (name, deep) in [("wide", false), ("deep", true)] {
            let (top, cancel) = with_cancel(&background());
            let mut all = vec![top];
            let start = Instant::now();
            for n in 0..size {
                let child = with_cancel(&all[if deep { n } else { 0 }]).0;
                all.push(child);
            }
            let made = start.elapsed();
            let start = Instant::now();
            cancel.cancel();
            let cancelled = start.elapsed();
            let start = Instant::now();
            drop(all);
            println!(
                "{size} {name}: made in {made:?}, cancelled in {cancelled:?}, dropped in {:?}",
                start.elapsed()
            );
        }
    }
}

suite! {
    a_hundred_thousand_children_are_cancelled,
    a_chain_of_a_hundred_thousand_is_cancelled,
    a_mixed_tree_of_a_hundred_thousand_is_cancelled,
    a_long_chain_is_dropped_from_its_end_with_all_its_values,
    a_long_chain_expires_from_the_top,
    children_come_and_go_under_a_parent_that_stays,
    a_tree_under_attack,
    #[ignore = "a measurement, which asserts nothing"]
    time_to_cancel,
}
