//! Unix sockets: the names of a host, how the two ends of a stream reach each other, and datagrams.
//!
//! Both ends of a Unix socket are in one host. So nothing travels: what one end sends is at the
//! other at once, as in the kernel, and neither time nor loss comes between. What a program sees of
//! a stream is in [`super::stream`], as for TCP.
//!
//! What calls return is what Linux returns. It differs from TCP and UDP in much:
//!
//! 1. A stream is connected as soon as the listener's queue has room for it; until then the caller
//!    waits in [`Listener::asking`](super::listener::Listener). The end of one side is known to the
//!    other at once: its writes fail with `EPIPE`, and its reads with `ECONNRESET` if it had sent
//!    something that was not read.
//! 2. A datagram is never lost. Its sender waits while [`QUEUE`] others lie at the receiver, or
//!    [`BUFFER`] bytes of its own lie anywhere. Two sockets that are connected with each other have
//!    the second limit alone.
//! 3. A socket for datagrams that is connected takes none from others: these fail with `EPERM`.
//!    That its peer is gone, it learns when it sends; it is not connected any more then.

use super::listener::Listener;
use super::stream::{State, Stream};
use super::{Engine, HostId, Kind, SocketId, error, would_block};
use narrowboat_net::simulated::{Address, Direction, Name, Transport};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::Shutdown;
use std::path::PathBuf;

/// How many datagrams lie at a socket until further ones wait.
const QUEUE: usize = 11;
/// How many bytes of a socket's datagrams lie anywhere until further ones wait.
const BUFFER: usize = 212_992;
/// What a datagram counts for beside its bytes: about as much as in the kernel.
const OVERHEAD: usize = 768;
/// The longest datagram.
const LONGEST: usize = BUFFER - 32;

/// What is known of names beside the sockets that have them.
#[derive(Default)]
pub(super) struct Names {
    /// The paths that were bound at some time: the kernel would find a file there. They are kept as
    /// long as the world is, as files are that nothing removes.
    bound: BTreeSet<(HostId, PathBuf)>,
    /// The last name that the network has chosen.
    chosen: u32,
}

struct Datagram {
    from: SocketId,
    source: Name,
    data: Box<[u8]>,
}

impl Datagram {
    fn size(&self) -> usize {
        self.data.len() + OVERHEAD
    }
}

#[derive(Default)]
pub(super) struct Datagrams {
    queue: VecDeque<Datagram>,
    /// The size of its own datagrams that lie at others.
    unreceived: usize,
    peer: Option<Peer>,
    pub(super) error: Option<libc::c_int>,
    pub(super) input_shut: bool,
    output_shut: bool,
}

/// What a socket for datagrams is connected to.
struct Peer {
    id: SocketId,
    name: Name,
}

impl Datagrams {
    pub(super) fn connected_to(&self) -> Option<Address> {
        self.peer.as_ref().map(|peer| peer.name.clone().into())
    }

    pub(super) fn has_input(&self) -> bool {
        !self.queue.is_empty() || self.error.is_some() || self.input_shut
    }

    fn is_connected_to(&self, id: SocketId) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.id == id)
    }

    /// Whether a socket that is connected would refuse what `id` sends.
    fn refuses(&self, id: SocketId) -> bool {
        self.peer.is_some() && !self.is_connected_to(id)
    }
}

// Names.
impl Engine {
    /// The sockets of a host that are bound to a name: at most one of each kind.
    fn bound(&self, host: HostId, name: &Name) -> impl Iterator<Item = (SocketId, Transport)> {
        self.sockets.iter().filter_map(move |(id, socket)| {
            let transport = match socket.kind {
                Kind::Listener(_) => Transport::Stream,
                Kind::UnixDatagrams(_) => Transport::Datagrams,
                // An accepted stream shows the name of its listener, and is not found by it.
                Kind::Stream(_) | Kind::Datagrams(_) => return None,
            };
            let is_bound = socket.host == host && matches!(&socket.local, Address::Unix(it) if it == name);
            is_bound.then_some((*id, transport))
        })
    }

