//! What depends on the CPU and on Linux at once: the thread pointer, system calls, the context of a
//! signal, and the text of functions that replace libc's.

use super::REGISTERS;
use std::arch::{asm, naked_asm};

/// Bit 1 of AT_HWCAP2: the kernel (5.9 and later) has enabled `wrfsbase` for user code.
const HWCAP2_FSGSBASE: libc::c_ulong = 1 << 1;

/// The instruction pointer and the stack pointer of the code that a signal has interrupted.
///
/// # Safety
/// `context` is what the kernel passed to a handler.
pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> (usize, usize) {
    // SAFETY: by contract.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize)
}

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

/// The present thread pointer. The ABI keeps it in the first word that it points to, so no
/// privileged or optional instruction is needed to read it.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: the x86-64 TLS ABI guarantees a readable word at fs:0 that holds the FS base.
    unsafe { asm!("mov {}, fs:[0]", out(reg) tp, options(nostack, readonly, preserves_flags)) }
    tp
}

/// Whether user code may exchange the thread pointer.
pub(crate) fn can_carry() -> bool {
    // SAFETY: a plain query.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0 }
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

/// Calls a signal handler with the thread pointer set to `thread_pointer`, then restores the old
/// one.
///
/// # Safety
/// `handler` is the address of a function that takes the three arguments and may run under that
/// thread pointer, and the kernel lets user code write the FS base.
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
        "push rbx",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbx, -16",
        "mov rbx, fs:[0]",
        "wrfsbase r8",
        "mov rax, rdi",
        "mov edi, esi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "call rax",
        "wrfsbase rbx",
        "pop rbx",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore rbx",
        "ret",
        ".cfi_endproc"
    )
}

/// The text of a jump to `{function}`, with all arguments in place.
macro_rules! jump_to_function {
    () => {
        "jmp {function}"
    };
}
pub(crate) use jump_to_function;

/// The text of libc's `syscall`: a jump to `{futex}` for the call of `{futex_number}`, otherwise a
/// system call, and a jump to `{failed}` with the kernel's answer if that is an error.
///
/// The arguments of a variadic function are in the same registers as those of any other, the seventh
/// on the stack.
macro_rules! syscall_text {
    () => {
        "cmp rdi, {futex_number}
         je {futex}
         mov rax, rdi
         mov rdi, rsi
         mov rsi, rdx
         mov rdx, rcx
         mov r10, r8
         mov r8, r9
         mov r9, [rsp + 8]
         syscall
         cmp rax, -4095
         jae 3f
         ret
         3:
         mov rdi, rax
         jmp {failed}"
    };
}
pub(crate) use syscall_text;
