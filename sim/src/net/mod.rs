//! The network of a world: hosts, links between them, and what can go wrong with both.
//!
//! In a world, the sockets of `narrowboat::net` are simulated, without a change in the program that
//! uses them. A goroutine belongs to a *host*, as do those that it spawns. A host has a name, which
//! programs resolve, an address, and a loopback of its own. Two hosts are joined by a [`Link`] in
//! each direction.
//!
//! ```
//! use narrowboat::net::{TcpListener, TcpStream};
//! use narrowboat::sim::{self, net};
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! sim::run(42, || {
//!     net::host("server").program(|| {
//!         let listener = TcpListener::bind("0.0.0.0:80").unwrap();
//!         let (mut client, _) = listener.accept().unwrap();
//!         client.write_all(b"ahoy").unwrap();
//!     });
//!     net::link("client", "server", net::Link::new().latency(Duration::from_millis(80)));
//!     let client = net::host("client").spawn(|| {
//!         narrowboat::sleep(Duration::from_millis(10));
//!         let mut text = String::new();
//!         TcpStream::connect("server:80").unwrap().read_to_string(&mut text).unwrap();
//!         text
//!     });
//!     assert_eq!(client.join().unwrap(), "ahoy");
//! });
//! ```
//!
//! # What is as in the field
//! - Streams keep their order and lose nothing: what is lost on the way is sent again, after pauses
//!   as Linux makes them. So a partition that heals delays, and one that lasts ends in `TimedOut`,
//!   after two minutes for a connection that is being made and a quarter of an hour for one that is
//!   made, if there is something to send. An end that only waits notices nothing.
//! - Buffers are finite, so a writer waits for a slow reader.
//! - A host that has crashed answers nothing. When it is up again, it answers packets of its former
//!   connections with resets.
//! - Datagrams are lost, doubled and overtaken as their link says. Without a receiver they are
//!   refused, which a connected socket learns.
//!
//! - Unix sockets are Linux'. Their names belong to a host, and they reach others of that host
//!   alone, at once: nothing that happens to links concerns them. A sender waits while its receiver
//!   has no room.
//!
//! # What is not simulated
//! Multicast and broadcast are refused with a sentence. A simulated socket has no descriptor, and
//! std's own sockets are real ones in a world, too. There is no congestion control: a lost segment
//! costs a pause and what was sent behind it, on a link that is otherwise idle.
//!
//! A Unix socket makes no file. So a path is free again when its socket is gone, where a program
//! otherwise removes the file first. While the socket is there, the path is taken. The files of std
//! are the machine's in a world, too: a program that removes a path before it binds it removes what
//! really is there. [More](narrowboat_net::unix#in-a-simulated-world)

mod engine;
mod socket;

pub use engine::Link;

use engine::Engine;
use narrowboat_net::simulated::Installed;
use narrowboat_runtime::world::{self, World};
use narrowboat_runtime::{JoinHandle, Labels, spawn};
use socket::{Front, Net};
use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Gives a world its network, whose chance is drawn from the seed. The sockets that goroutines of
/// this world make from now on are simulated.
fn begin(world: &World, seed: u64) {
    world.extension(|| Arc::new(Installed(Box::new(Front(Net::new(world, seed))))));
    world.simulates_network();
}

/// The first function of a world, around that of the program: with a network.
pub(crate) fn around<T>(seed: u64, f: impl FnOnce() -> T) -> impl FnOnce() -> T {
    move || {
        begin(&world::current().expect("this is a goroutine of a world"), seed);
        f()
    }
}

/// The network of the calling goroutine's world.
///
/// # Panics
/// Outside of a world.
#[track_caller]
fn net() -> Arc<Net> {
    let world = world::current().expect("there is a simulated network in a world only: see `sim::run`");
    let installed = world.existing_extension().and_then(|it| it.downcast::<Installed>().ok());
    let installed = installed.expect("a world that `sim` makes has a network");
    let network: &dyn Any = &*installed.0;
    Arc::clone(&network.downcast_ref::<Front>().expect("no other network is installed").0)
}

/// A host of the calling goroutine's world.
///
/// Any name makes a host, at its first use. Goroutines that belong to no other are on the host
/// `main`.
///
/// A host belongs to its world. Its methods, but for [`name`](Host::name), panic elsewhere, and say
/// so: a host of the same name in another world is another host.
#[derive(Clone)]
pub struct Host {
    name: Arc<str>,
    id: engine::HostId,
    /// The [number](World::id) of its world.
    world: u64,
}

/// The host of this name, which is made if there is none.
///
/// # Panics
/// Outside of a world.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || {
///     assert_eq!(net::host("server").address(), net::host("server").address());
///     assert_ne!(net::host("server").address(), net::host("client").address());
/// });
/// ```
#[track_caller]
pub fn host(name: &str) -> Host {
    let net = net();
    Host { name: name.into(), id: net.with(|engine| engine.hosts.named(name)), world: net.world_id() }
}

/// The host that the calling goroutine belongs to.
///
/// # Panics
/// Outside of a world.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || {
///     assert_eq!(net::here().name(), "main");
///     let name = net::host("server").spawn(|| net::here().name().to_owned());
///     assert_eq!(name.join().unwrap(), "server");
/// });
/// ```
#[track_caller]
pub fn here() -> Host {
    host(socket::name_in(&Labels::current()))
}

impl Host {
    /// The network that it is in.
    ///
    /// # Panics
    /// Outside of its world: the id is a place in the table of that one.
    #[track_caller]
    fn net(&self) -> Arc<Net> {
        let net = net();
        assert!(
            net.world_id() == self.world,
            "the host `{name}` belongs to another world: `sim::net::host(\"{name}\")` makes one in this world",
            name = self.name
        );
        net
    }

    /// Its name, which programs resolve to its address.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    /// sim::run(1, || assert_eq!(net::host("server").name(), "server"));
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    ///
    /// # Panics
    /// Outside of its world, as all methods of a host but [`name`](Host::name).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::lookup_host;
    /// use narrowboat::sim::{self, net};
    ///
    /// sim::run(1, || {
    ///     let server = net::host("server").address();
    ///     assert_eq!(lookup_host("server:80").unwrap().next(), Some((server, 80).into()));
    /// });
    /// ```
    #[track_caller]
    pub fn address(&self) -> IpAddr {
        self.net().with(|engine| engine.hosts[self.id].address)
    }

    /// Gives it another address, before it has sockets.
    ///
    /// # Panics
    /// If another host has that address.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    ///
    /// sim::run(1, || {
    ///     let server = net::host("server").at("10.0.0.7".parse().unwrap());
    ///     assert_eq!(server.address().to_string(), "10.0.0.7");
    /// });
    /// ```
    #[track_caller]
    pub fn at(self, address: IpAddr) -> Host {
        let is_free = self.net().with(|engine| engine.hosts.set_address(self.id, address));
        assert!(is_free, "another host has the address {address}");
        self
    }

    /// Starts a goroutine on this host.
    ///
    /// If the host [crashes](crash), the goroutine never runs again, and a join waits for ever.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    ///
    /// let sum = sim::run(1, || net::host("adder").spawn(|| 2 + 3).join().unwrap());
    /// assert_eq!(sum, 5);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (net, id, labels) = (self.net(), self.id, socket::labels_of(&self.name));
        let crashes = net.with(|engine| engine.hosts[id].crashes);
        // Not while the caller has the labels: a spawn may give way.
        spawn(move || {
            let _labels = labels.enter();
            if net.with(|engine| engine.hosts[id].crashes) != crashes {
                stop_here();
            }
            if net.skew(&Labels::current()) != 0 {
                // The date is set before a turn, and this one has begun without the labels.
                narrowboat_runtime::yield_now();
            }
            f()
        })
    }

    /// Starts the program of this host, which begins anew when the host [restarts](restart).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// sim::run(1, || {
    ///     let starts = Arc::new(AtomicU32::new(0));
    ///     let count = starts.clone();
    ///     net::host("server").program(move || drop(count.fetch_add(1, Ordering::Relaxed)));
    ///     net::crash("server");
    ///     net::restart("server");
    ///     narrowboat::sleep(std::time::Duration::from_secs(1));
    ///     assert_eq!(starts.load(Ordering::Relaxed), 2);
    /// });
    /// ```
    #[track_caller]
    pub fn program(&self, f: impl Fn() + Send + Sync + 'static) {
        let f: Arc<dyn Fn() + Send + Sync> = Arc::new(f);
        self.net().set_program(self.id, Arc::clone(&f));
        drop(self.spawn(move || f()));
    }

    /// Sets its date ahead of the world's: what `SystemTime::now` returns there. Time passes as
    /// everywhere, and `Instant` is not affected. Without the feature `interpose` this does
    /// nothing.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    /// use std::time::{Duration, SystemTime};
    ///
    /// sim::run(1, || {
    ///     let early = net::host("early").date_ahead(Duration::from_secs(60));
    ///     let there = early.spawn(SystemTime::now).join().unwrap();
    ///     let ahead = there.duration_since(SystemTime::now()).unwrap();
    ///     assert_eq!(ahead.as_secs(), 60);
    /// });
    /// ```
    #[track_caller]
    pub fn date_ahead(self, by: Duration) -> Host {
        self.skewed(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Sets its date behind the world's, as [`date_ahead`](Host::date_ahead).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    /// use std::time::Duration;
    /// sim::run(1, || drop(net::host("late").date_behind(Duration::from_secs(60))));
    /// ```
    #[track_caller]
    pub fn date_behind(self, by: Duration) -> Host {
        self.skewed(i64::try_from(by.as_nanos()).map_or(i64::MIN, |by| -by))
    }

    #[track_caller]
    fn skewed(self, skew: i64) -> Host {
        let net = self.net();
        net.with(|engine| engine.hosts[self.id].skew = skew);
        let world = world::current().expect("in a world: `net` has found it");
        world.skew_dates(move |labels| net.skew(labels));
        self
    }

    /// How many connections may wait to be accepted at each of its listeners: 128 at first. Further
    /// requests are dropped, and come again after pauses. Those to a Unix socket wait, and one is
    /// always taken.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    /// sim::run(1, || drop(net::host("server").backlog(1)));
    /// ```
    #[track_caller]
    pub fn backlog(self, connections: usize) -> Host {
        self.net().with(|engine| engine.set_backlog(self.id, connections));
        self
    }

    /// How many bytes the streams that it makes or accepts from now on keep for their programs, and
    /// how many for their peers: 64 KiB each at first. A Unix stream has the second buffer alone.
    ///
    /// # Panics
    /// If one of them is zero.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::{self, net};
    /// sim::run(1, || drop(net::host("server").buffers(4096, 4096)));
    /// ```
    #[track_caller]
    pub fn buffers(self, receive: usize, send: usize) -> Host {
        assert!(receive > 0 && send > 0, "a stream without a buffer carries nothing");
        self.net().with(|engine| {
            let host = &mut engine.hosts[self.id];
            (host.receive_buffer, host.send_buffer) = (receive, send);
        });
        self
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish()
    }
}

/// Sets the links between two hosts, in both directions.
///
/// # Panics
/// Outside of a world, as all functions here.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || net::link("client", "server", net::Link::new().loss(0.1)));
/// ```
#[track_caller]
pub fn link(one: &str, other: &str, link: Link) {
    link_oneway(one, other, link.clone());
    link_oneway(other, one, link);
}

/// Sets the link from one host to another.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
/// use std::time::Duration;
///
/// let satellite = net::Link::new().latency(Duration::from_millis(600));
/// sim::run(1, || net::link_oneway("ground", "ship", satellite));
/// ```
#[track_caller]
pub fn link_oneway(from: &str, to: &str, link: Link) {
    between(from, to, "set", |engine, from, to| engine.links.between(from, to).set(link));
}

/// Sets all links of the world.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
/// use std::time::Duration;
///
/// let still = net::Link::new().latency(Duration::from_millis(1)).jitter(Duration::ZERO);
/// sim::run(1, || net::links(still));
/// ```
#[track_caller]
pub fn links(link: Link) {
    net().with(|engine| engine.links.set_all(link));
}

/// Cuts the links between two hosts: packets are lost in both directions, also those under way.
///
/// # Examples
/// ```
/// use narrowboat::net::UdpSocket;
/// use narrowboat::sim::{self, net};
/// use std::time::Duration;
///
/// sim::run(1, || {
///     let socket = UdpSocket::bind("0.0.0.0:7").unwrap();
///     net::partition("main", "far");
///     net::host("far").spawn(|| {
///         UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"lost", "main:7").unwrap();
///     });
///     socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
///     assert!(socket.recv(&mut [0; 8]).is_err());
/// });
/// ```
#[track_caller]
pub fn partition(one: &str, other: &str) {
    partition_oneway(one, other);
    partition_oneway(other, one);
}

/// Cuts the link from one host to another. What goes back still arrives.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
/// sim::run(1, || net::partition_oneway("client", "server"));
/// ```
#[track_caller]
pub fn partition_oneway(from: &str, to: &str) {
    between(from, to, "cut", |engine, from, to| engine.links.between(from, to).cut());
}

/// Ends a partition between two hosts, in both directions.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || {
///     net::partition("client", "server");
///     net::heal("client", "server");
/// });
/// ```
#[track_caller]
pub fn heal(one: &str, other: &str) {
    heal_oneway(one, other);
    heal_oneway(other, one);
}

/// Ends a partition in one direction.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || {
///     net::partition("client", "server");
///     net::heal_oneway("client", "server");
/// });
/// ```
#[track_caller]
pub fn heal_oneway(from: &str, to: &str) {
    between(from, to, "healed", |engine, from, to| engine.links.between(from, to).heal());
}

/// Keeps what travels between two hosts, in both directions, until [`release`].
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || {
///     net::hold("client", "server");
///     net::release("client", "server");
/// });
/// ```
#[track_caller]
pub fn hold(one: &str, other: &str) {
    for (from, to) in [(one, other), (other, one)] {
        between(from, to, "held", |engine, from, to| engine.links.between(from, to).hold());
    }
}

/// Lets go what [`hold`] has kept, and ends that.
///
/// # Examples
/// See [`hold`].
#[track_caller]
pub fn release(one: &str, other: &str) {
    for (from, to) in [(one, other), (other, one)] {
        between(from, to, "released", Engine::release);
    }
}

/// Resets all connections between two hosts: both ends fail with `ConnectionReset`. Unix sockets
/// have none.
///
/// # Examples
/// ```
/// use narrowboat::sim::{self, net};
/// sim::run(1, || net::reset("client", "server"));
/// ```
#[track_caller]
pub fn reset(one: &str, other: &str) {
    between(one, other, "reset", Engine::reset_between);
}

/// Ends a host as a cut of its power would: its goroutines never run again, and nothing of theirs
/// is dropped. Its sockets are gone without a word to their peers.
///
/// What its goroutines share with others in memory stays as it is: a lock that one of them has held
/// stays locked. Where they wait for a lock, they leave the queue.
///
/// # Examples
/// ```
/// use narrowboat::net::{TcpListener, TcpStream};
/// use narrowboat::sim::{self, net};
/// use std::io::{ErrorKind, Read};
/// use std::time::Duration;
///
/// sim::run(1, || {
///     net::host("server").program(|| {
///         let listener = TcpListener::bind("0.0.0.0:80").unwrap();
///         let _client = listener.accept().unwrap();
///         narrowboat::sleep(Duration::from_secs(3600));
///     });
///     narrowboat::sleep(Duration::from_secs(1));
///     let mut stream = TcpStream::connect("server:80").unwrap();
///     net::crash("server");
///     // Nothing says so.
///     stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
///     assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
/// });
/// ```
#[track_caller]
pub fn crash(host: &str) {
    let gone = self::host(host);
    net().with(|engine| {
        engine.note(format_args!("{host}: crashed"));
        engine.crash(gone.id);
    });
    abandon(move |labels| socket::name_in(labels) == &*gone.name);
}

/// Has such goroutines never run again. Where the caller is one of them, it does not come back.
fn abandon(is_gone: impl Fn(&Labels) -> bool + Send + 'static) {
    let world = world::current().expect("in a world: `net` has found it");
    world.abandon(is_gone);
    narrowboat_runtime::yield_now();
}

/// Stops the calling goroutine for ever: its host has crashed before it has started.
#[cold]
fn stop_here() {
    let own = Labels::current().identity();
    abandon(move |labels| labels.identity() == own);
}

/// Has a host that has crashed begin anew, with its [`program`](Host::program) if it has one.
///
/// # Examples
/// See [`Host::program`].
#[track_caller]
pub fn restart(host: &str) {
    let up = self::host(host);
    net().with(|engine| {
        engine.note(format_args!("{host}: restarted"));
        engine.restart(up.id);
    });
    if let Some(program) = net().program(up.id) {
        drop(up.spawn(move || program()));
    }
}

/// From now on a line is kept for each packet and each change of hosts and links.
///
/// # Examples
/// See [`recorded`].
#[track_caller]
pub fn record() {
    net().with(Engine::record);
}

/// The lines that were [kept](record) since the last call. The same seed gives the same lines.
///
/// # Examples
/// ```
/// use narrowboat::net::UdpSocket;
/// use narrowboat::sim::{self, net};
///
/// sim::run(1, || {
///     net::record();
///     UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"text", "main:9").unwrap();
///     narrowboat::sleep(std::time::Duration::from_secs(1));
///     let first = net::recorded();
///     assert!(first.starts_with("0.000010000 main -> main udp"), "{first}");
/// });
/// ```
#[track_caller]
pub fn recorded() -> String {
    net().with(Engine::take_record)
}

#[track_caller]
fn between(from: &str, to: &str, what: &str, f: impl FnOnce(&mut Engine, engine::HostId, engine::HostId)) {
    net().with(|engine| {
        let ends = (engine.hosts.named(from), engine.hosts.named(to));
        engine.note(format_args!("{from} -> {to}: {what}"));
        f(engine, ends.0, ends.1);
    });
}
