//! Why a goroutine or thread waits, for diagnostics.

use std::sync::atomic::{AtomicBool, Ordering};

/// What a blocked goroutine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// It runs, or waits for its turn to.
    None,
    /// A message from a channel.
    Receive,
    /// Room in a channel, or a receiver.
    Send,
    /// One of several channel operations.
    Select,
    /// A point in time.
    Sleep,
    /// The end of another goroutine.
    Join,
    /// Input on a descriptor.
    Read,
    /// Room for output on a descriptor.
    Write,
    /// An incoming connection.
    Accept,
    /// An outgoing connection.
    Connect,
    /// The addresses of a host name.
    Resolve,
    /// A call that blocks a thread of its own.
    Blocking,
    /// A mutex, or a reader-writer lock.
    Lock,
    /// A notification of a condition variable.
    Notification,
    /// The end of an initialisation that another goroutine or thread carries out.
    Once,
    /// Permits of a semaphore.
    Permit,
    /// The other participants of a barrier.
    Others,
    /// The other members of a wait group.
    Members,
    /// The goroutines of a scope.
    Scope,
    /// The message of a timer, or of a ticker.
    Timer,
    /// The end of a context.
    Context,
    /// A descriptor that can be read or written, told by a channel.
    Readiness,
    /// A future to be ready, or a stream to have an item.
    Future,
    /// A message that never comes.
    Never,
    /// The answers of processors about their goroutines ([`dump`](crate::dump())).
    Inspection,
    /// A word of memory that another goroutine or thread changes: a lock of std's, `thread::park`,
    /// or what else is built on these.
    Futex,
    /// A blocking function of the C library, which parks.
    Libc,
    /// Its turn on its stack slot, which another goroutine holds while it waits for a word of
    /// memory.
    Slot,
}

impl Reason {
    /// Whether the line that waits is not the caller's: code that knows nothing of Narrowboat
    /// waits.
    pub(crate) fn is_below_foreign_code(self) -> bool {
        matches!(self, Reason::Futex | Reason::Libc)
    }

    /// Whether something outside of the program's threads can end the wait: a descriptor, a
    /// resolver, or the executor of another library.
    pub(crate) fn is_external(self) -> bool {
        use Reason::*;
        match self {
            Read | Write | Accept | Connect | Resolve | Blocking | Sleep | Libc | Readiness | Future
            | Inspection => true,
            Select => CHANNELS_REACH_OUTSIDE.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// The words after "waiting for".
    pub fn waits_for(self) -> &'static str {
        match self {
            Reason::None => "its turn",
            Reason::Receive => "a message (receive)",
            Reason::Send => "room or a receiver (send)",
            Reason::Select => "one of several channels (select)",
            Reason::Sleep => "a point in time (sleep)",
            Reason::Join => "the end of a goroutine (join)",
            Reason::Read => "input (read)",
            Reason::Write => "room for output (write)",
            Reason::Accept => "a connection (accept)",
            Reason::Connect => "its peer (connect)",
            Reason::Resolve => "the addresses of a name (resolve)",
            Reason::Blocking => "a call on a thread of its own (blocking)",
            Reason::Lock => "a lock",
            Reason::Notification => "a notification (condition variable)",
            Reason::Once => "an initialisation elsewhere (once)",
            Reason::Permit => "a permit (semaphore)",
            Reason::Others => "the others (barrier)",
            Reason::Members => "the other members of its group (wait group)",
            Reason::Scope => "the goroutines of its scope (scope)",
            Reason::Timer => "the time of a timer (receive)",
            Reason::Context => "the end of a context (receive)",
            Reason::Readiness => "a descriptor to be ready (receive)",
            Reason::Future => "a future",
            Reason::Never => "a message that never comes (never)",
            Reason::Inspection => "this dump",
            Reason::Futex => "a lock of std's, or an unpark",
            Reason::Libc => "a function of the C library",
            Reason::Slot => "its stack slot, which another goroutine holds",
        }
    }

    pub(crate) const COUNT: usize = Reason::Slot as usize + 1;
    /// All reasons, each at the index that is its number.
    pub(crate) const ALL: [Reason; Reason::COUNT] = {
        use Reason::*;
        [
            None,
            Receive,
            Send,
            Select,
            Sleep,
            Join,
            Read,
            Write,
            Accept,
            Connect,
            Resolve,
            Blocking,
            Lock,
            Notification,
            Once,
            Permit,
            Others,
            Members,
            Scope,
            Timer,
            Context,
            Readiness,
            Future,
            Never,
            Inspection,
            Futex,
            Libc,
            Slot,
        ]
    };
}

/// Whether there has been a channel that something outside the program's threads can fill.
static CHANNELS_REACH_OUTSIDE: AtomicBool = AtomicBool::new(false);

/// Records that from now on a select may wait for something outside the program's threads, so that
/// such a wait is no longer a sign of a deadlock.
pub fn note_channel_to_outside() {
    // Relaxed: the wait that this is about begins later on the same thread, and is seen by way of
    // its own words.
    CHANNELS_REACH_OUTSIDE.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_where_its_number_says() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
