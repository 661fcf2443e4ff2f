//! What the cases of channels share.

/// 0 + 1 + ... up to but without `n`: what the messages of one sender add up to.
pub fn sum_below(n: usize) -> usize {
    n * n.saturating_sub(1) / 2
}
