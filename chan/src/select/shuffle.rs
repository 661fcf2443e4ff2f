//! A cheap random order.

use narrowboat_runtime::park::random_state;
use narrowboat_runtime::world;
use std::cell::Cell;

/// Puts the items in random order. All orders are (very nearly) equally likely.
#[inline]
pub(super) fn shuffle<T>(items: &mut [T]) {
    if items.len() < 2 {
        return;
    }
    random_state(|state| {
        let mut seed = state.get();
        if seed == 0 {
            // A world keeps it at zero.
            let Some(first) = first_seed(items, state) else { return };
            seed = first;
        }
        for i in (1..items.len()).rev() {
            // SplitMix64: a counter with mixed bits. It is predictable, which does not matter here.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = seed;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            // The upper half, scaled to 0..=i. The bias is below one in a hundred million.
            let j = ((bits >> 32) * (i as u64 + 1)) >> 32;
            items.swap(i, j as usize);
        }
        state.set(seed);
    });
}

/// In a world, which decides such things, it chooses what goes first; the others keep their order.
///
/// Elsewhere, a value that differs between threads and between runs, because the system randomises
/// addresses. (std's random keys are a thread-local of the program, which would cost every
/// goroutine.)
#[cold]
fn first_seed<T>(items: &mut [T], state: &Cell<u64>) -> Option<u64> {
    if let Some(first) = world::draw(items.len()) {
        items[..=first].rotate_right(1);
        return None;
    }
    use std::time::{SystemTime, UNIX_EPOCH};
    // Miri has no time of day, and random addresses.
    let now = if cfg!(miri) { UNIX_EPOCH } else { SystemTime::now() };
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    Some((now ^ (&raw const *state).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

#[cfg(test)]
mod tests {
    use super::shuffle;
    use std::collections::HashMap;

    #[test]
    fn every_order_is_about_as_likely() {
        let mut seen = HashMap::new();
        let rounds = if cfg!(miri) { 2_400 } else { 24_000 };
        for _ in 0..rounds {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items);
            *seen.entry(items).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|n| rounds == 2_400 || (700..1300).contains(n)), "{seen:?}");
    }
}
