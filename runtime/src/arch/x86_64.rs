//! x86-64, System V calling convention, thread pointer in the FS base.
//!
//! What a switch must keep is what the convention makes a callee keep: rbx, rbp, r12 to r15 and
//! rsp. Everything else is declared clobbered and the compiler spills what it needs. rbx and rbp
//! cannot be named as clobbers, so they are pushed by hand. The x87 control word and MXCSR are left
//! alone: Rust forbids changing them.
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
//! The side that resumes it takes all three words off. At the address the registers are those of
//! the interrupted function, with nothing left to restore.
//!
//! A switch continues by `jmp`, never by `ret`. A `ret` without its `call` would leave the CPU's
//! return predictor off by one, and every return after it would be mispredicted. With `jmp` the
//! predictor still holds the calls that led to the last park, and since parked goroutines mostly
//! stand at the same depth of the same functions, those predictions are even right for the
//! goroutine that is resumed.
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
//! When rsp has changed, the same words of the other stack describe the same frame there. So one
//! walk finds the function that is left and the next one, an instruction later, the function that
//! is resumed. A return address is looked up one byte before it, hence the `nop` before each such
//! label: it is never executed, and has the state of the label.

use std::arch::{asm, naked_asm};

/// A directive about unwinding in an inlined switch. The assembler refuses it in a function without
/// unwind tables.
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

/// The first half of an inlined switch: leaves the stack with rdi showing the place for its stack
/// pointer, and continues at label 2 when it is resumed.
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

/// The second half: continues a stack that [`leave!`] has left, whose stack pointer is in the
/// register.
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

/// Suspends the running code, storing its stack pointer to `save`, and continues the code that was
/// suspended with stack pointer `to`. Returns when the stack pointer in `save` is switched to.
///
/// # Safety
/// `to` was stored by [`switch`] or [`start`], its stack still holds the bytes it held then, it is
/// continued once, and its thread pointer is the one in force. `save` may be written.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut usize, to: usize) {
    // SAFETY: by contract `to` shows the address to continue at and the two registers above it, all
    // of the same layout as pushed here. Every register that the other side may change is declared.
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

/// What a fresh stack is to do: call `run(argument)`, then `finish(context)`, which does not
/// return.
///
/// Two calls from the outermost frame instead of one that makes both: whatever stands below `run`
/// is copied with every parked goroutine.
pub(crate) struct EntryPoint {
    pub(crate) run: unsafe extern "C" fn(usize),
    pub(crate) argument: usize,
    pub(crate) finish: unsafe extern "C" fn(usize) -> !,
    pub(crate) context: usize,
}

/// Suspends the running code as [`switch`] does and enters the empty stack that ends at `base`.
///
/// # Safety
/// `base` is the 16-byte aligned upper end of writable memory that nobody else uses, the thread
/// pointer in force is the one that this stack shall have, and the functions may be called with
/// their arguments. `save` may be written.
#[inline(always)]
pub(crate) unsafe fn start(save: *mut usize, base: usize, entry: EntryPoint) {
    // SAFETY: as in `switch`; the new stack holds nothing yet, so nothing of it is read.
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
/// Both of the latter are registers that the first call keeps.
///
/// The return address is declared undefined, which is how the unwinder and debuggers know that the
/// stack ends here. rbp is cleared for those that follow frame pointers.
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
/// What `run` calls may suspend itself with [`switch`] to the stack pointer stored in `suspended`,
/// as if the caller's stack were a loop that it returns to. There, `relay(argument)` is called. It
/// may suspend the caller's stack in its turn, and returns the stack pointer at which the other
/// stack is to be continued, which is then done. So there are two ways out of `run` and only one
/// that ends it.
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
/// calls the relay in place of the three words, then puts them back. Both sides of the call find
/// the frame through rbp, which is an ordinary frame pointer: unwinders get from the other stack to
/// the caller's by the CFI below, and those that follow frame pointers get there, too.
///
/// # Safety
/// `base` is the 16-byte aligned upper end of writable memory that nobody else uses; the functions
/// may be called with `argument` and do not unwind; `suspended` may be written; the stack pointer
/// stored there is used as [`switch`] demands, but any number of times. What runs on the other
/// stack has this thread pointer.
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
        // The other stack has switched to `suspended`: rbp is the frame pointer again, the stack
        // pointer shows the argument, and the other registers are those of the other stack. What
        // they were for the caller is lost to an unwinder.
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
        // The rest of `switch`. The convention of `switch` lets the code there expect nothing of
        // the other registers.
        resume!("rax"),
        ".cfi_endproc"
    )
}

