//! x86-64, System V calling convention, thread pointer in the FS base. This file switches stacks
//! and thread pointers; [`cpu`] has registers, clock and memory, [`float`] the control state of the
//! floating-point units.
//!
//! What a switch must keep is what the convention makes a callee keep: rbx, rbp, r12 to r15 and
//! rsp. Everything else is declared clobbered and the compiler spills what it needs. rbx and rbp
//! cannot be named as clobbers, so they are pushed by hand. A switch does not touch the x87 control
//! word and MXCSR, although the convention makes a callee keep their control bits: the processor's
//! loop compares them with the default after each turn, and keeps those that differ per goroutine
//! ([`FloatControl`]).
//!
//! A suspended stack looks like this, growing down:
//!
//! ```text
//!        |  frames of the code that has called the switch  |
//!        |  rbp                                            |
//!        |  rbx                                            |
//!  sp -> |  address to continue at                         |
//! ```
//!
//! The side that resumes the stack pops all three words. When execution reaches the address, the
//! registers are those of the interrupted function, and nothing is left to restore.
//!
//! A switch continues by `jmp`, never by `ret`. A `ret` without its `call` would leave the CPU's
//! return predictor off by one, and every return after it would be mispredicted. With `jmp` the
//! predictor still holds the calls that led to the last park. Parked goroutines mostly stand at the
//! same depth of the same functions, so those predictions are mostly right for the resumed
//! goroutine, too.
//!
//! # Unwinding
//! A sampling profiler unwinds from a signal handler, so the unwind information (CFI) must be right
//! at every instruction. The pushes of an inlined switch cannot be described as changes of the
//! surrounding function's frame, since the compiler may compute its address from rsp or from rbp.
//! They are described as a frame of their own instead, as if the function had called the switch:
//!
//! - rax holds the return address, which is where the suspended code continues;
//! - the frame address is what rsp was before the first push;
//! - the registers that a callee keeps are unchanged, or stand in the words pushed.
//!
//! When rsp has changed, the same words of the other stack describe the same frame there. So a walk
//! finds the function that is left, and one instruction later a walk finds the function that is
//! resumed. A return address is looked up one byte before it, hence the `nop` before each such
//! label: it is never executed, and has the same unwind state as the label.

mod cpu;
mod float;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_vendor = "apple")]
mod macos;
mod request;

pub(crate) use cpu::*;
pub(crate) use float::FloatControl;
#[cfg(target_os = "freebsd")]
pub(crate) use freebsd::*;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_vendor = "apple")]
pub(crate) use macos::*;
pub(crate) use request::valgrind_request;
use std::arch::{asm, naked_asm};

/// An unwind directive in an inlined switch. The assembler refuses it in a function without unwind
/// tables.
#[cfg(not(narrowboat_no_unwind_tables))]
macro_rules! cfi {
    ($directive:literal) => {
        $directive
    };
}
#[cfg(narrowboat_no_unwind_tables)]
macro_rules! cfi {
    ($directive:literal) => {
        ""
    };
}

/// The first half of an inlined switch: leaves the stack, and stores its stack pointer where rdi
/// points. The code continues at label 2 when it is resumed.
macro_rules! leave {
    () => {
        concat!(
            "lea rax, [rip + 2f]\n",
            cfi!(".cfi_remember_state\n"),
            cfi!(".cfi_def_cfa rsp, 0\n"),
            cfi!(".cfi_register rip, rax\n"),
            cfi!(".cfi_same_value rbx\n"),
            cfi!(".cfi_same_value rbp\n"),
            cfi!(".cfi_same_value r12\n"),
            cfi!(".cfi_same_value r13\n"),
            cfi!(".cfi_same_value r14\n"),
            cfi!(".cfi_same_value r15\n"),
            "push rbp\n",
            cfi!(".cfi_def_cfa_offset 8\n"),
            "push rbx\n",
            cfi!(".cfi_def_cfa_offset 16\n"),
            "push rax\n",
            cfi!(".cfi_def_cfa_offset 24\n"),
            "mov [rdi], rsp\n",
        )
    };
}

