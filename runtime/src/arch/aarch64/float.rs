//! The control state of the floating-point unit.

use std::arch::asm;

/// How the floating-point unit rounds and what it traps: FPCR. A C thread may change it, and expects
/// it unchanged after a call that blocks. (FPSR holds what has happened, which a call may change.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FloatControl {
    fpcr: u64,
}

impl FloatControl {
    /// The state in which a program begins, by the ABI.
    pub(crate) const DEFAULT: FloatControl = FloatControl { fpcr: 0 };

    /// The present state.
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        let fpcr;
        // SAFETY: reads a register. It is not `nomem`, so that the compiler does not move it across
        // a call that may change the state.
        unsafe { asm!("mrs {}, fpcr", out(reg) fpcr, options(nostack, preserves_flags)) }
        FloatControl { fpcr }
    }

    /// Makes this the present state.
    #[cold]
    pub(crate) fn set(self) {
        // SAFETY: the value came from `now`, so no reserved bit is set. Between two goroutines no
        // floating-point code runs.
        unsafe { asm!("msr fpcr, {}", in(reg) self.fpcr, options(nostack, preserves_flags)) }
    }
}
