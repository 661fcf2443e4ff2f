//! How streams travel: requests, answers, segments, confirmations, resets, and what is sent again.
//!
//! 1. A connection is asked for. Without a listener it is refused; if the listener's queue is full,
//!    the request is dropped and comes again. The answer makes the connection at the side that
//!    asks, whose confirmation makes it at the other side.
//! 2. Bytes that are written go out in segments as far as the peer has room. What arrives in its
//!    order is taken and confirmed, with the room that is left; a segment behind a gap is dropped.
//! 3. What is not confirmed in time is sent again from the first unconfirmed byte, after pauses
//!    that grow. So a loss is a delay. After as many attempts as Linux makes, the connection is
//!    given up with `ETIMEDOUT`. If the peer has no room, the same timer asks whether it has some
//!    again.
//! 4. A packet for a connection that its host does not know (any more) is answered with a reset. A
//!    host that is down answers nothing. So an end whose peer is gone learns that only by sending.

use super::stream::{State, Stream};
use super::{Engine, Event, HostId, Kind, LAST, Packet as AnyPacket, SocketId};
use narrowboat_net::simulated::{Address, Direction};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The most that one segment carries: what a network card is given at once.
const SEGMENT: u64 = 16 << 10;
/// What a packet takes beside its bytes.
const HEADER: usize = 40;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
/// The pauses before something is sent again, and how many there are, as in Linux.
const FIRST_PAUSE: u64 = 200 * MILLISECOND;
const FIRST_PAUSE_OF_REQUEST: u64 = SECOND;
const LONGEST_PAUSE: u64 = 120 * SECOND;
const ATTEMPTS: u32 = 15;
const ATTEMPTS_OF_REQUEST: u32 = 6;
const ATTEMPTS_OF_ANSWER: u32 = 5;
/// How long a closed stream waits for the end of its peer's output.
const ORPHAN_PATIENCE: u64 = 60 * SECOND;

#[derive(Debug)]
pub(super) enum Packet {
    Request {
        from: SocketId,
        source: SocketAddr,
        target: SocketAddr,
    },
    Answer {
        from: SocketId,
        to: SocketId,
        room: u64,
    },
    Segment {
        from: SocketId,
        to: SocketId,
        at: u64,
        data: Box<[u8]>,
        end: bool,
        ask: bool,
        confirmed: u64,
        room: u64,
    },
    Reset {
        to: SocketId,
        refused: bool,
    },
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Packet::Request { source, target, .. } => write!(f, "request {source} {target}"),
            Packet::Answer { .. } => f.write_str("answer"),
            Packet::Segment { at, data, end, confirmed, .. } => {
                write!(f, "{at}+{}{} confirms {confirmed}", data.len(), if *end { " end" } else { "" })
            }
            Packet::Reset { refused: true, .. } => f.write_str("refusal"),
            Packet::Reset { .. } => f.write_str("reset"),
        }
    }
}

impl Engine {
    /// Begins a connection.
    pub(crate) fn connect(&mut self, host: HostId, target: SocketAddr) -> io::Result<SocketId> {
        let remote_host = self.route(host, target.ip())?;
        let source = SocketAddr::new(self.source_address(host, target.ip()), 0);
        let taken = |engine: &Engine, address: SocketAddr| {
            let same = |socket: &super::Socket| match &socket.kind {
                Kind::Datagrams(_) | Kind::UnixDatagrams(_) => false,
                Kind::Stream(_) | Kind::Listener(_) => {
                    socket.host == host && socket.local == Address::from(address)
                }
            };
            engine.sockets.values().any(same)
        };
        let local = self.local_address(host, source, taken)?;
        let (input, output) = (self.hosts[host].receive_buffer, self.hosts[host].send_buffer);
        let stream = Stream::new(State::Asking, target.into(), remote_host, input, output);
        let id = self.add(host, local, Kind::Stream(Box::new(stream)));
        self.ask(id);
        Ok(id)
    }