    /// The socket that is reached at a name.
    ///
    /// # Errors
    /// As Linux: `EINVAL` without a name; `ENOENT` for a path that was never bound; `ECONNREFUSED`
    /// if nothing is bound there; `EPROTOTYPE` if it is of the other kind.
    fn reach(&self, host: HostId, name: &Name, transport: Transport) -> io::Result<SocketId> {
        let mut others = false;
        // Sockets without a name are reached by none.
        let named = self.bound(host, name).filter(|_| *name != Name::Unnamed);
        for (id, its) in named {
            if its == transport {
                return Ok(id);
            }
            others = true;
        }
        Err(error(match name {
            Name::Unnamed => libc::EINVAL,
            Name::Path(_) if others => libc::EPROTOTYPE,
            Name::Path(path) if !self.names.bound.contains(&(host, path.clone())) => libc::ENOENT,
            // Abstract names are a namespace for each kind.
            Name::Path(_) | Name::Abstract(_) => libc::ECONNREFUSED,
        }))
    }

    /// What a socket is bound to. Its peers see this, however they have written the path.
    fn name(&mut self, id: SocketId) -> io::Result<Name> {
        self.socket(id)?.local.name().cloned()
    }

    /// The name that a socket gets which asks for `name`: an abstract one if it asks for none.
    ///
    /// # Errors
    /// `EADDRINUSE`.
    fn bind(&mut self, host: HostId, name: &Name, transport: Transport) -> io::Result<Name> {
        match name {
            // As on Linux alone.
            Name::Unnamed if cfg!(target_os = "linux") => loop {
                self.names.chosen += 1;
                let name = Name::Abstract(format!("{:05x}", self.names.chosen).into_bytes().into());
                if self.bound(host, &name).next().is_none() {
                    return Ok(name);
                }
            },
            Name::Unnamed => return Err(error(libc::EINVAL)),
            Name::Path(path) => {
                if self.bound(host, name).next().is_some() {
                    return Err(error(libc::EADDRINUSE));
                }
                self.names.bound.insert((host, path.clone()));
            }
            Name::Abstract(_) => {
                if self.bound(host, name).any(|(_, its)| its == transport) {
                    return Err(error(libc::EADDRINUSE));
                }
            }
        }
        Ok(name.clone())
    }

    pub(crate) fn unix_pair(&mut self, host: HostId, transport: Transport) -> (SocketId, SocketId) {
        match transport {
            Transport::Stream => {
                let one = self.unix_stream(host, Name::Unnamed, Name::Unnamed);
                let other = self.unix_stream(host, Name::Unnamed, Name::Unnamed);
                self.join(one, other);
                (one, other)
            }
            Transport::Datagrams => {
                let one = self.unbound_unix_datagrams(host);
                let other = self.unbound_unix_datagrams(host);
                for (id, peer) in [(one, other), (other, one)] {
                    if let Ok(datagrams) = self.unix_datagrams(id) {
                        datagrams.peer = Some(Peer { id: peer, name: Name::Unnamed });
                    }
                }
                (one, other)
            }
        }
    }
}

// Streams.
impl Engine {
    pub(crate) fn listen_unix(&mut self, host: HostId, name: &Name) -> io::Result<SocketId> {
        let name = self.bind(host, name, Transport::Stream)?;
        Ok(self.add(host, name, Kind::Listener(Listener::default())))
    }

    /// Begins a connection. Without room in the listener's queue it waits for some.
    pub(crate) fn connect_unix(&mut self, host: HostId, name: &Name) -> io::Result<SocketId> {
        let listener = self.reach(host, name, Transport::Stream)?;
        let remote = self.name(listener)?;
        let id = self.unix_stream(host, Name::Unnamed, remote);
        match self.listener_mut(listener) {
            Some(it) if !it.is_shut => it.asking.push_back(id),
            _ => {
                self.remove(id);
                return Err(error(libc::ECONNREFUSED));
            }
        }
        self.admit(listener);
        Ok(id)
    }

