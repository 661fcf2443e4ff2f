//! What a client is: a function that opens a connection, and one that makes a call and checks the reply.

use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub type Failure = Box<dyn Error + Send + Sync>;
/// One call, whose reply is checked. The number is different for each call of a caller.
pub type Call = Box<dyn FnMut(usize) -> Result<(), Failure>>;
/// What a caller begins with: mostly a connection of its own. The number is the caller's.
pub type Open = Arc<dyn Fn(usize) -> Result<Call, Failure> + Send + Sync>;

/// No reply of a server takes longer. Set wherever a crate has a setting for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the callers run on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Goroutines,
    Threads,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Goroutines => "goroutines",
            Mode::Threads => "threads",
        }
    }

    pub fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Handle<T> {
        match self {
            Mode::Goroutines => Handle::Goroutine(narrowboat::spawn(f)),
            Mode::Threads => Handle::Thread(std::thread::spawn(f)),
        }
    }
}

impl FromStr for Mode {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Mode, Failure> {
        match name {
            "goroutines" => Ok(Mode::Goroutines),
            "threads" => Ok(Mode::Threads),
            _ => Err(format!("neither goroutines nor threads: {name}").into()),
        }
    }
}

pub enum Handle<T> {
    Goroutine(narrowboat::JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
}

impl<T> Handle<T> {
    /// None if it has panicked.
    pub fn join(self) -> Option<T> {
        match self {
            Handle::Goroutine(handle) => handle.join().ok(),
            Handle::Thread(handle) => handle.join().ok(),
        }
    }
}

/// An error if a reply is not what it should be.
pub fn expect<T: PartialEq + std::fmt::Debug>(found: T, right: T) -> Result<(), Failure> {
    if found == right { Ok(()) } else { Err(format!("wrong reply: {found:?} instead of {right:?}").into()) }
}