/// The second half: continues a stack that [`leave!`] has left. The given register holds its stack
/// pointer.
macro_rules! resume {
    ($sp:literal) => {
        concat!(
            "mov rsp, ",
            $sp,
            "\n",
            cfi!(".cfi_def_cfa rsp, 24\n"),
            cfi!(".cfi_offset rip, -24\n"),
            cfi!(".cfi_offset rbx, -16\n"),
            cfi!(".cfi_offset rbp, -8\n"),
            "pop rax\n",
            cfi!(".cfi_def_cfa_offset 16\n"),
            cfi!(".cfi_register rip, rax\n"),
            "pop rbx\n",
            cfi!(".cfi_def_cfa_offset 8\n"),
            cfi!(".cfi_same_value rbx\n"),
            "pop rbp\n",
            cfi!(".cfi_def_cfa_offset 0\n"),
            cfi!(".cfi_same_value rbp\n"),
            "jmp rax\n",
        )
    };
}

/// The end of an inlined switch: where the suspended code continues.
macro_rules! continued {
    () => {
        concat!(cfi!(".cfi_restore_state\n"), "nop\n", "2:\n")
    };
}

/// Suspends the running code, stores its stack pointer to `save`, and continues the code that was
/// suspended with stack pointer `to`. Returns when the stack pointer in `save` is switched to.
///
/// # Safety
/// `to` was stored by [`switch`] or [`start`], its stack still holds the bytes that it held then,
/// it is continued once, and its thread pointer is the present one. `save` may be written.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut usize, to: usize) {
    // SAFETY: by contract `to` points to the address to continue at and the two registers above it,
    // all in the layout that is pushed here. Every register that the other side may change is
    // declared.
    unsafe {
        asm!(
            leave!(),
            resume!("rsi"),
            continued!(),
            inout("rdi") save => _,
            inout("rsi") to => _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("C"),
        );
    }
}

/// What a fresh stack does: it calls `run(argument)`, then `finish(context)`, which does not
/// return.
///
/// The outermost frame makes both calls, instead of one function that it calls: each frame around
/// `run` would be copied with every parked goroutine.
pub(crate) struct EntryPoint {
    pub(crate) run: unsafe extern "C" fn(usize),
    pub(crate) argument: usize,
    pub(crate) finish: unsafe extern "C" fn(usize) -> !,
    pub(crate) context: usize,
}

/// Suspends the running code as [`switch`] does and enters the empty stack that ends at `base`.
///
/// # Safety
/// `base` is the 16-byte aligned upper end of writable memory that nothing else uses. The present
/// thread pointer is the one that this stack is to have. The functions may be called with their
/// arguments. `save` may be written.
#[inline(always)]
pub(crate) unsafe fn start(save: *mut usize, base: usize, entry: EntryPoint) {
    // SAFETY: as in `switch`; the new stack holds nothing yet, so nothing on it is read.
    unsafe {
        asm!(
            leave!(),
            "mov rsp, rsi",
            // An empty stack ends here.
            cfi!(".cfi_undefined rip"),
            "jmp {root}",
            continued!(),
            root = sym root,
            inout("rdi") save => _,
            inout("rsi") base => _,
            inout("rcx") entry.run => _,
            inout("rdx") entry.argument => _,
            inout("r12") entry.context => _,
            inout("r13") entry.finish => _,
            out("r14") _,
            out("r15") _,
            clobber_abi("C"),
        );
    }
}

/// The outermost frame of every stack that [`start`] enters: calls rcx with rdx, then r13 with r12.
/// The first call preserves r12 and r13.
///
/// The return address is declared undefined, so the unwinder and debuggers know that the stack ends
/// here. rbp is cleared for tools that follow frame pointers.
#[unsafe(naked)]
unsafe extern "C" fn root() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "xor ebp, ebp",
        "mov rdi, rdx",
        "call rcx",
        "mov rdi, r12",
        "call r13",
        "ud2",
        ".cfi_endproc"
    )
}

