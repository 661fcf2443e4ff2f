//! The simulated network as a state machine: hosts, links, sockets, and packets under way.
//!
//! Pure: it knows neither goroutines nor clocks. It is moved by [`Engine::advance`], which is told
//! what time it is, and by the calls of sockets, none of which waits: a call that would have to
//! returns `WouldBlock`, as a non-blocking system call does. What a change makes possible is
//! collected as [`Signal`]s, which the caller passes on to the waiters. All chance is drawn from
//! one seed, and no order depends on addresses or hashes, so that equal calls at equal times have
//! equal results.
//!
//! How a packet travels:
//!
//! 1. [`Engine::transmit`] draws whether it is lost, waits for its turn on a link of limited
//!    bandwidth, and draws when it arrives. A packet that is sent across a partition is lost.
//! 2. At its time, [`Engine::arrive`] looks at the link again: a partition loses it, a link on hold
//!    keeps it. A host that is down does not take it.
//! 3. The protocol of its kind takes it: [`tcp`] or [`udp`].
//!
//! Nothing of Unix sockets travels: see [`unix`].

mod host;
mod link;
mod listener;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod unix;

use crate::random::Random;
pub(crate) use host::{HostId, Hosts};
pub use link::Link;
use link::Passage;
use link::{LOOPBACK, Links};
use listener::Listener;
use narrowboat_net::simulated::{Address, Direction, Setting};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use stream::Stream;
use udp::Datagrams;

/// What the world's seed is drawn from for here.
const PURPOSE: u64 = 2;

/// The last time that a world's clock can show, as its timers know it. What would happen later does
/// not, but a timer of a stream goes off then.
const LAST: u64 = u64::MAX - 1;

/// A socket. Numbers are never used again, so a late packet finds nothing and not another socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId(u64);

/// That an operation which waits at a socket should be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signal {
    pub(crate) socket: SocketId,
    pub(crate) direction: Direction,
}

struct Socket {
    host: HostId,
    local: Address,
    settings: BTreeMap<Setting, u32>,
    kind: Kind,
}

enum Kind {
    Listener(Listener),
    Stream(Box<Stream>),
    Datagrams(Datagrams),
    UnixDatagrams(unix::Datagrams),
}

impl Socket {
    /// Whether it takes packets to this address.
    fn is_at(&self, address: SocketAddr) -> bool {
        matches!(self.local, Address::Internet(local) if listener::overlap(local, address))
    }
}

/// What travels.
#[derive(Debug)]
enum Packet {
    Tcp(tcp::Packet),
    Udp(udp::Packet),
}

enum Event {
    Arrive {
        from: HostId,
        to: HostId,
        packet: Packet,
    },
    /// The retransmission timer of a stream; see [`stream::Timer`].
    Timer(SocketId),
}

/// Events are ordered by time, and those of one time by the order in which they were scheduled.
struct Scheduled {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.number == other.number
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The network of a world.
pub(crate) struct Engine {
    /// Nanoseconds since the beginning of the world.
    now: u64,
    random: Random,
    pub(crate) hosts: Hosts,
    pub(crate) links: Links,
    sockets: BTreeMap<SocketId, Socket>,
    names: unix::Names,
    /// For each stream that is being connected or is connected, by the side that connects: the side
    /// that has accepted. A repeated request finds by this that it was answered.
    answered: BTreeMap<SocketId, SocketId>,
    last_socket: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    last_event: u64,
    signals: Vec<Signal>,
    log: Option<String>,
}

pub(crate) fn error(code: libc::c_int) -> io::Error {
    io::Error::from_raw_os_error(code)
}

pub(crate) fn would_block() -> io::Error {
    error(libc::EAGAIN)
}

impl Engine {
    pub(crate) fn new(seed: u64) -> Engine {
        Engine {
            now: 0,
            random: Random::stream(seed, PURPOSE),
            hosts: Hosts::new(),
            links: Links::default(),
            sockets: BTreeMap::new(),
            names: unix::Names::default(),
            answered: BTreeMap::new(),
            last_socket: 0,
            events: BinaryHeap::new(),
            last_event: 0,
            signals: Vec::new(),
            log: None,
        }
    }

