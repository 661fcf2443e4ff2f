//! Requests to valgrind: instructions that do nothing on a CPU.

use std::arch::asm;

/// Makes a request. Zero outside of valgrind.
#[inline(always)]
pub(crate) fn valgrind_request(request: usize, first: usize, second: usize) -> usize {
    let question = [request, first, second, 0, 0, 0];
    let answer;
    // SAFETY: the rotations add up to two full turns, and the last instruction changes nothing.
    // Under valgrind the six words are read and x3 is written.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x3") 0usize => answer,
            in("x4") question.as_ptr(),
            inout("x12") 0usize => _,
            options(nostack),
        );
    }
    answer
}
