//! The soak: all servers of the examples at once under load, under attack and under inspection, for
//! an hour, while each is started anew now and then. At the end nothing may have been left behind,
//! and no reply may have been wrong.

use crate::holdings::Holdings;
use crate::reader::Trace;
use crate::server::Server;
use crate::subject::{SERVERS, Subject};
use crate::target::{Conductor, Target};
use crate::window::{QUESTIONS, Window};
use narrowboat_testing::{cpu_time, eventually, number_from_env};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How many samples there are, or more if they would be further apart than `RARELY`.
const SAMPLES: u32 = 20;
const RARELY: Duration = Duration::from_secs(30);

/// Clients of each server: `Target::keep`, `bother` and `inspect`.
const CLIENTS: usize = 3;

/// A server of the soak, as that which starts and ends it sees it.
struct Run {
    target: Arc<Target>,
    server: Server,
    command: Box<dyn Fn() -> Server>,
    /// Where its flight recorder writes if something panics.
    record: PathBuf,
    /// How many sockets it has without any connection.
    sockets: usize,
    /// Processor time of those that were ended.
    cpu_seconds: f64,
    lives: usize,
    /// At rest, after the first fifth, and at the beginning of the last third.
    rests: Vec<Holdings>,
    /// The most memory that the first life took until then, and that any took.
    peaks: (usize, usize),
    /// When each sample was taken, and latencies since the one before.
    latencies: Vec<(Duration, Vec<Duration>)>,
}

/// Addresses that nothing takes while a server is started anew: the system chooses higher ones for
/// connections.
fn addresses() -> impl Iterator<Item = SocketAddr> {
    let first = 12_000 + (std::process::id() % 900) as u16 * 16;
    let all = (first..28_000).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    all.filter(|address| TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok())
}

/// Starts all servers, with every diagnosis on.
fn start_all() -> Vec<Run> {
    let mut addresses = addresses();
    let mut free = || addresses.next().expect("there is a free port");
    let mut runs: Vec<Run> = Vec::new();
    for name in SERVERS {
        let (address, window) = (free(), free());
        // The first is one that echoes.
        let behind = (name == "proxy").then(|| &runs[0].target);
        let to = behind.map(|target| target.subject.address);
        let restarts: Vec<_> = behind.iter().map(|target| target.restarts[0].clone()).collect();
        let record = std::env::temp_dir().join(format!("narrowboat-soak-{}-{name}", std::process::id()));
        let recorder = record.clone();
        let command = move || {
            let mut command = Subject::command(name, address, to);
            command.env("NARROWBOAT_DEBUG", window.to_string());
            command.env("NARROWBOAT_FLIGHT_RECORDER", &recorder);
            // Small, so that it is full soon, and memory grows no more by it.
            command.env("NARROWBOAT_TRACE_BUFFERS", "65536");
            // One for all threads: what one of them has freed then serves the others. Else memory
            // would grow by whatever each thread of a pool has needed once, with each thread that
            // comes first to some work.
            command.env("MALLOC_ARENA_MAX", "1");
            // What they have to say about clients is as much as those do.
            Server::start_whole(command.stderr(std::process::Stdio::null()))
        };
        let server = command();
        // Before anything asks.
        let sockets = server.sockets();
        let restarts = std::iter::once(Arc::default()).chain(restarts).collect();
        let target = Arc::new(Target::new(Subject::at(name, address), Window(window), restarts));
        assert!(
            target.window.figure("narrowboat_goroutines").is_ok(),
            "{name} has no window: with --workspace the examples are built with the feature `debug`"
        );
        runs.push(Run {
            target,
            server,
            command: Box::new(command),
            record,
            sockets,
            cpu_seconds: 0.0,
            lives: 1,
            rests: Vec::new(),
            peaks: (0, 0),
            latencies: Vec::new(),
        });
    }
    runs
}

/// The latency that `share` of them do not exceed.
fn percentile(latencies: &mut [Duration], share: f64) -> Duration {
    latencies.sort_unstable();
    let last = latencies.len().saturating_sub(1);
    latencies.get((last as f64 * share) as usize).copied().unwrap_or_default()
}

