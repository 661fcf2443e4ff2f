//! The sockets of `narrowboat::net` in a world: what programs see of the simulated network.

use narrowboat::chan::{self, select};
use narrowboat::context::{background, with_cancel};
use narrowboat::net::unix::{UnixDatagram, UnixListener, UnixStream};
use narrowboat::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use narrowboat::sim::{self, net};
use narrowboat::{go, sleep};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn in_worlds(f: fn()) {
    for seed in 0..20 {
        sim::run(seed, f);
    }
}

/// A connection from this host to itself or to `server`.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, peer) = listener.accept().unwrap();
    assert_eq!(peer, one.local_addr().unwrap());
    assert_eq!(other.peer_addr().unwrap(), peer);
    (one, other)
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

#[test]
fn streams_have_the_meaning_that_std_gives_them() {
    in_worlds(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut one, mut other) = pair(&listener);
        one.set_nodelay(true).unwrap();
        assert!(one.nodelay().unwrap() && !other.nodelay().unwrap());
        one.set_ttl(9).unwrap();
        assert_eq!((one.ttl().unwrap(), other.ttl().unwrap()), (9, 64));
        assert!(one.take_error().unwrap().is_none());

        let parts = [IoSlice::new(b"a boat "), IoSlice::new(b""), IoSlice::new(b"and more")];
        assert_eq!(one.write_vectored(&parts).unwrap(), 15);
        assert_eq!((other.peek(&mut [0; 4]).unwrap(), other.peek(&mut [0; 40]).unwrap()), (4, 15));
        let (mut first, mut second) = ([0; 7], [0; 40]);
        let read = other.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]);
        assert_eq!((read.unwrap(), &first, &second[..8]), (15, b"a boat ", &b"and more"[..]));

        let mut clone = other.try_clone().unwrap();
        clone.write_all(b"back").unwrap();
        clone.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        assert_eq!((one.read_to_string(&mut text).unwrap(), &text[..]), (4, "back"));
        assert_eq!(kind(other.write(b"more")), ErrorKind::BrokenPipe);
        drop((other, clone));
        sleep(SECOND);
        // The first write is answered with a reset, which the second one learns.
        one.write_all(b"to nothing").unwrap();
        sleep(SECOND);
        assert_eq!(kind(one.write(b"more")), ErrorKind::ConnectionReset);
        assert!(format!("{listener:?}").starts_with("TcpListener { addr: 127.0.0.1:"));
    });
}

#[test]
fn limits_of_time_are_those_of_the_world() {
    in_worlds(|| {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        let start = narrowboat_runtime::world::now();
        let past = move || narrowboat_runtime::world::now() - start;
        listener.set_deadline(Some(start + SECOND)).unwrap();
        assert_eq!(kind(listener.accept()), ErrorKind::TimedOut);
        assert_eq!(past(), SECOND);
        listener.set_deadline(None).unwrap();

        let (mut one, mut other) = pair(&listener);
        let before = past();
        one.set_read_timeout(Some(3600 * SECOND)).unwrap();
        assert_eq!(kind(one.read(&mut [0; 8])), ErrorKind::WouldBlock);
        assert_eq!(past() - before, 3600 * SECOND);

        one.set_nonblocking(true).unwrap();
        assert_eq!(kind(one.read(&mut [0; 8])), ErrorKind::WouldBlock);
        one.set_nonblocking(false).unwrap();

        other.set_read_deadline(Some(start + 7200 * SECOND)).unwrap();
        assert_eq!(kind(other.read(&mut [0; 8])), ErrorKind::TimedOut);
        assert_eq!(past(), 7200 * SECOND);

        net::partition("main", "far");
        let far = SocketAddr::new(net::host("far").address(), 1);
        let before = past();
        assert_eq!(kind(TcpStream::connect_timeout(&far, 30 * SECOND)), ErrorKind::TimedOut);
        assert_eq!(past() - before, 30 * SECOND);
        assert_eq!(kind(TcpStream::connect(far)), ErrorKind::TimedOut);
        assert!(past() - before > 100 * SECOND);
    });
}

