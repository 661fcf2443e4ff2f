//! After 10 ms without a pause a goroutine gives way at its next call, whichever call that is.
//!
//! One worker and one processor. The main goroutine makes a call over and over until another
//! goroutine, which can only run when that gives way, says that it is enough.

use narrowboat::context::{self, background, with_cancel};
use narrowboat::net::fd::Async;
use narrowboat::net::unix::{UnixDatagram, UnixListener, UnixStream};
use narrowboat::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use narrowboat::sync::{
    Barrier, Condvar, Group, LazyLock, Mutex, Once, OnceLock, RwLock, RwLockWriteGuard, Semaphore, WaitGroup,
};
use narrowboat::time::{Ticker, Timer, after, after_func};
use narrowboat::{chan, dump, go, goroutine_local, num_goroutines, scope, select, stats, trace};
use narrowboat_testing::program_on_one_processor;
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A goroutine that never gives way never lets the other run; this is for a busy machine.
const AT_MOST: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(1000);

/// The calls at which a loop did not give way.
#[derive(Default)]
struct Stuck(Vec<String>);

impl Stuck {
    /// Makes a call over and over.
    fn try_call<R>(&mut self, name: &str, mut call: impl FnMut() -> R) {
        let enough = Arc::new(AtomicBool::new(false));
        let says = enough.clone();
        go!(move || says.store(true, Ordering::Relaxed));
        let start = Instant::now();
        while !enough.load(Ordering::Relaxed) {
            call();
            if start.elapsed() > AT_MOST {
                self.0.push(name.to_owned());
                return;
            }
        }
    }

    #[track_caller]
    fn check(self) {
        assert!(self.0.is_empty(), "these calls never give way: {:?}", self.0);
    }
}

/// Tries each call; its name is its text.
macro_rules! calls {
    ($stuck:ident: $($call:expr),* $(,)?) => {
        $($stuck.try_call(stringify!($call), || $call);)*
    };
}

#[track_caller]
fn alone(test: impl FnOnce(&mut Stuck) + Send + 'static) {
    program_on_one_processor(|| {
        let mut stuck = Stuck::default();
        test(&mut stuck);
        stuck.check();
    });
}

