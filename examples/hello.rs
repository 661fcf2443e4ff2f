//! Goroutines, a channel, and a result.
use narrowboat::{chan, go};

fn main() {
    narrowboat::run(|| {
        let (tx, rx) = chan::bounded(0);
        let counter = go!(move || rx.iter().map(|word: &str| word.len()).sum::<usize>());
        for word in ["a", "million", "goroutines", "float"] {
            let tx = tx.clone();
            go!(move || tx.send(word).unwrap());
        }
        drop(tx);
        println!("hello from goroutines: {} letters", counter.join().unwrap());
    });
}