    /// Sends a packet of a stream, behind those that it has sent before.
    fn transmit_from(&mut self, id: SocketId, packet: Packet) {
        let Some(socket) = self.sockets.get(&id) else { return };
        let Kind::Stream(stream) = &socket.kind else { return };
        let (from, to, mut last) = (socket.host, stream.remote_host, stream.last_arrival);
        let size = HEADER + if let Packet::Segment { data, .. } = &packet { data.len() } else { 0 };
        self.transmit(from, to, AnyPacket::Tcp(packet), size, Some(&mut last));
        if let Some(stream) = self.stream_mut(id) {
            stream.last_arrival = last;
        }
    }

    fn ask(&mut self, id: SocketId) {
        let Some(Ok(source)) = self.sockets.get(&id).map(|socket| socket.local.internet()) else { return };
        let Some(Ok(target)) = self.stream_mut(id).map(|stream| stream.remote.internet()) else { return };
        self.transmit_from(id, Packet::Request { from: id, source, target });
        self.set_timer(id);
    }

    fn answer(&mut self, id: SocketId) {
        let Some(stream) = self.stream_mut(id) else { return };
        let (Some(to), room) = (stream.peer, stream.announced) else { return };
        self.transmit_from(id, Packet::Answer { from: id, to, room });
        self.set_timer(id);
    }

    /// Sends a segment with the bytes from `at` on, or none.
    fn segment(&mut self, id: SocketId, at: u64, length: u64, end: bool, ask: bool) {
        let Some(stream) = self.stream_mut(id) else { return };
        let Some(to) = stream.peer else { return };
        let mut data = vec![0; length as usize].into_boxed_slice();
        super::stream::copy(
            &stream.output,
            (at.min(stream.written) - stream.confirmed.min(stream.written)) as usize,
            &mut data,
        );
        stream.announce();
        let (confirmed, room) = (stream.received, stream.announced);
        self.transmit_from(id, Packet::Segment { from: id, to, at, data, end, ask, confirmed, room });
    }

    /// Tells the peer what has come, and how much room there is.
    pub(super) fn confirm(&mut self, id: SocketId) {
        if let Some(at) = self.stream_mut(id).map(|stream| stream.sent) {
            self.segment(id, at, 0, false, false);
        }
    }

    /// Step 2: sends what there is and what the peer has room for.
    pub(super) fn push(&mut self, id: SocketId) {
        loop {
            let Some(stream) = self.stream_mut(id) else { return };
            if stream.state != State::Connected || stream.dead {
                return;
            }
            let at = stream.sent;
            let length = stream.written.min(stream.window).saturating_sub(at).min(SEGMENT);
            let end = stream.finished && at + length == stream.written;
            if length == 0 && !end {
                break;
            }
            stream.sent += length + u64::from(end);
            self.segment(id, at, length, end, false);
        }
        self.set_timer(id);
    }

    /// Sets the timer anew, if something is to be sent again without an answer.
    fn set_timer(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else { return };
        let Kind::Stream(stream) = &socket.kind else { return };
        let round_trip = self.links.round_trip(socket.host, stream.remote_host);
        let now = self.now;
        let Some(stream) = self.stream_mut(id) else { return };
        let first = match stream.state {
            State::Asking => Some(FIRST_PAUSE_OF_REQUEST),
            State::Answering { .. } => Some(FIRST_PAUSE_OF_REQUEST),
            State::Connected if stream.confirmed < stream.end() => Some(FIRST_PAUSE),
            State::Connected => None,
        };
        stream.timer.at = match first {
            _ if stream.dead => None,
            Some(first) => {
                let pause = (first << stream.timer.attempts.min(20)).min(LONGEST_PAUSE);
                Some(now.max(stream.last_arrival).saturating_add(round_trip).saturating_add(pause).min(LAST))
            }
            None if stream.orphan => Some(now.saturating_add(ORPHAN_PATIENCE).min(LAST)),
            None => None,
        };
        if let Some(at) = stream.timer.at
            && !std::mem::replace(&mut stream.timer.scheduled, true)
        {
            self.schedule(at, Event::Timer(id));
        }
    }

