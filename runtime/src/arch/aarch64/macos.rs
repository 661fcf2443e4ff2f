//! The context of a signal on macOS.

use super::{LINK, REGISTERS, RETURN_ADDRESS, STACK_POINTER};

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
    const FRAME: usize = 29;
    // SAFETY: by contract.
    let state = unsafe { &(*(*context.cast::<libc::ucontext_t>()).uc_mcontext).__ss };
    std::array::from_fn(|number| match number {
        FRAME => state.__fp,
        LINK => state.__lr,
        STACK_POINTER => state.__sp,
        RETURN_ADDRESS => state.__pc,
        number => state.__x[number],
    })
}
