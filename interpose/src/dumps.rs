//! What a dump says of that for which a goroutine waits here.

use narrowboat_net::watch;
use narrowboat_runtime::park::{Describe, Reason, describe_with};
use std::os::fd::RawFd;

/// Registers this module. Called before a wait that has an object: a descriptor and one (see
/// [`crate::wait::object`]).
pub(crate) fn install() {
    const BY: Describe = |object, each| {
        if let Ok(number) = RawFd::try_from(object) {
            each(watch::describe(number - 1));
        }
    };
    describe_with(Reason::Libc, BY);
}
