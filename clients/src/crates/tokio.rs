//! `tokio::sync` and `tokio::time`: questions to a task of tokio, which answers after a timer.

use super::Setting;
use crate::work::{Failure, Open, PATIENCE, expect};
use ::tokio::sync::{mpsc, oneshot};
use narrowboat::future::FutureExt;
use narrowboat::future::tokio::handle;
use std::sync::Arc;
use std::time::Duration;

pub fn questions(_: &Setting) -> Result<Open, Failure> {
    let (tx, mut questions) = mpsc::channel::<(usize, oneshot::Sender<usize>)>(16);
    handle().spawn(async move {
        while let Some((n, answer)) = questions.recv().await {
            ::tokio::spawn(async move {
                ::tokio::time::sleep(Duration::from_millis(10)).await;
                let _ = answer.send(n * n);
            });
        }
    });
    Ok(Arc::new(move |id| {
        let tx = tx.clone();
        Ok(Box::new(move |n| {
            let (answer, answered) = oneshot::channel();
            tx.send((id + n, answer)).wait_timeout(PATIENCE)??;
            let limited = async { ::tokio::time::timeout(PATIENCE, answered).await };
            expect(limited.wait()??, (id + n) * (id + n))
        }))
    }))
}
