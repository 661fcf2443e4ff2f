//! Requests to valgrind: instructions that do nothing on a CPU.

use std::arch::asm;

/// Makes a request. Zero outside of valgrind.
#[inline(always)]
pub(crate) fn valgrind_request(request: usize, first: usize, second: usize) -> usize {
    let question = [request, first, second, 0, 0, 0];
    let answer;
    // SAFETY: the rotations add up to two full turns, and the exchange is of a register with
    // itself. Under valgrind the six words are read and rdx is written.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") question.as_ptr(),
            inout("rdx") 0usize => answer,
            inout("rdi") 0usize => _,
            options(nostack),
        );
    }
    answer
}
