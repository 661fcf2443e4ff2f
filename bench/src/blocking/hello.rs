//! The least program: one goroutine says hello, and the one that started it waits for that. The peer's own names come from
//! `super::backend`.

use super::backend::{bounded, spawn};

/// Says hello.
pub fn hello() {
    let (done, ended) = bounded(1);
    spawn(move || {
        println!("hello");
        done.send(()).unwrap();
    });
    ended.recv().unwrap();
}