goroutine_local! {
    static CELL: Cell<u32> = const { Cell::new(0) };
    static LIST: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn calls_of_the_runtime() {
    alone(|stuck| {
        let (hold, held) = chan::bounded::<()>(0);
        let waits = {
            let held = held.clone();
            go!(move || held.recv())
        };
        calls!(stuck:
            waits.is_finished(),
            num_goroutines(),
            stats(),
            dump(),
            narrowboat::current(),
            narrowboat::sleep(Duration::ZERO),
            narrowboat::time::sleep_until(Instant::now()),
            narrowboat::yield_now(),
            go!(|| ()),
            narrowboat::blocking(|| ()),
            trace::stop(),
            trace::start_recorder(),
            trace::stop_recorder(),
            trace::write_recorded("/"),
            CELL.with(Cell::get),
            CELL.try_with(Cell::get),
            CELL.get(),
            CELL.set(1),
            CELL.take(),
            CELL.replace(2),
            LIST.with_borrow(Vec::len),
            LIST.with_borrow_mut(Vec::clear),
            LIST.set(Vec::new()),
            LIST.take(),
        );
        scope(|s| {
            let waits = s.spawn(|| held.recv());
            calls!(stuck: waits.is_finished(), s.spawn(|| ()));
            drop(hold);
        });
        waits.join().unwrap().unwrap_err();
    });
}

#[test]
fn calls_of_channels() {
    alone(|stuck| {
        let (tx, rx) = chan::bounded::<u32>(1);
        let (full, _rest) = chan::bounded::<u32>(0);
        let (all, _rx) = chan::unbounded::<u32>();
        let (closed, _none) = chan::unbounded::<u32>();
        closed.close();
        calls!(stuck:
            all.send(1),
            all.try_send(1),
            full.try_send(1),
            full.send_timeout(1, Duration::ZERO),
            full.send_deadline(1, Instant::now()),
            closed.send(1),
            closed.close(),
            tx.is_closed(),
            tx.is_empty(),
            tx.is_full(),
            tx.len(),
            tx.capacity(),
            tx.same_channel(&full),
            rx.try_recv(),
            rx.recv_timeout(Duration::ZERO),
            rx.recv_deadline(Instant::now()),
            rx.try_iter().next(),
        );
        let (done, cancel) = with_cancel(&background());
        let timer = after(LONG);
        let never = chan::never::<Instant>();
        let (socket, _peer) = UnixStream::pair().unwrap();
        let state = socket.readable();
        macro_rules! receiver {
            ($rx:expr) => {{
                let (rx, flavour) = (&$rx, stringify!($rx));
                let mut with =
                    |call: &str, f: &mut dyn FnMut()| stuck.try_call(&format!("{flavour}.{call}"), f);
                with("try_recv", &mut || _ = rx.try_recv());
                with("is_closed", &mut || _ = rx.is_closed());
                with("is_empty", &mut || _ = rx.is_empty());
                with("is_full", &mut || _ = rx.is_full());
                with("len", &mut || _ = rx.len());
                with("capacity", &mut || _ = rx.capacity());
                with("same_channel", &mut || _ = rx.same_channel(rx));
                with("recv_timeout", &mut || _ = rx.recv_timeout(Duration::ZERO));
                with("select", &mut || select! { recv(rx) -> _ => {}, default => {} });
            }};
        }
        receiver!(rx);
        receiver!(timer);
        receiver!(never);
        receiver!(state);
        receiver!(done.done());
        calls!(stuck: never.close());
        cancel.cancel();
        calls!(stuck: done.done().recv());

        let mut select = chan::Select::new();
        select.recv(&rx);
        select.send(&full);
        calls!(stuck:
            select.try_select().is_ok(),
            select.select_timeout(Duration::ZERO).is_ok(),
            select.select_deadline(Instant::now()).is_ok(),
            select.try_ready(),
            select.ready_timeout(Duration::ZERO),
            select.ready_deadline(Instant::now()),
        );
        tx.send(1).unwrap();
        calls!(stuck: select.ready());
    });
}

#[test]
fn calls_of_contexts_and_timers() {
    alone(|stuck| {
        let (ctx, cancel) = with_cancel(&background());
        let (over, end) = with_cancel(&background());
        end.cancel();
        let timer = Timer::new(LONG);
        let ticker = Ticker::new(LONG);
        let func = after_func(LONG, || ());
        let at_end = context::after_func(&ctx, || ());
        calls!(stuck:
            ctx.err(),
            ctx.cause(),
            ctx.is_done(),
            ctx.deadline(),
            ctx.value::<u32>(),
            over.err(),
            over.cause(),
            background().err(),
            end.cancel(),
            end.cancel_with("again"),
            at_end.stop(),
            timer.stop(),
            timer.reset(LONG),
            timer.reset_at(Instant::now() + LONG),
            timer.channel().try_recv(),
            ticker.stop(),
            ticker.reset(LONG),
            ticker.channel().try_recv(),
            func.stop(),
            func.reset(LONG),
            func.reset_at(Instant::now() + LONG),
        );
        func.stop();
        cancel.cancel();
    });
}

#[test]
fn calls_of_locks() {
    alone(|stuck| {
        let (mutex, taken) = (Mutex::new(()), Mutex::new(()));
        let guard = taken.lock();
        let (lock, shared) = (RwLock::new(()), RwLock::new(()));
        let reads = shared.read();
        let condvar = Condvar::new();
        calls!(stuck:
            mutex.lock().is_ok(),
            mutex.try_lock().is_ok(),
            taken.try_lock().is_ok(),
            mutex.is_poisoned(),
            mutex.clear_poison(),
            lock.read().is_ok(),
            lock.try_read().is_ok(),
            lock.write().is_ok(),
            lock.try_write().is_ok(),
            shared.try_write().is_ok(),
            lock.is_poisoned(),
            lock.clear_poison(),
            lock.write().map(RwLockWriteGuard::downgrade).is_ok(),
            condvar.notify_one(),
            condvar.notify_all(),
            condvar.wait_while(mutex.lock().unwrap(), |()| false).is_ok(),
            condvar.wait_timeout(mutex.lock().unwrap(), Duration::ZERO).is_ok(),
            condvar.wait_timeout_while(mutex.lock().unwrap(), LONG, |()| false).is_ok(),
        );
        drop((guard, reads));
        let (once, begun) = (Once::new(), Once::new());
        once.call_once(|| ());
        let (cell, empty) = (OnceLock::from(1), OnceLock::<u32>::new());
        let (lazy, asleep) = (LazyLock::new(|| 1), LazyLock::new(|| 1));
        calls!(stuck:
            once.is_completed(),
            begun.is_completed(),
            once.call_once(|| ()),
            once.call_once_force(|_| ()),
            once.wait(),
            once.wait_force(),
            cell.get(),
            empty.get(),
            cell.set(2),
            cell.get_or_init(|| 2),
            cell.wait(),
            LazyLock::force(&lazy),
            LazyLock::get(&lazy),
            LazyLock::get(&asleep),
            *lazy + 1,
        );
    });
}

#[test]
fn calls_of_semaphores_and_groups() {
    alone(|stuck| {
        let (semaphore, none) = (Arc::new(Semaphore::new(3)), Arc::new(Semaphore::new(0)));
        let barrier = Barrier::new(1);
        let (group, full) = (Group::<()>::new(), Group::<()>::new());
        let (hold, held) = chan::bounded::<()>(0);
        full.limit(1);
        full.spawn(move || held.recv().map_err(drop));
        calls!(stuck:
            semaphore.available_permits(),
            semaphore.add_permits(0),
            semaphore.acquire().num_permits(),
            semaphore.acquire_many(2).num_permits(),
            semaphore.try_acquire().is_ok(),
            none.try_acquire().is_ok(),
            none.try_acquire_many(2).is_ok(),
            none.acquire_timeout(Duration::ZERO).is_ok(),
            none.acquire_deadline(Instant::now()).is_ok(),
            none.acquire_many_timeout(2, Duration::ZERO).is_ok(),
            none.acquire_many_deadline(2, Instant::now()).is_ok(),
            semaphore.clone().acquire_owned().num_permits(),
            semaphore.clone().acquire_many_owned(2).num_permits(),
            none.clone().try_acquire_owned().is_ok(),
            none.clone().try_acquire_many_owned(2).is_ok(),
            barrier.wait(),
            WaitGroup::new().wait(),
            group.spawn(|| Ok(())),
            group.try_spawn(|| Ok(())).is_ok(),
            full.try_spawn(|| Ok(())).is_ok(),
            group.limit(100_000),
            group.wait(),
        );
        drop(hold);
        full.wait().unwrap_err();
    });
}

/// The methods that all sockets have.
macro_rules! socket_calls {
    ($stuck:ident, $socket:ident) => {
        calls!($stuck:
            $socket.local_addr(),
            $socket.take_error(),
            $socket.set_nonblocking(true),
            $socket.set_deadline(None),
            $socket.readable(),
        );
    };
}

/// And those of sockets that both read and write.
macro_rules! both_ways_calls {
    ($stuck:ident, $socket:ident) => {
        socket_calls!($stuck, $socket);
        calls!($stuck:
            $socket.peer_addr(),
            $socket.set_read_timeout(None),
            $socket.set_write_timeout(None),
            $socket.read_timeout(),
            $socket.write_timeout(),
            $socket.set_read_deadline(None),
            $socket.set_write_deadline(None),
            $socket.writable(),
        );
    };
}

#[test]
fn calls_of_tcp_sockets() {
    alone(|stuck| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        socket_calls!(stuck, listener);
        both_ways_calls!(stuck, stream);
        let (one, other) = (&mut [0; 1], &mut [0; 1]);
        calls!(stuck:
            TcpListener::bind(address).is_ok(),
            TcpStream::connect("127.0.0.1:1").is_ok(),
            TcpStream::connect_timeout(&"127.0.0.1:1".parse().unwrap(), LONG).is_ok(),
            lookup_host("127.0.0.1:1").is_ok(),
            listener.accept().is_ok(),
            listener.ttl(),
            listener.set_ttl(64),
            (&stream).read(one).is_ok(),
            (&stream).read(&mut []).is_ok(),
            stream.peek(other).is_ok(),
            stream.nodelay(),
            stream.set_nodelay(true),
            stream.quickack(),
            stream.set_quickack(true),
            stream.ttl(),
            stream.set_ttl(64),
            peer.write(b"x").is_ok() && (&stream).read(&mut [0; 8]).is_ok(),
            stream.shutdown(Shutdown::Write).is_ok(),
            stream.close(),
            listener.close(),
        );
    });
}

