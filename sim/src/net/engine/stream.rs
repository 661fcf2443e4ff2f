//! One end of a connection, as its program sees it: buffers, ends and errors. How packets of TCP
//! travel is in [`super::tcp`], and how the ends of a Unix stream reach each other in
//! [`super::unix`].

use super::{Engine, HostId, Kind, SocketId, error, would_block};
use narrowboat_net::simulated::Address;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// A request for a connection is under way.
    Asking,
    /// A request was answered, and this end does not know yet that the answer has arrived.
    Answering {
        listener: SocketId,
    },
    Connected,
}

/// When something must be sent again. There is at most one event of it in the queue: one that comes
/// too early is scheduled anew.
#[derive(Default)]
pub(super) struct Timer {
    pub(super) at: Option<u64>,
    pub(super) scheduled: bool,
    /// How many times in succession it has gone off without an answer.
    pub(super) attempts: u32,
}

pub(super) struct Stream {
    pub(super) state: State,
    pub(super) remote: Address,
    pub(super) remote_host: HostId,
    /// The other end, once it is known.
    pub(super) peer: Option<SocketId>,
    pub(super) has_accepted: bool,
    /// The arrival of the last packet that this end has sent.
    pub(super) last_arrival: u64,
    pub(super) timer: Timer,

    // Output. Bytes are counted from the beginning of the stream; the end counts as one more.
    /// What the peer has not confirmed: from `confirmed` on.
    pub(super) output: VecDeque<u8>,
    pub(super) confirmed: u64,
    pub(super) sent: u64,
    pub(super) written: u64,
    /// Up to here the peer has room.
    pub(super) window: u64,
    /// Nothing more will be written.
    pub(super) finished: bool,
    output_limit: usize,

    // Input.
    pub(super) input: VecDeque<u8>,
    pub(super) received: u64,
    /// Up to here the peer knows that there is room.
    pub(super) announced: u64,
    /// The peer has ended its output, and all of it has come.
    pub(super) ended: bool,
    pub(super) input_shut: bool,
    pub(super) input_limit: usize,

    /// What the next operation fails with.
    pub(super) error: Option<libc::c_int>,
    /// The connection was reset or given up.
    pub(super) dead: bool,
    /// The program has closed it. What it has written is still delivered.
    pub(super) orphan: bool,
}

impl Stream {
    pub(super) fn new(
        state: State,
        remote: Address,
        remote_host: HostId,
        input_limit: usize,
        output_limit: usize,
    ) -> Stream {
        Stream {
            state,
            remote,
            remote_host,
            peer: None,
            has_accepted: false,
            last_arrival: 0,
            timer: Timer::default(),
            output: VecDeque::new(),
            confirmed: 0,
            sent: 0,
            written: 0,
            window: 0,
            finished: false,
            output_limit,
            input: VecDeque::new(),
            received: 0,
            announced: input_limit as u64,
            ended: false,
            input_shut: false,
            input_limit,
            error: None,
            dead: false,
            orphan: false,
        }
    }

    pub(super) fn connected_to(&self) -> Option<Address> {
        (self.state != State::Asking && !self.dead).then(|| self.remote.clone())
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self.remote, Address::Unix(_))
    }

    /// How many bytes it may write.
    fn room(&self) -> usize {
        let unconfirmed = self.written - self.confirmed.min(self.written);
        self.output_limit.saturating_sub(unconfirmed as usize)
    }

    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty() || self.error.is_some() || self.dead || self.ended || self.input_shut
    }

    pub(super) fn has_room(&self) -> bool {
        let is_open = self.state != State::Asking && self.room() > 0;
        let is_ended = if self.is_unix() { self.is_over() } else { self.finished };
        is_open || self.error.is_some() || self.dead || is_ended
    }

    /// Whether nothing goes in either direction any more. Linux reports no less to those that wait
    /// for room in a Unix stream.
    pub(super) fn is_over(&self) -> bool {
        self.finished && (self.ended || self.input_shut)
    }

    /// Where the stream ends for the peer, once it is finished.
    pub(super) fn end(&self) -> u64 {
        self.written + u64::from(self.finished)
    }

    /// How far there is room for input. The end needs none.
    pub(super) fn room_until(&self) -> u64 {
        self.received + (self.input_limit - self.input.len().min(self.input_limit)) as u64
    }

    /// Decides how much room the peer is told of. Much at once, so that it does not send tiny
    /// packets to a slow reader. Returns whether that is more than it knows.
    pub(super) fn announce(&mut self) -> bool {
        let more = self.room_until() - self.announced >= self.input_limit.div_ceil(2) as u64;
        if more {
            self.announced = self.room_until();
        }
        more
    }

    /// Ends it for its program, for good.
    pub(super) fn die(&mut self, error: libc::c_int) {
        self.error = Some(error);
        self.dead = true;
        self.timer.at = None;
        self.output.clear();
    }
}

