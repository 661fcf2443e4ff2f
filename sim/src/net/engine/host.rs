//! Hosts: names, addresses, ports, and whether they are up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Index, IndexMut, RangeInclusive};

/// A host, by its place in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct HostId(pub(crate) u32);

/// The ports that are given to sockets which ask for none.
pub(super) const EPHEMERAL: RangeInclusive<u16> = 49_152..=65_534;

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) up: bool,
    /// How far its date is ahead of the world's, in nanoseconds.
    pub(crate) skew: i64,
    /// How many times it has crashed.
    pub(crate) crashes: u32,
    /// How many connections wait at most to be accepted, at each listener.
    pub(crate) backlog: usize,
    /// How many bytes a stream keeps for its program, and how many for its peer.
    pub(crate) receive_buffer: usize,
    pub(crate) send_buffer: usize,
    next_port: u16,
}

impl Host {
    pub(super) fn next_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
        port
    }
}

/// All hosts of a world.
pub(crate) struct Hosts {
    all: Vec<Host>,
    names: BTreeMap<String, HostId>,
    addresses: BTreeMap<IpAddr, HostId>,
}

impl Hosts {
    pub(super) fn new() -> Hosts {
        Hosts { all: Vec::new(), names: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    /// The host of this name, which is made if there is none.
    pub(crate) fn named(&mut self, name: &str) -> HostId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let mut number = self.all.len() as u32 + 1;
        let address = loop {
            let [.., high, low] = number.to_be_bytes();
            let address = IpAddr::from(Ipv4Addr::new(192, 168, high, low));
            if !self.addresses.contains_key(&address) {
                break address;
            }
            number += 1;
        };
        let id = HostId(self.all.len() as u32);
        self.all.push(Host {
            name: name.to_owned(),
            address,
            up: true,
            skew: 0,
            crashes: 0,
            backlog: 128,
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
            next_port: *EPHEMERAL.start(),
        });
        self.names.insert(name.to_owned(), id);
        self.addresses.insert(address, id);
        id
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<HostId> {
        self.names.get(name).copied()
    }

    pub(crate) fn by_address(&self, address: IpAddr) -> Option<HostId> {
        self.addresses.get(&address).copied()
    }

    /// Gives a host another address. False if another host has it.
    pub(crate) fn set_address(&mut self, id: HostId, address: IpAddr) -> bool {
        if self.addresses.get(&address).is_some_and(|other| *other != id) {
            return false;
        }
        let before = std::mem::replace(&mut self[id].address, address);
        self.addresses.remove(&before);
        self.addresses.insert(address, id);
        true
    }
}

impl Index<HostId> for Hosts {
    type Output = Host;

    fn index(&self, id: HostId) -> &Host {
        &self.all[id.0 as usize]
    }
}

impl IndexMut<HostId> for Hosts {
    fn index_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.all[id.0 as usize]
    }
}