    /// What became possible since the last call.
    pub(crate) fn take_signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.signals)
    }

    /// From now on, keeps a line for each packet and each change of hosts and links.
    pub(crate) fn record(&mut self) {
        self.log.get_or_insert_default();
    }

    /// The lines since the last call.
    pub(crate) fn take_record(&mut self) -> String {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(log) = &mut self.log {
            let (seconds, rest) = (self.now / 1_000_000_000, self.now % 1_000_000_000);
            let _ = writeln!(log, "{seconds}.{rest:09} {what}");
        }
    }

    /// When something happens next without a call. Timers that were stopped or put off meanwhile do
    /// not count.
    pub(crate) fn next_event(&mut self) -> Option<u64> {
        loop {
            let Reverse(next) = self.events.peek()?;
            let (now_at, Event::Timer(id)) = (next.at, &next.event) else { return Some(next.at) };
            let id = *id;
            let at = self.stream_mut(id).and_then(|stream| {
                stream.timer.scheduled = stream.timer.at.is_some();
                stream.timer.at
            });
            match at {
                Some(at) if at <= now_at => return Some(now_at),
                Some(at) => {
                    self.events.pop();
                    self.schedule(at, Event::Timer(id));
                }
                None => drop(self.events.pop()),
            }
        }
    }

    /// Lets happen what is due until `now`.
    pub(crate) fn advance(&mut self, now: u64) {
        while let Some(at) = self.next_event()
            && at <= now
        {
            let Some(Reverse(next)) = self.events.pop() else { unreachable!("there is a next event") };
            self.now = self.now.max(at);
            match next.event {
                Event::Arrive { from, to, packet } => self.arrive(from, to, packet),
                Event::Timer(id) => self.timer_fired(id),
            }
        }
        self.now = self.now.max(now);
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.last_event += 1;
        self.events.push(Reverse(Scheduled { at: at.min(LAST), number: self.last_event, event }));
    }

    /// Step 1. `earliest`, for packets that keep their order: the arrival of the last one before;
    /// it becomes that of this one. Returns whether the packet is under way, and not lost already.
    fn transmit(
        &mut self,
        from: HostId,
        to: HostId,
        packet: Packet,
        size: usize,
        earliest: Option<&mut u64>,
    ) -> bool {
        if from == to {
            self.schedule(self.now.saturating_add(LOOPBACK), Event::Arrive { from, to, packet });
            return true;
        }
        let ordered = earliest.is_some();
        let passage = self.links.between(from, to).pass(self.now, size, ordered, &mut self.random);
        let Passage::Arrives { at, again } = passage else {
            self.note_packet("lost", from, to, &packet);
            return false;
        };
        if at > LAST {
            self.note_packet("never arrives", from, to, &packet);
            return false;
        }
        let at = match earliest {
            Some(earliest) => {
                *earliest = at.max(*earliest);
                *earliest
            }
            None => at,
        };
        if let (Some(again @ ..=LAST), Packet::Udp(packet)) = (again, &packet) {
            let packet = Packet::Udp(packet.clone());
            self.schedule(again, Event::Arrive { from, to, packet });
        }
        self.schedule(at, Event::Arrive { from, to, packet });
        true
    }

    /// Steps 2 and 3.
    fn arrive(&mut self, from: HostId, to: HostId, packet: Packet) {
        if from != to {
            let link = self.links.between(from, to);
            if link.is_held() {
                link.keep(packet);
                return;
            }
            if link.is_cut() {
                self.note_packet("lost", from, to, &packet);
                return;
            }
        }
        if !self.hosts[to].up {
            self.note_packet("not taken", from, to, &packet);
            return;
        }
        self.note_packet("arrived", from, to, &packet);
        match packet {
            Packet::Tcp(packet) => self.tcp_arrived(from, to, packet),
            Packet::Udp(packet) => self.udp_arrived(from, to, packet),
        }
    }

    fn note_packet(&mut self, what: &str, from: HostId, to: HostId, packet: &Packet) {
        if self.log.is_some() {
            let (from, to) = (self.hosts[from].name.clone(), self.hosts[to].name.clone());
            match packet {
                Packet::Tcp(packet) => self.note(format_args!("{from} -> {to} tcp {packet}: {what}")),
                Packet::Udp(packet) => self.note(format_args!("{from} -> {to} udp {packet}: {what}")),
            }
        }
    }

    /// Lets go what a link on hold has kept, in its order.
    pub(crate) fn release(&mut self, from: HostId, to: HostId) {
        let kept = self.links.between(from, to).release();
        for packet in kept {
            self.schedule(self.now, Event::Arrive { from, to, packet });
        }
    }

    /// Ends a host: its sockets are gone, without a word to their peers.
    pub(crate) fn crash(&mut self, host: HostId) {
        self.hosts[host].up = false;
        self.hosts[host].crashes += 1;
        let gone: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| socket.host == host).map(|(id, _)| *id).collect();
        for id in gone {
            // An operation that waits learns that its socket is gone.
            self.signal_both(id);
            self.remove(id);
        }
    }

    pub(crate) fn restart(&mut self, host: HostId) {
        self.hosts[host].up = true;
    }

    fn add(&mut self, host: HostId, local: impl Into<Address>, kind: Kind) -> SocketId {
        self.last_socket += 1;
        let id = SocketId(self.last_socket);
        self.sockets.insert(id, Socket { host, local: local.into(), settings: BTreeMap::new(), kind });
        id
    }

    fn remove(&mut self, id: SocketId) {
        if let Some(Socket { kind: Kind::Stream(stream), .. }) = self.sockets.remove(&id)
            && stream.has_accepted
            && let Some(peer) = stream.peer
        {
            self.answered.remove(&peer);
        }
    }

    fn signal(&mut self, socket: SocketId, direction: Direction) {
        self.signals.push(Signal { socket, direction });
    }

    fn signal_both(&mut self, socket: SocketId) {
        self.signal(socket, Direction::Input);
        self.signal(socket, Direction::Output);
    }

    /// A socket that its program uses.
    ///
    /// # Errors
    /// `EBADF`, in std's words, if the host has crashed since.
    fn socket(&mut self, id: SocketId) -> io::Result<&mut Socket> {
        self.sockets.get_mut(&id).ok_or_else(|| error(libc::EBADF))
    }

    fn stream_mut(&mut self, id: SocketId) -> Option<&mut Stream> {
        match self.sockets.get_mut(&id)? {
            Socket { kind: Kind::Stream(stream), .. } => Some(stream),
            _ => None,
        }
    }

    /// The host that has this address, as seen from `from`.
    ///
    /// # Errors
    /// `EHOSTUNREACH` if none has.
    fn route(&self, from: HostId, to: IpAddr) -> io::Result<HostId> {
        if to.is_loopback() || to.is_unspecified() {
            return Ok(from);
        }
        self.hosts.by_address(to).ok_or_else(|| error(libc::EHOSTUNREACH))
    }

    /// The address that a socket of `host` gets which asks for `address`. `taken` says whether a
    /// socket of its kind has that.
    fn local_address(
        &mut self,
        host: HostId,
        address: SocketAddr,
        taken: impl Fn(&Engine, SocketAddr) -> bool,
    ) -> io::Result<SocketAddr> {
        let ip = address.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && self.hosts[host].address != ip {
            return Err(error(libc::EADDRNOTAVAIL));
        }
        if address.port() != 0 {
            return if taken(self, address) { Err(error(libc::EADDRINUSE)) } else { Ok(address) };
        }
        for _ in 0..host::EPHEMERAL.len() {
            let address = SocketAddr::new(ip, self.hosts[host].next_port());
            if !taken(self, address) {
                return Ok(address);
            }
        }
        Err(error(libc::EADDRNOTAVAIL))
    }

    /// The address of `host` from which a packet to `to` comes.
    fn source_address(&self, host: HostId, to: IpAddr) -> IpAddr {
        match to {
            IpAddr::V4(ip) if ip.is_loopback() || ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            _ => self.hosts[host].address,
        }
    }

    pub(crate) fn local(&mut self, id: SocketId) -> io::Result<Address> {
        Ok(self.socket(id)?.local.clone())
    }

    pub(crate) fn peer(&mut self, id: SocketId) -> io::Result<Address> {
        let peer = match &self.socket(id)?.kind {
            Kind::Listener(_) => None,
            Kind::Stream(stream) => stream.connected_to(),
            Kind::Datagrams(datagrams) => datagrams.connected.map(Address::from),
            Kind::UnixDatagrams(datagrams) => datagrams.connected_to(),
        };
        peer.ok_or_else(|| error(libc::ENOTCONN))
    }

    pub(crate) fn set(&mut self, id: SocketId, setting: Setting, value: u32) -> io::Result<()> {
        self.socket(id)?.settings.insert(setting, value);
        Ok(())
    }

    pub(crate) fn get(&mut self, id: SocketId, setting: Setting) -> io::Result<u32> {
        Ok(self.socket(id)?.settings.get(&setting).copied().unwrap_or_else(|| setting.default()))
    }

    pub(crate) fn take_error(&mut self, id: SocketId) -> io::Result<Option<io::Error>> {
        let pending = match &mut self.socket(id)?.kind {
            Kind::Listener(_) => None,
            Kind::Stream(stream) => stream.error.take(),
            Kind::Datagrams(datagrams) => datagrams.error.take(),
            Kind::UnixDatagrams(datagrams) => datagrams.error.take(),
        };
        Ok(pending.map(error))
    }

    /// Whether an operation in this direction would not have to wait. One that would fail would
    /// not.
    pub(crate) fn is_ready(&mut self, id: SocketId, direction: Direction) -> bool {
        let Ok(socket) = self.socket(id) else { return true };
        match (&socket.kind, direction) {
            (Kind::Listener(listener), Direction::Input) => !listener.pending.is_empty(),
            (Kind::Stream(stream), Direction::Input) => stream.has_input(),
            (Kind::Stream(stream), Direction::Output) => stream.has_room(),
            (Kind::Datagrams(datagrams), Direction::Input) => datagrams.has_input(),
            (Kind::Listener(_) | Kind::Datagrams(_), Direction::Output) => true,
            (Kind::UnixDatagrams(datagrams), Direction::Input) => datagrams.has_input(),
            (Kind::UnixDatagrams(_), Direction::Output) => self.may_send_unix(id),
        }
    }

    /// Whether "would block" means the end of the input to a caller that would wait. As on Linux, a
    /// Unix socket for datagrams does not say so itself.
    pub(crate) fn input_is_shut(&mut self, id: SocketId) -> bool {
        let kind = self.socket(id).map(|socket| &socket.kind);
        matches!(kind, Ok(Kind::UnixDatagrams(datagrams)) if datagrams.input_shut)
    }

    /// The program closes its socket.
    pub(crate) fn close(&mut self, id: SocketId) {
        match self.sockets.get(&id).map(|socket| &socket.kind) {
            None => {}
            Some(Kind::Listener(_)) => self.close_listener(id),
            Some(Kind::Stream(_)) => self.close_stream(id),
            Some(Kind::Datagrams(_)) => self.remove(id),
            Some(Kind::UnixDatagrams(_)) => self.close_unix_datagrams(id),
        }
    }

    pub(crate) fn shutdown(&mut self, id: SocketId, how: std::net::Shutdown) -> io::Result<()> {
        match self.socket(id)?.kind {
            Kind::Listener(_) => {
                self.shutdown_listener(id);
                Ok(())
            }
            Kind::Stream(_) => self.shutdown_stream(id, how),
            Kind::Datagrams(_) => self.shutdown_datagrams(id, how),
            Kind::UnixDatagrams(_) => self.shutdown_unix_datagrams(id, how),
        }
    }

    /// Reads, or receives a datagram, which comes from the address.
    pub(crate) fn read(
        &mut self,
        id: SocketId,
        buffers: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> io::Result<(usize, Option<Address>)> {
        match self.socket(id)?.kind {
            Kind::Listener(_) | Kind::Stream(_) => self.receive(id, buffers, peek).map(|read| (read, None)),
            Kind::Datagrams(_) => {
                let (read, from) = self.receive_datagram(id, buffers, peek)?;
                Ok((read, from.map(Address::from)))
            }
            Kind::UnixDatagrams(_) => self.receive_unix_datagram(id, buffers, peek),
        }
    }

    /// Writes, or sends a datagram: to the address, or to that which the socket is connected to.
    pub(crate) fn write(
        &mut self,
        id: SocketId,
        buffers: &[IoSlice<'_>],
        to: Option<&Address>,
    ) -> io::Result<usize> {
        match self.socket(id)?.kind {
            Kind::Listener(_) | Kind::Stream(_) => self.send(id, buffers),
            Kind::Datagrams(_) => self.send_datagram(id, buffers, to.map(Address::internet).transpose()?),
            Kind::UnixDatagrams(_) => {
                self.send_unix_datagram(id, buffers, to.map(Address::name).transpose()?)
            }
        }
    }

    /// Connects a socket for datagrams.
    pub(crate) fn connect_socket(&mut self, id: SocketId, to: &Address) -> io::Result<()> {
        match to {
            Address::Internet(to) => self.connect_datagrams(id, *to),
            Address::Unix(to) => self.connect_unix_datagrams(id, to),
        }
    }
}