impl Run {
    fn name(&self) -> &'static str {
        self.target.subject.name
    }

    /// A line of the table.
    fn sample(&mut self, at: Duration) {
        assert!(self.server.runs(), "{} has ended by itself", self.name());
        let mut latencies = std::mem::take(&mut *self.target.latencies.lock().expect("nothing panics"));
        let goroutines = self.target.window.figure("narrowboat_goroutines").expect("the window answers");
        println!(
            "{:>6}  {:<14}  {:>4}  {:>8}  {:>4}  {:>7}  {goroutines:>10}  {:>7}  {:>9.3}  {:>9.3}",
            at.as_secs(),
            self.name(),
            self.lives,
            self.server.resident(),
            self.server.descriptors().len(),
            self.server.threads(),
            latencies.len(),
            percentile(&mut latencies, 0.5).as_secs_f64() * 1e3,
            percentile(&mut latencies, 0.99).as_secs_f64() * 1e3,
        );
        self.latencies.push((at, latencies));
    }

    /// Ends it as its user would, and starts it again at the same address.
    fn restart(&mut self, at: Duration) {
        assert!(self.server.runs(), "{} has ended by itself", self.name());
        self.target.restarts[0].fetch_add(1, SeqCst);
        self.cpu_seconds += self.server.cpu_seconds();
        self.note_peak();
        let start = Instant::now();
        self.server.signal("TERM");
        let status = self.server.wait();
        let ended = start.elapsed();
        match self.name() {
            // It finishes what is under way.
            "http_server" => {
                assert!(status.success(), "{status}: {}", self.server.output());
                // Its last line may still be on its way.
                eventually("it says so", || self.server.output().contains("every connection has ended"));
            }
            name => assert_eq!(status.signal(), Some(libc::SIGTERM), "{name}: {status}"),
        }
        self.server = (self.command)();
        self.target.restarts[0].fetch_add(1, SeqCst);
        self.lives += 1;
        println!(
            "{:>6}  {} ended within {:.3} s and listened again after {:.3} s",
            at.as_secs(),
            self.name(),
            ended.as_secs_f64(),
            start.elapsed().as_secs_f64(),
        );
    }

    fn holdings(&self) -> Holdings {
        let goroutines = || self.target.window.figure("narrowboat_goroutines").expect("the window answers");
        Holdings::of(&self.server, self.sockets, goroutines)
    }

    fn note_peak(&mut self) {
        self.peaks.1 = self.peaks.1.max(self.server.peak());
        if self.rests.is_empty() {
            self.peaks.0 = self.peaks.1;
        }
    }

    /// Notes what it holds on to, without clients.
    fn rest(&mut self) {
        self.note_peak();
        let holdings = self.holdings();
        println!("{}, at rest: {holdings}; at most it had {} kB", self.name(), self.server.peak());
        self.rests.push(holdings);
    }

    /// What is wrong with the record that is written at a panic. The store of `actors` panics in
    /// every game, and nothing else does.
    fn record_verdict(&self) -> Option<String> {
        let record = std::fs::read(&self.record);
        match (self.name(), record) {
            ("actors", Ok(record)) => {
                let _ = std::fs::remove_file(&self.record);
                Trace::read(&record).err().map(|error| format!("its record cannot be read: {error}"))
            }
            ("actors", Err(error)) => Some(format!("no record of its panics: {error}")),
            (_, Ok(_)) => Some(format!("something has panicked: {}", self.record.display())),
            (_, Err(_)) => None,
        }
    }

    /// Why what it holds on to, and its latencies, are not flat.
    fn verdict(&self, whole: Duration) -> Vec<String> {
        let [first, second, last] = &self.rests[..] else { panic!("{} rests", self.rests.len()) };
        let mut faults = last.grown_since(first);
        faults.extend(last.memory_since(second));
        // What a profile takes for a moment, some 20 MiB, may find no room in what one before has
        // left.
        let (first, any) = self.peaks;
        if any > 2 * first + (32 << 10) {
            faults.push(format!("at most it had {first} kB at first, and {any} later"));
        }
        faults.extend(self.record_verdict());
        let of_fifth = |fifth: u32| {
            let fifth = whole * fifth / 5..whole * (fifth + 1) / 5 + Duration::from_secs(1);
            let in_it = self.latencies.iter().filter(|(at, _)| fifth.contains(at));
            let mut latencies: Vec<_> = in_it.flat_map(|(_, latencies)| latencies.clone()).collect();
            percentile(&mut latencies, 0.5)
        };
        let (early, late) = (of_fifth(1), of_fifth(4));
        println!("{}, median latency in the second fifth: {early:?}, in the last: {late:?}", self.name());
        // Machines are noisy.
        if late > early * 10 + Duration::from_millis(5) {
            faults.push(format!("a median latency of {early:?} became {late:?}"));
        }
        faults.iter().map(|fault| format!("{}: {fault}", self.name())).collect()
    }
}

/// What happens when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Sample,
    /// All clients are at rest for a moment. What is held then is what may be held at the end.
    Rest {
        is_last: bool,
    },
    Restart(usize),
}

/// The events of a soak, in their order. All restarts come after the first fifth, and none in the
/// last two fifths, so that the last life of each server is longer than the first was when its
/// holdings were noted.
fn plan(whole: Duration, servers: usize) -> Vec<(Duration, Event)> {
    let samples = SAMPLES.max((whole.as_secs() / RARELY.as_secs()) as u32);
    let mut events: Vec<_> = (1..=samples).map(|i| (whole * i / samples, Event::Sample)).collect();
    events.push((whole / 5, Event::Rest { is_last: false }));
    // What comes after this takes little memory for a moment, and so shows the little that is left
    // behind.
    events.push((whole * 2 / 3, Event::Rest { is_last: true }));
    let rounds = (whole.as_secs() / 300).clamp(1, 6) as usize;
    let (from, to) = (whole / 4, whole * 11 / 20);
    let restarts = rounds * servers;
    events.extend(
        (0..restarts).map(|i| (from + (to - from) * i as u32 / restarts as u32, Event::Restart(i % servers))),
    );
    events.sort();
    events
}

