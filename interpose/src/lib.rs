//! Blocking functions of the C library, defined anew: in a goroutine they park it, and its
//! processor goes on with others.
//!
//! A function that is defined in the program comes before libc's of the same name, for all Rust
//! code and for C libraries that are linked dynamically. So std and crates that know nothing of
//! Narrowboat park in what they call. `docs/design/blocking.md` has the rules that all functions
//! keep.
//!
//! # What is guaranteed
//! - Outside of goroutines, before `main`, in a forked child, on the system stack, under a changed
//!   signal mask and in a goroutine that must not park now, a call goes to libc's own function.
//! - The goroutine's stack stays where it is during the wait, because sound code may have lent it.
//! - Return values, `errno` and what is written are libc's. Differences are named at each module.
//!
//! `NARROWBOAT_INTERPOSE=off` turns all of it off when the program starts.
//!
//! A program needs only the `narrowboat` crate, which links this one in (feature `interpose`).

#[cfg(any(not(target_env = "gnu"), target_feature = "crt-static"))]
compile_error!(
    "Narrowboat's feature `interpose` needs glibc, linked dynamically; build with `default-features = false`"
);

mod children;
#[cfg(feature = "sim")]
mod clock;
mod connections;
mod descriptors;
mod dumps;
mod epoll;
mod error;
mod file_locks;
mod files;
mod input;
mod locks;
mod names;
mod next;
mod output;
mod poll;
mod pool;
mod threads;
mod time;
mod transfer;
mod wait;

use narrowboat_runtime::as_thread;
use poll::ready;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the environment has turned it off. Written once, before `main`.
static OFF: AtomicBool = AtomicBool::new(false);

/// Whether the caller is a goroutine that may park in a call of the C library's. Before it does,
/// [`has_usual_signals`](as_thread::has_usual_signals) must say so too, which costs a system call.
fn may_park() -> bool {
    !OFF.load(Ordering::Relaxed) && as_thread::may_park()
}

/// The same for a wait until the object at this address changes.
fn may_park_for(object: usize) -> bool {
    !OFF.load(Ordering::Relaxed) && as_thread::may_park_for_object(object)
}

/// Reads the environment, and looks up libc's own functions.
extern "C" fn begin() {
    // SAFETY: a C string; no thread changes the environment this early.
    let value = unsafe { libc::getenv(c"NARROWBOAT_INTERPOSE".as_ptr()) };
    // SAFETY: `getenv` returns nothing, or a C string.
    let off = !value.is_null() && unsafe { libc::strcmp(value, c"off".as_ptr()) } == 0;
    // Loom's locks, in the tables of goroutines that wait, do not work outside of a model.
    OFF.store(off || cfg!(loom), Ordering::Relaxed);
    children::next::find();
    #[cfg(feature = "sim")]
    clock::next::find();
    connections::next::find();
    epoll::next::find();
    file_locks::next::find();
    files::next::find();
    input::next::find();
    names::next::find();
    output::next::find();
    poll::next::find();
    threads::next::find();
    time::next::find();
    transfer::next::find();
    locks::find();
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

/// Defines a function of libc's name: a jump to the one given. With a position, that one gets the
/// address to which it returns as one argument more, in that position.
///
/// Protected, so that code of this module calls it even if another module comes first: a library
/// that is loaded into a program, say.
///
/// The compiler sees to it that what is marked as used is linked, and so what that refers to.
/// Without it, linkers that take only what is missing so far from a library (GNU ld) leave out
/// functions that only std calls, since std comes after this crate.
macro_rules! define {
    ($($name:literal $(, caller as $position:ident)? => $function:path),* $(,)?) => {
        $(
            std::arch::global_asm!(
                concat!(".globl ", $name),
                concat!(".protected ", $name),
                concat!(".type ", $name, ",@function"),
                concat!($name, ":"),
                ".cfi_startproc",
                concat!("", $($crate::pass_caller!($position))?),
                $crate::jump_to_function!(),
                ".cfi_endproc",
                concat!(".size ", $name, ", . - ", $name),
                function = sym $function,
            );
            const _: () = {
                unsafe extern "C" {
                    #[link_name = $name]
                    fn defined();
                }
                #[used]
                static DEFINED: unsafe extern "C" fn() = defined;
            };
        )*
    };
}
use define;

// The text that depends on the CPU: a jump with all arguments in place, and the return address as
// an argument.
#[cfg(target_arch = "x86_64")]
macro_rules! jump_to_function {
    () => {
        "jmp {function}"
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! pass_caller {
    (second) => {
        "mov rsi, [rsp]"
    };
    (third) => {
        "mov rdx, [rsp]"
    };
    (fourth) => {
        "mov rcx, [rsp]"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump_to_function {
    () => {
        "b {function}"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! pass_caller {
    (second) => {
        "mov x1, x30"
    };
    (third) => {
        "mov x2, x30"
    };
    (fourth) => {
        "mov x3, x30"
    };
}
use {jump_to_function, pass_caller};
