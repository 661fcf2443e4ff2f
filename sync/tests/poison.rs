//! Whose panic it is. A binary of its own, because the goroutines that are parked half-way through their unwinding
//! are neighbours of all others.

use narrowboat_chan::bounded;
use narrowboat_runtime::{spawn, yield_now};
use narrowboat_sync::{Mutex, RwLock};
use narrowboat_testing::settle;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_neighbours_panic_poisons_nothing() {
    struct ParkOnDrop(narrowboat_chan::Receiver<()>, narrowboat_chan::Sender<bool>);
    impl Drop for ParkOnDrop {
        fn drop(&mut self) {
            self.1.send(std::thread::panicking()).unwrap();
            let _ = self.0.recv();
        }
    }

    let (end, ended) = bounded::<()>(0);
    let (unwinds, unwinding) = bounded(64);
    // So many that there is one on every processor.
    let dying: Vec<_> = (0..64)
        .map(|_| {
            let (ended, unwinds) = (ended.clone(), unwinds.clone());
            spawn(move || {
                let _parks = ParkOnDrop(ended, unwinds);
                resume_unwind(Box::new("and takes its time about it"));
            })
        })
        .collect();
    (0..64).for_each(|_| assert!(unwinding.recv().unwrap(), "it unwinds, and is parked"));
    settle();

    let locks: Arc<Vec<_>> = Arc::new((0..8).map(|_| (Mutex::new(0), RwLock::new(0))).collect());
    let disturbed = Arc::new(AtomicUsize::new(0));
    let parties: Vec<_> = (0..64)
        .map(|me| {
            let (locks, disturbed) = (locks.clone(), disturbed.clone());
            spawn(move || {
                for n in 0..200 {
                    let (mutex, rwlock) = &locks[(me + n) % 8];
                    let mut guard = mutex.lock().unwrap();
                    let mut writing = rwlock.write().unwrap();
                    *guard += 1;
                    *writing += 1;
                    yield_now();
                    disturbed.fetch_add(usize::from(std::thread::panicking()), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for party in parties {
        party.join().unwrap();
    }
    assert_eq!(disturbed.load(Ordering::Relaxed), 0, "a goroutine has its own count of panics");
    assert!(locks.iter().all(|(mutex, rwlock)| !mutex.is_poisoned() && !rwlock.is_poisoned()));
    assert_eq!(locks.iter().map(|(mutex, _)| *mutex.lock().unwrap()).sum::<usize>(), 64 * 200);

    // And a panic of one's own counts, whatever else unwinds.
    let own = Arc::new(Mutex::new(()));
    let clumsy = {
        let own = own.clone();
        spawn(move || {
            let _guard = own.lock().unwrap();
            panic!("this one is to blame");
        })
    };
    assert!(clumsy.join().is_err());
    assert!(own.is_poisoned());
    drop(end);
    assert!(dying.into_iter().all(|goroutine| goroutine.join().is_err()));
}
