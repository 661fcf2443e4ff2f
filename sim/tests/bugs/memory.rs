//! Bugs in what goroutines share: a look and a change that are apart, and words that come back.

use super::{Bug, bug, cell, go_all};
use narrowboat::sync::{Mutex, RwLock};
use narrowboat::{go, yield_now};
use std::collections::HashMap;
use std::sync::Arc;

pub const BUGS: &[Bug] = &[
    bug!("lost update", "two read, then both write", lost_update),
    bug!("check, then act", "two find the key missing, and both make the value", check_then_act),
    bug!("ABA", "a stack's head is what it was, and its next is not", aba),
    bug!("published before it is filled", "the flag is set before the data is there", published_early),
    bug!(
        "initialised twice",
        "the first look of a double-checked initialisation is the only one",
        init_twice
    ),
    bug!("torn snapshot", "two accounts are read one after the other during a transfer", torn_snapshot),
    bug!("stale cache", "an old value is stored after the invalidation", stale_cache),
    bug!("number given twice", "a generator reads and advances in two steps", same_number),
    bug!("overdrawn", "the balance is checked in one critical section and changed in another", overdrawn),
    bug!("object in two hands", "a pool looks whether an object is free, then takes it", two_hands),
    bug!("reader upgrades", "what was read under a read lock is written under a write lock", upgrade),
];

fn lost_update<const FIXED: bool>() {
    let total = cell(0);
    go_all(2, |_| {
        let total = total.clone();
        move || {
            if FIXED {
                *total.lock().unwrap() += 1;
            } else {
                let seen = *total.lock().unwrap();
                *total.lock().unwrap() = seen + 1;
            }
        }
    });
    assert_eq!(*total.lock().unwrap(), 2);
}

fn check_then_act<const FIXED: bool>() {
    let (map, made) = (cell(HashMap::new()), cell(0));
    go_all(2, |_| {
        let (map, made) = (map.clone(), made.clone());
        move || {
            let make = || *made.lock().unwrap() += 1;
            if FIXED {
                map.lock().unwrap().entry("key").or_insert_with(make);
            } else if !map.lock().unwrap().contains_key("key") {
                make();
                map.lock().unwrap().insert("key", ());
            }
        }
    });
    assert_eq!(*made.lock().unwrap(), 1);
}

/// A word that is read and exchanged in steps, as an atomic one.
#[derive(Clone)]
struct Word(Arc<Mutex<(usize, u64)>>);

impl Word {
    fn load(&self) -> (usize, u64) {
        *self.0.lock().unwrap()
    }

    /// Exchanges it if it is what was seen, with its count of changes or without.
    fn exchange(&self, seen: (usize, u64), new: usize, counts: bool) -> bool {
        let mut word = self.0.lock().unwrap();
        let same = if counts { *word == seen } else { word.0 == seen.0 };
        if same {
            *word = (new, seen.1 + 1);
        }
        same
    }
}

fn aba<const FIXED: bool>() {
    const NONE: usize = 9;
    // A stack of two nodes: 0, then 1.
    let head = Word(Arc::new(Mutex::new((0, 0))));
    let next = cell([1, NONE]);
    let taken = cell(vec![]);
    let pop = {
        let (head, next, taken) = (head.clone(), next.clone(), taken.clone());
        move || loop {
            let seen = head.load();
            if seen.0 == NONE {
                return NONE;
            }
            let after = next.lock().unwrap()[seen.0];
            if head.exchange(seen, after, FIXED) {
                taken.lock().unwrap().push(seen.0);
                return seen.0;
            }
        }
    };
    let one = go!({
        let pop = pop.clone();
        move || {
            pop();
        }
    });
    let other = go!(move || {
        // Takes both, and gives the first one back.
        let (first, _) = (pop(), pop());
        if first == NONE {
            return;
        }
        taken.lock().unwrap().retain(|&node| node != first);
        loop {
            let seen = head.load();
            next.lock().unwrap()[first] = seen.0;
            if head.exchange(seen, first, FIXED) {
                break;
            }
        }
        while pop() != NONE {}
        let taken = taken.lock().unwrap();
        assert!(taken.iter().filter(|&&node| node == 1).count() <= 1, "a node is taken twice: {taken:?}");
    });
    one.join().unwrap();
    other.join().unwrap();
}