#[test]
fn readiness_stands_in_a_select_and_contexts_end_operations() {
    in_worlds(|| {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        let (mut one, other) = pair(&listener);
        let readable = other.readable();
        let (stop, stopped) = chan::bounded::<()>(1);
        select! {
            recv(readable) -> _ => panic!("nothing was sent"),
            recv(chan::after(SECOND)) -> _ => {}
        }
        one.write_all(b"text").unwrap();
        select! {
            recv(readable) -> _ => assert_eq!((&other).read(&mut [0; 9]).unwrap(), 4),
            recv(stopped) -> _ => panic!("not told to stop"),
        }
        other.writable().recv().unwrap();

        let (context, cancel) = with_cancel(&background());
        let mut tied = other.with_context(&context);
        let reading = go!(move || tied.read(&mut [0; 8]).unwrap_err().kind());
        sleep(SECOND);
        cancel.cancel();
        assert_eq!(reading.join().unwrap(), ErrorKind::Other);

        let reading = go!({
            let mut clone = other.try_clone().unwrap();
            move || clone.read(&mut [0; 8]).unwrap_err().kind()
        });
        sleep(SECOND);
        other.close();
        assert_eq!(reading.join().unwrap(), ErrorKind::NotConnected);
        drop(stop);

        let (one, _other) = pair(&listener);
        let (reader, mut writer) = one.into_split();
        writer.write_all(b"x").unwrap();
        drop((reader, writer));
    });
}

#[test]
fn names_are_those_of_hosts_and_loopbacks_are_their_own() {
    in_worlds(|| {
        net::host("server").program(|| {
            let _own = TcpListener::bind("127.0.0.1:81").unwrap();
            let listener = TcpListener::bind(("server", 80)).unwrap();
            for stream in listener.incoming() {
                stream.unwrap().write_all(b"server").unwrap();
            }
        });
        sleep(MILLISECOND);
        let mut text = String::new();
        TcpStream::connect("server:80").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "server");
        assert_eq!(kind(TcpStream::connect("127.0.0.1:80")), ErrorKind::ConnectionRefused);
        assert_eq!(kind(TcpStream::connect("server:81")), ErrorKind::ConnectionRefused);
        assert_eq!(kind(TcpStream::connect("nothing:80")), ErrorKind::NotFound);
        assert_eq!(kind(lookup_host("server")), ErrorKind::InvalidInput);
        assert!(lookup_host("localhost:1").unwrap().all(|it| it.ip().is_loopback()));
        // Of several addresses, the one that answers.
        let server = net::host("server").address();
        let all = [SocketAddr::new(server, 9), SocketAddr::new(server, 80)];
        assert_eq!(TcpStream::connect(&all[..]).unwrap().peer_addr().unwrap(), all[1]);
        net::crash("server");
    });
}

#[test]
fn datagrams_arrive_and_are_refused() {
    in_worlds(|| {
        let one = UdpSocket::bind("0.0.0.0:7").unwrap();
        assert_eq!(kind(UdpSocket::bind("0.0.0.0:7")), ErrorKind::AddrInUse);
        let echo = net::host("echo").spawn(|| {
            let socket = UdpSocket::bind("0.0.0.0:7").unwrap();
            let mut buffer = [0; 8];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&buffer[..length], from).unwrap();
        });
        sleep(MILLISECOND);
        one.connect("echo:7").unwrap();
        one.send(b"and back").unwrap();
        assert_eq!((one.peek(&mut [0; 4]).unwrap(), one.recv(&mut [0; 9]).unwrap()), (4, 8));
        echo.join().unwrap();
        one.send(b"to nothing").unwrap();
        assert_eq!(kind(one.recv(&mut [0; 8])), ErrorKind::ConnectionRefused);
        one.set_broadcast(true).unwrap();
        assert!(one.broadcast().unwrap());
        let group = "224.0.0.1".parse().unwrap();
        assert_eq!(kind(one.join_multicast_v4(&group, &"0.0.0.0".parse().unwrap())), ErrorKind::Unsupported);
    });
}