impl Engine {
    pub(crate) fn receive(
        &mut self,
        id: SocketId,
        buffers: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> io::Result<usize> {
        let Kind::Stream(stream) = &mut self.socket(id)?.kind else { return Err(error(libc::ENOTCONN)) };
        if stream.input.is_empty() {
            if let Some(pending) = stream.error.take() {
                return Err(error(pending));
            }
            if stream.ended || stream.input_shut || stream.dead {
                return Ok(0);
            }
            if stream.state == State::Asking {
                return Err(error(libc::ENOTCONN));
            }
            return Err(would_block());
        }
        let mut count = 0;
        for buffer in buffers {
            let length = buffer.len().min(stream.input.len() - count);
            copy(&stream.input, count, &mut buffer[..length]);
            count += length;
        }
        if !peek {
            stream.input.drain(..count);
            if stream.is_unix() {
                self.was_read(id, count);
            } else if !stream.ended && !stream.dead && stream.announce() {
                self.confirm(id);
            }
        }
        Ok(count)
    }

    pub(crate) fn send(&mut self, id: SocketId, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let Kind::Stream(stream) = &mut self.socket(id)?.kind else { return Err(error(libc::ENOTCONN)) };
        // As on Linux, a Unix stream keeps its error for the next read.
        if !stream.is_unix()
            && let Some(pending) = stream.error.take()
        {
            return Err(error(pending));
        }
        if stream.dead || stream.finished {
            return Err(error(libc::EPIPE));
        }
        let asked: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let room = stream.room();
        if stream.state == State::Asking || (room == 0 && asked > 0) {
            return Err(would_block());
        }
        let mut count = 0;
        for buffer in buffers {
            let length = buffer.len().min(room - count);
            stream.output.extend(&buffer[..length]);
            count += length;
        }
        stream.written += count as u64;
        if stream.is_unix() {
            self.hand_over(id);
        } else {
            self.push(id);
        }
        Ok(count)
    }

    /// The state of a connection that was begun: made, failed, or "would block".
    pub(crate) fn connected(&mut self, id: SocketId) -> io::Result<()> {
        let Kind::Stream(stream) = &mut self.socket(id)?.kind else { return Err(error(libc::ENOTCONN)) };
        if stream.is_unix() && stream.state == State::Connected {
            // What has come since is for the next call: the kernel's connect had returned by then.
            return Ok(());
        }
        match stream.error.take() {
            Some(pending) => Err(error(pending)),
            None if stream.dead => Err(error(libc::ENOTCONN)),
            None if stream.state == State::Asking => Err(would_block()),
            None => Ok(()),
        }
    }

    pub(super) fn shutdown_stream(&mut self, id: SocketId, how: Shutdown) -> io::Result<()> {
        let Some(stream) = self.stream_mut(id) else { return Err(error(libc::ENOTCONN)) };
        if stream.dead || stream.state == State::Asking {
            return Err(error(libc::ENOTCONN));
        }
        if how != Shutdown::Write {
            stream.input_shut = true;
        }
        if how != Shutdown::Read {
            stream.finished = true;
        }
        if stream.is_unix() {
            self.was_shut(id, how);
        } else {
            self.push(id);
        }
        self.signal_both(id);
        Ok(())
    }

    /// What is written is still delivered, and then the end. If there is input that nothing has
    /// read, the peer learns that by a reset.
    pub(super) fn close_stream(&mut self, id: SocketId) {
        let Some(stream) = self.stream_mut(id) else { return };
        if stream.is_unix() {
            self.part(id, false);
        } else if stream.dead || stream.state == State::Asking {
            self.remove(id);
        } else if !stream.input.is_empty() {
            self.reset(id);
        } else {
            stream.orphan = true;
            stream.finished = true;
            self.push(id);
            self.forget_if_over(id);
        }
    }

    /// Removes a closed stream that has nothing more to do.
    pub(super) fn forget_if_over(&mut self, id: SocketId) {
        let over = |stream: &mut Stream| {
            stream.orphan && stream.ended && stream.finished && stream.confirmed == stream.end()
        };
        if self.stream_mut(id).is_some_and(over) {
            self.remove(id);
        }
    }

    /// Breaks every connection between two hosts, at both ends at once. Unix streams are between
    /// none.
    pub(crate) fn reset_between(&mut self, one: HostId, other: HostId) {
        let broken: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| match &socket.kind {
                Kind::Stream(stream) if !stream.is_unix() => {
                    let ends = (socket.host, stream.remote_host);
                    ends == (one, other) || ends == (other, one)
                }
                _ => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in broken {
            self.was_reset(id, libc::ECONNRESET);
        }
    }
}

/// Copies from the middle of a queue.
pub(super) fn copy(from: &VecDeque<u8>, start: usize, to: &mut [u8]) {
    let (first, second) = from.as_slices();
    if start >= first.len() {
        to.copy_from_slice(&second[start - first.len()..][..to.len()]);
    } else {
        let length = to.len().min(first.len() - start);
        to[..length].copy_from_slice(&first[start..start + length]);
        let rest = to.len() - length;
        to[length..].copy_from_slice(&second[..rest]);
    }
}
