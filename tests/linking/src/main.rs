//! Runs the checks as a program of its own.

mod allocator;
mod checks;

fn main() {
    let shared = checks::run();
    println!("ok");
    println!("shared_locals: {}", shared.unwrap_or("none"));
}
