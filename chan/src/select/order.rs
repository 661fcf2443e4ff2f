//! In which order a select tries its operations.

use super::arm::Arm;
use super::shuffle::shuffle;

/// In which order operations are tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// At random: each of several possible operations has the same chance.
    Fair,
    /// As written.
    Biased,
}

impl Order {
    pub(super) fn arrange(self, arms: &mut [Arm<'_>]) {
        match self {
            Order::Fair => shuffle(arms),
            // A wait may have left them in another order.
            Order::Biased => arms.sort_unstable_by_key(|arm| arm.index),
        }
    }
}