fn published_early<const FIXED: bool>() {
    let (ready, data) = (cell(false), cell(0));
    let writer = go!({
        let (ready, data) = (ready.clone(), data.clone());
        move || {
            if !FIXED {
                *ready.lock().unwrap() = true;
            }
            *data.lock().unwrap() = 42;
            *ready.lock().unwrap() = true;
        }
    });
    if *ready.lock().unwrap() {
        assert_eq!(*data.lock().unwrap(), 42);
    }
    writer.join().unwrap();
}

fn init_twice<const FIXED: bool>() {
    let (value, made) = (cell(None), cell(0));
    go_all(3, |_| {
        let (value, made) = (value.clone(), made.clone());
        move || {
            if value.lock().unwrap().is_some() {
                return;
            }
            let mut value = value.lock().unwrap();
            if FIXED && value.is_some() {
                return;
            }
            *made.lock().unwrap() += 1;
            *value = Some(7);
        }
    });
    assert_eq!(*made.lock().unwrap(), 1);
}

fn torn_snapshot<const FIXED: bool>() {
    let (both, a, b) = (cell(()), cell(100), cell(100));
    let transfer = go!({
        let (both, a, b) = (both.clone(), a.clone(), b.clone());
        move || {
            let _both = FIXED.then(|| both.lock().unwrap());
            *a.lock().unwrap() -= 30;
            *b.lock().unwrap() += 30;
        }
    });
    let _both = FIXED.then(|| both.lock().unwrap());
    let sum = *a.lock().unwrap();
    let sum = sum + *b.lock().unwrap();
    drop(_both);
    transfer.join().unwrap();
    assert_eq!(sum, 200);
}

fn stale_cache<const FIXED: bool>() {
    let (database, cache) = (cell(1), cell((0u64, None)));
    let reader = go!({
        let (database, cache) = (database.clone(), cache.clone());
        move || {
            let (version, cached) = *cache.lock().unwrap();
            if cached.is_none() {
                let value = *database.lock().unwrap();
                let mut cache = cache.lock().unwrap();
                if !FIXED || cache.0 == version {
                    cache.1 = Some(value);
                }
            }
        }
    });
    *database.lock().unwrap() = 2;
    {
        let mut cache = cache.lock().unwrap();
        *cache = (cache.0 + 1, None);
    }
    reader.join().unwrap();
    let cached = cache.lock().unwrap().1;
    assert!(cached.is_none_or(|value| value == 2), "{cached:?}");
}

fn same_number<const FIXED: bool>() {
    let (next, given) = (cell(0), cell(vec![]));
    go_all(3, |_| {
        let (next, given) = (next.clone(), given.clone());
        move || {
            let number = if FIXED {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next - 1
            } else {
                let number = *next.lock().unwrap();
                *next.lock().unwrap() += 1;
                number
            };
            given.lock().unwrap().push(number);
        }
    });
    let mut given = given.lock().unwrap();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 3);
}

fn overdrawn<const FIXED: bool>() {
    let balance = cell(100);
    go_all(2, |_| {
        let balance = balance.clone();
        move || {
            let mut seen = balance.lock().unwrap();
            if *seen >= 80 {
                if !FIXED {
                    drop(seen);
                    seen = balance.lock().unwrap();
                }
                *seen -= 80;
            }
        }
    });
    assert!(*balance.lock().unwrap() >= 0);
}

fn two_hands<const FIXED: bool>() {
    let (free, in_use) = (cell(vec![true; 2]), cell(vec![0; 2]));
    go_all(2, |_| {
        let (free, in_use) = (free.clone(), in_use.clone());
        move || {
            let mut found = free.lock().unwrap();
            let index = found.iter().position(|&free| free).unwrap();
            if !FIXED {
                drop(found);
                found = free.lock().unwrap();
            }
            found[index] = false;
            drop(found);
            in_use.lock().unwrap()[index] += 1;
            yield_now();
            assert_eq!(in_use.lock().unwrap()[index], 1);
            in_use.lock().unwrap()[index] -= 1;
            free.lock().unwrap()[index] = true;
        }
    });
}

fn upgrade<const FIXED: bool>() {
    let total = Arc::new(RwLock::new(0));
    go_all(2, |_| {
        let total = total.clone();
        move || {
            let seen = *total.read().unwrap();
            let mut total = total.write().unwrap();
            *total = if FIXED { *total } else { seen } + 1;
        }
    });
    assert_eq!(*total.read().unwrap(), 2);
}
