//! What a system tells the program about its services.

use crate::info::ServiceId;
use std::fmt;
use std::time::Duration;

/// An event that calls for attention, as [`Builder::on_report`](crate::Builder::on_report) takes it.
/// `Display` is one line.
///
/// ```
/// use narrowboat::actor::{Report, System};
/// use narrowboat::chan;
///
/// let (reports, to_read) = chan::unbounded();
/// let system = System::builder().on_report(move |report| drop(reports.send(report.clone()))).build();
/// # drop((system, to_read));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Report {
    /// A turn has lasted longer than [`Builder::stuck`](crate::Builder::stuck) says: an endless
    /// loop, or a wait that keeps the turn.
    Stuck {
        /// The service.
        id: ServiceId,
        /// Its name, if it has one.
        name: Option<String>,
        /// The name of its type.
        kind: &'static str,
        /// The type of the message.
        message: &'static str,
        /// The service that has sent it, if it is known.
        source: Option<ServiceId>,
        /// The number of the call, or 0.
        session: u32,
        /// For how long the turn has lasted.
        lasted: Duration,
    },
    /// A mailbox has become long.
    Overloaded {
        /// The service.
        id: ServiceId,
        /// Its name, if it has one.
        name: Option<String>,
        /// The name of its type.
        kind: &'static str,
        /// How many messages wait.
        mailbox: usize,
    },
    /// A handler has panicked.
    Panicked {
        /// The service.
        id: ServiceId,
        /// Its name, if it has one.
        name: Option<String>,
        /// The name of its type.
        kind: &'static str,
        /// The type of the message.
        message: &'static str,
        /// The message of the panic, if that was text.
        panic: Option<String>,
    },
    /// A supervisor has restarted too often, and has ended all its services.
    GaveUp {
        /// The service that failed last.
        id: ServiceId,
        /// How many restarts there were within the time that it looks at.
        restarts: u32,
    },
}

/// What the watchdog does with a service whose turn does not end, beside the report.
///
/// The goroutine itself cannot be ended: it runs on until it comes to a call that gives up the turn,
/// or to its end, and changes nothing of the service any more.
///
/// ```
/// use narrowboat::actor::{StuckAction, System};
/// use std::time::Duration;
///
/// let system = System::builder().stuck(Duration::from_secs(10), StuckAction::Restart).build();
/// # drop(system);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum StuckAction {
    /// Nothing more.
    #[default]
    Report,
    /// Starts the service anew if it has a supervisor, which counts that as a failure, and ends it
    /// if it has none.
    Restart,
    /// Ends the service.
    Kill,
}

/// A service as reports name it.
fn service(f: &mut fmt::Formatter<'_>, id: ServiceId, name: Option<&str>, kind: &str) -> fmt::Result {
    write!(f, "service {id}")?;
    match name {
        Some(name) => write!(f, " '{name}' ({kind})"),
        None => write!(f, " ({kind})"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Stuck { id, name, kind, message, source, session, lasted } => {
                service(f, *id, name.as_deref(), kind)?;
                write!(f, " has been busy with one message for {lasted:.1?}: {message}")?;
                if let Some(source) = source {
                    write!(f, " from {source}, session {session}")?;
                }
                f.write_str("; maybe in an endless loop")
            }
            Report::Overloaded { id, name, kind, mailbox } => {
                service(f, *id, name.as_deref(), kind)?;
                write!(f, " may be overloaded: {mailbox} messages wait")
            }
            Report::Panicked { id, name, kind, message, panic } => {
                service(f, *id, name.as_deref(), kind)?;
                write!(f, " failed at {message}")?;
                match panic {
                    Some(panic) => write!(f, ": {panic}"),
                    None => Ok(()),
                }
            }
            Report::GaveUp { id, restarts } => {
                write!(
                    f,
                    "a supervisor gives up at service {id}, after {restarts} restarts, and ends its services"
                )
            }
        }
    }
}
