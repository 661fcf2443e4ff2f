//! Seats of a peer that cannot be told where to put anything.

use super::backend::spawn;

/// The parties of a case, wherever the runtime puts them.
pub struct Seats;

impl Seats {
    /// For that many parties.
    pub fn of(_parties: usize) -> Seats {
        Seats
    }

    /// Starts what a party does.
    pub fn spawn(&self, _party: usize, body: impl FnOnce() + Send + 'static) {
        spawn(body);
    }
}