#[test]
fn what_cannot_be_simulated_says_so() {
    in_worlds(|| {
        let (listener, unix) = (TcpListener::bind("0.0.0.0:80").unwrap(), UnixStream::pair().unwrap().0);
        let uses: [&dyn Fn(); 2] = [&|| _ = listener.as_fd(), &|| _ = unix.as_fd()];
        for use_descriptor in uses {
            let panic = catch_unwind(AssertUnwindSafe(use_descriptor)).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"a socket of a simulated network has no descriptor"));
        }
        let panic = catch_unwind(AssertUnwindSafe(|| std::os::fd::OwnedFd::from(unix))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a socket of a simulated network has no descriptor"));
    });
    // In another world, and outside of any, a socket is refused.
    let (tx, rx) = chan::bounded(1);
    sim::run(1, move || tx.send(TcpListener::bind("0.0.0.0:80").unwrap()).unwrap());
    let listener = rx.recv().unwrap();
    let outside = catch_unwind(AssertUnwindSafe(|| listener.accept().map(drop)));
    let message = *outside.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("outside of its world"), "{message}");
}

/// A select asks a socket in the middle of its steps, where it has left nodes in other queues: so the
/// question does not panic, and the operation that follows does.
#[test]
fn a_select_outside_of_the_world_finds_a_socket_ready() {
    let (tx, rx) = chan::bounded(1);
    sim::run(1, move || {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        let (one, other) = pair(&listener);
        tx.send((one, other, listener)).unwrap();
    });
    let (one, _other, listener) = rx.recv().unwrap();
    let (_tx, silent) = chan::bounded::<u32>(0);
    for socket in [one.readable(), one.writable(), listener.readable()] {
        select! {
            recv(silent) -> _ => unreachable!("nothing is sent"),
            recv(socket) -> ready => ready.unwrap(),
        }
    }
}

#[test]
fn a_writer_waits_for_a_slow_reader() {
    in_worlds(|| {
        net::host("slow").program(|| {
            let listener = TcpListener::bind("0.0.0.0:80").unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).unwrap() > 0 {
                sleep(SECOND);
            }
        });
        sleep(MILLISECOND);
        let start = narrowboat_runtime::world::now();
        let mut stream = TcpStream::connect("slow:80").unwrap();
        stream.write_all(&vec![0; 1 << 20]).unwrap();
        let took = narrowboat_runtime::world::now() - start;
        assert!((890 * SECOND..1100 * SECOND).contains(&took), "{took:?}");
        stream.set_write_timeout(Some(3 * SECOND)).unwrap();
        let written = stream.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(written.kind(), ErrorKind::WouldBlock);
        stream.shutdown(Shutdown::Write).unwrap();
        net::crash("slow");
    });
}

#[test]
fn a_crash_ends_the_goroutines_of_its_host_and_a_restart_begins_anew() {
    in_worlds(|| {
        let starts = Arc::new(AtomicUsize::new(0));
        let ticks = Arc::new(AtomicUsize::new(0));
        net::host("server").program({
            let (starts, ticks) = (starts.clone(), ticks.clone());
            move || {
                starts.fetch_add(1, Ordering::Relaxed);
                let ticks = ticks.clone();
                go!(move || loop {
                    sleep(SECOND);
                    ticks.fetch_add(1, Ordering::Relaxed);
                });
                let listener = TcpListener::bind("0.0.0.0:80").unwrap();
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    go!(move || while stream.read(&mut [0; 8]).is_ok_and(|read| read > 0) {
                        stream.write_all(b"!").unwrap();
                    });
                }
            }
        });
        sleep(SECOND / 2);
        let mut stream = TcpStream::connect("server:80").unwrap();
        stream.write_all(b"?").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        sleep(2 * SECOND);
        let before = ticks.load(Ordering::Relaxed);
        assert_eq!(before, 2);
        net::crash("server");
        sleep(60 * SECOND);
        assert_eq!(ticks.load(Ordering::Relaxed), before, "none of them runs");
        stream.set_read_timeout(Some(SECOND)).unwrap();
        stream.write_all(b"?").unwrap();
        assert_eq!(kind(stream.read(&mut [0; 8])), ErrorKind::WouldBlock);
        net::restart("server");
        stream.set_read_timeout(None).unwrap();
        assert_eq!(kind(stream.read(&mut [0; 8])), ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect("server:80").unwrap();
        stream.write_all(b"?").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        net::crash("server");
    });
}

