//! A system of services.

use crate::address::Address;
use crate::cell::Cell;
use crate::console::Console;
use crate::error::NameTaken;
use crate::info::{ServiceId, ServiceInfo, SystemInfo};
use crate::report::{Report, StuckAction};
use crate::service::Service;
use crate::supervisor::{Supervision, Supervisor};
use crate::table::AnyService;
use crate::watchdog;
use narrowboat_net::ToSocketAddrs;
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::park::checkpoint;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// For how long a turn may last before the watchdog reports it, unless the builder says otherwise.
/// skynet looks every five seconds, too.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Services that know each other by name, and one console for all. Clones are of the same system.
///
/// ```
/// use narrowboat::actor::{Address, Handle, Service, System, Turn};
///
/// struct Store(Vec<String>);
/// impl Service for Store {}
///
/// struct Put(&'static str);
/// impl Handle<Put> for Store {
///     type Reply = usize;
///     fn handle(turn: &mut Turn<Self>, Put(text): Put) -> usize {
///         turn.0.push(text.to_owned());
///         turn.0.len()
///     }
/// }
///
/// let system = System::new();
/// system.spawn_named("store", Store(Vec::new()))?;
/// let store: Address<Store> = system.find("store").expect("it is there");
/// assert_eq!(store.call(Put("a line"))?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct System(Arc<Shared>);

pub(crate) struct Shared {
    table: Mutex<Table>,
    on_report: Option<OnReport>,
}

type OnReport = Box<dyn Fn(&Report) + Send + Sync>;

struct Table {
    latest: u64,
    services: HashMap<ServiceId, Weak<dyn AnyService>>,
    /// Named services stay until they end.
    names: HashMap<Arc<str>, Arc<dyn AnyService>>,
}

/// Makes a [`System`] with other settings.
///
/// ```
/// use narrowboat::actor::{StuckAction, System};
/// use std::time::Duration;
///
/// let system = System::builder()
///     .stuck(Duration::from_secs(1), StuckAction::Kill)
///     .on_report(|report| eprintln!("{report}"))
///     .build();
/// # drop(system);
/// ```
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    stuck: Option<(Duration, StuckAction)>,
    on_report: Option<OnReport>,
}

impl Builder {
    /// For how long a turn may last before it is reported, and what happens then. 5 seconds and a
    /// report, unless this is called.
    ///
    /// ```
    /// # use narrowboat::actor::{StuckAction, System};
    /// let builder = System::builder().stuck(std::time::Duration::from_secs(60), StuckAction::Report);
    /// # drop(builder.build());
    /// ```
    pub fn stuck(mut self, limit: Duration, action: StuckAction) -> Builder {
        self.stuck = Some((limit, action));
        self
    }

    /// Switches the watchdog off, and with it its thread.
    ///
    /// ```
    /// # use narrowboat::actor::System;
    /// let system = System::builder().no_watchdog().build();
    /// # drop(system);
    /// ```
    pub fn no_watchdog(mut self) -> Builder {
        self.stuck = None;
        self
    }

    /// What is done with reports, instead of writing them to the standard error stream. It is called
    /// where the event happens, so it should not take long.
    ///
    /// ```
    /// # use narrowboat::actor::System;
    /// let quiet = System::builder().on_report(|_| ()).build();
    /// # drop(quiet);
    /// ```
    pub fn on_report(mut self, f: impl Fn(&Report) + Send + Sync + 'static) -> Builder {
        self.on_report = Some(Box::new(f));
        self
    }

    /// The system.
    ///
    /// # Panics
    /// If the thread of the watchdog cannot be started.
    ///
    /// ```
    /// assert_eq!(narrowboat::actor::System::builder().build().info().services, 0);
    /// ```
    pub fn build(self) -> System {
        let table = Table { latest: 0, services: HashMap::new(), names: HashMap::new() };
        let shared = Arc::new(Shared { table: Mutex::new(table), on_report: self.on_report });
        if let Some((limit, action)) = self.stuck {
            watchdog::start(Arc::downgrade(&shared), limit, action);
        }
        System(shared)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("stuck", &self.stuck).finish_non_exhaustive()
    }
}

