//! A panic ends one goroutine and reaches the one that joins it, and no other; not even if it parks half-way.

use narrowboat::chan::{self, Sender};
use narrowboat::go;
use narrowboat_testing::{Census, program, sized};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::time::Duration;

#[test]
fn panic_reaches_its_joiner_and_no_other() {
    program(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        let bystanders: Vec<_> = (0..100)
            .map(|_| {
                let rx = rx.clone();
                go!(move || rx.recv().unwrap())
            })
            .collect();
        let answer = bystanders.len();
        let text = go!(move || -> u32 { panic!("the answer was {answer}") });
        let value = go!(|| -> u32 { panic_any(42_u64) });
        assert_eq!(*text.join().unwrap_err().downcast::<String>().unwrap(), "the answer was 100");
        assert_eq!(*value.join().unwrap_err().downcast::<u64>().unwrap(), 42);
        (0..100).for_each(|n| tx.send(n).unwrap());
        assert_eq!(bystanders.into_iter().map(|h| h.join().unwrap()).sum::<u32>(), 4950);
    });
}

#[test]
fn panic_of_the_main_goroutine_comes_out_of_run() {
    let payload = catch_unwind(|| narrowboat::run(|| panic_any("from main"))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"from main"));
    assert_eq!(narrowboat::run(|| 1), 1, "and the next program runs");
}

#[test]
fn detached_panics_are_harmless() {
    program(|| {
        let (tx, rx) = chan::unbounded();
        for n in 0..20 {
            let tx = tx.clone();
            go!(move || {
                tx.send(n).unwrap();
                if n % 4 == 0 {
                    panic!("this one is not joined");
                }
            });
        }
        drop(tx);
        // The channel ends only when all twenty, panicked or not, have dropped what they held.
        assert_eq!(rx.iter().sum::<u32>(), 190);
    });
}

#[test]
fn panic_drops_what_the_goroutine_held() {
    let census = Census::leaked();
    let held = census.value();
    program(move || {
        let goroutine = go!(move || {
            let _held = held;
            narrowboat::yield_now();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(goroutine.join().is_err());
        assert_eq!(census.dropped(), 1);
    });
}

/// Sends when it is dropped, which parks until another receives.
struct SendOnDrop(Sender<u32>, u32);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped while a panic unwinds");
        self.0.send(self.1).unwrap();
    }
}

#[test]
fn send_in_a_destructor_during_unwinding_arrives() {
    program(|| {
        let (tx, rx) = chan::bounded(0);
        let dying: Vec<_> = (0..50)
            .map(|n| {
                let tx = tx.clone();
                go!(move || {
                    let _parks = SendOnDrop(tx, n);
                    std::panic::resume_unwind(Box::new(n));
                })
            })
            .collect();
        drop(tx);
        // All of them park in the middle of unwinding. Meanwhile others work, panic to the end, and panic and catch.
        narrowboat::sleep(Duration::from_millis(20));
        for _ in 0..50 {
            assert_eq!(go!(|| 1 + 1).join().unwrap(), 2);
            assert!(go!(|| std::panic::resume_unwind(Box::new(()))).join().is_err());
            let caught = go!(|| {
                let caught = catch_unwind(|| std::panic::resume_unwind(Box::new("caught")));
                narrowboat::yield_now();
                *caught.unwrap_err().downcast::<&str>().unwrap()
            });
            assert_eq!(caught.join().unwrap(), "caught");
        }
        let mut received: Vec<u32> = rx.iter().collect();
        received.sort();
        assert!(received.into_iter().eq(0..50), "each message arrives, once");
        for (n, goroutine) in dying.into_iter().enumerate() {
            let payload = goroutine.join().unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&(n as u32)), "each joiner gets its own panic");
        }
    });
}

#[test]
fn panic_under_a_parked_unwinding_is_reported_as_usual() {
    // With a message and through the panic hook, unlike above: the hook must not take the second for a nested panic.
    program(|| {
        let (tx, rx) = chan::bounded(0);
        let dying = go!(move || {
            let _parks = SendOnDrop(tx, 1);
            panic!("parks while it unwinds");
        });
        narrowboat::sleep(Duration::from_millis(20));
        assert!(go!(|| panic!("while another unwinds")).join().is_err());
        assert_eq!(rx.recv(), Ok(1));
        assert!(dying.join().is_err());
    });
}

#[test]
fn catch_unwind_works_across_parks() {
    program(|| {
        let goroutines: Vec<_> = (0..sized(2_000, 300))
            .map(|n| {
                go!(move || {
                    let kept = [n; 16];
                    let caught = catch_unwind(AssertUnwindSafe(|| {
                        for round in 0.. {
                            narrowboat::yield_now();
                            if round == n % 7 {
                                std::panic::resume_unwind(Box::new(n));
                            }
                        }
                    }));
                    narrowboat::yield_now();
                    assert_eq!(*caught.unwrap_err().downcast::<usize>().unwrap(), n);
                    assert_eq!(kept, [n; 16]);
                })
            })
            .collect();
        goroutines.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    });
}
