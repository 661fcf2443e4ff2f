//! The recursion of the `deep` case: the same function, with the same local array, as in the Go peer.

use std::hint::black_box;

/// Bytes of the local array in each frame.
const FRAME: usize = 256;

/// Recurses `depth` frames down, touching each.
#[inline(never)]
pub fn descend(depth: usize) -> usize {
    let mut frame = [0u8; FRAME];
    black_box(&mut frame)[depth % FRAME] = 1;
    if depth == 0 { 0 } else { descend(depth - 1) + usize::from(black_box(&frame)[depth % FRAME]) }
}