#[test]
fn calls_of_udp_sockets() {
    alone(|stuck| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.connect(address).unwrap();
        both_ways_calls!(stuck, socket);
        let (group, any) = (Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST);
        calls!(stuck:
            UdpSocket::bind(address).is_ok(),
            socket.connect(address).is_ok(),
            socket.recv(&mut [0; 1]).is_ok(),
            socket.peek_from(&mut [0; 1]).is_ok(),
            socket.send(b"x").is_ok() && socket.recv_from(&mut [0; 1]).is_ok(),
            socket.broadcast(),
            socket.set_broadcast(false),
            socket.ttl(),
            socket.set_ttl(64),
            socket.multicast_loop_v4(),
            socket.set_multicast_loop_v4(true),
            socket.multicast_ttl_v4(),
            socket.set_multicast_ttl_v4(1),
            socket.multicast_loop_v6().is_ok(),
            socket.set_multicast_loop_v6(true).is_ok(),
            socket.join_multicast_v4(&group, &any).is_ok(),
            socket.leave_multicast_v4(&group, &any).is_ok(),
            socket.join_multicast_v6(&std::net::Ipv6Addr::LOCALHOST, 0).is_ok(),
            socket.leave_multicast_v6(&std::net::Ipv6Addr::LOCALHOST, 0).is_ok(),
            socket.close(),
        );
    });
}

