//! Goroutines that borrow: a scope ends after its children, whatever they or their owner do.

use narrowboat::chan;
use narrowboat::{Builder, go, scope};
use narrowboat_testing::{Census, own_stacks, program, sized, within};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Runs `f` wherever a scope may be opened: in the main goroutine, in one with an own stack, and on a plain thread.
#[track_caller]
fn everywhere(f: fn()) {
    program(f);
    program(move || {
        let own = Builder::new().own_stack(1 << 20).spawn(f).unwrap();
        own.join().unwrap_or_else(|payload| resume_unwind(payload));
    });
    within(Duration::from_secs(240), f);
}

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().map(|text| text.to_string()).unwrap(),
    }
}

#[test]
fn children_read_and_write_what_their_owner_lends() {
    everywhere(|| {
        let text = String::from("lent");
        let mut numbers = [0; 100];
        let mut sum = 0;
        let lengths: usize = scope(|s| {
            for (i, number) in numbers.iter_mut().enumerate() {
                let text = &text;
                s.spawn(move || *number = i + text.len());
            }
            let handles: Vec<_> = (0..100).map(|_| s.spawn(|| text.len())).collect();
            s.spawn(|| sum = (0..100).sum());
            handles.into_iter().map(|handle| handle.join().unwrap()).sum()
        });
        assert_eq!(lengths, 400);
        assert_eq!(sum, 4950);
        assert!(numbers.iter().copied().eq(4..104));
    });
}

#[test]
fn a_result_may_borrow_too() {
    everywhere(|| {
        let words = [String::from("short"), String::from("longest"), String::from("longer")];
        let longest: &str = scope(|s| {
            let longest = s.spawn(|| words.iter().max_by_key(|word| word.len()).unwrap().as_str());
            longest.join().unwrap()
        });
        assert_eq!(longest, "longest");
    });
}

#[test]
fn a_scope_waits_for_children_that_are_not_joined() {
    everywhere(|| {
        let done = AtomicUsize::new(0);
        scope(|s| {
            for n in 0..50 {
                let done = &done;
                s.spawn(move || {
                    if n % 2 == 0 {
                        narrowboat::sleep(Duration::from_millis(n));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), 50);
        scope(|_| ());
    });
}

#[test]
fn children_spawn_children_and_join_each_other() {
    fn tree<'scope>(s: &'scope narrowboat::Scope<'scope, '_>, depth: u32, leaves: &'scope AtomicUsize) {
        if depth == 0 {
            leaves.fetch_add(1, Ordering::Relaxed);
        } else {
            s.spawn(move || tree(s, depth - 1, leaves));
            s.spawn(move || tree(s, depth - 1, leaves));
        }
    }
    everywhere(|| {
        let leaves = AtomicUsize::new(0);
        scope(|s| tree(s, 8, &leaves));
        assert_eq!(leaves.load(Ordering::Relaxed), 256);

        let text = String::from("through two hands");
        let len = scope(|s| {
            let inner = s.spawn(|| text.len());
            let outer = s.spawn(move || inner.join().unwrap());
            outer.join().unwrap()
        });
        assert_eq!(len, 17);
    });
}

#[test]
fn ten_thousand_children_of_one_scope() {
    everywhere(|| {
        let mut numbers = vec![0; sized(10_000, 2_000)];
        let (tx, rx) = chan::bounded(0);
        let sum: usize = scope(|s| {
            for (i, number) in numbers.iter_mut().enumerate() {
                let tx = tx.clone();
                s.spawn(move || {
                    *number = i;
                    tx.send(*number).unwrap();
                    *number += 1;
                });
            }
            drop(tx);
            rx.iter().sum()
        });
        assert_eq!(sum, (0..numbers.len()).sum::<usize>());
        assert!(numbers.iter().copied().eq(1..=numbers.len()));
    });
}

/// The owner and the children are parked in turn, with references into the owner's stack in force all the while.
#[test]
fn what_is_lent_stays_where_it_is_across_parks() {
    everywhere(|| {
        let rounds = sized(200, 40);
        let mut cells = [0_usize; 20];
        let (to_child, from_owner) = chan::bounded::<usize>(0);
        let (to_owner, from_child) = chan::bounded::<usize>(0);
        scope(|s| {
            for cell in &mut cells {
                let (from_owner, to_owner) = (from_owner.clone(), to_owner.clone());
                s.spawn(move || {
                    let local = [0x5a_u8; 300];
                    for n in from_owner.iter() {
                        *cell += n;
                        narrowboat::yield_now();
                        to_owner.send(n).unwrap();
                        assert_eq!(local, [0x5a; 300]);
                    }
                });
            }
            let on_the_stack = [7_usize; 64];
            for _ in 0..rounds {
                on_the_stack[..20].iter().for_each(|&n| to_child.send(n).unwrap_or_else(|_| unreachable!()));
                assert_eq!((0..20).map(|_| from_child.recv().unwrap()).sum::<usize>(), 140);
            }
            drop(to_child);
        });
        assert_eq!(cells.iter().sum::<usize>(), 140 * rounds);
    });
}

#[test]
fn scopes_nest_on_stacks_of_their_own() {
    everywhere(|| {
        let outer = String::from("outer");
        let total = scope(|s| {
            let mut children = Vec::new();
            for n in 0..10 {
                let outer = &outer;
                let child = move || {
                    let middle = [n; 10];
                    scope(|t| {
                        let sums: Vec<_> = middle
                            .iter()
                            .map(|number| {
                                t.spawn(move || {
                                    narrowboat::yield_now();
                                    number + outer.len()
                                })
                            })
                            .collect();
                        sums.into_iter().map(|sum| sum.join().unwrap()).sum::<usize>()
                    })
                };
                children.push(Builder::new().own_stack(256 << 10).spawn_scoped(s, child).unwrap());
            }
            children.into_iter().map(|child| child.join().unwrap()).sum::<usize>()
        });
        assert_eq!(total, 10 * 45 + 100 * 5);
        // One in another of the same owner.
        let one = scope(|s| {
            let one = s.spawn(|| usize::from(own_stacks() || scope_refused().is_some()));
            scope(|t| t.spawn(|| outer.len()).join().unwrap()) + one.join().unwrap()
        });
        assert_eq!(one, 6);
    });
}

/// Opens a scope; the message if that is refused.
fn scope_refused() -> Option<String> {
    catch_unwind(|| scope(|s| s.spawn(|| ()).join().unwrap())).err().map(message)
}

#[test]
fn a_goroutine_on_a_shared_stack_is_told_what_to_write_instead() {
    program(|| {
        let refusal = go!(scope_refused()).join().unwrap();
        if own_stacks() {
            return assert_eq!(refusal, None, "there is no shared stack");
        }
        assert_eq!(
            refusal.as_deref(),
            Some(
                "cannot open a scope here: this goroutine's stack is copied away while it is parked, so nothing may \
                 borrow from it. Open the scope in a goroutine spawned with `Builder::new().own_stack(bytes).spawn(..)`, \
                 in the main goroutine of `run`, or on a plain thread; or use `spawn` with what it needs moved into it, \
                 in an `Arc` or through a channel"
            )
        );
        let named = Builder::new().name("shared").spawn(scope_refused).unwrap();
        assert!(named.join().unwrap().is_some());
        let own = Builder::new().own_stack(1 << 20).spawn(scope_refused).unwrap();
        assert_eq!(own.join().unwrap(), None);
        assert_eq!(scope_refused(), None);
    });
    assert_eq!(scope_refused(), None);
}

#[test]
fn a_panic_that_is_not_taken_comes_out_of_the_scope_after_all_have_ended() {
    everywhere(|| {
        let done = AtomicBool::new(false);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.spawn(|| resume_unwind(Box::new("this is not taken")));
                s.spawn(|| {
                    narrowboat::sleep(Duration::from_millis(20));
                    done.store(true, Ordering::Relaxed);
                });
            })
        }));
        assert_eq!(message(caught.unwrap_err()), "a scoped goroutine panicked");
        assert!(done.load(Ordering::Relaxed));
    });
}

