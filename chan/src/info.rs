//! What is known of a channel without its type and without its lock, and how dumps describe it.

use crate::describe::borrow;
use crate::limit::At;
use crate::shim::{AtomicUsize, Ordering};
use narrowboat_runtime::park::{Reason, Thing, describe_with};
use std::panic::Location;

/// The capacity of a channel without a limit.
pub(crate) const UNBOUNDED: usize = usize::MAX;

/// How full a channel is at which a receive, or a send, waits.
pub(crate) const EMPTY: &str = "empty";
pub(crate) const FULL: &str = "full";

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
        describe_with(Reason::Receive, |info, each| {
            // SAFETY: by the contract of `Describe`. A receive waits with this type as its object,
            // because the channel is empty.
            each(unsafe { borrow::<ChannelInfo>(info) }.thing("", EMPTY));
        });
        describe_with(Reason::Send, |info, each| {
            // SAFETY: as above. A send waits because the channel is full.
            each(unsafe { borrow::<ChannelInfo>(info) }.thing("", FULL));
        });
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
