//! The engine by itself: its time moves only as these tests say.

use super::*;
use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

struct Pair {
    engine: Engine,
    client: HostId,
    server: HostId,
    listener: SocketId,
    address: SocketAddr,
}

/// A listener at a server, and a client beside it.
fn pair() -> Pair {
    let mut engine = Engine::new(7);
    let (client, server) = (engine.hosts.named("client"), engine.hosts.named("server"));
    let listener = engine.listen(server, "0.0.0.0:80".parse().unwrap()).unwrap();
    let address = SocketAddr::new(engine.hosts[server].address, 80);
    Pair { engine, client, server, listener, address }
}

impl Pair {
    /// Lets time pass.
    fn pass(&mut self, time: u64) {
        let until = self.engine.now + time;
        self.engine.advance(until);
    }

    /// A connection that is made: the client's end and the server's.
    fn connected(&mut self) -> (SocketId, SocketId) {
        let one = self.engine.connect(self.client, self.address).unwrap();
        self.pass(SECOND);
        self.engine.connected(one).unwrap();
        (one, self.engine.accept(self.listener).unwrap().0)
    }

    fn send(&mut self, id: SocketId, data: &[u8]) -> io::Result<usize> {
        self.engine.send(id, &[IoSlice::new(data)])
    }

    fn receive(&mut self, id: SocketId) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 1 << 20];
        let read = self.engine.receive(id, &mut [IoSliceMut::new(&mut buffer)], false)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    fn cut(&mut self, from: HostId, to: HostId) {
        self.engine.links.between(from, to).cut();
    }

    fn heal(&mut self, from: HostId, to: HostId) {
        self.engine.links.between(from, to).heal();
    }

    /// Sends much through a connection, and returns how long it took until all has come.
    fn stream(&mut self, from: SocketId, to: SocketId, length: usize) -> u64 {
        let start = self.engine.now;
        let data: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
        let (mut sent, mut come) = (0, Vec::new());
        while come.len() < length {
            while sent < length
                && let Ok(more) = self.send(from, &data[sent..])
            {
                sent += more;
            }
            while let Ok(more) = self.receive(to) {
                come.extend(more);
            }
            if come.len() < length {
                let next = self.engine.next_event().expect("something is under way");
                assert!(next < start + 100_000 * SECOND);
                self.engine.advance(next);
            }
        }
        assert!(come == data);
        self.engine.now - start
    }
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

#[test]
fn a_connection_is_made_carries_bytes_and_ends() {
    let mut net = pair();
    let one = net.engine.connect(net.client, net.address).unwrap();
    assert_eq!(kind(net.engine.connected(one)), ErrorKind::WouldBlock);
    assert_eq!(kind(net.engine.accept(net.listener)), ErrorKind::WouldBlock);
    assert_eq!(kind(net.send(one, b"early")), ErrorKind::WouldBlock);
    net.pass(SECOND);
    net.engine.connected(one).unwrap();
    let (other, from) = net.engine.accept(net.listener).unwrap();
    assert_eq!(from, net.engine.local(one).unwrap());
    assert_eq!(net.engine.peer(one).unwrap(), net.address.into());
    assert_eq!(kind(net.receive(other)), ErrorKind::WouldBlock);
    net.send(one, b"ahoy").unwrap();
    net.engine.shutdown(one, Shutdown::Write).unwrap();
    assert_eq!(kind(net.receive(other)), ErrorKind::WouldBlock, "it takes its time");
    net.pass(SECOND);
    assert_eq!(net.receive(other).unwrap(), b"ahoy");
    assert_eq!(net.receive(other).unwrap(), b"");
    assert_eq!(kind(net.send(one, b"more")), ErrorKind::BrokenPipe);
    net.send(other, b"back").unwrap();
    net.engine.close(other);
    net.pass(SECOND);
    assert_eq!((net.receive(one).unwrap(), net.receive(one).unwrap()), (b"back".to_vec(), Vec::new()));
    net.engine.close(one);
    net.pass(SECOND);
    assert_eq!(net.engine.sockets.len(), 1, "only the listener is left");
    assert_eq!(net.engine.next_event(), None, "and nothing is to come");
}

