//! `rayon`, called from outside of its pool.

use super::Setting;
use crate::work::{Failure, Open, expect};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::sync::Arc;

pub fn sum(_: &Setting) -> Result<Open, Failure> {
    Ok(Arc::new(move |_| {
        Ok(Box::new(move |n| {
            let last = 10_000 + n as u64;
            expect((1..=last).into_par_iter().sum(), last * (last + 1) / 2)
        }))
    }))
}
