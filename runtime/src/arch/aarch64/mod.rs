//! aarch64, the procedure call standard of Arm (AAPCS64), thread pointer in TPIDR_EL0. This file
//! switches stacks and thread pointers; [`cpu`] has registers, clock and memory, [`float`] the
//! control state of the floating-point unit.
//!
//! What a switch must keep is what the standard makes a callee keep: x19 to x29, sp, and the lower
//! halves of v8 to v15. All but x19, x29 and sp are declared clobbered, and the compiler spills
//! what it needs of them. x19 and x29 cannot be named as clobbers, so they are stored by hand. x18
//! is the platform's where it has a use for it, and a scratch register elsewhere: no switch touches
//! it. Nor does one touch FPCR, although a callee must keep it: the processor's loop compares it
//! with the default after each turn, and keeps one that differs per goroutine ([`FloatControl`]).
//!
//! A suspended stack looks like this, growing down:
//!
//! ```text
//!        |  frames of the code that has called the switch  |
//!        |  (unused: a stack pointer is a multiple of 16)   |
//!        |  x19                                            |
//!        |  address to continue at                         |
//!  sp -> |  x29                                            |
//! ```
//!
//! The lower two words are what the standard calls a frame record, so tools that follow frame
//! pointers understand a suspended stack. The side that resumes the stack takes all four words off
//! it. When execution reaches the address, the registers are those of the interrupted function, and
//! nothing is left to restore.
//!
//! A switch continues by `br`, never by `ret`. A `ret` without its `bl` would leave the CPU's
//! return predictor off by one, and every return after it would be mispredicted. With `br` the
//! predictor still holds the calls that led to the last park. Parked goroutines mostly stand at the
//! same depth of the same functions, so those predictions are mostly right for the resumed
//! goroutine, too. The register is x16, by which a branch may also reach a function that begins
//! with `bti c`.
//!
//! # Unwinding
//! A sampling profiler unwinds from a signal handler, so the unwind information (CFI) must be right
//! at every instruction. The stores of an inlined switch cannot be described as changes of the
//! surrounding function's frame, since the compiler may compute its address from sp or from x29.
//! They are described as a frame of their own instead, as if the function had called the switch:
//!
//! - x16 holds the return address, which is where the suspended code continues. (For unwinders the
//!   return address *is* x30, so it is x30 that x16 stands for.);
//! - the frame address is what sp was before it was lowered;
//! - the registers that a callee keeps are unchanged, or stand in the words stored.
//!
//! When sp has changed, the same words of the other stack describe the same frame there. So a walk
//! finds the function that is left, and one instruction later a walk finds the function that is
//! resumed. A return address is looked up one byte before it, hence the `nop` before each such
//! label: it is never executed, and has the same unwind state as the label.

mod cpu;
mod float;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_vendor = "apple")]
mod macos;
mod request;

pub(crate) use cpu::*;
pub(crate) use float::FloatControl;
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

/// The registers that a callee keeps, as seen from a switch in which they have not changed yet. The
/// surrounding function may have said that they are in its frame.
macro_rules! callee_saved_are_unchanged {
    () => {
        concat!(
            cfi!(".cfi_same_value x19\n"),
            cfi!(".cfi_same_value x20\n"),
            cfi!(".cfi_same_value x21\n"),
            cfi!(".cfi_same_value x22\n"),
            cfi!(".cfi_same_value x23\n"),
            cfi!(".cfi_same_value x24\n"),
            cfi!(".cfi_same_value x25\n"),
            cfi!(".cfi_same_value x26\n"),
            cfi!(".cfi_same_value x27\n"),
            cfi!(".cfi_same_value x28\n"),
            cfi!(".cfi_same_value x29\n"),
            cfi!(".cfi_same_value b8\n"),
            cfi!(".cfi_same_value b9\n"),
            cfi!(".cfi_same_value b10\n"),
            cfi!(".cfi_same_value b11\n"),
            cfi!(".cfi_same_value b12\n"),
            cfi!(".cfi_same_value b13\n"),
            cfi!(".cfi_same_value b14\n"),
            cfi!(".cfi_same_value b15\n"),
        )
    };
}

/// The first half of an inlined switch: leaves the stack, and stores its stack pointer where x0
/// points. The code continues at label 2 when it is resumed.
macro_rules! leave {
    () => {
        concat!(
            "adr x16, 2f\n",
            cfi!(".cfi_remember_state\n"),
            cfi!(".cfi_def_cfa sp, 0\n"),
            cfi!(".cfi_register x30, x16\n"),
            callee_saved_are_unchanged!(),
            "stp x29, x16, [sp, #-32]!\n",
            cfi!(".cfi_def_cfa_offset 32\n"),
            "str x19, [sp, #16]\n",
            "mov x17, sp\n",
            "str x17, [x0]\n",
        )
    };
}