/// Calls `run(argument)` on the empty stack that ends at `base`, and returns when that returns. The
/// thread pointer stays.
///
/// Code that `run` calls may suspend itself with [`switch`] to the stack pointer stored in
/// `suspended`, as if the caller's stack were a loop that it returns to. There, `relay(argument)`
/// is called. It may suspend the caller's stack, too. It returns the stack pointer at which the
/// other stack continues, and that stack is then continued. So there are two ways out of `run`, and
/// only one of them ends it.
///
/// ```text
///     the caller's stack                              the other stack
///        |  return address              |     base ->  |                                  |
///        |  rbp                         |  <- rbp      |  return address into `call_on`   |
///        |  relay                       |              |  frames of `run`                 |
///        |  argument                    |
///        |  rbp: the frame pointer      |
///        |  rbx                         |
///  suspended ->  address of label 2     |
/// ```
///
/// The frame on the left never moves while `run` lasts, however often the stacks change: label 2
/// pops the three words, calls the relay, then pushes them again. Both sides of the call find the
/// frame through rbp, which is an ordinary frame pointer. Unwinders get from the other stack to the
/// caller's by the CFI below, and tools that follow frame pointers get there, too.
///
/// # Safety
/// `base` is the 16-byte aligned upper end of writable memory that nothing else uses. The functions
/// may be called with `argument` and do not unwind. `suspended` may be written. The stack pointer
/// stored there is used as [`switch`] requires, but any number of times. Code on the other stack
/// has this thread pointer.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_on(
    base: usize,
    run: unsafe extern "C" fn(usize),
    argument: usize,
    relay: unsafe extern "C" fn(usize) -> usize,
    suspended: *mut usize,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rcx",
        "push rdx",
        "push rbp",
        "push rbx",
        "lea rax, [rip + 2f]",
        "push rax",
        "mov [r8], rsp",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        ".cfi_def_cfa_register rsp",
        "pop rbp",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore rbp",
        "ret",
        // The other stack has switched to `suspended`. rbp is the frame pointer again, the stack
        // pointer points to the argument, and the other registers are those of the other stack. An
        // unwinder cannot recover the caller's values of them.
        ".cfi_def_cfa rbp, 16",
        ".cfi_offset rbp, -16",
        ".cfi_undefined rbx",
        ".cfi_undefined r12",
        ".cfi_undefined r13",
        ".cfi_undefined r14",
        ".cfi_undefined r15",
        "nop",
        "2:",
        "mov rdi, [rbp - 16]",
        "call [rbp - 8]",
        "lea rcx, [rip + 2b]",
        "push rbp",
        "push rbx",
        "push rcx",
        // The rest of `switch`. By the convention of `switch`, the continued code expects nothing
        // of the other registers.
        resume!("rax"),
        ".cfi_endproc"
    )
}

/// Calls `f(argument)` on a stack that [`switch`] has suspended at `sp`, as if the suspended code
/// had made the call, and leaves the stack as it was. The thread pointer stays. An unwinder in `f`
/// finds the frames of that stack.
///
/// ```text
///     the suspended stack            during the call
///        |  frames           |          |  frames                    |
///        |  rbp              |          |  address to continue at    |  taken for the call's return address
///        |  rbx              |          |  (alignment)               |
///  sp -> |  address          |          |  return address, frame of f
/// ```
///
/// # Safety
/// The stack's bytes are in place and it has room for what `f` does. Its thread pointer is the
/// present one. `f` may be called with `argument` and does not unwind.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_suspended(sp: usize, f: extern "C" fn(usize), argument: usize) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "push rbx",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset r12, -32",
        "mov r12, rsp",
        ".cfi_remember_state",
        "mov rsp, rdi",
        // From here on the caller's frames are those of the suspended stack.
        ".cfi_def_cfa rsp, 24",
        ".cfi_offset rip, -24",
        ".cfi_offset rbx, -16",
        ".cfi_offset rbp, -8",
        ".cfi_undefined r12",
        "pop rax",
        ".cfi_def_cfa_offset 16",
        ".cfi_register rip, rax",
        "pop rbx",
        ".cfi_def_cfa_offset 8",
        ".cfi_same_value rbx",
        "pop rbp",
        ".cfi_def_cfa_offset 0",
        ".cfi_same_value rbp",
        "push rax",
        ".cfi_def_cfa_offset 8",
        ".cfi_offset rip, -8",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 16",
        "mov rdi, rdx",
        "call rsi",
        "add rsp, 8",
        ".cfi_def_cfa_offset 8",
        "pop rax",
        ".cfi_def_cfa_offset 0",
        ".cfi_register rip, rax",
        "push rbp",
        ".cfi_def_cfa_offset 8",
        "push rbx",
        ".cfi_def_cfa_offset 16",
        "push rax",
        ".cfi_def_cfa_offset 24",
        "mov rsp, r12",
        ".cfi_restore_state",
        "pop r12",
        ".cfi_def_cfa_offset 24",
        ".cfi_restore r12",
        "pop rbx",
        ".cfi_def_cfa_offset 16",
        ".cfi_restore rbx",
        "pop rbp",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore rbp",
        "ret",
        ".cfi_endproc"
    )
}