#[test]
fn a_slow_reader_stops_the_writer_and_a_read_lets_it_go_on() {
    let mut net = pair();
    let (one, other) = net.connected();
    let data = vec![1; 1 << 20];
    let mut sent = 0;
    for _ in 0..50 {
        while let Ok(more) = net.send(one, &data) {
            sent += more;
        }
        net.pass(SECOND);
    }
    assert_eq!(sent, 128 << 10, "both buffers are full");
    assert!(!net.engine.is_ready(one, Direction::Output));
    net.receive(other).unwrap();
    net.engine.take_signals();
    net.pass(SECOND);
    assert!(net.engine.take_signals().contains(&Signal { socket: one, direction: Direction::Output }));
    assert!(net.engine.is_ready(one, Direction::Output));
}

#[test]
fn much_goes_through_whatever_is_lost() {
    for loss in [0.0, 0.02, 0.3] {
        let mut net = pair();
        net.engine.links.set_all(Link::new().loss(loss));
        let one = net.engine.connect(net.client, net.address).unwrap();
        net.pass(100 * SECOND);
        let other = net.engine.accept(net.listener).unwrap().0;
        net.stream(one, other, 1 << 20);
        net.stream(other, one, 100_000);
    }
}

#[test]
fn bandwidth_and_latency_take_their_time() {
    let mut net = pair();
    let still = Link::new().latency(Duration::from_millis(100)).jitter(Duration::ZERO);
    net.engine.links.set_all(still.clone());
    let (one, other) = net.connected();
    let took = net.stream(one, other, 1000);
    assert!((100_000_000..101_000_000).contains(&took), "{took}");
    net.engine.links.set_all(still.bandwidth(100_000));
    let took = net.stream(one, other, 1_000_000);
    assert!((10 * SECOND..12 * SECOND).contains(&took), "{took}");
}