/// The second half: continues a stack that [`leave!`] has left. The given register, which is not
/// x16 or x29, holds its stack pointer.
macro_rules! resume {
    ($sp:literal) => {
        concat!(
            "mov sp, ",
            $sp,
            "\n",
            cfi!(".cfi_def_cfa sp, 32\n"),
            cfi!(".cfi_offset x29, -32\n"),
            cfi!(".cfi_offset x30, -24\n"),
            cfi!(".cfi_offset x19, -16\n"),
            "ldr x19, [sp, #16]\n",
            cfi!(".cfi_same_value x19\n"),
            "ldp x29, x16, [sp], #32\n",
            cfi!(".cfi_def_cfa_offset 0\n"),
            cfi!(".cfi_same_value x29\n"),
            cfi!(".cfi_register x30, x16\n"),
            "br x16\n",
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
    // SAFETY: by contract `to` points to the four words that are stored here. Every register that
    // the other side may change is declared: those that a callee keeps by name, the others by the
    // convention, which clobbers the vector registers whole.
    unsafe {
        asm!(
            leave!(),
            resume!("x1"),
            continued!(),
            inout("x0") save => _,
            inout("x1") to => _,
            out("x20") _,
            out("x21") _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
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
            "mov sp, x1",
            // An empty stack ends here.
            cfi!(".cfi_undefined x30"),
            "b {root}",
            continued!(),
            root = sym root,
            inout("x0") save => _,
            inout("x1") base => _,
            inout("x2") entry.run => _,
            inout("x3") entry.argument => _,
            inout("x20") entry.context => _,
            inout("x21") entry.finish => _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
            clobber_abi("C"),
        );
    }
}

/// The outermost frame of every stack that [`start`] enters: calls x2 with x3, then x21 with x20.
/// The first call preserves x20 and x21.
///
/// The return address is declared undefined, so the unwinder and debuggers know that the stack ends
/// here. x29 and x30 are cleared for tools that follow frame pointers.
#[unsafe(naked)]
unsafe extern "C" fn root() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "mov x29, #0",
        "mov x30, #0",
        "mov x0, x3",
        "blr x2",
        "mov x0, x20",
        "blr x21",
        "brk #1",
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
///        |  x30: the return address     |     base ->  |                                  |
///        |  x29                         |  <- x29      |  frames of `run`, which returns  |
///        |  relay                       |              |  into `call_on`                  |
///        |  argument                    |
///        |  (unused)                    |
///        |  x19                         |
///        |  address of label 2          |
///  suspended ->  x29: the frame pointer |
/// ```
///
/// The frame on the left never moves while `run` lasts, however often the stacks change: label 2
/// takes the four words off, calls the relay, then stores them again. Both sides of the call find
/// the frame through x29, which is an ordinary frame pointer. Unwinders get from the other stack to
/// the caller's by the CFI below, and tools that follow frame pointers get there, too.
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
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        ".cfi_def_cfa_register x29",
        "stp x2, x3, [sp, #-16]!",
        "adr x16, 2f",
        "stp x29, x16, [sp, #-32]!",
        "str x19, [sp, #16]",
        "mov x17, sp",
        "str x17, [x4]",
        "mov sp, x0",
        "mov x0, x2",
        "blr x1",
        "mov sp, x29",
        ".cfi_def_cfa_register sp",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        // The other stack has switched to `suspended`. x29 is the frame pointer again, the stack
        // pointer points to the argument, and the other registers are those of the other stack. An
        // unwinder cannot recover the caller's values of them.
        ".cfi_def_cfa x29, 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        ".cfi_undefined x19",
        ".cfi_undefined x20",
        ".cfi_undefined x21",
        ".cfi_undefined x22",
        ".cfi_undefined x23",
        ".cfi_undefined x24",
        ".cfi_undefined x25",
        ".cfi_undefined x26",
        ".cfi_undefined x27",
        ".cfi_undefined x28",
        "nop",
        "2:",
        "ldp x0, x9, [x29, #-16]",
        "blr x9",
        "adr x16, 2b",
        "stp x29, x16, [sp, #-32]!",
        "str x19, [sp, #16]",
        // The rest of `switch`. By the convention of `switch`, the continued code expects nothing
        // of the other registers.
        resume!("x0"),
        ".cfi_endproc"
    )
}