/// Builds a suspended stack for [`switch_carrying`] that will call `entry(arg)`, and returns its
/// stack pointer.
///
/// # Safety
/// `base` is the 16-byte aligned upper end of at least 256 writable bytes that nothing else uses,
/// and `entry` never returns.
pub(crate) unsafe fn prepare(base: usize, entry: extern "C" fn(usize) -> !, arg: usize) -> usize {
    let mut sp = base as *mut usize;
    // The reverse of the order in which `switch_carrying` pops them. At `root_carried` the stack
    // pointer is `base`.
    let root = root_carried as *const () as usize + ROOTS_NOP;
    let frame = [root, 0 /* rbp */, 0 /* rbx */, arg, entry as usize, 0, 0];
    for word in frame {
        // SAFETY: 56 of the 256 bytes promised.
        unsafe {
            sp = sp.sub(1);
            sp.write(word);
        }
    }
    sp as usize
}

/// The outermost frame of a stack that [`prepare`] built: `arg` comes in r12 and `entry` in r13. It
/// is entered after its `nop`: an unwinder looks up a return address one byte before it, and still
/// finds this function.
#[unsafe(naked)]
unsafe extern "C" fn root_carried() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "nop",
        "mov rdi, r12",
        "call r13",
        "ud2",
        ".cfi_endproc"
    )
}

/// The length of the `nop` in `root_carried`.
const ROOTS_NOP: usize = 1;

/// Tells [`switch_carrying`] to leave the thread pointer as it is.
pub(crate) const SAME_THREAD_POINTER: usize = 0;

/// [`switch`], but sets the thread pointer to `tp` at the moment when the stacks change, unless
/// that is [`SAME_THREAD_POINTER`].
///
/// A function of its own, not inlined: it runs once per batch of goroutines, and neither side may
/// have a thread-local address of the other in a register.
///
/// # Safety
/// As for [`switch`], but `to` comes from [`prepare`] or this function, and `tp` is the thread
/// pointer of that stack. If that is not the present one, the system lets user code write the
/// thread pointer ([`can_carry`](super::can_carry)).
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_carrying(save: *mut usize, to: usize, tp: usize) {
    // The CFI stays the same when rsp changes: both stacks have the same words in the same places.
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "push rbx",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_def_cfa_offset 40",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_def_cfa_offset 48",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_def_cfa_offset 56",
        ".cfi_offset r15, -56",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "test rdx, rdx",
        "jz 2f",
        "wrfsbase rdx",
        "2:",
        "pop r15",
        ".cfi_def_cfa_offset 48",
        ".cfi_restore r15",
        "pop r14",
        ".cfi_def_cfa_offset 40",
        ".cfi_restore r14",
        "pop r13",
        ".cfi_def_cfa_offset 32",
        ".cfi_restore r13",
        "pop r12",
        ".cfi_def_cfa_offset 24",
        ".cfi_restore r12",
        "pop rbx",
        ".cfi_def_cfa_offset 16",
        ".cfi_restore rbx",
        "pop rbp",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore rbp",
        "pop rcx",
        ".cfi_def_cfa_offset 0",
        ".cfi_register rip, rcx",
        "jmp rcx",
        ".cfi_endproc"
    )
}
