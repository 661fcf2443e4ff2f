//! Datagrams: each on its own way, and gone if it is lost.

use super::{Engine, HostId, Kind, Packet as AnyPacket, SocketId, error, would_block};
use narrowboat_net::simulated::Direction;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};

/// The longest datagram, as with IPv4.
const LONGEST: usize = 65_507;
/// How many bytes a socket keeps for its program, as in Linux. What comes beyond that is dropped.
const BUFFER: usize = 212_992;
const HEADER: usize = 28;

#[derive(Clone, Debug)]
pub(super) enum Packet {
    Datagram {
        from: SocketId,
        source: SocketAddr,
        target: SocketAddr,
        data: Box<[u8]>,
    },
    /// Nothing listens there.
    Refusal {
        to: SocketId,
    },
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Packet::Datagram { source, target, data, .. } => write!(f, "{source} {target} {}", data.len()),
            Packet::Refusal { .. } => f.write_str("refusal"),
        }
    }
}

#[derive(Default)]
pub(super) struct Datagrams {
    queue: VecDeque<(SocketAddr, Box<[u8]>)>,
    bytes: usize,
    pub(super) connected: Option<SocketAddr>,
    pub(super) error: Option<libc::c_int>,
    input_shut: bool,
    output_shut: bool,
}

impl Datagrams {
    pub(super) fn has_input(&self) -> bool {
        !self.queue.is_empty() || self.error.is_some() || self.input_shut
    }
}

impl Engine {
    pub(crate) fn bind_datagrams(&mut self, host: HostId, address: SocketAddr) -> io::Result<SocketId> {
        let taken = |engine: &Engine, address| engine.datagrams_at(host, address).is_some();
        let address = self.local_address(host, address, taken)?;
        Ok(self.add(host, address, Kind::Datagrams(Datagrams::default())))
    }

    fn datagrams_at(&self, host: HostId, address: SocketAddr) -> Option<SocketId> {
        let here = self.sockets.iter().find(|(_, socket)| {
            matches!(socket.kind, Kind::Datagrams(_)) && socket.host == host && socket.is_at(address)
        });
        here.map(|(id, _)| *id)
    }

    fn datagrams(&mut self, id: SocketId) -> io::Result<&mut Datagrams> {
        match &mut self.socket(id)?.kind {
            Kind::Datagrams(datagrams) => Ok(datagrams),
            _ => Err(error(libc::EOPNOTSUPP)),
        }
    }

    /// The host of a socket, and its address there.
    fn place(&mut self, id: SocketId) -> io::Result<(HostId, SocketAddr)> {
        let socket = self.socket(id)?;
        Ok((socket.host, socket.local.internet()?))
    }

    pub(crate) fn connect_datagrams(&mut self, id: SocketId, to: SocketAddr) -> io::Result<()> {
        let (host, local) = self.place(id)?;
        self.route(host, to.ip())?;
        if local.ip().is_unspecified() {
            let source = self.source_address(host, to.ip());
            self.socket(id)?.local = SocketAddr::new(source, local.port()).into();
        }
        self.datagrams(id)?.connected = Some(to);
        Ok(())
    }

    pub(crate) fn send_datagram(
        &mut self,
        id: SocketId,
        buffers: &[IoSlice<'_>],
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        let (host, local) = self.place(id)?;
        let datagrams = self.datagrams(id)?;
        if let Some(pending) = datagrams.error.take() {
            return Err(error(pending));
        }
        if datagrams.output_shut {
            return Err(error(libc::EPIPE));
        }
        let target = to.or(datagrams.connected).ok_or_else(|| error(libc::EDESTADDRREQ))?;
        if target.ip().is_multicast() || target.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
            let message = "the simulated network carries neither multicast nor broadcast";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let data = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect::<Box<[u8]>>();
        if data.len() > LONGEST {
            return Err(error(libc::EMSGSIZE));
        }
        let to_host = self.route(host, target.ip())?;
        let ip =
            if local.ip().is_unspecified() { self.source_address(host, target.ip()) } else { local.ip() };
        let (source, length) = (SocketAddr::new(ip, local.port()), data.len());
        let packet = Packet::Datagram { from: id, source, target, data };
        self.transmit(host, to_host, AnyPacket::Udp(packet), HEADER + length, None);
        Ok(length)
    }

    pub(super) fn udp_arrived(&mut self, from_host: HostId, host: HostId, packet: Packet) {
        match packet {
            Packet::Datagram { from, source, target, data } => {
                let Some(id) = self.datagrams_at(host, target) else {
                    let refusal = AnyPacket::Udp(Packet::Refusal { to: from });
                    self.transmit(host, from_host, refusal, HEADER, None);
                    return;
                };
                let Ok(datagrams) = self.datagrams(id) else { return };
                let is_wanted = datagrams.connected.is_none_or(|peer| peer == source);
                if is_wanted && !datagrams.input_shut && datagrams.bytes + data.len() <= BUFFER {
                    datagrams.bytes += data.len();
                    datagrams.queue.push_back((source, data));
                    self.signal(id, Direction::Input);
                }
            }
            // As on Linux, only a connected socket learns of it.
            Packet::Refusal { to } => {
                if let Ok(datagrams) = self.datagrams(to)
                    && datagrams.connected.is_some()
                {
                    datagrams.error = Some(libc::ECONNREFUSED);
                    self.signal_both(to);
                }
            }
        }
    }

    pub(crate) fn receive_datagram(
        &mut self,
        id: SocketId,
        buffers: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> io::Result<(usize, Option<SocketAddr>)> {
        let datagrams = self.datagrams(id)?;
        if let Some(pending) = datagrams.error.take() {
            return Err(error(pending));
        }
        let Some((source, data)) = datagrams.queue.front() else {
            return if datagrams.input_shut { Ok((0, None)) } else { Err(would_block()) };
        };
        let (source, mut count) = (*source, 0);
        for buffer in buffers {
            let length = buffer.len().min(data.len() - count);
            buffer[..length].copy_from_slice(&data[count..count + length]);
            count += length;
        }
        if !peek {
            datagrams.bytes -= data.len();
            datagrams.queue.pop_front();
        }
        Ok((count, Some(source)))
    }

    pub(super) fn shutdown_datagrams(&mut self, id: SocketId, how: Shutdown) -> io::Result<()> {
        let datagrams = self.datagrams(id)?;
        if datagrams.connected.is_none() {
            return Err(error(libc::ENOTCONN));
        }
        datagrams.input_shut |= how != Shutdown::Write;
        datagrams.output_shut |= how != Shutdown::Read;
        self.signal_both(id);
        Ok(())
    }
}
