//! Registers, clock, memory and system calls of aarch64.

use std::arch::asm;

/// The approximate stack pointer: that of the function that this is inlined into.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) }
    sp
}

/// A counter that runs at some constant rate: a gigahertz on new CPUs, and 19 to 100 MHz on others.
/// Only good for deciding whether some time has passed.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    let ticks;
    // SAFETY: reads the virtual counter, which every system that we run on lets user code read.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) }
    ticks
}

/// How far `ticks` advances in about 20 microseconds.
#[inline(always)]
pub(crate) fn some_microseconds() -> u64 {
    let in_a_second: u64;
    // SAFETY: reads the register that tells the counter's rate.
    unsafe {
        asm!("mrs {}, cntfrq_el0", out(reg) in_a_second, options(pure, nomem, nostack, preserves_flags))
    }
    // One part in 65,536 of a second is 15 microseconds, without a division.
    in_a_second >> 16
}

/// Prefetches the cache line at `address`, which need not be mapped.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a prefetch of any address is only a hint.
    unsafe {
        asm!("prfm pldl1keep, [{}]", in(reg) address, options(readonly, nostack, preserves_flags));
    }
}

/// Exchanges `len` bytes, a multiple of eight.
///
/// # Safety
/// Both ranges are readable and writable, nothing else uses them, and they do not overlap.
#[inline]
pub(crate) unsafe fn exchange(a: usize, b: usize, len: usize) {
    use std::arch::aarch64::{vld1q_u64, vst1q_u64};
    const LINE: usize = 64;
    let mut at = 0;
    // SAFETY: by contract, as long as `at` is within `len`. Advanced SIMD is part of the target.
    unsafe {
        while at + LINE <= len {
            let (a, b) = ((a + at) as *mut u64, (b + at) as *mut u64);
            let of_a: [_; 4] = std::array::from_fn(|i| vld1q_u64(a.add(2 * i)));
            let of_b: [_; 4] = std::array::from_fn(|i| vld1q_u64(b.add(2 * i)));
            (0..4).for_each(|i| vst1q_u64(a.add(2 * i), of_b[i]));
            (0..4).for_each(|i| vst1q_u64(b.add(2 * i), of_a[i]));
            at += LINE;
        }
        while at < len {
            std::ptr::swap((a + at) as *mut u64, (b + at) as *mut u64);
            at += 8;
        }
    }
}

/// How many registers a sample has, which of them are the stack pointer and the address of the
/// instruction, and which a function keeps for its caller: by their numbers in DWARF.
pub(crate) const REGISTERS: usize = 33;
pub(crate) const STACK_POINTER: usize = 31;
pub(crate) const RETURN_ADDRESS: usize = 32;
/// The register by which unwind information says where the return address is. A function that calls
/// none has it there all the time.
pub(crate) const LINK: usize = 30;
pub(crate) const KEPT_BY_FUNCTIONS: [usize; 12] = [19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, LINK];
