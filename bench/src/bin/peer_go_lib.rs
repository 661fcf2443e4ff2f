//! go-lib: Go's scheduler in Rust. Goroutines have stacks of their own, which a signal handler
//! copies to a larger place when they are full. Its select takes four receives at most and has no
//! list form, a receive with a timeout leaves a goroutine asleep until that has passed, and it has
//! no timers.

#[path = "../blocking/anywhere.rs"]
mod anywhere;
#[path = "../blocking/channels.rs"]
mod channels;
#[path = "../blocking/contexts.rs"]
mod contexts;
#[path = "../blocking/goroutines.rs"]
mod goroutines;
#[path = "../blocking/group.rs"]
mod group;
#[path = "../blocking/hello.rs"]
mod hello;
#[path = "../blocking/locks.rs"]
mod locks;
#[path = "../blocking/mpmc.rs"]
mod mpmc;
#[path = "../blocking/servers.rs"]
mod servers;
#[path = "../blocking/shared_done.rs"]
mod shared_done;
#[path = "../blocking/timers.rs"]
mod timers;

use std::time::Duration;

use narrowboat_bench::cli::{Arguments, fail, unknown};
use narrowboat_bench::disturbance::Disturbance;

/// What the shared cases call: go-lib in the words of std and crossbeam-channel.
mod backend {
    use std::io::{Read, Result, Write};
    use std::net::SocketAddr;
    use std::sync::Arc;

    use go_lib::context::ContextError;
    use go_lib::{chan, net, sync};
    use narrowboat_bench::start::Start;

    pub use super::anywhere::Seats;
    pub use go_lib::context::{Context, background, with_cancel};
    pub use go_lib::{gosched as yield_now, sleep};
    /// It has none of its own: its documentation takes std's, which block a worker.
    pub use std::sync::{Mutex, RwLock};

    pub const START: Start = Start::Together;

    /// Why a context has ended that was cancelled.
    pub const CANCELLED: ContextError = ContextError::Cancelled;

    /// Runs `f` on a goroutine.
    pub fn spawn(f: impl FnOnce() + Send + 'static) {
        go_lib::go!(f);
    }

    pub struct Sender<T>(chan::Sender<T>);

    pub struct Receiver<T>(pub chan::Receiver<T>);

    /// The other side is closed.
    #[derive(Debug, PartialEq)]
    pub struct Closed;

    pub fn bounded<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = chan::chan(capacity);
        (Sender(sender), Receiver(receiver))
    }

    /// A channel that many goroutines receive from.
    pub fn shared<T: Send + 'static>() -> (Sender<T>, Receiver<T>) {
        bounded(0)
    }

    /// The last sender may go without that.
    pub fn close<T: Send + 'static>(sender: Sender<T>) {
        sender.0.close();
    }

    impl<T: Send + 'static> Sender<T> {
        /// On a closed channel it panics.
        pub fn send(&self, value: T) -> std::result::Result<(), Closed> {
            self.0.send(value);
            Ok(())
        }
    }

    impl<T: Send + 'static> Receiver<T> {
        pub fn recv(&self) -> std::result::Result<T, Closed> {
            self.0.recv().ok_or(Closed)
        }
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Sender(self.0.clone())
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Receiver(self.0.clone())
        }
    }

    /// Something to wait behind, and what lets everyone through at once.
    pub fn gate() -> (impl FnOnce(), impl Fn() + Send + Sync) {
        let (open, wait) = bounded::<()>(0);
        let pass = move || {
            let _ = wait.recv();
        };
        (move || close(open), pass)
    }

    macro_rules! select {
        (recv($one:expr) -> $message:ident => $then:expr, recv($other:expr) -> _ => $otherwise:expr $(,)?) => {
            go_lib::select! {
                recv($one.0) -> $message => {
                    let $message = $message.ok_or(crate::backend::Closed);
                    $then
                }
                recv($other.0) -> _closed => { $otherwise }
            }
        };
    }
    pub(crate) use select;

    /// A handle for each that is waited for, and one for what waits.
    pub struct WaitGroup(Arc<sync::WaitGroup>);

    impl WaitGroup {
        pub fn new() -> WaitGroup {
            let group = WaitGroup(Arc::new(sync::WaitGroup::new()));
            group.0.add(1);
            group
        }

        pub fn wait(self) {
            let all = self.0.clone();
            drop(self);
            all.wait();
        }
    }

    impl Clone for WaitGroup {
        fn clone(&self) -> WaitGroup {
            self.0.add(1);
            WaitGroup(self.0.clone())
        }
    }

    impl Drop for WaitGroup {
        fn drop(&mut self) {
            self.0.done();
        }
    }

    pub struct TcpListener(net::TcpListener);

    pub struct TcpStream(net::TcpStream);

    impl TcpListener {
        pub fn bind(address: &str) -> Result<TcpListener> {
            net::TcpListener::bind(address).map(TcpListener)
        }

        pub fn local_addr(&self) -> Result<SocketAddr> {
            self.0.local_addr()
        }

        /// It does not say from where.
        pub fn accept(&self) -> Result<(TcpStream, ())> {
            Ok((TcpStream(self.0.accept()?), ()))
        }
    }

    impl TcpStream {
        /// It has no such function.
        pub fn set_nodelay(&self, on: bool) -> Result<()> {
            let on = libc::c_int::from(on);
            let size = size_of_val(&on) as libc::socklen_t;
            // SAFETY: the call reads one `c_int`, and `on` is one. The descriptor is open as long
            // as the stream is there.
            let result = unsafe {
                let value = (&raw const on).cast();
                libc::setsockopt(self.0.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, value, size)
            };
            if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        }
    }

    impl Read for TcpStream {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for TcpStream {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }
}