#[test]
fn a_panic_that_is_joined_stays_inside() {
    everywhere(|| {
        let text = String::from("borrowed");
        let value = scope(|s| {
            let bad = s.spawn(|| -> usize { panic_any(text.len()) });
            let good = s.spawn(|| 2);
            *bad.join().unwrap_err().downcast::<usize>().unwrap() + good.join().unwrap()
        });
        assert_eq!(value, 10);
    });
}

#[test]
fn a_panic_of_the_scope_s_own_closure_waits_and_goes_on() {
    everywhere(|| {
        let done = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                for _ in 0..10 {
                    s.spawn(|| {
                        narrowboat::sleep(Duration::from_millis(20));
                        done.fetch_add(1, Ordering::Relaxed);
                        resume_unwind(Box::new("of a child"));
                    });
                }
                resume_unwind(Box::new("of the closure"));
            })
        }));
        assert_eq!(message(caught.unwrap_err()), "of the closure");
        assert_eq!(done.load(Ordering::Relaxed), 10);
    });
}

/// Notes, when it is dropped, whether what it borrows is still there.
struct Borrower<'a> {
    owner: &'a AtomicUsize,
    linger: bool,
}

impl Drop for Borrower<'_> {
    fn drop(&mut self) {
        if self.linger {
            narrowboat::sleep(Duration::from_millis(5));
        }
        self.owner.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn closures_and_results_are_dropped_before_the_scope_ends() {
    everywhere(|| {
        for linger in [false, true] {
            let dropped = AtomicUsize::new(0);
            let borrower = || Borrower { owner: &dropped, linger };
            scope(|s| {
                // A closure that is consumed, one that is not, and one that unwinds.
                let (one, two, three) = (borrower(), borrower(), borrower());
                s.spawn(move || drop(one));
                s.spawn(move || {
                    let _two = &two;
                });
                let bad = s.spawn(move || {
                    let _three = three;
                    resume_unwind(Box::new(()));
                });
                // Results: of a handle dropped at once, dropped late, joined, and joined by another child.
                drop(s.spawn(borrower));
                let late = s.spawn(borrower);
                let joined = s.spawn(borrower);
                let passed_on = s.spawn(borrower);
                let (tx, rx) = chan::bounded(1);
                s.spawn(move || drop(tx.send(passed_on.join().unwrap())));
                assert!(bad.join().is_err());
                drop(joined.join().unwrap());
                while !late.is_finished() {
                    narrowboat::yield_now();
                }
                drop((late, rx));
            });
            assert_eq!(dropped.load(Ordering::Relaxed), 7, "linger: {linger}");
        }
    });
}

#[test]
fn a_forgotten_handle_does_not_keep_the_scope_from_ending() {
    everywhere(|| {
        let text = String::from("borrowed");
        let ran = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..10 {
                std::mem::forget(s.spawn(|| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    text.as_str()
                }));
            }
        });
        assert_eq!(ran.load(Ordering::Relaxed), 10);
        // Its panic is not forgotten.
        let caught = catch_unwind(|| {
            scope(|s| std::mem::forget(s.spawn(|| resume_unwind(Box::new("unheard")))));
        });
        assert_eq!(message(caught.unwrap_err()), "a scoped goroutine panicked");
    });
}

