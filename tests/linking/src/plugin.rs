//! Runs the checks inside of a program that is not Rust's, which loads this library while it runs.

mod checks;

/// 0 if all holds and goroutines have thread-locals of their own, 1 if they share them. What does
/// not hold ends the process.
#[unsafe(no_mangle)]
pub extern "C" fn linking_check() -> std::ffi::c_int {
    checks::run().is_some().into()
}
