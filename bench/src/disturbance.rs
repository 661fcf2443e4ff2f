//! What goroutines do beside a server whose latency is measured: compute, or block natively, for some time without a pause
//! in which a runtime could take their worker away. The Go peer does the same.

use std::hint::black_box;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use crate::timing::scattered;

/// Each goroutine's rests begin elsewhere in the sequence of all.
const APART: usize = 1_000_003;

/// What a goroutine beside the server does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// It computes for 5 ms.
    Compute,
    /// It sleeps for 20 ms by std's function, as blocking code does that calls the C library.
    Block,
    /// It blocks its thread for 20 ms, by a bare system call that no library sees.
    Call,
}

impl Disturbance {
    /// How long it takes.
    pub fn lasts(self) -> Duration {
        match self {
            Disturbance::Compute => Duration::from_millis(5),
            Disturbance::Block | Disturbance::Call => Duration::from_millis(20),
        }
    }

    /// How long the goroutine with that number sleeps before it does so for the time with that count. On average that is three
    /// times as long as it lasts, but never the same: so several of them disturb at once now and then, the same for every peer.
    pub fn rest(self, number: usize, count: usize) -> Duration {
        scattered(number * APART + count, 2 * 3 * self.lasts())
    }

    /// Does it once, on the calling thread.
    pub fn once(self) {
        match self {
            Disturbance::Compute => compute(self.lasts()),
            Disturbance::Block => thread::sleep(self.lasts()),
            Disturbance::Call => call(self.lasts()),
        }
    }

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Disturbance::Compute => "compute",
            Disturbance::Block => "block",
            Disturbance::Call => "call",
        }
    }
}

impl FromStr for Disturbance {
    type Err = String;

    fn from_str(word: &str) -> Result<Disturbance, String> {
        let all = [Disturbance::Compute, Disturbance::Block, Disturbance::Call];
        all.into_iter().find(|known| known.word() == word).ok_or_else(|| format!("no disturbance: {word}"))
    }
}

/// Sleeps in the kernel for that long.
fn call(length: Duration) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: length.subsec_nanos().into() };
    // SAFETY: the time can be read, and the rest is not asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, std::ptr::null_mut::<libc::timespec>()) };
}

/// Computes for that long, and looks at the clock now and then.
fn compute(length: Duration) {
    let begun = Instant::now();
    let mut word = 1u64;
    while begun.elapsed() < length {
        for _ in 0..1_000 {
            word = black_box(word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbance_takes_its_time_and_is_read_from_its_word() {
        for disturbance in [Disturbance::Compute, Disturbance::Block, Disturbance::Call] {
            let begun = Instant::now();
            disturbance.once();
            assert!(begun.elapsed() >= disturbance.lasts());
            assert_eq!(disturbance.word().parse(), Ok(disturbance));
        }
        assert!("sleep".parse::<Disturbance>().is_err());
    }

    #[test]
    fn a_goroutine_disturbs_for_a_quarter_of_the_time_and_no_two_in_step() {
        let rests = |number| (0..1_000).map(move |count| Disturbance::Compute.rest(number, count));
        let mean = rests(2).sum::<Duration>() / 1_000;
        assert!(mean.abs_diff(Duration::from_millis(15)) < Duration::from_millis(1), "{mean:?}");
        assert!(rests(0).zip(rests(1)).filter(|(one, other)| one == other).count() < 10);
    }
}