#[test]
fn a_host_that_crashes_itself_does_not_go_on() {
    in_worlds(|| {
        let after = Arc::new(AtomicUsize::new(0));
        let count = after.clone();
        drop(net::host("own").spawn(move || {
            net::crash("own");
            count.fetch_add(1, Ordering::Relaxed);
        }));
        sleep(SECOND);
        assert_eq!(after.load(Ordering::Relaxed), 0);
    });
}

/// What holds in any world, the kernel's included, is in the tests `unix`.
#[test]
fn unix_names_belong_to_a_host_and_go_with_its_sockets_when_it_crashes() {
    const PATH: &str = "/run/service";
    in_worlds(|| {
        let found = Arc::new(std::sync::Mutex::new(Vec::new()));
        net::host("server").program({
            let found = found.clone();
            move || {
                found.lock().unwrap().push(kind(UnixStream::connect(PATH)));
                let listener = UnixListener::bind(PATH).unwrap();
                let log = UnixDatagram::bind("/run/log").unwrap();
                go!(move || while log.recv(&mut [0; 64]).is_ok() {});
                for stream in listener.incoming() {
                    let stream = stream.unwrap();
                    go!(move || std::io::copy(&mut &stream, &mut &stream).unwrap());
                }
            }
        });
        sleep(SECOND);
        assert_eq!(kind(UnixStream::connect(PATH)), ErrorKind::NotFound);
        assert_eq!(kind(UnixDatagram::unbound().unwrap().connect("/run/log")), ErrorKind::NotFound);
        let own = UnixListener::bind(PATH).unwrap();
        let client = || {
            let client = net::host("server").spawn(|| {
                let mut stream = UnixStream::connect(PATH).unwrap();
                stream.write_all(b"ahoy").unwrap();
                stream.read_exact(&mut [0; 4]).unwrap();
                UnixDatagram::unbound().unwrap().send_to(b"ahoy", "/run/log").unwrap();
            });
            client.join().unwrap();
        };
        client();
        let kept = net::host("server").spawn(|| UnixStream::connect(PATH).unwrap()).join().unwrap();
        net::crash("server");
        // As TCP's sockets: gone.
        assert_eq!((&kept).write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
        net::restart("server");
        sleep(SECOND);
        client();
        assert_eq!(*found.lock().unwrap(), [ErrorKind::NotFound, ErrorKind::ConnectionRefused]);
        own.set_nonblocking(true).unwrap();
        assert_eq!(kind(own.accept()), ErrorKind::WouldBlock);
        net::crash("server");
    });
}

#[test]
fn unix_connections_that_wait_are_made_when_the_backlog_grows() {
    in_worlds(|| {
        // As the kernel, which takes one where it is told to take none.
        let host = net::here().backlog(0);
        let listener = UnixListener::bind("/run/service").unwrap();
        let _first = UnixStream::connect("/run/service").unwrap();
        let second = go!(|| UnixStream::connect("/run/service"));
        sleep(SECOND);
        assert!(!second.is_finished());
        drop(host.backlog(2));
        second.join().unwrap().unwrap();
        drop(listener);
    });
}

#[test]
fn unix_sockets_say_what_they_are_and_no_link_reaches_them() {
    in_worlds(|| {
        let listener = UnixListener::bind("/run/service").unwrap();
        let stream = UnixStream::connect("/run/service").unwrap();
        let (other, _) = listener.accept().unwrap();
        assert_eq!(format!("{listener:?}"), "UnixListener { local: \"/run/service\" (pathname) }");
        let shown = "UnixStream { local: (unnamed), peer: \"/run/service\" (pathname) }";
        assert_eq!(format!("{stream:?}"), shown);
        assert_eq!(format!("{:?}", UnixDatagram::unbound().unwrap()), "UnixDatagram { local: (unnamed) }");

        net::partition("main", "main");
        net::reset("main", "main");
        let start = narrowboat_runtime::world::now();
        (&stream).write_all(b"ahoy").unwrap();
        other.set_nonblocking(true).unwrap();
        assert_eq!((&other).read(&mut [0; 8]).unwrap(), 4);
        other.set_nonblocking(false).unwrap();
        assert_eq!(narrowboat_runtime::world::now(), start, "it takes no time");

        // A writer waits for a slow reader.
        let reading = go!(move || {
            let mut buffer = [0; 1024];
            while (&other).read(&mut buffer).unwrap() > 0 {
                sleep(SECOND);
            }
        });
        (&stream).write_all(&vec![0; 1 << 20]).unwrap();
        let took = narrowboat_runtime::world::now() - start;
        assert!((950 * SECOND..970 * SECOND).contains(&took), "{took:?}");
        drop(stream);
        reading.join().unwrap();
    });
}

#[test]
fn unix_sockets_repeat_what_they_did_for_the_same_seed() {
    fn program() -> String {
        let listener = UnixListener::bind("/run/service").unwrap();
        drop(net::here().backlog(2));
        let log = UnixDatagram::bind("/run/log").unwrap();
        let clients: Vec<_> = (0..8u8)
            .map(|n| {
                go!(move || {
                    let mut stream = UnixStream::connect("/run/service").unwrap();
                    let log = UnixDatagram::unbound().unwrap();
                    for _ in 0..5 {
                        stream.write_all(&[n]).unwrap();
                        log.send_to(&[n], "/run/log").unwrap();
                    }
                })
            })
            .collect();
        let server = go!(move || {
            let all = listener.incoming().take(8).map(|stream| {
                let mut text = Vec::new();
                stream.unwrap().read_to_end(&mut text).unwrap();
                text
            });
            all.collect::<Vec<_>>()
        });
        let mut byte = [0];
        let logged: Vec<u8> = (0..40).map(|_| (log.recv(&mut byte).unwrap(), byte[0]).1).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        format!("{:?} {logged:?}", server.join().unwrap())
    }
    let first: Vec<_> = (0..8).map(|seed| sim::run_hashed(seed, program)).collect();
    assert!(first[0].0 != first[1].0, "seeds differ");
    for _ in 0..20 {
        for (seed, first) in first.iter().enumerate() {
            assert_eq!(&sim::run_hashed(seed as u64, program), first);
        }
    }
}

/// Some clients, some faults: what happened, as text.
fn story(seed: u64) -> String {
    sim::run(seed, || {
        net::record();
        net::links(net::Link::new().loss(0.05).duplication(0.05));
        net::host("server").program(|| {
            let listener = TcpListener::bind("0.0.0.0:80").unwrap();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                go!(move || {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..read]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        sleep(MILLISECOND);
        let clients: Vec<_> = (0..4)
            .map(|n| {
                net::host(&format!("client{n}")).spawn(move || {
                    let mut stream = TcpStream::connect("server:80")?;
                    stream.set_read_timeout(Some(20 * SECOND))?;
                    for round in 0..10u8 {
                        stream.write_all(&[round; 32])?;
                        stream.read_exact(&mut [0; 32])?;
                        sleep(SECOND);
                    }
                    std::io::Result::Ok(())
                })
            })
            .collect();
        sleep(3 * SECOND);
        net::partition("client0", "server");
        sleep(3 * SECOND);
        net::heal("client0", "server");
        net::reset("client1", "server");
        for client in clients {
            let _ = client.join().unwrap();
        }
        net::crash("server");
        net::recorded()
    })
}

#[test]
fn the_same_seed_is_the_same_story() {
    let first: Vec<String> = (0..8).map(story).collect();
    assert!(first.iter().all(|it| it.lines().count() > 100));
    assert!(first[0] != first[1]);
    // Side by side, and again and again.
    let threads: Vec<_> =
        (0..4).map(|_| std::thread::spawn(|| (0..40).map(|n| story(n % 8)).collect::<Vec<_>>())).collect();
    for thread in threads {
        for (n, story) in thread.join().unwrap().into_iter().enumerate() {
            assert!(story == first[n % 8], "seed {}", n % 8);
        }
    }
}

/// A host is a place in the table of its world: in another one it would name whatever is there.
#[test]
fn a_host_of_another_world_is_refused() {
    let outside = sim::run(1, || net::host("server"));
    let (there, name) = (outside.clone(), outside.name().to_owned());
    assert_eq!(name, "server");
    sim::run(2, move || {
        let stranger = net::host("stranger").address();
        let uses: [fn(net::Host); 7] = [
            |host| assert!(host.address().is_loopback()),
            |host| drop(host.spawn(|| ())),
            |host| host.program(|| ()),
            |host| drop(host.at("10.0.0.9".parse().unwrap())),
            |host| drop(host.date_ahead(SECOND)),
            |host| drop(host.backlog(1)),
            |host| drop(host.buffers(1, 1)),
        ];
        for using in uses {
            let there = there.clone();
            let panic = catch_unwind(AssertUnwindSafe(|| using(there))).unwrap_err();
            let text = panic.downcast_ref::<String>().expect("a sentence");
            assert!(text.contains("the host `server` belongs to another world"), "{text}");
        }
        assert_eq!(net::host("stranger").address(), stranger);
    });
}

/// Times beyond the world's clock never come, and do not wrap around.
#[test]
fn centuries_of_latency_end_in_a_timeout() {
    fn years(n: u32) -> Duration {
        n * Duration::from_secs(365 * 86_400)
    }
    for (least, link) in [
        (years(500), net::Link::new().latency(Duration::MAX)),
        (years(500), net::Link::new().latency(years(600)).jitter(Duration::MAX)),
        (years(500), net::Link::new().latency(years(500)).jitter(years(500)).reordering(1.0)),
        (years(0), net::Link::new().jitter(Duration::MAX).reordering(1.0).duplication(1.0)),
        (years(500), net::Link::new().latency(years(500)).bandwidth(1)),
    ] {
        for seed in 0..5 {
            let link = link.clone();
            sim::run(seed, move || {
                let start = narrowboat_runtime::world::now();
                net::link("main", "far", link);
                net::host("far").program(move || {
                    let listener = TcpListener::bind("0.0.0.0:80").unwrap();
                    let socket = UdpSocket::bind("0.0.0.0:7").unwrap();
                    go!(move || {
                        while socket.recv(&mut [0; 8]).is_ok() {
                            assert!(narrowboat_runtime::world::now() - start >= least);
                        }
                    });
                    while listener.accept().is_ok() {
                        assert!(narrowboat_runtime::world::now() - start >= least);
                    }
                });
                sleep(SECOND);
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                for _ in 0..20 {
                    socket.send_to(b"text", "far:7").unwrap();
                }
                // A jitter without end may draw a time within the clock.
                if let Err(error) = TcpStream::connect("far:80") {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert!(narrowboat_runtime::world::now() - start >= least);
                }
                net::crash("far");
            });
        }
    }
}
