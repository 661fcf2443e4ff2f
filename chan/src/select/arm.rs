//! One operation in the list of a select.

use super::handle::Handle;
use crate::describe::borrow;
use crate::receiver::Receiver;
use crate::sender::Sender;
use narrowboat_runtime::park::{Reason, describe_with};

/// One operation of a select. Public for the macros only.
#[derive(Clone, Copy)]
pub struct Arm<'a> {
    pub(super) handle: &'a dyn Handle,
    pub(super) index: usize,
}

impl<'a> Arm<'a> {
    /// A send.
    #[doc(hidden)]
    pub fn send<T>(sender: &'a Sender<T>, index: usize) -> Arm<'a> {
        Arm { handle: sender, index }
    }

    /// A receive.
    #[doc(hidden)]
    pub fn recv<T>(receiver: &'a Receiver<T>, index: usize) -> Arm<'a> {
        Arm { handle: receiver, index }
    }
}

/// Registers how dumps describe a select. The object of its wait is the variable on the stack in
/// which it keeps its list of arms.
#[inline]
pub(super) fn register() {
    describe_with(Reason::Select, |arms, each| {
        // SAFETY: by the contract of `Describe`.
        let arms = unsafe { borrow::<&[Arm<'_>]>(arms) };
        arms.iter().for_each(|arm| each(arm.handle.describe()));
    });
}