    /// Step 3.
    pub(super) fn timer_fired(&mut self, id: SocketId) {
        let Some(stream) = self.stream_mut(id) else { return };
        stream.timer.scheduled = false;
        if stream.timer.at.take().is_none() {
            return;
        }
        stream.timer.attempts += 1;
        let attempts = stream.timer.attempts;
        match stream.state {
            State::Asking if attempts > ATTEMPTS_OF_REQUEST => self.give_up(id),
            State::Asking => self.ask(id),
            State::Answering { listener } if attempts > ATTEMPTS_OF_ANSWER => {
                if let Some(listener) = self.listener_mut(listener) {
                    listener.half_open -= 1;
                }
                self.remove(id);
            }
            State::Answering { .. } => self.answer(id),
            State::Connected if stream.confirmed == stream.end() => self.remove(id),
            State::Connected if attempts > ATTEMPTS => self.give_up(id),
            State::Connected if stream.sent == stream.confirmed => {
                // The peer has no room; or has some, and what said so was lost.
                let at = stream.sent;
                self.segment(id, at, 0, false, true);
                self.set_timer(id);
            }
            State::Connected => {
                stream.sent = stream.confirmed;
                // One segment: the answer to it sends the others.
                let length = (stream.written - stream.confirmed.min(stream.written)).min(SEGMENT);
                let end = stream.finished && stream.confirmed + length == stream.written;
                let at = stream.sent;
                stream.sent += length + u64::from(end);
                self.segment(id, at, length, end, false);
                self.set_timer(id);
            }
        }
    }

    fn give_up(&mut self, id: SocketId) {
        self.was_reset(id, libc::ETIMEDOUT);
    }

    /// The connection is over at this end.
    pub(super) fn was_reset(&mut self, id: SocketId, error: libc::c_int) {
        let Some(stream) = self.stream_mut(id) else { return };
        let listener = if let State::Answering { listener } = stream.state { Some(listener) } else { None };
        if let Some(listener) = listener.and_then(|listener| self.listener_mut(listener)) {
            listener.half_open -= 1;
            self.remove(id);
        } else if stream_is_orphan(self, id) {
            self.remove(id);
        } else if let Some(stream) = self.stream_mut(id) {
            stream.die(error);
            self.signal_both(id);
        }
    }

    /// Ends a connection at this end, and tells the other.
    pub(super) fn reset(&mut self, id: SocketId) {
        let Some(stream) = self.stream_mut(id) else { return };
        if stream.is_unix() {
            return self.part(id, true);
        }
        if let Some(to) = stream.peer {
            self.transmit_from(id, Packet::Reset { to, refused: false });
        }
        self.remove(id);
    }

    pub(super) fn tcp_arrived(&mut self, from_host: HostId, host: HostId, packet: Packet) {
        match packet {
            Packet::Request { from, source, target } => self.asked(from_host, host, from, source, target),
            Packet::Answer { from, to, room } => {
                let Some(stream) = self.stream_mut(to) else {
                    return self.send_reset(host, from_host, from, false);
                };
                if stream.state == State::Asking && !stream.dead {
                    stream.state = State::Connected;
                    stream.peer = Some(from);
                    stream.window = room;
                    stream.timer.attempts = 0;
                    stream.timer.at = None;
                    self.signal_both(to);
                }
                self.confirm(to);
                self.push(to);
            }
            Packet::Segment { from, to, at, data, end, ask, confirmed, room } => {
                if self.stream_mut(to).is_none_or(|stream| stream.dead) {
                    return self.send_reset(host, from_host, from, false);
                }
                self.establish(to);
                self.was_confirmed(to, confirmed, room);
                self.took(to, at, &data, end, ask);
                self.forget_if_over(to);
            }
            Packet::Reset { to, refused } => {
                let refused = refused || self.stream_mut(to).is_some_and(|it| it.state == State::Asking);
                self.was_reset(to, if refused { libc::ECONNREFUSED } else { libc::ECONNRESET });
            }
        }
    }

