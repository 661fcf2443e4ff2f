//! What depends on the CPU and on Linux at once: the thread pointer, system calls, the context of a
//! signal, and the text of functions that replace libc's.

use super::{REGISTERS, RETURN_ADDRESS, STACK_POINTER};
use std::arch::{asm, naked_asm};

/// The instruction pointer and the stack pointer of the code that a signal has interrupted.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> (usize, usize) {
    // SAFETY: by contract.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    (registers.pc as usize, registers.sp as usize)
}

/// The registers of the code that a signal has interrupted, by their numbers in DWARF.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted_registers(context: *const libc::c_void) -> [u64; REGISTERS] {
    // SAFETY: by contract.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    std::array::from_fn(|number| match number {
        STACK_POINTER => registers.sp,
        RETURN_ADDRESS => registers.pc,
        number => registers.regs[number],
    })
}

/// Makes a system call. Returns the kernel's answer; an error is a negative number.
///
/// # Safety
/// As for the call.
pub(crate) unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let answer;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: by contract; the kernel keeps every register but x0.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a as isize => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    answer
}

/// The present thread pointer.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: reads a register that user code may always read.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) tp, options(nomem, nostack, preserves_flags)) }
    tp
}

/// Whether user code may exchange the thread pointer: it always may.
pub(crate) fn can_carry() -> bool {
    true
}

/// The address of a C++ runtime's function that returns where the calling thread's exceptions are
/// kept, or zero if there is no such runtime.
pub(crate) fn exception_globals_function() -> usize {
    let address;
    // SAFETY: reads a word that the linker fills in.
    unsafe {
        asm!(
            ".weak __cxa_get_globals",
            "adrp {0}, :got:__cxa_get_globals",
            "ldr {0}, [{0}, :got_lo12:__cxa_get_globals]",
            out(reg) address,
            options(nostack, readonly, preserves_flags, pure),
        );
    }
    address
}

/// Calls a signal handler with the thread pointer set to `thread_pointer`, then restores the old
/// one.
///
/// # Safety
/// `handler` is the address of a function that takes the three arguments and may run under that
/// thread pointer.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_with_thread_pointer(
    handler: usize,
    signal: i32,
    info: *mut u8,
    context: *mut u8,
    thread_pointer: usize,
) {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
        "str x19, [sp, #16]",
        ".cfi_offset x19, -16",
        "mov x29, sp",
        "mrs x19, tpidr_el0",
        "msr tpidr_el0, x4",
        "mov x9, x0",
        "mov w0, w1",
        "mov x1, x2",
        "mov x2, x3",
        "blr x9",
        "msr tpidr_el0, x19",
        "ldr x19, [sp, #16]",
        ".cfi_restore x19",
        "ldp x29, x30, [sp], #32",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc"
    )
}

/// The text of a jump to `{function}`, with all arguments in place.
macro_rules! jump_to_function {
    () => {
        "b {function}"
    };
}
pub(crate) use jump_to_function;

/// The text of libc's `syscall`: a jump to `{futex}` for the call of `{futex_number}`, otherwise a
/// system call, and a jump to `{failed}` with the kernel's answer if that is an error.
///
/// A variadic function has its arguments in the same registers as any other.
macro_rules! syscall_text {
    () => {
        "cmp x0, {futex_number}
         b.ne 2f
         b {futex}
         2:
         mov x8, x0
         mov x0, x1
         mov x1, x2
         mov x2, x3
         mov x3, x4
         mov x4, x5
         mov x5, x6
         svc #0
         cmn x0, #4095
         b.hs 3f
         ret
         3:
         b {failed}"
    };
}
pub(crate) use syscall_text;
