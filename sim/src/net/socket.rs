//! The sockets of a world: the calls of `narrowboat-net`, handed to the engine.

use super::engine::{Engine, HostId, Signal, SocketId};
use narrowboat_net::simulated::{Address, Direction, Events, Network, Setting, Socket, Transport};
use narrowboat_runtime::Labels;
use narrowboat_runtime::as_thread::natively;
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::world::{self, World};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, MutexGuard, PoisonError};

/// The label that says which host a goroutine belongs to: those that it spawns inherit it.
const HOST: &str = "sim.host";
/// The host of goroutines that nothing else was said of.
const MAIN: &str = "main";

/// What a host runs when it starts.
pub(super) type Program = Arc<dyn Fn() + Send + Sync>;

/// The network of a world, and what ties it to the goroutines there.
pub(crate) struct Net {
    /// The world that it belongs to.
    world: u64,
    state: Mutex<State>,
}

struct State {
    engine: Engine,
    /// To what the changes of sockets are reported that have been waited for.
    events: BTreeMap<SocketId, Events>,
    /// The times at which the world wakes the engine.
    awaited: BTreeSet<u64>,
    programs: BTreeMap<HostId, Program>,
}

impl Net {
    pub(super) fn new(world: &World, seed: u64) -> Arc<Net> {
        let state = State {
            engine: Engine::new(seed),
            events: BTreeMap::new(),
            awaited: BTreeSet::new(),
            programs: BTreeMap::new(),
        };
        Arc::new(Net { world: world.id(), state: Mutex::new(state) })
    }

    /// The [number](World::id) of the world that it belongs to.
    pub(super) fn world_id(&self) -> u64 {
        self.world
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in the engine is a panic of the world's goroutine, and the world is over.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the engine do something now, reports what that made possible, and sees to it that the
    /// world wakes the engine for what comes next.
    ///
    /// # Panics
    /// In code that does not belong to this world: its time is another one.
    #[track_caller]
    pub(super) fn with<R>(self: &Arc<Net>, f: impl FnOnce(&mut Engine) -> R) -> R {
        let world = self.world();
        // The loop waits for this lock, too. So a goroutine must not park while it has it, not even
        // at a lock of the allocator's.
        natively(|| {
            let mut state = self.lock();
            state.engine.advance(now(&world));
            let result = f(&mut state.engine);
            self.settle(&world, state);
            result
        })
    }

    /// Whether the caller is in this world.
    fn is_current(&self) -> bool {
        world::current().is_some_and(|world| world.id() == self.world)
    }

    #[track_caller]
    fn world(&self) -> Arc<World> {
        let world = world::current().filter(|world| world.id() == self.world);
        world.expect("a socket of a simulated network is used outside of its world")
    }

    /// The world has come to a time that was asked for.
    fn awaited(self: &Arc<Net>, at: u64) {
        let world = self.world();
        let mut state = self.lock();
        state.awaited.remove(&at);
        state.engine.advance(now(&world));
        self.settle(&world, state);
    }

    /// Asks to be woken for what comes next, and reports what has become possible.
    fn settle(self: &Arc<Net>, world: &World, mut state: MutexGuard<'_, State>) {
        let signals = state.take_signals();
        if let Some(at) = state.engine.next_event()
            && state.awaited.insert(at)
        {
            let net = Arc::clone(self);
            world.at(at, move || net.awaited(at));
        }
        drop(state);
        for (events, direction) in signals {
            events.report(direction);
        }
    }

    pub(super) fn set_program(&self, host: HostId, program: Program) {
        let before = natively(|| self.lock().programs.insert(host, program));
        // Not under the lock: it may own sockets.
        drop(before);
    }

    pub(super) fn program(&self, host: HostId) -> Option<Program> {
        self.lock().programs.get(&host).cloned()
    }

    /// How far the date of goroutines with these labels is ahead, in nanoseconds.
    pub(super) fn skew(&self, labels: &Labels) -> i64 {
        let hosts = &self.lock().engine.hosts;
        hosts.by_name(name_in(labels)).map_or(0, |host| hosts[host].skew)
    }

    /// The host of the calling goroutine.
    #[track_caller]
    pub(super) fn here(self: &Arc<Net>) -> HostId {
        let labels = Labels::current();
        self.with(|engine| engine.hosts.named(name_in(&labels)))
    }
}

/// The labels of goroutines of a host.
pub(super) fn labels_of(host: &str) -> Labels {
    Labels::current().with(HOST, host)
}

/// The name of the host that goroutines with these labels belong to.
pub(super) fn name_in(labels: &Labels) -> &str {
    labels.get(HOST).unwrap_or(MAIN)
}

pub(super) fn now(world: &World) -> u64 {
    u64::try_from(world.now().as_nanos()).unwrap_or(u64::MAX)
}

impl State {
    fn take_signals(&mut self) -> Vec<(Events, Direction)> {
        let of = |signal: Signal| Some((*self.events.get(&signal.socket)?, signal.direction));
        self.engine.take_signals().into_iter().filter_map(of).collect()
    }
}

/// The network as `narrowboat-net` knows it.
pub(super) struct Front(pub(super) Arc<Net>);

impl Front {
    fn socket(&self, id: SocketId) -> Arc<dyn Socket> {
        Arc::new(Simulated { net: Arc::clone(&self.0), id })
    }
}

impl Network for Front {
    fn listen(&self, address: &Address) -> io::Result<Arc<dyn Socket>> {
        let here = self.0.here();
        let made = self.0.with(|engine| match address {
            Address::Internet(address) => engine.listen(here, *address),
            Address::Unix(name) => engine.listen_unix(here, name),
        });
        made.map(|id| self.socket(id))
    }