#[test]
fn calls_of_unix_sockets_and_descriptors() {
    alone(|stuck| {
        let path = std::env::temp_dir().join(format!("narrowboat-giving-way-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let (stream, _peer) = UnixStream::pair().unwrap();
        let (datagram, _other) = UnixDatagram::pair().unwrap();
        socket_calls!(stuck, listener);
        both_ways_calls!(stuck, stream);
        both_ways_calls!(stuck, datagram);
        let address = listener.local_addr().unwrap();
        calls!(stuck:
            UnixListener::bind(&path).is_ok(),
            UnixListener::bind_addr(&address).is_ok(),
            UnixStream::connect("/nowhere").is_ok(),
            UnixStream::pair(),
            UnixDatagram::bind(&path).is_ok(),
            UnixDatagram::bind_addr(&address).is_ok(),
            UnixDatagram::unbound(),
            UnixDatagram::pair(),
            listener.accept().is_ok(),
            stream.shutdown(Shutdown::Write),
            datagram.recv(&mut [0; 1]).is_ok(),
            datagram.connect("/nowhere").is_ok(),
            datagram.connect_addr(&address).is_ok(),
            datagram.shutdown(Shutdown::Write),
            stream.close(),
            datagram.close(),
        );
        std::fs::remove_file(path).unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = Async::new(reader).unwrap();
        pipe.set_read_deadline(Some(Instant::now())).unwrap();
        calls!(stuck:
            Async::new(std::os::unix::net::UnixStream::pair().unwrap().0).is_ok(),
            pipe.readable(),
            pipe.writable(),
            pipe.set_deadline(Some(Instant::now())),
            pipe.set_read_deadline(Some(Instant::now())),
            pipe.read_with(|mut pipe| pipe.read(&mut [0; 1])).is_ok(),
        );
    });
}

/// On the system stack nothing can be suspended, and what prints a value is no call.
#[test]
fn no_goroutine_gives_way_where_it_must_not() {
    alone(|_| {
        let turns = Arc::new(AtomicBool::new(false));
        let spin = |call: &dyn Fn()| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(40) {
                call();
            }
        };
        let (mutex, (ctx, _cancel), semaphore) =
            (Mutex::new(1), with_cancel(&background()), Semaphore::new(1));
        let (cell, lazy) = (OnceLock::from(1), LazyLock::new(|| 1));
        let handle = go!(|| ());
        handle.join().unwrap();
        let says = turns.clone();
        go!(move || says.store(true, Ordering::Relaxed));
        narrowboat::stack::on_system_stack(|| spin(&|| _ = (num_goroutines(), mutex.try_lock().is_ok())));
        assert!(!turns.load(Ordering::Relaxed), "gave way on the system stack");
        spin(&|| _ = format!("{mutex:?} {ctx:?} {semaphore:?} {cell:?} {lazy:?}"));
        assert!(!turns.load(Ordering::Relaxed), "gave way in order to print");
        // On a busy machine the flag may come late.
        let start = Instant::now();
        while !turns.load(Ordering::Relaxed) {
            assert!(start.elapsed() < Duration::from_secs(20), "did not give way at a call");
            num_goroutines();
        }
    });
}