/// Calls `f(argument)` on a stack that [`switch`] has suspended at `sp`, as if the suspended code
/// had made the call, and leaves the stack as it was. The thread pointer stays. An unwinder in `f`
/// finds the frames of that stack.
///
/// ```text
///     the suspended stack, during the call
///        |  frames                  |
///        |  (unused)                |
///        |  x19                     |
///        |  address to continue at  |  taken for the call's return address
///  sp -> |  x29                     |  <- x29
///        |  frame of f              |
/// ```
///
/// # Safety
/// The stack's bytes are in place and it has room for what `f` does. Its thread pointer is the
/// present one. `f` may be called with `argument` and does not unwind.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_suspended(sp: usize, f: extern "C" fn(usize), argument: usize) {
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
        "str x19, [sp, #16]",
        ".cfi_offset x19, -16",
        "mov x19, sp",
        ".cfi_remember_state",
        // From here on the caller's frames are those of the suspended stack, where the same words
        // are in the same places.
        "mov sp, x0",
        "mov x29, sp",
        "mov x0, x2",
        "blr x1",
        "mov sp, x19",
        ".cfi_restore_state",
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

/// The bytes that [`switch_carrying`] stores: x19 to x30, and the lower halves of v8 to v15.
const KEPT: usize = (12 + 8) * size_of::<usize>();

/// Builds a suspended stack for [`switch_carrying`] that will call `entry(arg)`, and returns its
/// stack pointer.
///
/// # Safety
/// `base` is the 16-byte aligned upper end of at least 256 writable bytes that nothing else uses,
/// and `entry` never returns.
pub(crate) unsafe fn prepare(base: usize, entry: extern "C" fn(usize) -> !, arg: usize) -> usize {
    const { assert!(KEPT <= 256 && KEPT.is_multiple_of(16)) };
    let sp = base - KEPT;
    let root = root_carried as *const () as usize + ROOTS_NOP;
    // In the order in which `switch_carrying` stores them; what follows is zero. At `root_carried`
    // the stack pointer is `base`.
    let first = [0 /* x29 */, root, arg /* x19 */, entry as usize /* x20 */];
    // SAFETY: 160 of the 256 bytes promised.
    unsafe {
        std::ptr::write_bytes(sp as *mut u8, 0, KEPT);
        (sp as *mut [usize; 4]).write(first);
    }
    sp
}

/// The outermost frame of a stack that [`prepare`] built: `arg` comes in x19 and `entry` in x20. It
/// is entered after its `nop`: an unwinder looks up a return address one byte before it, and still
/// finds this function.
#[unsafe(naked)]
unsafe extern "C" fn root_carried() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "nop",
        "mov x0, x19",
        "blr x20",
        "brk #1",
        ".cfi_endproc"
    )
}

/// The length of the `nop` in `root_carried`.
const ROOTS_NOP: usize = 4;

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
    // The CFI stays the same when sp changes: both stacks have the same words in the same places.
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-160]!",
        ".cfi_def_cfa_offset 160",
        ".cfi_offset x29, -160",
        ".cfi_offset x30, -152",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        ".cfi_offset x19, -144",
        ".cfi_offset x20, -136",
        ".cfi_offset x21, -128",
        ".cfi_offset x22, -120",
        ".cfi_offset x23, -112",
        ".cfi_offset x24, -104",
        ".cfi_offset x25, -96",
        ".cfi_offset x26, -88",
        ".cfi_offset x27, -80",
        ".cfi_offset x28, -72",
        ".cfi_offset b8, -64",
        ".cfi_offset b9, -56",
        ".cfi_offset b10, -48",
        ".cfi_offset b11, -40",
        ".cfi_offset b12, -32",
        ".cfi_offset b13, -24",
        ".cfi_offset b14, -16",
        ".cfi_offset b15, -8",
        "mov x17, sp",
        "str x17, [x0]",
        "mov sp, x1",
        "cbz x2, 2f",
        "msr tpidr_el0, x2",
        "2:",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp d8, d9, [sp, #96]",
        "ldp d10, d11, [sp, #112]",
        "ldp d12, d13, [sp, #128]",
        "ldp d14, d15, [sp, #144]",
        // Until sp is raised, the words are still there for the unwinder.
        "ldp x29, x16, [sp], #160",
        ".cfi_def_cfa_offset 0",
        ".cfi_register x30, x16",
        ".cfi_restore x29",
        ".cfi_restore x19",
        ".cfi_restore x20",
        ".cfi_restore x21",
        ".cfi_restore x22",
        ".cfi_restore x23",
        ".cfi_restore x24",
        ".cfi_restore x25",
        ".cfi_restore x26",
        ".cfi_restore x27",
        ".cfi_restore x28",
        ".cfi_restore b8",
        ".cfi_restore b9",
        ".cfi_restore b10",
        ".cfi_restore b11",
        ".cfi_restore b12",
        ".cfi_restore b13",
        ".cfi_restore b14",
        ".cfi_restore b15",
        "br x16",
        ".cfi_endproc"
    )
}
