//! The prime sieve: each prime is a goroutine that passes on the numbers that it does not divide.
//!
//!     cargo run --release --example sieve -- 2000        prints 17389, the 2,000th prime

use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::go;

fn generate(numbers: Sender<u64>) {
    for n in 2.. {
        if numbers.send(n).is_err() {
            return;
        }
    }
}

fn filter(prime: u64, numbers: Receiver<u64>, survivors: Sender<u64>) {
    for n in numbers {
        if n % prime != 0 && survivors.send(n).is_err() {
            return;
        }
    }
}

/// Computes the `nth` prime. Then the last receiver is dropped, and the goroutines end one after
/// the other.
fn sieve(nth: usize) -> u64 {
    let (tx, mut numbers) = chan::bounded(0);
    go!(generate(tx));
    for _ in 1..nth {
        let prime = numbers.recv().expect("there is always another number");
        let (tx, survivors) = chan::bounded(0);
        go!(filter(prime, numbers, tx));
        numbers = survivors;
    }
    numbers.recv().expect("there is always another number")
}

fn main() {
    let nth = std::env::args().nth(1).map_or(Ok(2_000), |arg| arg.parse());
    let Ok(nth @ 1..) = nth else {
        eprintln!("usage: sieve [WHICH_PRIME], counted from 1");
        std::process::exit(2);
    };
    println!("{}", narrowboat::run(move || sieve(nth)));
}
