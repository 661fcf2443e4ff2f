//! Cases of functions of the C library that park a goroutine, where they need not wait: what a call costs, and how much
//! of that is not the system call's. No peer has them.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use narrowboat_bench::cli::report;

/// Calls that are timed as one: the ends that are measured take as many writes before the first read.
const TURN: usize = 64;

/// Bytes of a call.
const LENGTH: usize = 64;

/// Through a pipe.
pub fn pipe(operations: usize) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors, which nothing else has.
    let [input, output] = unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        ends.map(|end| File::from(OwnedFd::from_raw_fd(end)))
    };
    measure(input.as_raw_fd(), output.as_raw_fd(), operations);
}

/// Through a pair of sockets.
pub fn socket(operations: usize) {
    let (input, output) = UnixStream::pair().expect("two sockets");
    measure(input.as_raw_fd(), output.as_raw_fd(), operations);
}

/// Writes and reads `operations` times by the C library's functions, and as often by bare system calls, in turns: what
/// the machine does meanwhile falls on both. The figures are medians of the turns, which drop those that it took long.
fn measure(input: RawFd, output: RawFd, operations: usize) {
    let written = [7u8; LENGTH];
    let mut read = [0u8; LENGTH];
    let to = read.as_mut_ptr();
    let turns = (operations / TURN).max(1);
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..turns {
        // SAFETY: in all calls, the buffers are so long.
        unsafe {
            figures[0].push(turn(|| libc::write(output, written.as_ptr().cast(), LENGTH)));
            figures[1].push(turn(|| libc::read(input, to.cast(), LENGTH)));
            figures[2].push(turn(|| bare(libc::SYS_write, output, written.as_ptr())));
            figures[3].push(turn(|| bare(libc::SYS_read, input, to)));
        }
    }
    assert_eq!(read, written);
    let [write, read, bare_write, bare_read] = figures.map(median);
    report("write", write, "ns");
    report("write-beyond", write - bare_write, "ns");
    report("read", read, "ns");
    report("read-beyond", read - bare_read, "ns");
}

/// A system call that does not go through a function that parks.
///
/// # Safety
/// As for the call.
unsafe fn bare(call: libc::c_long, descriptor: RawFd, buffer: *const u8) -> isize {
    // SAFETY: by contract.
    unsafe { libc::syscall(call, descriptor, buffer, LENGTH) as isize }
}

/// The nanoseconds of each call in a turn of them.
fn turn(call: impl Fn() -> isize) -> f64 {
    let begun = Instant::now();
    for _ in 0..TURN {
        assert_eq!(call(), LENGTH as isize);
    }
    begun.elapsed().as_nanos() as f64 / TURN as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
