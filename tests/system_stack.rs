//! What would have to wait is refused on the system stack before it has changed anything. What does
//! not have to wait works there.

use narrowboat::chan::{self, Select, after, bounded};
use narrowboat::net::{TcpListener, TcpStream, UdpSocket};
use narrowboat::sync::{
    Barrier, Condvar, Group, LazyLock, Mutex, Once, OnceLock, RwLock, Semaphore, WaitGroup,
};
use narrowboat::{Builder, blocking, dump, go, scope, select, sleep, stack};
use std::hint::black_box;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SENTENCE: &str = "a goroutine cannot wait on the system stack";
const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

/// Runs `f` on the system stack of a goroutine.
fn there<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    go!(move || stack::on_system_stack(f)).join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The same, for what is refused.
#[track_caller]
fn refused<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) {
    let panic = go!(move || stack::on_system_stack(|| drop(f()))).join().expect_err("it does not wait");
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap();
    assert!(text.contains(SENTENCE), "{text}");
}

#[test]
fn locks() {
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.lock().unwrap();
    let theirs = mutex.clone();
    refused(move || *theirs.lock().unwrap() += 1);
    drop(guard);
    assert!(!mutex.is_poisoned());
    let theirs = mutex.clone();
    there(move || *theirs.lock().unwrap() += 1);
    assert_eq!(*mutex.try_lock().unwrap(), 1);

    let lock = Arc::new(RwLock::new(0));
    let guard = lock.write().unwrap();
    let theirs = lock.clone();
    refused(move || *theirs.read().unwrap());
    drop(guard);
    let guard = lock.read().unwrap();
    let theirs = lock.clone();
    refused(move || *theirs.write().unwrap() = 1);
    let theirs = lock.clone();
    assert_eq!(there(move || *theirs.read().unwrap()), 0);
    drop(guard);
    *lock.try_write().unwrap() = 2;
    assert_eq!(*lock.try_read().unwrap(), 2);
}

#[test]
fn condition_variables() {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let theirs = pair.clone();
    refused(move || drop(theirs.1.wait(theirs.0.lock().unwrap())));
    // A panic with a guard in hand poisons, this one like any other.
    assert!(pair.0.is_poisoned());
    pair.0.clear_poison();
    let theirs = pair.clone();
    refused(move || drop(theirs.1.wait_timeout(theirs.0.lock().unwrap(), LONG)));
    pair.0.clear_poison();
    let theirs = pair.clone();
    let waiter = go!(move || {
        let mut told = theirs.0.lock().unwrap();
        while !*told {
            told = theirs.1.wait(told).unwrap();
        }
    });
    *pair.0.lock().unwrap() = true;
    let theirs = pair.clone();
    there(move || theirs.1.notify_all());
    waiter.join().unwrap();
    let theirs = pair.clone();
    there(move || drop(theirs.1.wait_while(theirs.0.lock().unwrap(), |told| !*told)));
}

#[test]
fn semaphores() {
    let semaphore = Arc::new(Semaphore::new(5));
    let s = semaphore.clone();
    refused(move || drop(s.acquire_many(6)));
    let s = semaphore.clone();
    refused(move || drop(s.acquire_many_timeout(6, LONG)));
    let s = semaphore.clone();
    assert!(there(
        move || s.acquire_many_timeout(6, Duration::ZERO).is_err() && s.try_acquire_many(6).is_err()
    ));
    let s = semaphore.clone();
    there(move || drop(s.acquire_many(5)));
    assert_eq!(semaphore.available_permits(), 5);
    assert!(semaphore.try_acquire_many(5).is_ok());
}

#[test]
fn barriers_and_groups() {
    let barrier = Arc::new(Barrier::new(2));
    let b = barrier.clone();
    refused(move || b.wait());
    let b = barrier.clone();
    let first = go!(move || b.wait().is_leader());
    sleep(SOON);
    assert!(!first.is_finished());
    let b = barrier.clone();
    assert!(there(move || b.wait().is_leader()));
    assert!(!first.join().unwrap());

    let group = WaitGroup::new();
    let member = group.clone();
    refused(move || member.wait());
    // A refused wait has dropped its member, as every wait does.
    let member = group.clone();
    let waiting = go!(move || group.wait());
    sleep(SOON);
    assert!(!waiting.is_finished());
    drop(member);
    waiting.join().unwrap();
    there(|| WaitGroup::new().wait());

    let group = Group::<()>::new();
    group.limit(1);
    let (end, ended) = bounded::<()>(0);
    group.spawn(move || {
        let _ = ended.recv();
        Ok(())
    });
    let g = group.clone();
    refused(move || g.spawn(|| Ok(())));
    let g = group.clone();
    refused(move || g.wait());
    let g = group.clone();
    assert!(there(move || g.try_spawn(|| Ok(())).is_err()));
    drop(end);
    group.wait().unwrap();
    let g = group.clone();
    there(move || {
        g.spawn(|| Ok(()));
    });
    group.wait().unwrap();
}

