//! What remains of a goroutine that has panicked: [`Panic`], for the code that joins it.
//!
//! The hook sees a panic where it happens, and stores a report with the goroutine. Where the
//! unwinding ends, at the goroutine's root, the report moves to the outcome. Between the two the
//! goroutine may have caught that panic and begun to unwind for another reason (`resume_unwind`
//! calls no hook), so the report is only used if it fits the payload.

use super::super::processor::{self, Running};
use super::id::GoroutineId;
use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::panic::{Location, PanicHookInfo};
use std::sync::Arc;

/// The panic that has ended a goroutine, with the goroutine's own trace: from
/// [`JoinHandle::join_with_trace`](crate::JoinHandle::join_with_trace).
///
/// `Display` says in one line which goroutine panicked, where, and with what message; `Debug`,
/// which is what `unwrap` prints, adds the backtrace, if there is one.
///
/// ```
/// let panic = narrowboat::spawn(|| panic!("oh no")).join_with_trace().unwrap_err();
/// let line = panic.to_string();
/// assert!(line.starts_with(&format!("goroutine {}, spawned at ", panic.goroutine_id())), "{line}");
/// assert!(line.ends_with(": oh no"), "{line}");
/// ```
pub struct Panic(Box<Parts>);

struct Parts {
    payload: Box<dyn Any + Send>,
    id: GoroutineId,
    name: Option<Arc<str>>,
    spawned_at: &'static Location<'static>,
    hook_report: Option<HookReport>,
}

// SAFETY: only the payload may not be shared, and it is given out by value only.
unsafe impl Sync for Panic {}

/// What the hook knows about a panic.
pub(crate) struct HookReport {
    payload: TypeId,
    message: Option<String>,
    location: Option<String>,
    backtrace: Backtrace,
}

fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let string = payload.downcast_ref::<String>().map(String::as_str);
    string.or_else(|| payload.downcast_ref::<&'static str>().copied())
}

/// Stores the hook's report of a panic with the calling goroutine, if the caller is one.
pub(crate) fn note_panic(info: &PanicHookInfo<'_>, with_trace: bool) {
    let Some(goroutine) = processor::calling_goroutine() else { return };
    let payload = info.payload();
    let report = HookReport {
        payload: payload.type_id(),
        message: message(payload).map(str::to_owned),
        location: info.location().map(Location::to_string),
        backtrace: if with_trace { Backtrace::capture() } else { Backtrace::disabled() },
    };
    let replaced = goroutine.origin.with_late(|late| late.hook_report.replace(report));
    drop(replaced);
}

impl Panic {
    /// The outcome of the calling goroutine, which has panicked and has unwound to its root.
    #[cold]
    pub(crate) fn of_caller(payload: Box<dyn Any + Send>) -> Panic {
        let record = Running::now().expect("a task is run by its goroutine");
        let report = if record.origin.has_late() {
            record.origin.with_late(|late| late.hook_report.take())
        } else {
            None
        };
        let fits = |report: &HookReport| {
            report.payload == (*payload).type_id() && report.message.as_deref() == message(&*payload)
        };
        Panic(Box::new(Parts {
            id: GoroutineId(record.id),
            name: record.origin.name().cloned(),
            spawned_at: record.origin.spawned_at(),
            hook_report: report.filter(fits),
            payload,
        }))
    }

    /// The number of the goroutine that has panicked.
    ///
    /// ```
    /// let handle = narrowboat::spawn(|| panic!("oh no"));
    /// let id = handle.id();
    /// assert_eq!(handle.join_with_trace().unwrap_err().goroutine_id(), id);
    /// ```
    pub fn goroutine_id(&self) -> GoroutineId {
        self.0.id
    }

    /// Its name, if it had one.
    ///
    /// ```
    /// let panic = narrowboat::spawn(|| panic!("oh no")).join_with_trace().unwrap_err();
    /// assert_eq!(panic.goroutine_name(), None);
    /// ```
    pub fn goroutine_name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The source line that spawned it.
    ///
    /// ```
    /// let panic = narrowboat::spawn(|| panic!("oh no")).join_with_trace().unwrap_err();
    /// assert!(panic.spawned_at().line() > 0);
    /// ```
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.0.spawned_at
    }

    /// Its message, if that was text.
    ///
    /// ```
    /// let panic = narrowboat::spawn(|| std::panic::panic_any(7)).join_with_trace().unwrap_err();
    /// assert_eq!(panic.message(), None);
    /// assert_eq!(*panic.into_payload().downcast::<i32>().unwrap(), 7);
    /// ```
    pub fn message(&self) -> Option<&str> {
        message(&*self.0.payload)
    }

    /// Where it panicked: file, line and column. `None` if that is not known, as for a panic that
    /// was passed on with [`resume_unwind`](std::panic::resume_unwind), or under a panic hook of
    /// the program's that does not call the one it replaced.
    ///
    /// ```
    /// let panic = narrowboat::spawn(|| panic!("oh no")).join_with_trace().unwrap_err();
    /// assert!(panic.location().unwrap().contains(':'));
    /// ```
    pub fn location(&self) -> Option<&str> {
        self.0.hook_report.as_ref()?.location.as_deref()
    }

    /// The goroutine's backtrace at that place, if backtraces were asked for in the environment, as
    /// for [`Backtrace::capture`].
    ///
    /// ```
    /// let panic = narrowboat::spawn(|| panic!("oh no")).join_with_trace().unwrap_err();
    /// if let Some(backtrace) = panic.backtrace() {
    ///     println!("{backtrace}");
    /// }
    /// ```
    pub fn backtrace(&self) -> Option<&Backtrace> {
        let backtrace = &self.0.hook_report.as_ref()?.backtrace;
        (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace)
    }

    /// Its payload: what [`join`](crate::JoinHandle::join) returns, and
    /// [`resume_unwind`](std::panic::resume_unwind) takes.
    ///
    /// ```
    /// let panic = narrowboat::spawn(|| panic!("oh no")).join_with_trace().unwrap_err();
    /// assert_eq!(*panic.into_payload().downcast::<&str>().unwrap(), "oh no");
    /// ```
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.0.payload
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goroutine {}", self.0.id)?;
        if let Some(name) = self.goroutine_name() {
            write!(f, " '{name}'")?;
        }
        write!(f, ", spawned at {}, panicked", self.0.spawned_at)?;
        if let Some(location) = self.location() {
            write!(f, " at {location}")?;
        }
        self.message().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        self.backtrace().map_or(Ok(()), |backtrace| write!(f, "\n{backtrace}"))
    }
}

impl std::error::Error for Panic {}
