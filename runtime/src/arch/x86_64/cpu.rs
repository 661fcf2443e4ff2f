//! Registers, clock and memory of x86-64.

use std::arch::asm;

/// The approximate stack pointer: that of the function that this is inlined into.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) }
    sp
}

/// A counter that runs at some constant rate in the gigahertz. Only good for deciding whether some
/// time has passed.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every system that we run on lets user code execute RDTSC.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// How far `ticks` advances in about 20 microseconds at common clock rates.
#[inline(always)]
pub(crate) const fn some_microseconds() -> u64 {
    50_000
}

/// Prefetches the cache line at `address`, which need not be mapped.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a prefetch of any address is only a hint.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address as *const i8) }
}

/// Exchanges `len` bytes, a multiple of eight.
///
/// # Safety
/// Both ranges are readable and writable, nothing else uses them, and they do not overlap.
#[inline]
pub(crate) unsafe fn exchange(a: usize, b: usize, len: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};
    const LINE: usize = 64;
    let mut at = 0;
    // SAFETY: by contract, as long as `at` is within `len`. SSE2 is part of x86-64.
    unsafe {
        while at + LINE <= len {
            let (a, b) = ((a + at) as *mut __m128i, (b + at) as *mut __m128i);
            let of_a: [__m128i; 4] = std::array::from_fn(|i| _mm_loadu_si128(a.add(i)));
            let of_b: [__m128i; 4] = std::array::from_fn(|i| _mm_loadu_si128(b.add(i)));
            (0..4).for_each(|i| _mm_storeu_si128(a.add(i), of_b[i]));
            (0..4).for_each(|i| _mm_storeu_si128(b.add(i), of_a[i]));
            at += LINE;
        }
        while at < len {
            std::ptr::swap((a + at) as *mut u64, (b + at) as *mut u64);
            at += 8;
        }
    }
}

/// How many registers unwind information speaks of, which of them are the stack pointer and the
/// return address, and which a function keeps for its caller: by their numbers in DWARF.
pub(crate) const REGISTERS: usize = 17;
pub(crate) const STACK_POINTER: usize = 7;
pub(crate) const RETURN_ADDRESS: usize = 16;
/// The register by which unwind information says where the return address is.
pub(crate) const LINK: usize = RETURN_ADDRESS;
pub(crate) const KEPT_BY_FUNCTIONS: [usize; 6] = [3, 6, 12, 13, 14, 15];
