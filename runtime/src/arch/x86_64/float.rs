//! The control state of the floating-point units.

use std::arch::asm;

/// How the floating-point units round and what they trap: the control bits of MXCSR and the x87
/// control word. A C thread may change them, and expects them unchanged after a call that blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FloatControl {
    mxcsr: u16,
    x87: u16,
}

impl FloatControl {
    /// The state in which a program begins, by the ABI.
    pub(crate) const DEFAULT: FloatControl = FloatControl { mxcsr: 0x1f80, x87: 0x037f };
    /// The flags of exceptions that have happened.
    const STATUS: u16 = 0x3f;

    /// The present state.
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: the two instructions store four and two bytes.
        unsafe {
            asm!(
                "stmxcsr [{}]", "fnstcw [{}]",
                in(reg) &raw mut mxcsr, in(reg) &raw mut x87,
                options(nostack, preserves_flags),
            );
        }
        FloatControl { mxcsr: mxcsr as u16 & !FloatControl::STATUS, x87 }
    }

    /// Makes this the present state.
    #[cold]
    pub(crate) fn set(self) {
        let mxcsr = u32::from(self.mxcsr);
        // SAFETY: the two instructions load four and two bytes, which came from `now`, so no
        // reserved bit is set. Between two goroutines no floating-point code runs.
        unsafe {
            asm!(
                "ldmxcsr [{}]", "fldcw [{}]",
                in(reg) &raw const mxcsr, in(reg) &raw const self.x87,
                options(nostack, readonly, preserves_flags),
            );
        }
    }
}