    /// An end of a stream, which is not connected yet.
    fn unix_stream(&mut self, host: HostId, local: Name, remote: Name) -> SocketId {
        let (input, output) = (self.hosts[host].receive_buffer, self.hosts[host].send_buffer);
        let stream = Stream::new(State::Asking, remote.into(), host, input, output);
        self.add(host, local, Kind::Stream(Box::new(stream)))
    }

    fn join(&mut self, one: SocketId, other: SocketId) {
        for (id, peer) in [(one, other), (other, one)] {
            if let Some(stream) = self.stream_mut(id) {
                stream.state = State::Connected;
                stream.peer = Some(peer);
                self.signal_both(id);
            }
        }
    }

    /// Makes the connections that wait for room in the queue of a listener, as far as it has some.
    pub(super) fn admit(&mut self, listener: SocketId) {
        while let Some(socket) = self.sockets.get_mut(&listener)
            && let Kind::Listener(queue) = &mut socket.kind
            // The kernel takes one that waits even where it is told to take none.
            && queue.pending.len() < self.hosts[socket.host].backlog.max(1)
            && let Some(id) = queue.asking.pop_front()
        {
            let (host, Ok(name)) = (socket.host, socket.local.name().cloned()) else { return };
            if self.stream_mut(id).is_none() {
                // It was given up.
                continue;
            }
            let other = self.unix_stream(host, name, Name::Unnamed);
            self.join(id, other);
            if let Some(queue) = self.listener_mut(listener) {
                queue.pending.push_back(other);
                self.signal(listener, Direction::Input);
            }
        }
    }

    /// Sets how many connections may wait at each listener of a host.
    pub(crate) fn set_backlog(&mut self, host: HostId, connections: usize) {
        self.hosts[host].backlog = connections;
        let of_host = self.sockets.iter().filter(|(_, socket)| socket.host == host);
        for id in of_host.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.admit(id);
        }
    }

    /// Refuses the connections that wait for room in the queue of a listener.
    pub(super) fn refuse_asking(&mut self, listener: SocketId) {
        let Some(queue) = self.listener_mut(listener) else { return };
        for id in mem::take(&mut queue.asking) {
            if let Some(stream) = self.stream_mut(id) {
                stream.die(libc::ECONNREFUSED);
                self.signal_both(id);
            }
        }
    }

    /// What was written is at the peer.
    pub(super) fn hand_over(&mut self, id: SocketId) {
        let Some(stream) = self.stream_mut(id) else { return };
        let (data, peer) = (mem::take(&mut stream.output), stream.peer);
        stream.sent = stream.written;
        if let Some(peer) = peer
            && let Some(there) = self.stream_mut(peer)
            && !data.is_empty()
        {
            there.received += data.len() as u64;
            there.input.extend(data);
            self.signal(peer, Direction::Input);
        }
    }

    /// The program at `id` has read so many bytes: its peer has room for them again.
    pub(super) fn was_read(&mut self, id: SocketId, bytes: usize) {
        if let Some(peer) = self.stream_mut(id).and_then(|stream| stream.peer)
            && let Some(there) = self.stream_mut(peer)
        {
            there.confirmed += bytes as u64;
            self.signal(peer, Direction::Output);
        }
    }

    /// The program at `id` has ended directions of its stream: so are those of its peer. As on
    /// Linux, a peer that waits for room does not learn that nothing reads what it writes.
    pub(super) fn was_shut(&mut self, id: SocketId, how: Shutdown) {
        if let Some(peer) = self.stream_mut(id).and_then(|stream| stream.peer)
            && let Some(there) = self.stream_mut(peer)
        {
            there.ended |= how != Shutdown::Read;
            there.finished |= how != Shutdown::Write;
            if there.is_over() {
                self.signal_both(peer);
            } else if how != Shutdown::Read {
                self.signal(peer, Direction::Input);
            }
        }
    }

    /// Removes an end of a stream, which its peer learns. It learns of a reset if something was
    /// left unread, or if the end was never accepted.
    pub(super) fn part(&mut self, id: SocketId, never_accepted: bool) {
        let Some(stream) = self.stream_mut(id) else { return };
        let (peer, is_reset) = (stream.peer, never_accepted || !stream.input.is_empty());
        self.remove(id);
        if let Some(peer) = peer
            && let Some(there) = self.stream_mut(peer)
        {
            (there.ended, there.finished) = (true, true);
            if is_reset {
                there.error = Some(libc::ECONNRESET);
            }
            self.signal_both(peer);
        }
    }
}

