//! The context of a signal on FreeBSD.

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
    let state = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    [
        state.mc_rax,
        state.mc_rdx,
        state.mc_rcx,
        state.mc_rbx,
        state.mc_rsi,
        state.mc_rdi,
        state.mc_rbp,
        state.mc_rsp,
        state.mc_r8,
        state.mc_r9,
        state.mc_r10,
        state.mc_r11,
        state.mc_r12,
        state.mc_r13,
        state.mc_r14,
        state.mc_r15,
        state.mc_rip,
    ]
    .map(|register| register as u64)
}