/// Calls `f(argument)` on a stack that [`switch`] has suspended at `sp`, as if the code there had
/// made the call, and leaves the stack as it was. The thread pointer stays. What unwinds from `f`
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
/// The stack's bytes are in place and it has room for what `f` does; its thread pointer is the one
/// in force; `f` may be called with `argument` and does not unwind.
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
/// `base` is the 16-byte aligned upper end of at least 128 writable bytes that nobody else uses,
/// and `entry` never returns.
pub(crate) unsafe fn prepare(base: usize, entry: extern "C" fn(usize) -> !, arg: usize) -> usize {
    let mut sp = base as *mut usize;
    // In the order in which `switch_carrying` pops them, last first. At `root_carried` the stack
    // pointer is `base`.
    let root = root_carried as *const () as usize + ROOTS_NOP;
    let frame = [root, 0 /* rbp */, 0 /* rbx */, arg, entry as usize, 0, 0];
    for word in frame {
        // SAFETY: 56 of the 128 bytes promised.
        unsafe {
            sp = sp.sub(1);
            sp.write(word);
        }
    }
    sp as usize
}

/// The outermost frame of a stack that [`prepare`] built: `arg` comes in r12 and `entry` in r13. It
/// begins behind its `nop`, so that its address, looked up as that of a caller, is found here, too.
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

/// The length of that `nop`.
const ROOTS_NOP: usize = 1;

/// Leaves the thread pointer as it is, in [`switch_carrying`].
pub(crate) const SAME_THREAD_POINTER: usize = 0;

/// [`switch`], with the thread pointer set to `tp` at the moment when the stacks change, unless
/// that is [`SAME_THREAD_POINTER`].
///
/// A function of its own, not inlined: it runs once per batch of goroutines, and both sides of it
/// must be sure that no thread-local address of the other is in a register.
///
/// # Safety
/// As for [`switch`], but `to` comes from [`prepare`] or this function, and `tp` is the thread
/// pointer of that stack. If that is another one than the present, the kernel lets user code write
/// the FS base ([`crate::sys::can_carry`]).
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_carrying(save: *mut usize, to: usize, tp: usize) {
    // When rsp changes the CFI stays: both stacks have the same words in the same places.
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

/// The thread pointer in force. The ABI keeps it in the first word that it points to, so that no
/// privileged or optional instruction is needed to read it.
#[inline(always)]
pub(crate) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: the x86-64 TLS ABI guarantees a readable word at fs:0 that holds the FS base.
    unsafe { asm!("mov {}, fs:[0]", out(reg) tp, options(nostack, readonly, preserves_flags)) }
    tp
}

/// The stack pointer, more or less: that of the function that this is inlined into.
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

/// A counter that runs at some constant rate in the gigahertz: good for "has a while passed?", for
/// nothing else.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: RDTSC is available to user code on every Linux.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// How far `ticks` advances in about 20 microseconds at common clock rates.
pub(crate) const SOME_MICROSECONDS: u64 = 50_000;

/// Asks for the cache line at `address`, which need not be mapped.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    // SAFETY: a prefetch of any address is only a hint.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address as *const i8) }
}

/// Exchanges `len` bytes, a multiple of eight.
///
/// # Safety
/// Both ranges are readable and writable, nobody else uses them, and they do not overlap.
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

/// Calls a signal handler with the thread pointer set to `thread_pointer`, and puts the old one
/// back.
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

/// A system call: the kernel's answer, an error as its negative number.
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

/// How the floating-point units round and what they trap: the control bits of MXCSR and the x87
/// control word. A thread of C may change them, and expects to find them so after a call that
/// blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FloatControl {
    mxcsr: u16,
    x87: u16,
}

impl FloatControl {
    /// What the ABI says that a program begins with.
    pub(crate) const DEFAULT: FloatControl = FloatControl { mxcsr: 0x1f80, x87: 0x037f };
    /// The flags of exceptions that have happened.
    const STATUS: u16 = 0x3f;

    /// What is in force.
    #[inline(always)]
    pub(crate) fn now() -> FloatControl {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: the two instructions store four and two bytes.
        unsafe {
            asm!(
                "stmxcsr [{}]", "fnstcw [{}]",
                in(reg) &raw mut mxcsr, in(reg) &raw mut x87,
                options(nostack, preserves_flags),
            );
        }
        FloatControl { mxcsr: mxcsr as u16 & !FloatControl::STATUS, x87 }
    }

    /// Puts this in force.
    #[cold]
    pub(crate) fn set(self) {
        let mxcsr = u32::from(self.mxcsr);
        // SAFETY: the two instructions load four and two bytes, which came from `now`, so no
        // reserved bit is set. Between two goroutines no floating-point code runs.
        unsafe {
            asm!(
                "ldmxcsr [{}]", "fldcw [{}]",
                in(reg) &raw const mxcsr, in(reg) &raw const self.x87,
                options(nostack, readonly, preserves_flags),
            );
        }
    }
}

/// The address of a C++ runtime's function that says where the calling thread's exceptions are
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
