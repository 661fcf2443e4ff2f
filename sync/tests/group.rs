//! Groups: what they wait for, what they return, whom they let in.

use narrowboat_chan::context::{self, Error, background};
use narrowboat_chan::{bounded, unbounded};
use narrowboat_runtime::{sleep, spawn, stats, yield_now};
use narrowboat_sync::Group;
use narrowboat_testing::{Census, Counted, LONG, On, assert_passed, eventually, in_child, settle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs `f` on a thread and as a goroutine, and fails if one of them hangs.
fn everywhere(f: fn()) {
    On::Threads.bounded(f);
    On::Goroutines.bounded(f);
}

#[test]
fn an_empty_group_has_nothing_to_wait_for() {
    everywhere(|| {
        assert_eq!(Group::<()>::new().wait(), Ok(()));
        assert_eq!(Group::<()>::default().wait(), Ok(()));
    });
}

#[test]
fn wait_returns_when_all_have_ended() {
    everywhere(|| {
        let group = Group::<()>::new();
        let ended = Arc::new(AtomicUsize::new(0));
        for n in 0..500 {
            let ended = ended.clone();
            group.spawn(move || {
                if n % 10 == 0 {
                    sleep(Duration::from_millis(n / 10));
                }
                ended.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(ended.load(Ordering::Relaxed), 500);
    });
}

#[test]
fn the_first_error_is_returned_after_all_have_ended() {
    everywhere(|| {
        let group = Group::new();
        let (first, second) = bounded::<()>(0);
        let ended = Arc::new(AtomicUsize::new(0));
        let late = ended.clone();
        group.spawn(move || {
            // Until the other has failed.
            let _ = second.recv();
            settle();
            late.fetch_add(1, Ordering::Relaxed);
            Err("second")
        });
        group.spawn(|| Ok(()));
        group.spawn(move || {
            let _first = first;
            Err("first")
        });
        assert_eq!(group.wait(), Err("first"));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_group_can_be_used_again() {
    let group = Group::new();
    group.spawn(|| Err(1));
    assert_eq!(group.wait(), Err(1));
    assert_eq!(group.wait(), Ok(()));
    group.spawn(|| Err(2));
    assert_eq!(group.wait(), Err(2));
    group.spawn(|| Ok(()));
    assert_eq!(group.wait(), Ok(()));
}

#[test]
fn a_panic_goes_on_in_wait_when_all_have_ended() {
    everywhere(|| {
        let group = Group::new();
        let ended = Arc::new(AtomicUsize::new(0));
        let late = ended.clone();
        group.spawn(|| Err("an error does not hide it"));
        group.spawn(|| std::panic::resume_unwind(Box::new("overboard")));
        group.spawn(move || {
            settle();
            late.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let panic = catch_unwind(AssertUnwindSafe(|| group.wait())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"overboard"));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        assert_eq!(group.wait(), Ok(()), "it was said once");
    });
}

#[test]
fn an_error_ends_the_context_and_so_the_others() {
    everywhere(|| {
        let (parent, _cancel) = context::with_cancel(&background());
        let (group, ctx) = Group::with_context_cause(&parent);
        for _ in 0..100 {
            let ctx = ctx.clone();
            group.spawn(move || {
                assert!(ctx.done().recv().is_err());
                Err("told to end".to_owned())
            });
        }
        group.spawn(|| Err("aground".to_owned()));
        assert_eq!(group.wait(), Err("aground".to_owned()));
        assert_eq!(ctx.err(), Some(Error::Canceled));
        assert_eq!(ctx.cause().unwrap().to_string(), "aground");
        assert!(!parent.is_done());
    });
}

#[test]
fn a_panic_ends_the_context_too() {
    let (group, ctx) = Group::<()>::with_context(&background());
    let other = ctx.clone();
    group.spawn(move || {
        let _ = other.done().recv();
        Ok(())
    });
    group.spawn(|| std::panic::resume_unwind(Box::new(())));
    assert!(catch_unwind(AssertUnwindSafe(|| group.wait())).is_err());
    assert_eq!(ctx.cause().unwrap().to_string(), "a member of the group panicked");
}

#[test]
fn the_context_ends_with_wait_or_with_its_parent() {
    let (group, ctx) = Group::<()>::with_context(&background());
    group.spawn(|| Ok(()));
    group.wait().unwrap();
    assert_eq!(ctx.err(), Some(Error::Canceled));
    let (parent, cancel) = context::with_cancel(&background());
    let (group, ctx) = Group::<()>::with_context(&parent);
    cancel.cancel();
    assert!(ctx.is_done());
    group.wait().unwrap();
}

#[test]
fn no_more_run_than_the_limit_allows_and_all_of_them_do() {
    everywhere(|| {
        for limit in [1, 2, 7] {
            let group = Group::<()>::new();
            group.limit(limit);
            let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let spawners: Vec<_> = (0..4)
                .map(|_| {
                    let (group, running, most) = (group.clone(), running.clone(), most.clone());
                    spawn(move || {
                        for _ in 0..200 {
                            let (running, most) = (running.clone(), most.clone());
                            group.spawn(move || {
                                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                                yield_now();
                                running.fetch_sub(1, Ordering::SeqCst);
                                Ok(())
                            });
                        }
                    })
                })
                .collect();
            spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
            group.wait().unwrap();
            let most = most.load(Ordering::SeqCst);
            assert!(most <= limit, "{most} at a time with a limit of {limit}");
        }
    });
}

#[test]
fn spawners_are_served_in_their_order() {
    // In its own process, where all goroutines that wait are its own.
    if let Some(output) = in_child("spawners_are_served_in_their_order") {
        return assert_passed(&output, 1);
    }
    let waiting = || stats().processors.iter().map(|processor| processor.waiting).sum::<usize>();
    let group = Group::<()>::new();
    group.limit(1);
    let (go_on, held) = bounded::<()>(0);
    group.spawn(move || {
        let _ = held.recv();
        Ok(())
    });
    let order = Arc::new(Mutex::new(Vec::new()));
    let spawners: Vec<_> = (0..5)
        .map(|n| {
            let (group, order) = (group.clone(), order.clone());
            let spawner = spawn(move || {
                group.spawn(move || {
                    order.lock().unwrap().push(n);
                    Ok(())
                });
            });
            eventually("it is in line", || waiting() == n + 2);
            spawner
        })
        .collect();
    assert!(group.try_spawn(|| Ok(())).is_err(), "nothing gets past those in line");
    drop(go_on);
    spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
    group.wait().unwrap();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_higher_limit_lets_those_in_line_go_on() {
    let group = Group::<()>::new();
    group.limit(1);
    let (started, starts) = unbounded();
    let (go_on, held) = bounded::<()>(0);
    let spawners: Vec<_> = (0..6)
        .map(|_| {
            let (group, started, held) = (group.clone(), started.clone(), held.clone());
            spawn(move || {
                group.spawn(move || {
                    started.send(()).unwrap();
                    let _ = held.recv();
                    Ok(())
                });
            })
        })
        .collect();
    starts.recv_timeout(LONG).unwrap();
    settle();
    assert!(starts.try_recv().is_err());
    group.limit(4);
    for _ in 0..3 {
        starts.recv_timeout(LONG).unwrap();
    }
    settle();
    assert!(starts.try_recv().is_err());
    group.limit(2);
    drop(go_on);
    spawners.into_iter().for_each(|spawner| spawner.join().unwrap());
    group.wait().unwrap();
    assert_eq!(starts.len(), 2);
    assert!(catch_unwind(AssertUnwindSafe(|| group.limit(0))).is_err());
}

#[test]
fn try_spawn_gives_the_closure_back() {
    let group = Group::new();
    group.limit(1);
    let (go_on, held) = bounded::<()>(0);
    group.spawn(move || {
        let _ = held.recv();
        Ok(())
    });
    let Err(refused) = group.try_spawn(|| Err("it ran after all")) else { panic!("there was no room") };
    drop(go_on);
    group.wait().unwrap();
    group.try_spawn(refused).ok().unwrap();
    assert_eq!(group.wait(), Err("it ran after all"));
}

#[test]
fn members_start_members() {
    fn grow(group: &Group<()>, leaves: &Arc<AtomicUsize>, depth: u32) {
        for _ in 0..2 {
            let (mine, leaves) = (group.clone(), leaves.clone());
            group.spawn(move || {
                match depth {
                    0 => drop(leaves.fetch_add(1, Ordering::Relaxed).to_string()),
                    _ => grow(&mine, &leaves, depth - 1),
                }
                Ok(())
            });
        }
    }
    let (group, leaves) = (Group::new(), Arc::new(AtomicUsize::new(0)));
    grow(&group, &leaves, 8);
    group.wait().unwrap();
    assert_eq!(leaves.load(Ordering::Relaxed), 512);
}

#[test]
fn several_may_wait_and_one_gets_the_error() {
    let group = Group::new();
    let (go_on, held) = bounded::<()>(0);
    group.spawn(move || {
        let _ = held.recv();
        Err("once")
    });
    let waiting: Vec<_> = (0..6)
        .map(|n| {
            let group = group.clone();
            let (tx, rx) = bounded(1);
            let wait = move || tx.send(group.wait()).unwrap();
            if n % 2 == 0 {
                drop(spawn(wait));
            } else {
                drop(std::thread::spawn(wait));
            }
            rx
        })
        .collect();
    settle();
    drop(go_on);
    let results: Vec<_> = waiting.iter().map(|rx| rx.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
}

#[test]
fn errors_and_captures_are_dropped_once() {
    let census = Census::leaked();
    let group = Group::new();
    for n in 0..100 {
        let (error, capture) = (census.value(), census.value());
        group.spawn(move || {
            let _capture = capture;
            match n % 3 {
                0 => Ok(()),
                1 => Err(error),
                _ => std::panic::resume_unwind(Box::new(error)),
            }
        });
    }
    let panic = catch_unwind(AssertUnwindSafe(|| group.wait())).unwrap_err();
    let start = Instant::now();
    // The payload is here, and later failures are dropped by goroutines that have been waited for.
    while census.dropped() < 199 {
        assert!(start.elapsed() < LONG, "{} of 199", census.dropped());
        yield_now();
    }
    assert!(panic.is::<Counted>());
    drop(panic);
    assert_eq!(census.dropped(), 200);
}
