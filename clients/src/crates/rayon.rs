//! `rayon`, called from outside of its pool.

use super::Setting;
use crate::work::{Failure, Mode, Open, expect};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::sync::Arc;

pub fn outside(_: &Setting) -> Result<Open, Failure> {
    Ok(Arc::new(move |_| {
        Ok(Box::new(move |n| {
            let last = 10_000 + n as u64;
            expect((1..=last).into_par_iter().sum(), last * (last + 1) / 2)
        }))
    }))
}

/// On a thread of the pool behind `narrowboat::blocking`, if the caller is a goroutine.
pub fn blocking(setting: &Setting) -> Result<Open, Failure> {
    let mode = setting.mode;
    Ok(Arc::new(move |_| {
        Ok(Box::new(move |n| {
            let last = 10_000 + n as u64;
            let sum = move || (1..=last).into_par_iter().sum();
            let sum: u64 = if mode == Mode::Goroutines { narrowboat::blocking(sum) } else { sum() };
            expect(sum, last * (last + 1) / 2)
        }))
    }))
}