impl System {
    /// A system with the usual settings: [`Builder`] has them.
    ///
    /// ```
    /// let system = narrowboat::actor::System::new();
    /// # drop(system);
    /// ```
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> System {
        System::builder().build()
    }

    /// Other settings.
    ///
    /// ```
    /// let system = narrowboat::actor::System::builder().no_watchdog().build();
    /// # drop(system);
    /// ```
    pub fn builder() -> Builder {
        Builder { stuck: Some((STUCK_AFTER, StuckAction::Report)), on_report: None }
    }

    pub(crate) fn of(shared: Arc<Shared>) -> System {
        System(shared)
    }

    /// Makes a service. It is at rest until its first message, and no goroutine.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let system = System::new();
    /// let idlers: Vec<Address<Idler>> = (0..1000).map(|_| system.spawn(Idler)).collect();
    /// assert_eq!(system.info().services, 1000);
    /// ```
    pub fn spawn<S: Service>(&self, state: S) -> Address<S> {
        checkpoint();
        self.start(None, state, None).expect("it has no name")
    }

    /// Makes a service with a name. It stays until it [stops](crate::Turn::stop), fails or is
    /// [killed](Address::kill), also without an address.
    ///
    /// # Errors
    /// If another service has the name. The state is dropped.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let system = System::new();
    /// system.spawn_named("idler", Idler)?;
    /// assert_eq!(system.info().services, 1);
    /// # Ok::<(), NameTaken>(())
    /// ```
    pub fn spawn_named<S: Service>(&self, name: &str, state: S) -> Result<Address<S>, NameTaken> {
        checkpoint();
        self.start(Some(name), state, None)
    }

    pub(crate) fn start<S: Service>(
        &self,
        name: Option<&str>,
        state: S,
        supervision: Option<Arc<Supervision<S>>>,
    ) -> Result<Address<S>, NameTaken> {
        let name: Option<Arc<str>> = name.map(Arc::from);
        let mut table = self.0.table();
        if let Some(name) = name.as_ref().filter(|name| table.names.contains_key(&***name)) {
            let taken = NameTaken(name.to_string());
            drop(table);
            return Err(taken);
        }
        table.latest += 1;
        let id = ServiceId(table.latest);
        let cell = Arc::new(Cell::new(id, name.clone(), self.0.clone(), state, supervision));
        let any: Arc<dyn AnyService> = cell.clone();
        table.services.insert(id, Arc::downgrade(&any));
        if let Some(name) = name {
            table.names.insert(name, any);
        }
        Ok(Address::new(cell))
    }

    /// The service that has a name, if there is one and it is of this type.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let system = System::new();
    /// assert_eq!(system.find::<Idler>("idler"), None);
    /// let idler = system.spawn_named("idler", Idler)?;
    /// assert_eq!(system.find("idler"), Some(idler));
    /// # Ok::<(), NameTaken>(())
    /// ```
    pub fn find<S: Service>(&self, name: &str) -> Option<Address<S>> {
        checkpoint();
        let service = self.0.table().names.get(name).cloned()?;
        service.into_any().downcast().ok().map(Address::new)
    }

    /// A supervisor. It gives up at a failure that comes after `restarts` restarts within `within`.
    ///
    /// ```
    /// let system = narrowboat::actor::System::new();
    /// let supervisor = system.supervisor(3, std::time::Duration::from_secs(5));
    /// # drop(supervisor);
    /// ```
    pub fn supervisor(&self, restarts: u32, within: Duration) -> Supervisor {
        Supervisor::new(self.0.clone(), restarts, within)
    }