// Datagrams.
impl Engine {
    pub(crate) fn bind_unix_datagrams(&mut self, host: HostId, name: &Name) -> io::Result<SocketId> {
        let name = self.bind(host, name, Transport::Datagrams)?;
        Ok(self.add(host, name, Kind::UnixDatagrams(Datagrams::default())))
    }

    pub(crate) fn unbound_unix_datagrams(&mut self, host: HostId) -> SocketId {
        self.add(host, Name::Unnamed, Kind::UnixDatagrams(Datagrams::default()))
    }

    fn unix_datagrams(&mut self, id: SocketId) -> io::Result<&mut Datagrams> {
        match &mut self.socket(id)?.kind {
            Kind::UnixDatagrams(datagrams) => Ok(datagrams),
            _ => Err(error(libc::EOPNOTSUPP)),
        }
    }

    pub(super) fn connect_unix_datagrams(&mut self, id: SocketId, name: &Name) -> io::Result<()> {
        let host = self.socket(id)?.host;
        let other = self.reach(host, name, Transport::Datagrams)?;
        if self.unix_datagrams(other)?.refuses(id) {
            return Err(error(libc::EPERM));
        }
        let peer = Peer { id: other, name: self.name(other)? };
        let former = self.unix_datagrams(id)?.peer.replace(peer);
        if let Some(former) = former
            && former.id != other
        {
            self.disconnected(id, former.id);
        }
        // There may be room now that was not before. There may be for `other`, too, which does not
        // learn it on Linux.
        self.signal(id, Direction::Output);
        Ok(())
    }

