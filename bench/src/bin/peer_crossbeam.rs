//! crossbeam-channel on plain threads: what the same channel programs cost where every goroutine is
//! a thread.

#[path = "../blocking/anywhere.rs"]
mod anywhere;
#[path = "../blocking/channels.rs"]
mod channels;
#[path = "../blocking/mpmc.rs"]
mod mpmc;
#[path = "../blocking/selects.rs"]
mod selects;
#[path = "../blocking/shared_done.rs"]
mod shared_done;
#[path = "../blocking/timeouts.rs"]
mod timeouts;

use narrowboat_bench::cli::{Arguments, hold_to_workers, unknown};

/// What the shared cases call.
mod backend {
    pub use super::anywhere::Seats;
    pub use crossbeam_channel::{Select, bounded, select};
    /// A channel closes when its last sender goes.
    pub use std::mem::drop as close;

    /// Runs `f` on a thread of its own.
    pub fn spawn(f: impl FnOnce() + Send + 'static) {
        std::thread::spawn(f);
    }
}

fn main() {
    hold_to_workers();
    let arguments = Arguments::read();
    match arguments.case() {
        "pingpong" => channels::ping_pong(arguments.parse(1)),
        "chan128" => channels::one_to_one("chan128", 128, arguments.parse(1)),
        "chan0" => channels::one_to_one("chan0", 0, arguments.parse(1)),
        "ring" => channels::ring(arguments.parse(1), arguments.parse(2)),
        "fourfour128" => mpmc::four_to_four(arguments.parse(1)),
        "select8" => selects::select_eight(arguments.parse(1)),
        "arms" => selects::select_arms(arguments.parse(1), arguments.parse(2)),
        "shared" => shared_done::select_shared(arguments.parse(1), arguments.parse(2)),
        "timeouts" => timeouts::timeouts(arguments.parse(1)),
        case => unknown(case),
    }
}