/// Ends all clients, also if the test fails.
struct Ending<'a>(&'a Conductor);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
    }
}

/// Has all clients close their connections, and notes what each server then holds on to.
fn rest(conductor: &Conductor, runs: &mut [Run]) {
    conductor.rest.store(true, SeqCst);
    let all = runs.len() * CLIENTS;
    eventually("all clients are at rest", || conductor.resting.load(SeqCst) == all);
    runs.iter_mut().for_each(Run::rest);
    conductor.rest.store(false, SeqCst);
}

/// Carries out the plan. Ends early if a client has seen what must not be.
fn conduct(whole: Duration, conductor: &Conductor, runs: &mut [Run]) {
    let start = Instant::now();
    for (at, event) in plan(whole, runs.len()) {
        while start.elapsed() < at {
            if runs.iter().any(|run| !run.target.failures().is_empty()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50).min(at.saturating_sub(start.elapsed())));
        }
        match event {
            Event::Sample => runs.iter_mut().for_each(|run| run.sample(start.elapsed())),
            Event::Rest { is_last } => {
                conductor.without_names.store(is_last, SeqCst);
                rest(conductor, runs);
            }
            Event::Restart(index) => runs[index].restart(start.elapsed()),
        }
    }
}

#[test]
#[ignore = "takes an hour, or as many seconds as NARROWBOAT_SOAK_SECONDS says; `.ci/soak.sh` runs it"]
fn soak() {
    let whole = Duration::from_secs(number_from_env("NARROWBOAT_SOAK_SECONDS").unwrap_or(3600) as u64);
    let (start, of_clients) = (Instant::now(), cpu_time());
    let mut runs = start_all();
    println!(
        "{:>6}  {:<14}  {:>4}  {:>8}  {:>4}  {:>7}  {:>10}  {:>7}  {:>9}  {:>9}",
        "second",
        "server",
        "life",
        "RSS, kB",
        "fds",
        "threads",
        "goroutines",
        "asked",
        "50 %, ms",
        "99 %, ms"
    );
    let targets: Vec<_> = runs.iter().map(|run| run.target.clone()).collect();
    let conductor = Conductor::default();
    let pause = (whole / 60).min(RARELY);
    std::thread::scope(|scope| {
        let (conductor, _ending) = (&conductor, Ending(&conductor));
        for target in &targets {
            scope.spawn(move || target.keep(conductor));
            scope.spawn(move || target.bother(conductor));
            scope.spawn(move || target.inspect(conductor, pause));
        }
        conduct(whole, conductor, &mut runs);
    });
    let failures: Vec<_> = targets.iter().flat_map(|target| target.failures().clone()).collect();
    assert!(failures.is_empty(), "{failures:#?}");

    let mut verdicts = Vec::new();
    let mut cpu = (cpu_time() - of_clients).as_secs_f64();
    for run in &mut runs {
        run.rest();
        verdicts.extend(run.verdict(whole));
        cpu += run.cpu_seconds + run.server.cpu_seconds();
        println!("{}: {}", run.name(), run.target);
    }
    println!("{cpu:.1} s of processor time in {:.1} s", start.elapsed().as_secs_f64());
    for target in &targets {
        let (connections, answers) = (target.connections.load(SeqCst), target.answers.load(SeqCst));
        // A few each second, whatever else the machine does; and each question of the window's
        // once.
        assert!(connections as u64 >= whole.as_secs(), "{}: {target}", target.subject.name);
        assert!(answers >= QUESTIONS.len(), "{}: {target}", target.subject.name);
    }
    assert!(runs.iter().all(|run| run.lives > 1));
    assert!(verdicts.is_empty(), "{verdicts:#?}");
}

#[test]
fn each_server_is_started_anew_after_the_first_rest_and_before_the_last() {
    for seconds in [60, 600, 3600] {
        let whole = Duration::from_secs(seconds);
        let events = plan(whole, SERVERS.len());
        let place = |event| events.iter().position(|(_, other)| *other == event).expect("happens");
        let rests = [false, true].map(|is_last| place(Event::Rest { is_last }));
        for index in 0..SERVERS.len() {
            let restart = |(_, event): &(Duration, Event)| *event == Event::Restart(index);
            assert!(events[rests[0]..rests[1]].iter().any(restart), "{index} in {seconds} s");
            assert!(!events[..rests[0]].iter().chain(&events[rests[1]..]).any(restart), "{index}");
        }
        let samples: Vec<_> = events.iter().filter(|(_, event)| *event == Event::Sample).collect();
        assert!(samples.len() >= 20 && samples.windows(2).all(|pair| pair[1].0 - pair[0].0 <= RARELY));
        assert_eq!(events.last(), Some(&(whole, Event::Sample)));
    }
}