    /// What all services have and have done together.
    ///
    /// ```
    /// println!("{:#?}", narrowboat::actor::System::new().info());
    /// ```
    pub fn info(&self) -> SystemInfo {
        let mut all = SystemInfo::default();
        for service in self.services() {
            all.services += 1;
            all.mailbox += service.mailbox;
            all.handled += service.handled;
            all.busy += service.busy;
            all.waiting += service.waiting.len();
            all.memory += service.memory;
        }
        all
    }

    /// What each service has and has done, by number.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let system = System::new();
    /// let idler = system.spawn(Idler);
    /// assert_eq!(system.services()[0].id, idler.id());
    /// ```
    pub fn services(&self) -> Vec<ServiceInfo> {
        checkpoint();
        let services = self.0.services().into_iter().map(|service| service.snapshot());
        services.filter(|info| !info.ended).collect()
    }

    /// Opens a debug console: a line protocol over TCP, for `nc` or `telnet`, on goroutines of its
    /// own. `help` lists its commands.
    ///
    /// There is no authentication, so the address should be a loopback one.
    ///
    /// # Errors
    /// If the address cannot be listened at.
    ///
    /// ```
    /// use narrowboat::net::TcpStream;
    /// use std::io::{BufRead, BufReader, Write};
    ///
    /// let system = narrowboat::actor::System::new();
    /// let console = system.console("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(console.local_addr())?;
    /// client.write_all(b"stat\nquit\n")?;
    /// let lines: Vec<String> = BufReader::new(client).lines().collect::<Result<_, _>>()?;
    /// assert!(lines.iter().any(|line| line == "<CMD OK>"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn console<A: ToSocketAddrs>(&self, address: A) -> io::Result<Console> {
        Console::open(self.clone(), address)
    }

    /// Ends all services.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let system = System::new();
    /// system.spawn_named("idler", Idler)?;
    /// system.shut_down();
    /// assert_eq!(system.info().services, 0);
    /// # Ok::<(), NameTaken>(())
    /// ```
    pub fn shut_down(&self) {
        checkpoint();
        self.0.services().iter().for_each(|service| service.end());
    }

    /// The service that a console's client means: by its number or its name.
    pub(crate) fn named_or_numbered(&self, text: &str) -> Option<Arc<dyn AnyService>> {
        let table = self.0.table();
        let by_name = table.names.get(text).cloned();
        by_name.or_else(|| {
            let number = u64::from_str_radix(text.strip_prefix(':').unwrap_or(text), 16).ok()?;
            table.services.get(&ServiceId(number))?.upgrade()
        })
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.0.table().services.len();
        f.debug_struct("System").field("services", &services).finish_non_exhaustive()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All services, by number.
    pub(crate) fn services(&self) -> Vec<Arc<dyn AnyService>> {
        let table = self.table();
        let mut services: Vec<_> = table.services.values().filter_map(Weak::upgrade).collect();
        drop(table);
        services.sort_by_key(|service| service.id());
        services
    }

    /// The memory of a service is about to be freed.
    pub(crate) fn forget(&self, id: ServiceId) {
        let forgotten = self.table().services.remove(&id);
        drop(forgotten);
    }

    /// The service that had the name has ended.
    pub(crate) fn forget_name(&self, name: &str, id: ServiceId) {
        let mut table = self.table();
        let is_its_own = table.names.get(name).is_some_and(|service| service.id() == id);
        let forgotten = if is_its_own { table.names.remove(name) } else { None };
        drop(table);
        drop(forgotten);
    }

    pub(crate) fn report(&self, report: &Report) {
        match &self.on_report {
            Some(f) => f(report),
            // Not by `eprintln!`, which panics if the stream is closed.
            None => drop(io::Write::write_fmt(&mut io::stderr(), format_args!("narrowboat: {report}\n"))),
        }
    }

    pub(crate) fn overloaded(
        &self,
        id: ServiceId,
        name: Option<Arc<str>>,
        kind: &'static str,
        mailbox: usize,
    ) {
        let name = name.as_deref().map(str::to_owned);
        self.report(&Report::Overloaded { id, name, kind, mailbox });
    }
}
