//! Channels of other crates. Each caller has a peer on a goroutine or thread of its own, that
//! answers a number with the next one.

use super::Setting;
use crate::work::{Failure, Open, expect};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

pub fn crossbeam(setting: &Setting) -> Result<Open, Failure> {
    let mode = setting.mode;
    Ok(Arc::new(move |_| {
        let (ask, asked) = crossbeam_channel::bounded::<usize>(0);
        let (answer, answered) = crossbeam_channel::bounded(0);
        mode.spawn(move || asked.iter().all(|n| answer.send(n + 1).is_ok()));
        Ok(Box::new(move |n| {
            ask.send(n)?;
            expect(answered.recv()?, n + 1)
        }))
    }))
}

pub fn flume(setting: &Setting) -> Result<Open, Failure> {
    let mode = setting.mode;
    Ok(Arc::new(move |_| {
        let (ask, asked) = flume::bounded::<usize>(0);
        let (answer, answered) = flume::bounded(0);
        mode.spawn(move || asked.iter().all(|n| answer.send(n + 1).is_ok()));
        Ok(Box::new(move |n| {
            ask.send(n)?;
            expect(answered.recv()?, n + 1)
        }))
    }))
}

pub fn mpsc(setting: &Setting) -> Result<Open, Failure> {
    const LIMIT: Duration = Duration::from_secs(1);
    let mode = setting.mode;
    Ok(Arc::new(move |_| {
        let (ask, asked) = mpsc::channel::<usize>();
        let (answer, answered) = mpsc::channel();
        mode.spawn(move || while asked.recv_timeout(LIMIT).is_ok_and(|n| answer.send(n + 1).is_ok()) {});
        Ok(Box::new(move |n| {
            let start = Instant::now();
            ask.send(n)?;
            expect(answered.recv_timeout(LIMIT)?, n + 1)?;
            // What is there is found at the end of the wait even if nothing has ended the wait.
            if start.elapsed() < LIMIT { Ok(()) } else { Err("its receiver was not woken".into()) }
        }))
    }))
}