    fn connect(&self, address: &Address) -> io::Result<Arc<dyn Socket>> {
        let here = self.0.here();
        let begun = self.0.with(|engine| match address {
            Address::Internet(address) => engine.connect(here, *address),
            Address::Unix(name) => engine.connect_unix(here, name),
        });
        begun.map(|id| self.socket(id))
    }

    fn bind_datagram(&self, address: &Address) -> io::Result<Arc<dyn Socket>> {
        let here = self.0.here();
        let made = self.0.with(|engine| match address {
            Address::Internet(address) => engine.bind_datagrams(here, *address),
            Address::Unix(name) => engine.bind_unix_datagrams(here, name),
        });
        made.map(|id| self.socket(id))
    }

    fn unbound_datagram(&self) -> io::Result<Arc<dyn Socket>> {
        let here = self.0.here();
        Ok(self.socket(self.0.with(|engine| engine.unbound_unix_datagrams(here))))
    }

    fn pair(&self, transport: Transport) -> io::Result<(Arc<dyn Socket>, Arc<dyn Socket>)> {
        let here = self.0.here();
        let (one, other) = self.0.with(|engine| engine.unix_pair(here, transport));
        Ok((self.socket(one), self.socket(other)))
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        if name == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
        }
        let found = self.0.with(|engine| Some(engine.hosts[engine.hosts.by_name(name)?].address));
        let unknown =
            || io::Error::new(io::ErrorKind::NotFound, format!("no host of this world is named {name}"));
        Ok(vec![found.ok_or_else(unknown)?])
    }
}

/// A socket, as long as its program has it.
struct Simulated {
    net: Arc<Net>,
    id: SocketId,
}

// The engine is whole after a panic of a caller: none of its calls runs code of a program.
impl UnwindSafe for Simulated {}
impl RefUnwindSafe for Simulated {}

impl Drop for Simulated {
    fn drop(&mut self) {
        natively(|| self.net.lock().events.remove(&self.id));
        // Where its world is over, there is no peer either that could notice.
        if self.net.is_current() {
            self.net.with(|engine| engine.close(self.id));
        }
    }
}

impl Socket for Simulated {
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<(usize, Option<Address>)> {
        self.net.with(|engine| engine.read(self.id, buffers, peek))
    }

    fn send(&self, buffers: &[IoSlice<'_>], to: Option<&Address>) -> io::Result<usize> {
        self.net.with(|engine| engine.write(self.id, buffers, to))
    }

    fn accept(&self) -> io::Result<(Arc<dyn Socket>, Address)> {
        let (id, from) = self.net.with(|engine| engine.accept(self.id))?;
        Ok((Arc::new(Simulated { net: Arc::clone(&self.net), id }), from))
    }

    fn connected(&self) -> io::Result<()> {
        self.net.with(|engine| engine.connected(self.id))
    }

    fn connect(&self, to: &Address) -> io::Result<()> {
        self.net.with(|engine| engine.connect_socket(self.id, to))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.net.with(|engine| engine.shutdown(self.id, how))
    }

    // A copy of a name allocates, and no goroutine may park while it has the lock: see `Net::with`.
    fn local_address(&self) -> io::Result<Address> {
        natively(|| self.net.lock().engine.local(self.id))
    }

    fn peer_address(&self) -> io::Result<Address> {
        natively(|| self.net.lock().engine.peer(self.id))
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.net.with(|engine| engine.take_error(self.id))
    }

    fn is_ready(&self, direction: Direction) -> bool {
        // Outside of its world it need not wait to be refused.
        !self.net.is_current() || self.net.with(|engine| engine.is_ready(self.id, direction))
    }

    fn input_is_shut(&self) -> bool {
        self.net.with(|engine| engine.input_is_shut(self.id))
    }

    fn setting(&self, setting: Setting) -> io::Result<u32> {
        self.net.with(|engine| engine.get(self.id, setting))
    }

    fn set(&self, setting: Setting, value: u32) -> io::Result<()> {
        self.net.with(|engine| engine.set(self.id, setting, value))
    }

    fn report_to(&self, events: Events) {
        natively(|| self.net.lock().events.insert(self.id, events));
        for direction in [Direction::Input, Direction::Output] {
            // Something may have happened since the call that found nothing.
            events.report(direction);
        }
    }
}
