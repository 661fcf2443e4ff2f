//! What a forked process may still do with the things that a program is made of. A program of its
//! own, because it forks.

use narrowboat::{chan, go, goroutine_local, select, sync, time};
use narrowboat_testing::{FORKED, fork, works_in_fork};
use std::cell::Cell;
use std::time::Duration;

goroutine_local! {
    static NUMBER: Cell<u32> = const { Cell::new(0) };
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
    works_in_fork(timers);
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
    works_in_fork(messages);
    // Nothing is there that would send.
    let (status, text) = fork(|| assert_eq!(rx.recv(), Ok(0)));
    assert!(status.code() == Some(2) && text.contains(FORKED), "{status}: {text}");
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
        works_in_fork(|| NUMBER.with(|number| assert_eq!(number.get(), 7)));
    })
    .join()
    .unwrap();
    // A message for a goroutine of the parent reaches its copy, which never gets a turn.
    works_in_fork(|| assert_eq!(tx.try_send(1), Ok(())));
    tx.send(2).unwrap();
    assert_eq!(parked.join().unwrap(), Ok(2));
}