#[test]
fn things_that_are_done_once() {
    static ONCE: Once = Once::new();
    static LOCK: OnceLock<u32> = OnceLock::new();
    static LAZY: LazyLock<u32> = LazyLock::new(|| {
        sleep(2 * SOON);
        3
    });
    refused(|| ONCE.wait());
    refused(|| LOCK.wait());
    let running = go!(move || ONCE.call_once(|| sleep(2 * SOON)));
    let setting = go!(move || *LOCK.get_or_init(|| {
        sleep(2 * SOON);
        2
    }));
    let computing = go!(move || *LAZY);
    sleep(SOON);
    refused(|| ONCE.call_once(|| unreachable!()));
    refused(|| *LOCK.get_or_init(|| unreachable!()));
    refused(|| *LAZY);
    running.join().unwrap();
    assert_eq!((setting.join().unwrap(), computing.join().unwrap()), (2, 3));
    there(|| ONCE.call_once(|| unreachable!()));
    assert_eq!(there(|| (*LOCK.wait(), *LAZY)), (2, 3));
    static FRESH: OnceLock<u32> = OnceLock::new();
    assert_eq!(there(|| *FRESH.get_or_init(|| 4)), 4);
}

#[test]
fn channels() {
    let (tx, rx) = bounded(1);
    let r = rx.clone();
    refused(move || r.recv());
    let r = rx.clone();
    refused(move || r.recv_timeout(LONG));
    let r = rx.clone();
    refused(move || select! { recv(r) -> _ => (), recv(chan::never::<()>()) -> _ => () });
    let r = rx.clone();
    refused(move || select! { recv(r) -> _ => (), default(LONG) => () });
    let r = rx.clone();
    refused(move || {
        let mut select = Select::new();
        select.recv(&r);
        select.recv(&r);
        select.ready()
    });
    refused(move || after(LONG).recv());
    let (t, r) = (tx.clone(), rx.clone());
    there(move || {
        assert!(r.try_recv().is_err() && r.recv_timeout(Duration::ZERO).is_err());
        assert!(select! { recv(r) -> _ => false, recv(r) -> _ => false, default => true });
        t.send(1).unwrap();
        assert_eq!(r.recv(), Ok(1));
        assert!(select! { recv(r) -> _ => false, send(t, 2) -> res => res.is_ok() });
    });
    let t = tx.clone();
    refused(move || t.send(3));
    let t = tx.clone();
    refused(move || t.send_timeout(3, LONG));
    let t = tx.clone();
    refused(move || select! { send(t, 3) -> _ => (), recv(chan::never::<()>()) -> _ => () });
    // Nothing of all that stands in a queue.
    assert_eq!(rx.recv(), Ok(2));
    assert!(rx.try_recv().is_err());
    tx.try_send(4).unwrap();
    assert_eq!(rx.try_recv(), Ok(4));
}

/// A selected send has its message made only when it is chosen, for which something would have to wait.
#[test]
fn receives_that_meet_a_select() {
    let (tx, rx) = bounded(0);
    let sending = go!(move || select! {
        send(tx, 5) -> res => res.is_ok(),
        recv(chan::never::<()>()) -> _ => false,
    });
    sleep(SOON);
    let r = rx.clone();
    refused(move || r.recv());
    sleep(SOON);
    let r = rx.clone();
    refused(move || select! { recv(r) -> _ => (), recv(chan::never::<()>()) -> _ => () });
    sleep(SOON);
    let r = rx.clone();
    assert!(there(move || r.try_recv()).unwrap_err().is_empty());
    sleep(SOON);
    let r = rx.clone();
    there(
        move || select! { recv(r) -> _ => unreachable!(), recv(chan::never::<()>()) -> _ => (), default => () },
    );
    assert_eq!(rx.recv(), Ok(5));
    assert!(sending.join().unwrap());
}

#[test]
fn sockets() {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let l = listener.clone();
    refused(move || l.accept());
    let mut client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    let server = Arc::new(server);
    let s = server.clone();
    refused(move || (&*s).read(&mut [0]));
    server.set_read_timeout(Some(LONG)).unwrap();
    let s = server.clone();
    refused(move || (&*s).read(&mut [0]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    refused(move || socket.recv(&mut [0]));
    refused(|| TcpStream::connect("localhost:1"));
    client.write_all(b"7").unwrap();
    sleep(SOON);
    let s = server.clone();
    assert_eq!(
        there(move || {
            let mut byte = [0];
            (&*s).read_exact(&mut byte).unwrap();
            byte
        }),
        *b"7"
    );
    client.write_all(b"8").unwrap();
    let mut byte = [0];
    (&*server).read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"8");
}

#[test]
fn the_runtimes_own() {
    refused(|| sleep(LONG));
    there(|| sleep(Duration::ZERO));
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    refused(|| blocking(|| RUNS.fetch_add(1, Ordering::SeqCst)));
    assert_eq!(blocking(|| RUNS.fetch_add(1, Ordering::SeqCst)), 0);
    refused(dump);
    let start = Instant::now();
    assert!(!dump().goroutines().is_empty() || dump().silent_processors().is_empty());
    assert!(start.elapsed() < LONG);

    let (end, ended) = bounded::<()>(0);
    let other = go!(move || ended.recv());
    refused(move || other.join());
    drop(end);
    let other = go!(move || 6);
    while !other.is_finished() {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(there(move || other.join().unwrap()), 6);

    refused(|| scope(|s| drop(s.spawn(|| ()))));
    let own = Builder::new().own_stack(1 << 20).spawn(|| {
        let n = 7;
        let panic = catch_unwind(AssertUnwindSafe(|| {
            stack::on_system_stack(|| scope(|s| drop(s.spawn(|| black_box(n)))));
        }));
        assert!(panic.is_err());
        scope(|s| {
            let handle = s.spawn(|| sleep(SOON));
            let panic = catch_unwind(AssertUnwindSafe(|| stack::on_system_stack(|| handle.join())));
            assert!(panic.is_err());
            stack::on_system_stack(|| s.spawn(|| n)).join().unwrap()
        })
    });
    assert_eq!(own.unwrap().join().unwrap(), 7);
}