    pub(super) fn send_unix_datagram(
        &mut self,
        id: SocketId,
        buffers: &[IoSlice<'_>],
        to: Option<&Name>,
    ) -> io::Result<usize> {
        let (host, source) = self.socket(id).map(|socket| (socket.host, socket.local.name().cloned()))?;
        let own = self.unix_datagrams(id)?;
        let peer = own.peer.as_ref().map(|peer| peer.id);
        match to {
            Some(Name::Unnamed) => return Err(error(libc::EINVAL)),
            None if peer.is_none() => return Err(error(libc::ENOTCONN)),
            _ => {}
        }
        let length = buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
        if length > LONGEST {
            return Err(error(libc::EMSGSIZE));
        }
        if let Some(pending) = own.error.take() {
            return Err(error(pending));
        }
        if own.output_shut {
            return Err(error(libc::EPIPE));
        }
        if own.unreceived >= BUFFER {
            return Err(would_block());
        }
        let target = match (to, peer) {
            (Some(name), _) => self.reach(host, name, Transport::Datagrams)?,
            (None, Some(peer)) => peer,
            (None, None) => return Err(error(libc::ENOTCONN)),
        };
        let Ok(other) = self.unix_datagrams(target) else {
            self.unix_datagrams(id)?.peer = None;
            self.disconnected(id, target);
            return Err(error(libc::ECONNREFUSED));
        };
        if other.refuses(id) {
            return Err(error(libc::EPERM));
        }
        if other.input_shut {
            return Err(error(libc::EPIPE));
        }
        if self.is_full(target, id) {
            return Err(would_block());
        }
        let data = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let datagram = Datagram { from: id, source: source?, data };
        self.unix_datagrams(id)?.unreceived += datagram.size();
        self.unix_datagrams(target)?.queue.push_back(datagram);
        self.signal(target, Direction::Input);
        Ok(length)
    }

    /// Whether a datagram of `from` has to wait for room at `to`.
    fn is_full(&mut self, to: SocketId, from: SocketId) -> bool {
        let Ok(there) = self.unix_datagrams(to) else { return false };
        to != from && !there.is_connected_to(from) && there.queue.len() >= QUEUE
    }

    /// Whether a datagram to the peer would not have to wait, which includes one that would fail.
    pub(super) fn may_send_unix(&mut self, id: SocketId) -> bool {
        let Ok(own) = self.unix_datagrams(id) else { return true };
        let fails = own.error.is_some() || own.output_shut;
        let (has_room, peer) = (own.unreceived < BUFFER, own.peer.as_ref().map(|peer| peer.id));
        fails || (has_room && !peer.is_some_and(|peer| self.is_full(peer, id)))
    }

    pub(super) fn receive_unix_datagram(
        &mut self,
        id: SocketId,
        buffers: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> io::Result<(usize, Option<Address>)> {
        let own = self.unix_datagrams(id)?;
        if let Some(pending) = own.error.take() {
            return Err(error(pending));
        }
        // Also after a shutdown: see `Engine::input_is_shut`.
        let first = own.queue.front().ok_or_else(would_block)?;
        let (source, mut count) = (first.source.clone(), 0);
        for buffer in buffers {
            let length = buffer.len().min(first.data.len() - count);
            buffer[..length].copy_from_slice(&first.data[count..count + length]);
            count += length;
        }
        if !peek && let Some(datagram) = own.queue.pop_front() {
            self.was_taken(&datagram);
            self.signal_senders(id);
        }
        Ok((count, Some(source.into())))
    }

    /// A datagram lies nowhere any more.
    fn was_taken(&mut self, datagram: &Datagram) {
        if let Ok(sender) = self.unix_datagrams(datagram.from) {
            sender.unreceived -= datagram.size();
            self.signal(datagram.from, Direction::Output);
        }
    }

    /// Something has changed for those that send to their peer `to`.
    fn signal_senders(&mut self, to: SocketId) {
        let of = |(id, socket): (&SocketId, &super::Socket)| match &socket.kind {
            Kind::UnixDatagrams(datagrams) if datagrams.is_connected_to(to) => Some(*id),
            _ => None,
        };
        let senders: Vec<SocketId> = self.sockets.iter().filter_map(of).collect();
        for id in senders {
            self.signal(id, Direction::Output);
        }
    }

    /// Drops what nothing has received at a socket. Returns whether there was something.
    fn drop_received(&mut self, id: SocketId) -> bool {
        let Ok(own) = self.unix_datagrams(id) else { return false };
        let lost = mem::take(&mut own.queue);
        lost.iter().for_each(|datagram| self.was_taken(datagram));
        self.signal_senders(id);
        !lost.is_empty()
    }

    /// A socket is not connected to `former` any more. As on Linux, what it has not received is
    /// lost, which `former` learns if it is connected to the socket.
    fn disconnected(&mut self, id: SocketId, former: SocketId) {
        if self.drop_received(id)
            && let Ok(there) = self.unix_datagrams(former)
            && there.is_connected_to(id)
        {
            there.error = Some(libc::ECONNRESET);
            self.signal_both(former);
        }
    }

    pub(super) fn close_unix_datagrams(&mut self, id: SocketId) {
        self.drop_received(id);
        self.remove(id);
    }

    pub(super) fn shutdown_unix_datagrams(&mut self, id: SocketId, how: Shutdown) -> io::Result<()> {
        let own = self.unix_datagrams(id)?;
        own.input_shut |= how != Shutdown::Write;
        own.output_shut |= how != Shutdown::Read;
        // As on Linux, those that wait for room here do not learn it.
        self.signal_both(id);
        Ok(())
    }
}
