//! What a forked process may still do with the things that a program is made of. A program of its
//! own, because it forks.

use narrowboat::{chan, go, goroutine_local, select, sync, time};
use std::cell::Cell;
use std::time::Duration;

goroutine_local! {
    static NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f` in a forked process, and says with which code that ended.
fn fork(f: impl FnOnce()) -> i32 {
    // SAFETY: the child uses nothing but what `f` has, and ends here.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            libc::_exit(if outcome.is_ok() { 0 } else { 101 })
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert!(libc::WIFEXITED(status), "signal {}", libc::WTERMSIG(status));
        libc::WEXITSTATUS(status)
    }
}

fn try_everything() {
    const TIME: Duration = Duration::from_millis(5);
    let (tx, rx) = chan::bounded(1);
    let mutex = sync::Mutex::new(1);
    let timers = || {
        assert!(rx.recv_timeout(TIME).is_err());
        time::after(TIME).recv().unwrap();
        select! {
            recv(rx) -> _ => unreachable!(),
            recv(time::after(TIME)) -> _ => {}
        }
    };
    assert_eq!(fork(timers), 0);
    let messages = || {
        tx.try_send(5).unwrap();
        assert!(tx.try_send(6).is_err());
        assert_eq!(rx.recv(), Ok(5));
        select! {
            recv(rx) -> _ => unreachable!(),
            default => {}
        }
        *mutex.lock().unwrap() += 1;
        assert_eq!(*mutex.try_lock().unwrap(), 2);
    };
    assert_eq!(fork(messages), 0);
    // Nothing is there that would send.
    assert_eq!(fork(|| assert_eq!(rx.recv(), Ok(0))), 2);
    assert_eq!(*mutex.lock().unwrap(), 1);
}

#[test]
fn a_forked_process_may_do_what_needs_no_goroutine() {
    let (tx, rx) = chan::bounded(0);
    let parked = go!(move || rx.recv());
    try_everything();
    go!(|| {
        NUMBER.with(|number| number.set(7));
        try_everything();
        assert_eq!(fork(|| NUMBER.with(|number| assert_eq!(number.get(), 7))), 0);
    })
    .join()
    .unwrap();
    // A message for a goroutine of the parent reaches its copy, which never gets a turn.
    assert_eq!(fork(|| assert_eq!(tx.try_send(1), Ok(()))), 0);
    tx.send(2).unwrap();
    assert_eq!(parked.join().unwrap(), Ok(2));
}
