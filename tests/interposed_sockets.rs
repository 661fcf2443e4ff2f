//! std's sockets and pipes, and C's ways to wait for descriptors, park a goroutine.

use narrowboat::go;
use narrowboat_testing::{again, eventually, ms, named, number_from_env, program, sized, waits_in_libc};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

/// Bytes that differ with their place.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
}

/// A server that is written for threads, but spawns goroutines, and as many clients, all of whom have
/// a connection at the same time.
#[test]
fn a_server_for_threads_runs_on_goroutines() {
    let clients = sized(500, 100);
    program(move || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        go!(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                go!(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..read]).unwrap();
                    }
                });
            }
        });
        let all_connected = Arc::new(Barrier::new(clients));
        let clients: Vec<_> = (0..clients)
            .map(|seed| {
                let all_connected = all_connected.clone();
                go!(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    all_connected.wait();
                    for round in 0..3 {
                        let sent = pattern(100 + 37 * round, seed);
                        stream.write_all(&sent).unwrap();
                        let mut received = vec![0; sent.len()];
                        stream.read_exact(&mut received).unwrap();
                        assert!(sent == received, "another's bytes");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

/// More than the kernel takes at once: the call returns when all of it is out.
#[test]
fn a_write_returns_when_all_is_out() {
    const LEN: usize = 5_000_000;
    fn through(mut out: impl Write + Send + 'static, mut input: impl Read + Send + 'static) {
        let writer = go!(move || out.write(&pattern(LEN, 3)).unwrap());
        let mut received = Vec::new();
        input.read_to_end(&mut received).unwrap();
        assert_eq!(writer.join().unwrap(), LEN);
        assert!(received == pattern(LEN, 3), "other bytes");
    }
    program(|| {
        let (one, other) = UnixStream::pair().unwrap();
        through(one, other);
        let (input, out) = pipe();
        through(out, input);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        through(one, listener.accept().unwrap().0);
        // Several buffers, of which one ends in the middle.
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let writer = go!(move || {
            let parts = [pattern(700_000, 1), Vec::new(), pattern(900_000, 2), pattern(1, 3)];
            let buffers: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
            assert_eq!(one.write_vectored(&buffers).unwrap(), 1_600_001);
        });
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == [pattern(700_000, 1), pattern(900_000, 2), pattern(1, 3)].concat());
    });
}

fn pipe() -> (std::fs::File, std::fs::File) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors, which nothing else has.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]).into(), OwnedFd::from_raw_fd(ends[1]).into())
    }
}

