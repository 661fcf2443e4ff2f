//! The program's own runtime of tokio, which is shut down while goroutines and threads wait for it.
//! A program has one, so this test has a process of its own.
#![cfg(feature = "tokio")]

use narrowboat_chan::{bounded, select};
use narrowboat_future::{FutureExt, block_on, tokio::set_handle};
use narrowboat_runtime::spawn;
use narrowboat_testing::{LONG, settle, within};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Waits, and says whether it has ended without a panic.
fn ends(wait: impl FnOnce() -> bool + Send + 'static) -> bool {
    catch_unwind(AssertUnwindSafe(wait)).unwrap_or(false)
}

async fn forever() {
    tokio::time::sleep(LONG * 10).await;
}

#[test]
fn what_waits_for_a_runtime_ends_with_it() {
    within(LONG, || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        set_handle(runtime.handle().clone()).unwrap();
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (_silent, silence) = bounded::<()>(0);
        let waits = || -> Vec<Box<dyn FnOnce() -> bool + Send>> {
            let silence = silence.clone();
            vec![
                Box::new(|| {
                    forever().wait();
                    true
                }),
                Box::new(move || {
                    let nap = forever().into_receiver();
                    select! { recv(nap) -> end => end.is_ok(), recv(silence) -> _ => true }
                }),
                Box::new(move || {
                    let mut stream = block_on(TcpStream::connect(address)).unwrap();
                    stream.read(&mut [0; 8]).wait().is_ok()
                }),
                Box::new(|| narrowboat_future::tokio::handle().spawn(forever()).wait().is_ok()),
            ]
        };
        let goroutines: Vec<_> = waits().into_iter().map(|wait| spawn(move || ends(wait))).collect();
        let threads: Vec<_> =
            waits().into_iter().map(|wait| std::thread::spawn(move || ends(wait))).collect();
        settle();
        assert!(goroutines.iter().all(|goroutine| !goroutine.is_finished()));
        runtime.shutdown_background();
        for goroutine in goroutines {
            assert!(!goroutine.join().unwrap(), "an error, or a panic of tokio's");
        }
        for thread in threads {
            assert!(!thread.join().unwrap());
        }
        // What needs no runtime goes on, and what needs one fails at once.
        assert_eq!(block_on(async { 1 + 1 }), 2);
        let (tx, rx) = tokio::sync::oneshot::channel();
        spawn(move || tx.send(3).unwrap());
        assert_eq!(rx.wait(), Ok(3));
        assert!(!ends(|| forever().wait_timeout(LONG).is_ok()));
        assert!(narrowboat_future::tokio::handle().spawn(async {}).wait().is_err());
    });
}
