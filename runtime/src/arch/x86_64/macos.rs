//! The context of a signal on macOS.

use super::{REGISTERS, RETURN_ADDRESS, STACK_POINTER};

/// The instruction pointer and the stack pointer of the code that a signal has interrupted.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> (usize, usize) {
    // SAFETY: by contract.
    let registers = unsafe { interrupted_registers(context) };
    (registers[RETURN_ADDRESS] as usize, registers[STACK_POINTER] as usize)
}

/// The registers of the code that a signal has interrupted, by their numbers in DWARF.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted_registers(context: *const libc::c_void) -> [u64; REGISTERS] {
    // SAFETY: by contract.
    let state = unsafe { &(*(*context.cast::<libc::ucontext_t>()).uc_mcontext).__ss };
    [
        state.__rax,
        state.__rdx,
        state.__rcx,
        state.__rbx,
        state.__rsi,
        state.__rdi,
        state.__rbp,
        state.__rsp,
        state.__r8,
        state.__r9,
        state.__r10,
        state.__r11,
        state.__r12,
        state.__r13,
        state.__r14,
        state.__r15,
        state.__rip,
    ]
}