/// The number of workers is in `GOMAXPROCS`, as in a program of Go.
#[go_lib::main]
fn main() {
    // Otherwise a goroutine that panics ends alone, and those that wait for it wait for ever.
    go_lib::set_panic_handler(|_| fail("a goroutine panicked"));
    let arguments = Arguments::read();
    match arguments.case() {
        "yield" => goroutines::yields(arguments.parse(1), arguments.parse(2)),
        "spawn" => goroutines::spawns(arguments.parse(1)),
        "park" => goroutines::park(arguments.parse(1)),
        "deep" => goroutines::deep(arguments.parse(1)),
        "pingpong" => channels::ping_pong(arguments.parse(1)),
        "chan128" => channels::one_to_one("chan128", 128, arguments.parse(1)),
        "chan0" => channels::one_to_one("chan0", 0, arguments.parse(1)),
        "fourfour128" => mpmc::four_to_four(arguments.parse(1)),
        "ring" => channels::ring(arguments.parse(1), arguments.parse(2)),
        "shared" => shared_done::select_shared(arguments.parse(1), arguments.parse(2)),
        "mutex" => locks::mutex(arguments.parse(1), arguments.parse(2)),
        "rwlock" => locks::rwlock(arguments.parse(1), arguments.parse(2)),
        "waitgroup" => group::fan_out(arguments.parse(1), arguments.parse(2)),
        "sleepers" => timers::sleepers(arguments.parse(1), Duration::from_millis(arguments.parse(2))),
        "lateness" => timers::lateness(arguments.parse(1)),
        "context-wide" => contexts::wide(arguments.parse(1)),
        "context-chain" => contexts::chain(arguments.parse(1)),
        "echo" => servers::serve(&arguments.parse::<String>(1), servers::echo),
        "http" => servers::serve(&arguments.parse::<String>(1), servers::http),
        "disturbed" => disturbed(&arguments, Disturbance::once),
        // It has no pool, but a way to say that a call blocks: the worker's goroutines go to
        // another one.
        "pooled" => disturbed(&arguments, |disturbance| go_lib::with_syscall(|| disturbance.once())),
        "hello" => hello::hello(),
        case => unknown(case),
    }
}

/// The echo server with others beside it.
fn disturbed(arguments: &Arguments, how: fn(Disturbance)) {
    servers::disturbed(&arguments.parse::<String>(3), arguments.parse(1), arguments.parse(2), how);
}