#[test]
fn nothing_listens_there_or_nothing_is_there() {
    let mut net = pair();
    let nowhere = SocketAddr::new(net.address.ip(), 81);
    let one = net.engine.connect(net.client, nowhere).unwrap();
    net.pass(SECOND);
    assert_eq!(kind(net.engine.connected(one)), ErrorKind::ConnectionRefused);
    assert_eq!(
        kind(net.engine.connect(net.client, "10.9.9.9:80".parse().unwrap())),
        ErrorKind::HostUnreachable
    );
    // The server's loopback is not the client's.
    let own = net.engine.connect(net.client, "127.0.0.1:80".parse().unwrap()).unwrap();
    net.pass(SECOND);
    assert_eq!(kind(net.engine.connected(own)), ErrorKind::ConnectionRefused);
    assert_eq!(kind(net.engine.listen(net.server, "127.0.0.1:80".parse().unwrap())), ErrorKind::AddrInUse);
    assert_eq!(kind(net.engine.listen(net.client, net.address)), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_full_backlog_delays_and_a_closed_listener_resets() {
    let mut net = pair();
    net.engine.hosts[net.server].backlog = 2;
    let all: Vec<_> = (0..3).map(|_| net.engine.connect(net.client, net.address).unwrap()).collect();
    net.pass(SECOND / 2);
    let made = |net: &mut Pair| all.iter().filter(|id| net.engine.connected(**id).is_ok()).count();
    assert_eq!(made(&mut net), 2);
    net.engine.accept(net.listener).unwrap();
    net.pass(10 * SECOND);
    assert_eq!(made(&mut net), 3, "it was asked again");
    net.engine.close(net.listener);
    net.pass(SECOND);
    let reset =
        all.iter().filter(|id| net.receive(**id).is_err_and(|it| it.kind() == ErrorKind::ConnectionReset));
    assert_eq!(reset.count(), 2, "those that nothing has accepted");
}

#[test]
fn a_partition_that_heals_is_a_delay_and_one_that_lasts_is_a_timeout() {
    let mut net = pair();
    let (one, other) = net.connected();
    net.cut(net.client, net.server);
    net.send(one, b"late").unwrap();
    net.pass(60 * SECOND);
    assert_eq!(kind(net.receive(other)), ErrorKind::WouldBlock);
    net.heal(net.client, net.server);
    net.pass(120 * SECOND);
    assert_eq!(net.receive(other).unwrap(), b"late");

    // In the other direction: the bytes arrive, and nothing says so.
    net.cut(net.server, net.client);
    net.send(one, b"once").unwrap();
    net.pass(SECOND);
    assert_eq!(net.receive(other).unwrap(), b"once");
    net.pass(2000 * SECOND);
    assert_eq!(kind(net.receive(one)), ErrorKind::TimedOut);
    assert_eq!(net.receive(one).unwrap(), b"");
    assert_eq!(kind(net.send(one, b"more")), ErrorKind::BrokenPipe);
    // The other end has nothing to send, and waits.
    assert_eq!(kind(net.receive(other)), ErrorKind::WouldBlock);

    let one = net.engine.connect(net.client, net.address).unwrap();
    net.pass(100 * SECOND);
    assert_eq!(kind(net.engine.connected(one)), ErrorKind::WouldBlock);
    net.pass(200 * SECOND);
    assert_eq!(kind(net.engine.connected(one)), ErrorKind::TimedOut);
}

#[test]
fn what_is_lost_of_a_handshake_comes_again() {
    for (from_client, from_server) in [(true, false), (false, true)] {
        let mut net = pair();
        let (client, server) = (net.client, net.server);
        if from_client {
            net.cut(client, server);
        }
        if from_server {
            net.cut(server, client);
        }
        let one = net.engine.connect(client, net.address).unwrap();
        net.pass(SECOND / 2);
        assert_eq!(kind(net.engine.connected(one)), ErrorKind::WouldBlock);
        assert_eq!(kind(net.engine.accept(net.listener)), ErrorKind::WouldBlock);
        net.heal(client, server);
        net.heal(server, client);
        net.pass(20 * SECOND);
        net.engine.connected(one).unwrap();
        net.engine.accept(net.listener).unwrap();
        assert_eq!(kind(net.engine.accept(net.listener)), ErrorKind::WouldBlock, "one and not two");
    }
    // The last packet of it is lost: the client believes that it is connected, the server does not.
    let mut net = pair();
    net.engine.links.set_all(Link::new().latency(Duration::from_millis(10)).jitter(Duration::ZERO));
    let one = net.engine.connect(net.client, net.address).unwrap();
    net.pass(15_000_000);
    net.cut(net.client, net.server);
    net.pass(100_000_000);
    net.engine.connected(one).unwrap();
    assert_eq!(kind(net.engine.accept(net.listener)), ErrorKind::WouldBlock);
    net.heal(net.client, net.server);
    net.pass(20 * SECOND);
    net.engine.accept(net.listener).unwrap();
}

#[test]
fn a_crash_is_silent_and_a_restart_resets() {
    let mut net = pair();
    let (one, _) = net.connected();
    net.engine.crash(net.server);
    net.pass(SECOND);
    assert_eq!(kind(net.receive(one)), ErrorKind::WouldBlock, "half open");
    net.send(one, b"anything there?").unwrap();
    net.pass(SECOND);
    assert_eq!(kind(net.receive(one)), ErrorKind::WouldBlock);
    net.engine.restart(net.server);
    net.pass(10 * SECOND);
    assert_eq!(kind(net.receive(one)), ErrorKind::ConnectionReset);
    assert_eq!(net.engine.accept(net.listener).unwrap_err().raw_os_error(), Some(libc::EBADF));
    net.engine.listen(net.server, "0.0.0.0:80".parse().unwrap()).unwrap();
}

#[test]
fn resets_break_both_ends_and_unread_input_resets() {
    let mut net = pair();
    let (one, other) = net.connected();
    net.engine.reset_between(net.client, net.server);
    assert_eq!(
        (kind(net.receive(one)), kind(net.receive(other))),
        (ErrorKind::ConnectionReset, ErrorKind::ConnectionReset)
    );
    let (one, other) = net.connected();
    net.send(one, b"unread").unwrap();
    net.pass(SECOND);
    net.engine.close(other);
    net.pass(SECOND);
    assert_eq!(kind(net.receive(one)), ErrorKind::ConnectionReset);
    // Sending to an end that is closed.
    let (one, other) = net.connected();
    net.engine.close(other);
    net.pass(SECOND);
    assert_eq!(net.receive(one).unwrap(), b"");
    net.send(one, b"to nothing").unwrap();
    net.pass(SECOND);
    assert_eq!(kind(net.send(one, b"more")), ErrorKind::ConnectionReset);
}

#[test]
fn a_link_on_hold_keeps_what_comes_and_lets_it_go_in_order() {
    let mut net = pair();
    let (one, other) = net.connected();
    net.engine.links.between(net.client, net.server).hold();
    net.send(one, b"first ").unwrap();
    net.pass(SECOND / 10);
    net.send(one, b"second").unwrap();
    net.pass(SECOND);
    assert_eq!(kind(net.receive(other)), ErrorKind::WouldBlock);
    let (client, server) = (net.client, net.server);
    net.engine.release(client, server);
    net.pass(1);
    assert_eq!(net.receive(other).unwrap(), b"first second");
}

fn datagrams(net: &mut Pair, link: Link, count: u32) -> Vec<u32> {
    net.engine.links.set_all(link);
    let to = net.engine.bind_datagrams(net.server, "0.0.0.0:53".parse().unwrap()).unwrap();
    let from = net.engine.bind_datagrams(net.client, "0.0.0.0:0".parse().unwrap()).unwrap();
    let address = SocketAddr::new(net.address.ip(), 53);
    for n in 0..count {
        net.engine.send_datagram(from, &[IoSlice::new(&n.to_be_bytes())], Some(address)).unwrap();
        net.pass(100_000);
    }
    net.pass(10 * SECOND);
    let mut come = Vec::new();
    let mut buffer = [0; 4];
    while let Ok((4, Some(_))) = net.engine.receive_datagram(to, &mut [IoSliceMut::new(&mut buffer)], false) {
        come.push(u32::from_be_bytes(buffer));
    }
    net.engine.close(to);
    come
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken_as_their_link_says() {
    let still = Link::new().latency(Duration::from_millis(5)).jitter(Duration::ZERO);
    let mut net = pair();
    assert!(datagrams(&mut net, still.clone(), 500).into_iter().eq(0..500));
    let lossy = datagrams(&mut net, still.clone().loss(0.2), 500);
    assert!((300..490).contains(&lossy.len()) && lossy.is_sorted());
    let doubled = datagrams(&mut net, still.clone().duplication(0.2), 500);
    assert!((510..700).contains(&doubled.len()), "{}", doubled.len());
    assert_eq!(doubled.iter().collect::<BTreeSet<_>>().len(), 500);
    let overtaken = datagrams(&mut net, still.reordering(0.2), 500);
    assert!(overtaken.len() == 500 && !overtaken.is_sorted());
}

#[test]
fn datagrams_without_a_receiver_are_refused_where_that_is_learnt() {
    let mut net = pair();
    let one = net.engine.bind_datagrams(net.client, "0.0.0.0:0".parse().unwrap()).unwrap();
    let nowhere = SocketAddr::new(net.address.ip(), 9);
    let text = [IoSlice::new(b"text")];
    let without = net.engine.send_datagram(one, &text, None);
    assert_eq!(without.unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
    net.engine.send_datagram(one, &text, Some(nowhere)).unwrap();
    net.pass(SECOND);
    assert!(net.engine.take_error(one).unwrap().is_none());
    net.engine.connect_datagrams(one, nowhere).unwrap();
    net.engine.send_datagram(one, &text, None).unwrap();
    net.pass(SECOND);
    let mut buffer = [0; 8];
    let refused = net.engine.receive_datagram(one, &mut [IoSliceMut::new(&mut buffer)], false);
    assert_eq!(kind(refused), ErrorKind::ConnectionRefused);
    let group = net.engine.send_datagram(one, &text, Some("224.0.0.1:9".parse().unwrap()));
    assert_eq!(kind(group), ErrorKind::Unsupported);
}

#[test]
fn the_same_seed_has_the_same_record() {
    let run = |seed| {
        let mut net = pair();
        net.engine = Engine::new(seed);
        net.client = net.engine.hosts.named("client");
        net.server = net.engine.hosts.named("server");
        net.listener = net.engine.listen(net.server, "0.0.0.0:80".parse().unwrap()).unwrap();
        net.engine.record();
        net.engine.links.set_all(Link::new().loss(0.1).duplication(0.1));
        let one = net.engine.connect(net.client, net.address).unwrap();
        net.pass(100 * SECOND);
        let other = net.engine.accept(net.listener).unwrap().0;
        net.stream(one, other, 200_000);
        net.engine.take_record()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert!(run(1).lines().count() > 20);
}
