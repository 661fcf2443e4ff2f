//! Registers, clock, memory and system calls of x86-64.

use std::arch::asm;

/// The present thread pointer. The ABI keeps it in the first word that it points to, so no
/// privileged or optional instruction is needed to read it.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: the x86-64 TLS ABI guarantees a readable word at fs:0 that holds the FS base.
    unsafe { asm!("mov {}, fs:[0]", out(reg) tp, options(nostack, readonly, preserves_flags)) }
    tp
}

/// The approximate stack pointer: that of the function that this is inlined into.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) }
    sp
}

/// The instruction pointer and the stack pointer of the code that a signal has interrupted.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> (usize, usize) {
    // SAFETY: by contract.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize)
}

/// A counter that runs at some constant rate in the gigahertz. Only good for deciding whether some
/// time has passed.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: RDTSC is available to user code on every Linux.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// How far `ticks` advances in about 20 microseconds at common clock rates.
pub(crate) const SOME_MICROSECONDS: u64 = 50_000;

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

/// Makes a system call. Returns the kernel's answer; an error is a negative number.
///
/// # Safety
/// As for the call.
pub(crate) unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let answer;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: by contract; the kernel keeps every register but these.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// The address of a C++ runtime's function that returns where the calling thread's exceptions are
/// kept, or zero if there is no such runtime.
pub(crate) fn exception_globals_function() -> usize {
    let address;
    // SAFETY: reads a word that the linker fills in.
    unsafe {
        asm!(
            ".weak __cxa_get_globals",
            "mov {}, qword ptr [rip + __cxa_get_globals@GOTPCREL]",
            out(reg) address,
            options(nostack, readonly, preserves_flags, pure),
        );
    }
    address
}

/// How many registers unwind information speaks of, which of them are the stack pointer and the
/// return address, and which a function keeps for its caller: by their numbers in DWARF.
pub(crate) const REGISTERS: usize = 17;
pub(crate) const STACK_POINTER: usize = 7;
pub(crate) const RETURN_ADDRESS: usize = 16;
pub(crate) const KEPT_BY_FUNCTIONS: [usize; 6] = [3, 6, 12, 13, 14, 15];

/// The registers of the code that a signal has interrupted, by their numbers in DWARF.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted_registers(context: *const libc::c_void) -> [u64; REGISTERS] {
    const ORDER: [libc::c_int; REGISTERS] = [
        libc::REG_RAX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
        libc::REG_RIP,
    ];
    // SAFETY: by contract.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    ORDER.map(|register| registers[register as usize] as u64)
}
