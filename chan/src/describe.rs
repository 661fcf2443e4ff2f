//! How dumps describe channels, selects, timers and contexts. The functions are registered with
//! [`park::describe_with`].

use crate::block::At;
use crate::channel::UNBOUNDED;
use crate::context::Scope;
use crate::outside::EventChannel;
use crate::select::Arm;
use crate::shim::{AtomicUsize, Ordering};
use crate::timer::Timer;
use narrowboat_runtime::park::{self, Describe, Reason, Thing};
use std::panic::Location;
use std::sync::Once;
use std::time::Instant;

/// What can be said of a channel without its type and without its lock. Its address identifies the
/// channel.
pub(crate) struct ChannelInfo {
    pub(crate) capacity: usize,
    pub(crate) senders: AtomicUsize,
    pub(crate) receivers: AtomicUsize,
    made_at: At,
}

impl ChannelInfo {
    /// The information of a new channel with one sender and one receiver, made by the caller.
    #[track_caller]
    pub(crate) fn new(capacity: usize) -> ChannelInfo {
        register_descriptions();
        ChannelInfo {
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            made_at: Location::caller(),
        }
    }

    /// Describes the channel. `fill`: whether it is full or empty, if it can be either.
    pub(crate) fn thing(&self, operation: &'static str, fill: &str) -> Thing {
        let capacity = match self.capacity {
            0 => "unbuffered".into(),
            UNBOUNDED => format!("unbounded and {fill}"),
            n => format!("capacity {n} and {fill}"),
        };
        let count = |n: usize, what| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let senders = count(self.senders.load(Ordering::Relaxed), "sender");
        let receivers = count(self.receivers.load(Ordering::Relaxed), "receiver");
        let details = format!("{capacity}, {senders}, {receivers}, made at {}", self.made_at);
        Thing { operation, address: (&raw const *self).addr(), kind: "channel", details, held_by: None }
    }
}

/// Registers the functions that describe what a goroutine of each reason waits for.
#[inline]
pub(crate) fn register_descriptions() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let reasons: [(Reason, Describe); 6] = [
            (Reason::Receive, |info, each| {
                // SAFETY: by contract, as for the functions below. A receive waits because the
                // channel is empty.
                each(unsafe { borrow::<ChannelInfo>(info) }.thing("", EMPTY));
            }),
            (Reason::Send, |info, each| {
                // SAFETY: as above. A send waits because the channel is full.
                each(unsafe { borrow::<ChannelInfo>(info) }.thing("", FULL));
            }),
            (Reason::Select, |arms, each| {
                // SAFETY: the object is the variable on the stack in which the select keeps its
                // list of arms.
                unsafe { borrow::<&[Arm<'_>]>(arms) }.iter().for_each(|arm| each(arm.describe()));
            }),
            (Reason::Timer, |timer, each| {
                // SAFETY: all timers have messages of this type.
                each(unsafe { borrow::<Timer<Instant>>(timer) }.thing(""));
            }),
            (Reason::Context, |scope, each| {
                // SAFETY: as above.
                each(unsafe { borrow::<Scope>(scope) }.thing(""));
            }),
            (Reason::Readiness, |source, each| {
                // SAFETY: all event channels have messages of this type.
                each(Thing { operation: "", ..unsafe { borrow::<EventChannel<()>>(source) }.thing() });
            }),
        ];
        reasons.into_iter().for_each(|(reason, by)| park::describe_with(reason, by));
    });
}

/// How full a channel is at which a receive, or a send, waits.
pub(crate) const EMPTY: &str = "empty";
pub(crate) const FULL: &str = "full";

/// # Safety
/// As for [`Describe`]; the object is the exposed address of a `T` that the waiter has borrowed for
/// its wait.
unsafe fn borrow<'a, T>(object: usize) -> &'a T {
    // SAFETY: by contract.
    unsafe { &*std::ptr::with_exposed_provenance(object) }
}

/// Describes an instant in the future.
pub(crate) fn until(when: Option<Instant>) -> String {
    match when.map(|when| when.saturating_duration_since(Instant::now())) {
        None => "not set".into(),
        Some(left) if left.is_zero() => "due".into(),
        Some(left) => format!("due in {left:.1?}"),
    }
}
