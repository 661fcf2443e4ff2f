//! An object of C++ that is linked in, with exceptions that are the goroutine's own.

use narrowboat::{go, time};
use std::ffi::c_int;
use std::time::Duration;

unsafe extern "C" {
    fn caught_is_kept(i: c_int, park: extern "C" fn(c_int)) -> c_int;
    fn rethrown_is_kept(i: c_int, park: extern "C" fn(c_int)) -> c_int;
}

extern "C" fn park(i: c_int) {
    time::sleep(Duration::from_micros(100 + i as u64 * 37 % 900));
}

fn main() {
    narrowboat::run(|| {
        let kept = |check: unsafe extern "C" fn(c_int, extern "C" fn(c_int)) -> c_int| {
            // SAFETY: the functions take any number, and call `park` with it.
            let goroutines: Vec<_> = (0..200).map(|i| go!(move || unsafe { check(i, park) })).collect();
            goroutines.into_iter().map(|goroutine| goroutine.join().unwrap()).sum::<c_int>()
        };
        assert_eq!(kept(caught_is_kept), 200);
        assert_eq!(kept(rethrown_is_kept), 200);
        println!("ok");
        println!("shared_locals: {}", narrowboat::stats().shared_locals.unwrap_or("none"));
    });
}
