//! What a wait for a future costs: on a goroutine, by tokio's `block_on` on a thread, and as an
//! `.await` in a native task.

use super::{Failure, Server, client};
use narrowboat::future::{block_on, tokio::handle};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Nanoseconds of one, the middle of five runs.
fn middle(count: u32, mut run: impl FnMut(u32)) -> f64 {
    run(count / 10 + 1);
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            run(count);
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[2]
}

/// The same inside of one task, of a wait that is an expression with `.await`.
macro_rules! middle_of_task {
    ($count:expr, $wait:expr) => {{
        let mut times = Vec::new();
        for round in 0..6 {
            let count = if round == 0 { $count / 10 + 1 } else { $count };
            let start = Instant::now();
            for _ in 0..count {
                black_box($wait);
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(count));
        }
        // The first one is for the caches.
        times.remove(0);
        times.sort_by(f64::total_cmp);
        times[2]
    }};
}

async fn get(client: &reqwest::Client, url: &str) -> String {
    client.get(url).send().await.expect("it answers").text().await.expect("it has a body")
}

pub fn table() -> Result<(), Failure> {
    let server = Server::start(0)?;
    let (client, url) = (client()?, format!("http://127.0.0.1:{}/1", server.1));
    let nap = || tokio::time::sleep(Duration::from_millis(1));
    let (ready, timer, call) = (1_000_000, 200, 2_000);

    let ours = {
        let (client, url) = (client.clone(), url.clone());
        narrowboat::run(move || {
            [
                middle(ready, |n| {
                    (0..n).for_each(|n| {
                        black_box(block_on(std::future::ready(n)));
                    })
                }),
                middle(timer, |n| (0..n).for_each(|_| block_on(async { nap().await }))),
                middle(call, |n| (0..n).for_each(|_| drop(block_on(get(&client, &url))))),
            ]
        })
    };
    let tokios = [
        middle(ready, |n| {
            (0..n).for_each(|n| {
                black_box(handle().block_on(std::future::ready(n)));
            })
        }),
        middle(timer, |n| (0..n).for_each(|_| handle().block_on(async { nap().await }))),
        middle(call, |n| (0..n).for_each(|_| drop(handle().block_on(get(&client, &url))))),
    ];
    let native = block_on(handle().spawn(async move {
        [
            middle_of_task!(ready, std::future::ready(1).await),
            middle_of_task!(timer, nap().await),
            middle_of_task!(call, get(&client, &url).await),
        ]
    }))?;
    println!("| a future that is | goroutine, `block_on` | thread, tokio's `block_on` | task, `.await` |");
    println!("| --- | --- | --- | --- |");
    for (row, what) in ["ready", "woken by a timer of 1 ms", "a call of reqwest"].into_iter().enumerate() {
        let cell =
            |ns: f64| if ns < 1000.0 { format!("{ns:.0} ns") } else { format!("{:.0} us", ns / 1000.0) };
        println!("| {what} | {} | {} | {} |", cell(ours[row]), cell(tokios[row]), cell(native[row]));
    }
    Ok(())
}
