//! What std promises of its Unix sockets, asked of ours.

use crate::TestPath;
use narrowboat_chan::context::{background, with_cancel};
use narrowboat_net::unix::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use narrowboat_testing::{bounded, one_site::go, settle};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

fn served(listener: &UnixListener, path: &TestPath) -> (UnixStream, UnixStream) {
    let one = UnixStream::connect(path).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn the_types_have_the_auto_traits_of_stds() {
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    check::<UnixListener>();
    check::<UnixStream>();
    check::<UnixDatagram>();
}

#[test]
fn a_message_goes_there_and_back() {
    bounded(|| {
        let path = TestPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let server = go(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            assert!(peer.is_unnamed());
            let mut text = [0; 5];
            stream.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"hello");
            stream.write_all(b"world!").unwrap();
        });
        let mut stream = UnixStream::connect(&path).unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*path));
        stream.write_all(b"hello").unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"world!");
        server.join();
    });
}

#[test]
fn a_pair_is_connected_and_vectored_calls_use_all_their_buffers() {
    bounded(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let waiting = go(move || {
            let (mut a, mut b) = ([0; 2], [0; 9]);
            let count = other.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).unwrap();
            (count, a, b[..4].to_vec(), other)
        });
        settle();
        let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(one.write_vectored(&parts).unwrap(), 6);
        let (count, a, b, mut other) = waiting.join();
        assert_eq!((count, &a, &b[..]), (6, b"on", &b"etwo"[..]));
        drop(one);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn what_is_wrong_with_a_path_is_said() {
    bounded(|| {
        let path = TestPath::new();
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let long = format!("/tmp/{}", "x".repeat(200));
        for error in [
            UnixListener::bind(&long).unwrap_err(),
            UnixStream::connect(&long).unwrap_err(),
            UnixDatagram::bind(&long).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn debug_shows_what_std_shows_and_conversions_keep_the_socket() {
    bounded(|| {
        let path = TestPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let ours = format!("{listener:?}");
        let listener = std::os::unix::net::UnixListener::from(listener);
        assert_eq!(ours, format!("{listener:?}"));
        let listener = UnixListener::from(listener);

        let (one, mut other) = served(&listener, &path);
        let (number, ours) = (one.as_raw_fd(), format!("{one:?}"));
        let one = std::os::unix::net::UnixStream::from(one);
        assert_eq!(ours, format!("{one:?}"));
        // SAFETY: the descriptor was given up by the call inside.
        let one = unsafe { UnixStream::from_raw_fd(one.into_raw_fd()) };
        let mut one = UnixStream::from(OwnedFd::from(one));
        assert_eq!(one.as_raw_fd(), number);
        one.write_all(b"same").unwrap();
        other.read_exact(&mut [0; 4]).unwrap();

        let socket = UnixDatagram::unbound().unwrap();
        let ours = format!("{socket:?}");
        assert_eq!(ours, format!("{:?}", std::os::unix::net::UnixDatagram::from(socket)));
    });
}

/// A read also stops where descriptors were sent along; what follows must not be waited for.
#[test]
fn descriptors_sent_along_do_not_hide_what_follows_them() {
    bounded(|| {
        for _ in 0..20 {
            let (one, mut other) = UnixStream::pair().unwrap();
            other.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            assert!(other.read(&mut [0; 1]).is_err());
            other.set_read_timeout(None).unwrap();
            let waiting = go(move || {
                let mut all = [0; 32];
                let mut count = 0;
                while count < 9 {
                    count += other.read(&mut all[count..]).unwrap();
                }
                all[..count].to_vec()
            });
            send_with_descriptor(one.as_raw_fd(), b"with");
            (&one).write_all(b"after").unwrap();
            assert_eq!(waiting.join(), b"withafter");
        }
    });
}

fn send_with_descriptor(socket: i32, data: &[u8]) {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: all zero is an empty header; what it is made to show lives until the call returns, and the control buffer
    // is large enough for one descriptor.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        std::ptr::copy_nonoverlapping((&raw const socket).cast(), libc::CMSG_DATA(header), 4);
        assert_eq!(libc::sendmsg(socket, &raw const message, 0), data.len() as isize);
    }
}

#[test]
fn a_listener_without_room_makes_connections_wait() {
    bounded(|| {
        let path = TestPath::new();
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(1).unwrap();
        let clients: Vec<_> = (0..12)
            .map(|n: u8| {
                let path = path.to_owned();
                go(move || UnixStream::connect(path).unwrap().write_all(&[n]).unwrap())
            })
            .collect();
        settle();
        let listener = UnixListener::from(OwnedFd::from(socket));
        let mut got: Vec<u8> = (0..12)
            .map(|_| {
                let mut byte = [0];
                listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
                byte[0]
            })
            .collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..12));
        clients.into_iter().for_each(|client| client.join());
    });
}

#[test]
#[cfg(target_os = "linux")]
fn abstract_names_work_for_streams_and_datagrams() {
    use std::os::linux::net::SocketAddrExt;
    bounded(|| {
        let name = format!("narrowboat-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
        let stream = UnixStream::connect_addr(&address).unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
        listener.accept().unwrap();

        let [mine, theirs] =
            ["-1", "-2"].map(|end| SocketAddr::from_abstract_name(format!("{name}{end}")).unwrap());
        let one = UnixDatagram::bind_addr(&mine).unwrap();
        let other = UnixDatagram::bind_addr(&theirs).unwrap();
        one.send_to_addr(b"text", &theirs).unwrap();
        let (length, from) = other.recv_from(&mut [0; 8]).unwrap();
        assert_eq!((length, from.as_abstract_name()), (4, mine.as_abstract_name()));
        other.connect_addr(&mine).unwrap();
        other.send(b"back").unwrap();
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn datagrams_keep_their_bounds_and_say_where_they_come_from() {
    bounded(|| {
        let (path, from) = (TestPath::new(), TestPath::new());
        let socket = UnixDatagram::bind(&path).unwrap();
        let receiving = go(move || {
            let mut text = [0; 8];
            let peeked = socket.peek_from(&mut text).unwrap().0;
            let (length, named) = socket.recv_from(&mut text).unwrap();
            let unnamed = socket.recv_from(&mut [0; 2]).unwrap();
            (peeked, text[..length].to_vec(), named, unnamed)
        });
        settle();
        let sender = UnixDatagram::bind(&from).unwrap();
        assert_eq!(sender.send_to(b"first", &path).unwrap(), 5);
        assert_eq!(UnixDatagram::unbound().unwrap().send_to(b"second", &path).unwrap(), 6);
        let (peeked, text, named, (length, unnamed)) = receiving.join();
        assert_eq!((peeked, &text[..]), (5, &b"first"[..]));
        assert_eq!(named.as_pathname(), Some(&*from));
        // What does not fit is lost.
        assert_eq!((length, unnamed.is_unnamed()), (2, true));
        assert_eq!(sender.send(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(sender.send_to(b"x", &path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_datagram_waits_for_room() {
    bounded(|| {
        const COUNT: u32 = 2_000;
        let (one, other) = UnixDatagram::pair().unwrap();
        let sending = go(move || (0..COUNT).for_each(|n| assert_eq!(one.send(&n.to_ne_bytes()).unwrap(), 4)));
        settle();
        for n in 0..COUNT {
            let mut bytes = [0; 4];
            assert_eq!(other.recv(&mut bytes).unwrap(), 4);
            assert_eq!(u32::from_ne_bytes(bytes), n);
        }
        sending.join();
    });
}

/// Sends datagrams to a path until its receiver has no room for more, and returns how many.
///
/// How many a receiver takes is a setting of the machine, and can be more than one sender may have
/// under way. So many send, a few each.
fn crowd(path: &TestPath) -> usize {
    let mut count = 0;
    loop {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        let sent = (0..16).take_while(|_| other.send_to(b"other", path).is_ok()).count();
        count += sent;
        if sent < 16 {
            return count;
        }
    }
}

/// The kernel does not say when there is room at an address that the socket is not connected to,
/// unless it was the socket's own datagrams that took it.
#[test]
fn a_datagram_to_an_address_waits_for_room() {
    bounded(|| {
        let path = TestPath::new();
        let receiver = UnixDatagram::bind(&path).unwrap();
        let taken = crowd(&path);
        let address = receiver.local_addr().unwrap();
        let sending =
            go(move || UnixDatagram::unbound().unwrap().send_to_addr(b"patient", &address).unwrap());
        settle();
        assert!(!sending.is_finished());
        for _ in 0..taken {
            assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
        }
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 7);
        assert_eq!(sending.join(), 7);

        // Those that wait there can be told to stop.
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
        let error = std::iter::repeat_with(|| socket.send_to(b"x", &path)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        socket.set_write_timeout(None).unwrap();
        let (ctx, cancel) = with_cancel(&background());
        let (tied, to) = (socket.with_context(&ctx), path.to_path_buf());
        let cancelled = go(move || tied.send_to(b"x", to).unwrap_err().kind());
        let (blocked, to) = (socket.try_clone().unwrap(), path.to_path_buf());
        let closed = go(move || blocked.send_to(b"x", to).unwrap_err().kind());
        settle();
        cancel.cancel();
        assert_eq!(cancelled.join(), ErrorKind::Other);
        socket.close();
        assert_eq!(closed.join(), ErrorKind::NotConnected);
    });
}

#[test]
fn a_shutdown_wakes_those_that_are_blocked() {
    bounded(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut blocked = one.try_clone().unwrap();
        let reader = go(move || blocked.read(&mut [0; 8]).unwrap());
        let mut blocked = one.try_clone().unwrap();
        let writer =
            go(move || std::iter::repeat_with(|| blocked.write(&[0; 65_536])).find_map(Result::err).unwrap());
        settle();
        one.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join(), 0);
        assert_eq!(writer.join().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn without_blocking_nothing_waits() {
    bounded(|| {
        let path = TestPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let (one, _other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        assert_eq!((&one).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.peek(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let (one, _other) = UnixDatagram::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        assert_eq!(one.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.peek(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}
