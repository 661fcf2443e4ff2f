//! `parking_lot`, in the way that works on goroutines, and in one that does not.

use super::Setting;
use crate::work::{Failure, Open, expect};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub fn short(_: &Setting) -> Result<Open, Failure> {
    let counts = Arc::new(Mutex::new(HashMap::new()));
    Ok(Arc::new(move |_| {
        static CALLERS: AtomicUsize = AtomicUsize::new(0);
        let counts = counts.clone();
        let id = CALLERS.fetch_add(1, Ordering::Relaxed);
        let mut calls = 0_usize;
        Ok(Box::new(move |_| {
            calls += 1;
            let mut counts = counts.lock();
            let count = counts.entry(id).or_insert(0_usize);
            *count += 1;
            expect(*count, calls)
        }))
    }))
}

pub fn held(_: &Setting) -> Result<Open, Failure> {
    let locks: Arc<Vec<Mutex<usize>>> = Arc::new((0..100).map(|_| Mutex::new(0)).collect());
    Ok(Arc::new(move |id| {
        let locks = locks.clone();
        Ok(Box::new(move |_| {
            let mut count = locks[id / 10 % locks.len()]
                .try_lock_for(Duration::from_secs(1))
                .ok_or("not within a second")?;
            *count += 1;
            let before = *count;
            std::thread::sleep(Duration::from_millis(1));
            expect(*count, before)
        }))
    }))
}