    fn send_reset(&mut self, from: HostId, to_host: HostId, to: SocketId, refused: bool) {
        self.transmit(from, to_host, AnyPacket::Tcp(Packet::Reset { to, refused }), HEADER, None);
    }

    /// Step 1, at the side that listens.
    fn asked(
        &mut self,
        from_host: HostId,
        host: HostId,
        from: SocketId,
        source: SocketAddr,
        target: SocketAddr,
    ) {
        if let Some(answered) = self.answered.get(&from).copied() {
            self.answer(answered);
            return;
        }
        let backlog = self.hosts[host].backlog;
        let Some(listener) = self.listener_at(host, target) else {
            return self.send_reset(host, from_host, from, true);
        };
        let Some(queue) = self.listener_mut(listener) else { return };
        if queue.pending.len() + queue.half_open >= backlog {
            self.note(format_args!("the queue of {target} is full"));
            return;
        }
        queue.half_open += 1;
        let (input, output) = (self.hosts[host].receive_buffer, self.hosts[host].send_buffer);
        let mut stream = Stream::new(State::Answering { listener }, source.into(), from_host, input, output);
        stream.peer = Some(from);
        stream.has_accepted = true;
        // The request has said how much the other side takes; its buffer is as large as its host's
        // are.
        stream.window = self.hosts[from_host].receive_buffer as u64;
        let id = self.add(host, target, Kind::Stream(Box::new(stream)));
        self.answered.insert(from, id);
        self.answer(id);
    }

    /// The peer has everything up to `confirmed`, and room up to `room`.
    fn was_confirmed(&mut self, id: SocketId, confirmed: u64, room: u64) {
        let Some(stream) = self.stream_mut(id) else { return };
        if confirmed > stream.confirmed || room > stream.window {
            stream.timer.attempts = 0;
        } else {
            // The peer is there, and has no room: asking goes on, at its own pace.
            stream.timer.attempts = stream.timer.attempts.min(ATTEMPTS / 2);
        }
        stream.window = stream.window.max(room);
        if confirmed > stream.confirmed {
            let bytes = confirmed.min(stream.written) - stream.confirmed.min(stream.written);
            stream.output.drain(..bytes as usize);
            stream.confirmed = confirmed;
            stream.sent = stream.sent.max(confirmed);
            self.signal(id, Direction::Output);
        }
        self.push(id);
    }

    /// Step 2, at the side that receives.
    fn took(&mut self, id: SocketId, at: u64, data: &[u8], end: bool, ask: bool) {
        let Some(stream) = self.stream_mut(id) else { return };
        let until = at + data.len() as u64;
        let mut arrived = false;
        if at <= stream.received && until > stream.received && !stream.ended {
            if stream.orphan {
                // Nothing will read it.
                return self.reset(id);
            }
            let fresh = &data[(stream.received - at) as usize..];
            // The peer never sends more than there is room for.
            if !stream.input_shut {
                stream.input.extend(fresh);
            }
            stream.received = until;
            arrived = true;
        }
        if end && until == stream.received && !stream.ended {
            stream.received += 1;
            stream.ended = true;
            arrived = true;
        }
        if !data.is_empty() || end || ask {
            self.confirm(id);
        }
        if arrived {
            self.signal(id, Direction::Input);
        }
    }
}

fn stream_is_orphan(engine: &mut Engine, id: SocketId) -> bool {
    engine.stream_mut(id).is_some_and(|stream| stream.orphan)
}