#[test]
fn timeouts_end_waits_as_the_kernels_do() {
    program(|| {
        let (mut one, other) = UnixStream::pair().unwrap();
        one.set_read_timeout(Some(ms(30))).unwrap();
        one.set_write_timeout(Some(ms(30))).unwrap();
        let start = Instant::now();
        assert_eq!(one.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= ms(30));
        // A part of it has room.
        let start = Instant::now();
        let written = one.write(&[0; 5_000_000]).unwrap();
        assert!(start.elapsed() >= ms(30) && written > 0 && written < 5_000_000, "{written}");
        assert_eq!(one.write(&[0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(other);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(ms(30))).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let timeout = libc::timeval { tv_sec: 0, tv_usec: 30_000 };
        // SAFETY: the timeout can be read.
        let set = unsafe {
            let size = size_of::<libc::timeval>() as libc::socklen_t;
            let (level, option) = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);
            libc::setsockopt(listener.as_raw_fd(), level, option, (&raw const timeout).cast(), size)
        };
        assert_eq!(set, 0);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn what_is_non_blocking_does_not_wait() {
    program(|| {
        let (mut one, _other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        assert_eq!(one.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(one.write(&[0; 5_000_000]).unwrap() < 5_000_000);
        assert_eq!(one.write(&[0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let (mut input, out) = pipe();
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::fcntl(input.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }, 0);
        assert_eq!(input.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(out);
        assert_eq!(input.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn datagrams_keep_their_bounds_and_their_senders() {
    program(|| {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (to, from) = (receiver.local_addr().unwrap(), sender.local_addr().unwrap());
        let receiving = named("receives", move || {
            let mut buffer = [0; 100];
            let first = receiver.recv_from(&mut buffer).unwrap();
            let second = receiver.recv(&mut buffer).unwrap();
            (first, second)
        });
        waits_in_libc("receives");
        sender.send_to(&[1; 3], to).unwrap();
        sender.send_to(&[], to).unwrap();
        assert_eq!(receiving.join().unwrap(), ((3, from), 0));
        let (one, other) = UnixDatagram::pair().unwrap();
        let sending =
            named("sends", move || (0..3000).for_each(|_| assert_eq!(one.send(&[7; 700]).unwrap(), 700)));
        waits_in_libc("sends");
        let mut buffer = [0; 1000];
        for _ in 0..3000 {
            assert_eq!(other.recv(&mut buffer).unwrap(), 700);
        }
        sending.join().unwrap();
    });
}

#[test]
fn connections_that_cannot_be_had_are_refused() {
    program(|| {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect_timeout(&address, ms(1000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// The queue of the listener is full, so connections wait until there is room.
#[test]
fn a_connection_waits_for_its_listener() {
    program(|| {
        let path = std::env::temp_dir().join(format!("narrowboat-queue-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // SAFETY: no pointers. One has room, and one more.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let connected = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let (path, connected) = (path.clone(), connected.clone());
                go!(move || {
                    let mut stream = UnixStream::connect(path).unwrap();
                    connected.fetch_add(1, Ordering::SeqCst);
                    stream.read_exact(&mut [0]).unwrap();
                })
            })
            .collect();
        eventually("one is in the queue", || connected.load(Ordering::SeqCst) > 0);
        assert!(connected.load(Ordering::SeqCst) < 20);
        for _ in 0..20 {
            listener.accept().unwrap().0.write_all(&[1]).unwrap();
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn several_accept_from_one_listener() {
    program(|| {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let acceptors: Vec<_> = (0..8)
            .map(|_| {
                let listener = listener.clone();
                go!(move || (0..10).for_each(|_| listener.accept().unwrap().0.write_all(&[5]).unwrap()))
            })
            .collect();
        for _ in 0..80 {
            TcpStream::connect(address).unwrap().read_exact(&mut [0]).unwrap();
        }
        acceptors.into_iter().for_each(|acceptor| acceptor.join().unwrap());
    });
}

#[test]
fn a_dump_names_what_is_waited_for() {
    program(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let number = one.as_raw_fd();
        let reader = named("reads", move || one.read(&mut [0; 8]).unwrap());
        let said = waits_in_libc("reads");
        assert!(said.contains(&format!("descriptor {number}")), "{said}");
        assert!(said.contains("tests/interposed_sockets.rs:"), "{said}");
        other.write_all(b"ab").unwrap();
        assert_eq!(reader.join().unwrap(), 2);
    });
}

#[test]
fn a_wait_ends_when_its_descriptor_is_closed() {
    program(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let number = one.as_raw_fd();
        let reader = named("reads", move || {
            let mut byte = 0u8;
            // SAFETY: there is room for a byte.
            let read = unsafe { libc::read(number, (&raw mut byte).cast(), 1) };
            (read, io::Error::last_os_error().raw_os_error())
        });
        waits_in_libc("reads");
        drop(one);
        assert_eq!(reader.join().unwrap(), (-1, Some(libc::EBADF)));
    });
}

/// A number stands for one file after the other, with and without word of it.
#[test]
fn a_number_may_stand_for_another_file() {
    program(|| {
        for round in 0..6 {
            let (mut one, mut other) = UnixStream::pair().unwrap();
            let number = one.as_raw_fd();
            let writer = go!(move || {
                narrowboat::sleep(ms(5));
                other.write_all(&[round]).unwrap();
                other
            });
            let mut byte = [0];
            one.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [round]);
            let _other = writer.join().unwrap();
            let (mut input, mut out) = pipe();
            let said = round % 2 == 0;
            // SAFETY: the number is this function's, and the socket's owner forgets it.
            unsafe {
                std::mem::forget(one);
                if said {
                    assert_eq!(libc::dup3(input.as_raw_fd(), number, 0), number);
                } else {
                    assert_eq!(
                        libc::syscall(libc::SYS_dup3, input.as_raw_fd(), number, 0),
                        i64::from(number)
                    );
                }
                input = OwnedFd::from_raw_fd(number).into();
            }
            let reader = named("reads", move || {
                let mut byte = [0];
                input.read_exact(&mut byte).unwrap();
                byte
            });
            waits_in_libc("reads");
            out.write_all(&[100]).unwrap();
            assert_eq!(reader.join().unwrap(), [100]);
        }
    });
}

#[test]
fn all_of_it_is_waited_for() {
    program(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let reader = named("reads", move || {
            let mut buffer = [0u8; 300];
            // SAFETY: there is room for so many.
            let read = unsafe {
                libc::recv(one.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_WAITALL)
            };
            assert_eq!(read, 300);
            assert_eq!(buffer.to_vec(), pattern(300, 9));
            // The end comes before all is there.
            // SAFETY: as above.
            unsafe {
                libc::recv(one.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_WAITALL)
            }
        });
        let sent = pattern(300, 9);
        for part in sent.chunks(100) {
            waits_in_libc("reads");
            other.write_all(part).unwrap();
        }
        waits_in_libc("reads");
        other.write_all(&[1; 10]).unwrap();
        drop(other);
        assert_eq!(reader.join().unwrap(), 10);
    });
}

/// Ends a connection with a reset.
fn reset(stream: TcpStream) {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the value can be read, and is so long.
    let set = unsafe {
        let size = size_of::<libc::linger>() as libc::socklen_t;
        let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
        libc::setsockopt(stream.as_raw_fd(), level, option, (&raw const at_once).cast(), size)
    };
    assert_eq!(set, 0);
}

/// A call returns the part, and the next one tells of the reset, as on a thread.
#[test]
fn an_error_after_a_part_is_kept_for_the_next_call() {
    program(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = || {
            let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (one, listener.accept().unwrap().0)
        };
        let (mut one, mut other) = pair();
        other.write_all(&[1; 10]).unwrap();
        let number = one.as_raw_fd();
        let reader = named("reads", move || {
            let mut buffer = [0u8; 300];
            // SAFETY: there is room for so many.
            unsafe { libc::recv(number, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_WAITALL) }
        });
        waits_in_libc("reads");
        reset(other);
        assert_eq!(reader.join().unwrap(), 10);
        assert_eq!(one.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let (mut one, other) = pair();
        let writer = named("writes", move || {
            let written = one.write(&[1; 20_000_000]).unwrap();
            (written, one.write(&[1; 8]).unwrap_err().kind())
        });
        waits_in_libc("writes");
        reset(other);
        let (written, error) = writer.join().unwrap();
        assert!(written > 0 && written < 20_000_000, "{written}");
        assert_eq!(error, ErrorKind::ConnectionReset);
    });
}

fn poll(asked: &mut [libc::pollfd], timeout: i32) -> i32 {
    // SAFETY: there are so many.
    unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as u64, timeout) }
}

fn ask(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

#[test]
fn poll_waits_for_any_of_several() {
    program(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let (input, out) = pipe();
        // SAFETY: no pointers.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, 0)) };
        let numbers = [one.as_raw_fd(), -1, input.as_raw_fd(), event.as_raw_fd()];
        let wait = move |timeout| {
            named("polls", move || {
                let mut asked = numbers.map(|fd| ask(fd, libc::POLLIN));
                let answer = poll(&mut asked, timeout);
                (answer, asked.map(|one| one.revents))
            })
        };
        let start = Instant::now();
        assert_eq!(wait(40).join().unwrap(), (0, [0; 4]));
        assert!(start.elapsed() >= ms(40));
        let polling = wait(-1);
        let said = waits_in_libc("polls");
        assert!(said.contains("tests/interposed_sockets.rs:"), "{said}");
        other.write_all(&[1]).unwrap();
        assert_eq!(polling.join().unwrap(), (1, [libc::POLLIN, 0, 0, 0]));
        (&one).read_exact(&mut [0]).unwrap();
        let polling = wait(60_000);
        waits_in_libc("polls");
        drop(out);
        assert_eq!(polling.join().unwrap(), (1, [0, 0, libc::POLLHUP, 0]));
        drop(input);
        // A number that stands for nothing is an answer, too. (That of the pipe may be another test's.)
        let mut nothing = [ask(1_000_000_000, libc::POLLIN)];
        assert_eq!((poll(&mut nothing, 60_000), nothing[0].revents), (1, libc::POLLNVAL));
        // Nothing that comes in is asked for: input does not end the wait.
        other.write_all(&[1]).unwrap();
        let start = Instant::now();
        assert_eq!(poll(&mut [ask(one.as_raw_fd(), libc::POLLPRI)], 50), 0);
        assert!(start.elapsed() >= ms(50));
        assert_eq!(poll(&mut [], 10), 0);
    });
}

#[test]
fn select_and_epoll_wait_as_poll_does() {
    program(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let number = one.as_raw_fd();
        let selecting = named("selects", move || {
            // SAFETY: a set of zeroes is an empty one, and all that is passed can be written.
            unsafe {
                let mut set: libc::fd_set = std::mem::zeroed();
                libc::FD_SET(number, &mut set);
                let mut left = libc::timeval { tv_sec: 60, tv_usec: 0 };
                let none = ptr::null_mut();
                let answer = libc::select(number + 1, &mut set, none, none, &mut left);
                assert!(libc::FD_ISSET(number, &set) && left.tv_sec < 60);
                let mut short = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
                let answer_without = libc::select(0, none, none, none, &mut short);
                (answer, answer_without)
            }
        });
        waits_in_libc("selects");
        other.write_all(&[1]).unwrap();
        assert_eq!(selecting.join().unwrap(), (1, 0));
        (&one).read_exact(&mut [0]).unwrap();
        let waiting = named("waits for events", move || {
            // SAFETY: there is room for an event, and one to be read.
            unsafe {
                let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(0));
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 77 };
                assert_eq!(libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, number, &mut event), 0);
                assert_eq!(libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 20), 0);
                event.u64 = 0;
                (libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, -1), { event.u64 })
            }
        });
        narrowboat::sleep(ms(50));
        waits_in_libc("waits for events");
        other.write_all(&[1]).unwrap();
        assert_eq!(waiting.join().unwrap(), (1, 77));
    });
}

/// Their output is more than a pipe holds, so that the child waits for its reader.
#[test]
fn children_are_read_from_side_by_side() {
    let children = sized(60, 20);
    program(move || {
        let children: Vec<_> = (0..children)
            .map(|_| {
                go!(move || {
                    let mut child =
                        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
                    let mut stdin = child.stdin.take().unwrap();
                    let sent = pattern(300_000, 5);
                    let writer = go!(move || stdin.write_all(&pattern(300_000, 5)).unwrap());
                    let output = child.wait_with_output().unwrap();
                    writer.join().unwrap();
                    assert!(output.status.success() && output.stdout == sent);
                })
            })
            .collect();
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}

/// The handler runs in the middle of a goroutine, with its signal blocked: if it parked, others would
/// run under its mask.
#[test]
fn in_a_signal_handler_calls_are_libcs() {
    const NAME: &str = "in_a_signal_handler_calls_are_libcs";
    static ENDS: [AtomicI32; 2] = [const { AtomicI32::new(-1) }; 2];
    static ANSWERS: [AtomicI32; 3] = [const { AtomicI32::new(-2) }; 3];
    static OTHER_RAN: AtomicBool = AtomicBool::new(false);
    static RAN_MEANWHILE: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: libc::c_int) {
        let [input, output] = [&ENDS[0], &ENDS[1]].map(|end| end.load(Ordering::Relaxed));
        let mut byte = 5u8;
        let mut asked = ask(input, libc::POLLIN);
        // SAFETY: a byte and an entry can be read and written.
        unsafe {
            ANSWERS[0].store(libc::poll(&mut asked, 1, 30), Ordering::Relaxed);
            ANSWERS[1].store(libc::write(output, (&raw const byte).cast(), 1) as i32, Ordering::Relaxed);
            ANSWERS[2].store(libc::read(input, (&raw mut byte).cast(), 1) as i32, Ordering::Relaxed);
        }
        RAN_MEANWHILE.store(OTHER_RAN.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    // A pinned worker has a processor of its own, however many there should be.
    let one = [("NARROWBOAT_PROCESSORS", "1"), ("NARROWBOAT_WORKERS", "1")];
    if one.iter().any(|(name, _)| number_from_env(name) != Some(1)) {
        return again(NAME, &one);
    }
    program(|| {
        let (input, output) = pipe();
        ENDS[0].store(input.as_raw_fd(), Ordering::Relaxed);
        ENDS[1].store(output.as_raw_fd(), Ordering::Relaxed);
        let other = go!(|| OTHER_RAN.store(true, Ordering::Relaxed));
        // SAFETY: the handler calls what a handler may call.
        unsafe {
            libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t);
            libc::raise(libc::SIGUSR1);
        }
        other.join().unwrap();
        assert_eq!(ANSWERS.each_ref().map(|answer| answer.load(Ordering::Relaxed)), [0, 1, 1]);
        assert!(!RAN_MEANWHILE.load(Ordering::Relaxed), "another goroutine ran during the handler");
    });
}

#[test]
fn so_it_is_in_every_mode() {
    if number_from_env("NARROWBOAT_WORKERS").is_some() {
        return;
    }
    for test in ["a_server_for_threads_runs_on_goroutines", "a_write_returns_when_all_is_out"] {
        for workers in ["1", "2", "16"] {
            again(test, &[("NARROWBOAT_WORKERS", workers)]);
        }
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_PROCESSORS", "1")]);
    }
}
