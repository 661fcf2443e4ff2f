//! The vocabulary of waiting: what all waiters and all that is waited for have in common. Nothing
//! here suspends or wakes; [`crate::park`] does both, above the scheduler, which uses these words,
//! too.
//!
//! - [`reason`]: what is waited for, by its kind.
//! - [`claim`]: the word that decides which event ends a wait.
//! - [`waiter`]: the handle of a waiter, which may be a goroutine, a thread or an async task.
//! - [`queue`]: the nodes that waiters leave in what they wait for.
//! - [`identity`]: tells apart objects that have one address on two copied stacks.
//! - [`mod@describe`]: what each crate registers for its reasons: what is waited for, in words, and
//!   what a goroutine leaves its wait by that is [`forsaken`].

mod claim;
mod describe;
mod forsaken;
mod identity;
mod queue;
mod reason;
mod waiter;

pub(crate) use claim::Claim;
pub use claim::Outcome;
pub use describe::{Describe, Thing, describe_with, describe_with_leave};
pub(crate) use describe::{GOROUTINE, describe, leave_of};
pub use forsaken::{Forsaken, Leave};
pub use identity::Identity;
pub use queue::{NodeCell, WaitNode, WaitQueue};
pub use reason::{Reason, note_channel_to_outside};
pub use waiter::Waiter;
pub(crate) use waiter::{Head, Kind};