#[test]
fn a_destructor_that_panics_counts_as_a_panic_of_its_child() {
    struct Bad<'a>(&'a AtomicUsize);
    impl Drop for Bad<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            if !narrowboat::panicking() {
                resume_unwind(Box::new("from a destructor"));
            }
        }
    }
    everywhere(|| {
        let dropped = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                // The first handle is gone before its child has a result, so the child drops it.
                let (tx, rx) = chan::bounded::<()>(0);
                let (bad, bad_capture) = (Bad(&dropped), Bad(&dropped));
                drop(s.spawn(move || {
                    rx.recv().unwrap();
                    bad
                }));
                tx.send(()).unwrap();
                s.spawn(move || {
                    let _moved = &bad_capture;
                });
            })
        }));
        assert_eq!(message(caught.unwrap_err()), "a scoped goroutine panicked");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn join_races_with_the_end_of_the_child() {
    everywhere(|| {
        for _ in 0..sized(2_000, 200) {
            let mut a = 0;
            let b = scope(|s| {
                s.spawn(|| a = 1);
                s.spawn(|| 2).join().unwrap()
            });
            assert_eq!((a, b), (1, 2));
        }
    });
}

#[test]
fn a_spawn_that_fails_drops_its_closure_and_the_scope_ends() {
    everywhere(|| {
        let dropped = AtomicUsize::new(0);
        let borrower = Borrower { owner: &dropped, linger: false };
        scope(|s| {
            let failed = Builder::new().own_stack(usize::MAX).spawn_scoped(s, move || drop(borrower));
            assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
            assert_eq!(dropped.load(Ordering::Relaxed), 1);
        });
    });
}

#[test]
fn a_child_has_a_name_a_number_and_the_line_that_spawned_it() {
    everywhere(|| {
        scope(|s| {
            let line = line!() + 1;
            let plain = s.spawn(|| narrowboat::current().unwrap());
            let id = plain.id();
            let goroutine = plain.join().unwrap();
            assert_eq!((goroutine.id(), goroutine.name()), (id, None));
            assert_eq!(goroutine.spawned_at().line(), line);
            assert!(goroutine.spawned_at().file().ends_with("scope.rs"));
            let line = line!() + 2;
            let named =
                Builder::new().name("lodger").spawn_scoped(s, || narrowboat::current().unwrap()).unwrap();
            let goroutine = named.join().unwrap();
            assert_eq!(goroutine.name(), Some("lodger"));
            assert_eq!(goroutine.spawned_at().line(), line);
            assert!(format!("{s:?}").contains("panicked: 0"), "{s:?}");
        });
    });
}

/// A `Cell` is not `Sync`, but a child that is its only user may have it.
#[test]
fn a_child_may_take_a_mutable_borrow_of_what_is_not_sync() {
    everywhere(|| {
        let mut cell = Cell::new(1);
        let lent = &mut cell;
        scope(|s| {
            s.spawn(move || lent.set(lent.get() + 1));
        });
        assert_eq!(cell.get(), 2);
    });
}

#[test]
fn many_scopes_at_once_end_on_their_own() {
    program(|| {
        let census = Census::leaked();
        let owners: Vec<_> = (0..sized(64, 16))
            .map(|n| {
                Builder::new()
                    .own_stack(128 << 10)
                    .spawn(move || {
                        let shared = Mutex::new(Vec::new());
                        for round in 0..20 {
                            scope(|s| {
                                for k in 0..n % 7 {
                                    let value = census.value();
                                    let shared = &shared;
                                    s.spawn(move || {
                                        if (k + round) % 3 == 0 {
                                            narrowboat::yield_now();
                                        }
                                        shared.lock().unwrap().push(value);
                                    });
                                }
                            });
                            assert_eq!(shared.lock().unwrap().drain(..).count(), n % 7);
                        }
                    })
                    .unwrap()
            })
            .collect();
        owners.into_iter().for_each(|owner| owner.join().unwrap());
        assert_eq!(census.dropped(), census.made());
    });
}
