//! Sockets that listen, and connections that wait there.

use super::stream::{State, Stream};
use super::{Engine, HostId, Kind, SocketId, error, would_block};
use narrowboat_net::simulated::{Address, Direction};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

#[derive(Default)]
pub(super) struct Listener {
    /// Connections that are made and not accepted.
    pub(super) pending: VecDeque<SocketId>,
    /// How many are being made.
    pub(super) half_open: usize,
    /// Unix streams that wait for room in `pending`.
    pub(super) asking: VecDeque<SocketId>,
    pub(super) is_shut: bool,
}

impl Engine {
    pub(crate) fn listen(&mut self, host: HostId, address: SocketAddr) -> io::Result<SocketId> {
        let taken = |engine: &Engine, address: SocketAddr| {
            engine.sockets.values().any(|socket| {
                matches!(&socket.kind, Kind::Listener(it) if !it.is_shut)
                    && socket.host == host
                    && socket.is_at(address)
            })
        };
        let address = self.local_address(host, address, taken)?;
        Ok(self.add(host, address, Kind::Listener(Listener::default())))
    }

    /// The listener of a host that takes connections to this address.
    pub(super) fn listener_at(&self, host: HostId, address: SocketAddr) -> Option<SocketId> {
        let here = self.sockets.iter().find(|(_, socket)| {
            matches!(&socket.kind, Kind::Listener(listener) if !listener.is_shut)
                && socket.host == host
                && socket.is_at(address)
        });
        here.map(|(id, _)| *id)
    }

    pub(super) fn listener_mut(&mut self, id: SocketId) -> Option<&mut Listener> {
        match &mut self.sockets.get_mut(&id)?.kind {
            Kind::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    /// A connection that waits, and where it comes from.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, and `EINVAL` after a shutdown.
    pub(crate) fn accept(&mut self, id: SocketId) -> io::Result<(SocketId, Address)> {
        let Kind::Listener(listener) = &mut self.socket(id)?.kind else { return Err(error(libc::EINVAL)) };
        if listener.is_shut {
            return Err(error(libc::EINVAL));
        }
        let accepted = listener.pending.pop_front().ok_or_else(would_block)?;
        self.admit(id);
        let Some(Stream { remote, .. }) = self.stream_mut(accepted) else {
            return Err(error(libc::ECONNABORTED));
        };
        let remote = remote.clone();
        Ok((accepted, remote))
    }

    /// The answer to a connection request has arrived, so the connection is made.
    pub(super) fn establish(&mut self, id: SocketId) {
        let Some(stream) = self.stream_mut(id) else { return };
        let State::Answering { listener } = stream.state else { return };
        stream.state = State::Connected;
        stream.timer.at = None;
        stream.timer.attempts = 0;
        if let Some(there) = self.listener_mut(listener) {
            there.half_open -= 1;
            there.pending.push_back(id);
            self.signal(listener, Direction::Input);
        }
    }

    pub(super) fn shutdown_listener(&mut self, id: SocketId) {
        if let Some(listener) = self.listener_mut(id) {
            listener.is_shut = true;
        }
        self.refuse_asking(id);
        // As on Linux, a Unix connection waits until the listener is closed.
        if self.socket(id).is_ok_and(|socket| matches!(socket.local, Address::Internet(_))) {
            self.refuse_waiting(id);
        }
        self.signal(id, Direction::Input);
    }

    pub(super) fn close_listener(&mut self, id: SocketId) {
        self.refuse_asking(id);
        self.refuse_waiting(id);
        self.remove(id);
    }

    /// Resets the connections that nothing has accepted.
    fn refuse_waiting(&mut self, id: SocketId) {
        let Some(listener) = self.listener_mut(id) else { return };
        let mut waiting: Vec<SocketId> = listener.pending.drain(..).collect();
        listener.half_open = 0;
        let being_made = self.sockets.iter().filter(|(_, socket)| match &socket.kind {
            Kind::Stream(stream) => stream.state == State::Answering { listener: id },
            _ => false,
        });
        waiting.extend(being_made.map(|(id, _)| *id));
        for id in waiting {
            self.reset(id);
        }
    }
}

/// Whether two sockets at these addresses would take the same packets.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}
