//! What std promises of its UDP socket, asked of ours.

use narrowboat_net::UdpSocket;
use narrowboat_testing::{bounded, one_site::go, settle};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (socket(), socket());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

#[test]
fn the_type_has_the_auto_traits_of_stds() {
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    check::<UdpSocket>();
}

#[test]
fn a_datagram_comes_from_its_sender() {
    bounded(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = match UdpSocket::bind(address) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => continue,
                socket => socket.unwrap(),
            };
            let sender = UdpSocket::bind(address).unwrap();
            let (to, from) = (receiver.local_addr().unwrap(), sender.local_addr().unwrap());
            let receiving = go(move || {
                let mut text = [0; 16];
                let peeked = receiver.peek_from(&mut text).unwrap();
                assert_eq!(receiver.peek(&mut text).unwrap(), 8);
                (peeked, receiver.recv_from(&mut text).unwrap(), text[..8].to_vec())
            });
            settle();
            assert_eq!(sender.send_to(b"datagram", to).unwrap(), 8);
            assert_eq!(receiving.join(), ((8, from), (8, from), b"datagram".to_vec()));
        }
    });
}

#[test]
fn only_datagrams_of_the_peer_are_received() {
    bounded(|| {
        let (one, other) = pair();
        let stranger = socket();
        stranger.send_to(b"strange", other.local_addr().unwrap()).unwrap();
        one.send(b"known").unwrap();
        let mut text = [0; 16];
        assert_eq!(other.recv(&mut text).unwrap(), 5);
        assert_eq!(&text[..5], b"known");
        assert_eq!(other.peer_addr().unwrap(), one.local_addr().unwrap());
        assert_eq!(stranger.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn no_receiver_is_an_error_of_the_next_call() {
    bounded(|| {
        let (one, other) = pair();
        drop(other);
        one.send(b"text").unwrap();
        assert_eq!(one.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn clones_share_the_socket_and_work_at_the_same_time() {
    bounded(|| {
        let (one, other) = (socket(), socket());
        let (mine, theirs) = (one.local_addr().unwrap(), other.local_addr().unwrap());
        let clone = one.try_clone().unwrap();
        let reading = go(move || clone.recv_from(&mut [0; 8]).unwrap());
        let echo = go(move || {
            let (length, from) = other.recv_from(&mut [0; 8]).unwrap();
            other.send_to(&[7; 8][..length], from).unwrap()
        });
        settle();
        assert_eq!(one.send_to(b"xyz", theirs).unwrap(), 3);
        assert_eq!(echo.join(), 3);
        assert_eq!(reading.join(), (3, theirs));
        assert_eq!(one.local_addr().unwrap(), mine);
    });
}

#[test]
fn several_receivers_get_each_datagram_once() {
    bounded(|| {
        const COUNT: usize = 200;
        let (one, other) = pair();
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let other = other.try_clone().unwrap();
                go(move || {
                    let mut count = 0;
                    let mut byte = [0];
                    while other.recv(&mut byte).unwrap() == 1 {
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..COUNT {
            one.send(b"x").unwrap();
            // UDP may lose what is not taken in time; so few at a time never fill the buffer.
            std::thread::yield_now();
        }
        settle();
        // An empty datagram is no end, but here it is agreed to be one.
        for _ in 0..4 {
            one.send(b"").unwrap();
        }
        let counts: usize = receivers.into_iter().map(|receiver| receiver.join()).sum();
        assert_eq!(counts, COUNT);
    });
}

#[test]
fn a_receive_times_out_and_the_next_one_works() {
    bounded(|| {
        let (one, other) = pair();
        other.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        assert_eq!(other.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(other.recv_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        one.send(b"x").unwrap();
        assert_eq!(other.recv(&mut [0; 8]).unwrap(), 1);
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.peek_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn options_reach_the_socket_and_debug_shows_what_std_shows() {
    let socket = socket();
    socket.set_ttl(77).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_multicast_loop_v4(false).unwrap();
    socket.set_multicast_ttl_v4(3).unwrap();
    assert_eq!((socket.ttl().unwrap(), socket.multicast_ttl_v4().unwrap()), (77, 3));
    assert_eq!((socket.broadcast().unwrap(), socket.multicast_loop_v4().unwrap()), (true, false));
    let not_a_group = socket.join_multicast_v4(&Ipv4Addr::LOCALHOST, &Ipv4Addr::UNSPECIFIED).unwrap_err();
    assert_eq!(not_a_group.kind(), ErrorKind::InvalidInput);
    let ours = format!("{socket:?}");
    let socket = std::net::UdpSocket::from(socket);
    assert_eq!(ours, format!("{socket:?}"));
    assert!(!socket2::SockRef::from(&socket).nonblocking().unwrap());
    assert_eq!(socket.ttl().unwrap(), UdpSocket::from(socket).ttl().unwrap());
}

#[test]
fn addresses_are_tried_in_turn_and_none_is_an_error() {
    bounded(|| {
        let taken = socket();
        let taken_at = taken.local_addr().unwrap();
        let addresses = [taken_at, SocketAddr::from(([127, 0, 0, 1], 0))];
        let second = UdpSocket::bind(&addresses[..]).unwrap();
        assert_ne!(second.local_addr().unwrap(), taken_at);
        assert_eq!(UdpSocket::bind(taken_at).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(second.send_to(b"x", &addresses[..0]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(second.connect(&addresses[..0]).unwrap_err().kind(), ErrorKind::InvalidInput);
        second.connect(("localhost", taken_at.port())).unwrap();
    });
}
