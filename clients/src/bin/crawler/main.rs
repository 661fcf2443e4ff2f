//! A crawler with 1,000 workers and one async `reqwest::Client`, as goroutines and as tokio tasks,
//! against a local server that answers after 10 ms.
//!
//! ```text
//! crawler goroutines [WORKERS [PAGES]]
//! crawler tasks [WORKERS [PAGES]]
//! crawler waits                         what a wait for a future costs
//! ```
//! The server runs in a process of its own. `memory` is what the peak of resident memory is above
//! the state before the workers start.

mod waits;

use narrowboat::future::FutureExt;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (workers, pages) = (number(1, 1000)?, number(2, 20_000)?);
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(number(1, 10)?),
        Some("goroutines") => goroutines(workers, pages),
        Some("tasks") => tasks(workers, pages),
        Some("waits") => waits::table(),
        _ => Err("say goroutines, tasks or waits".into()),
    }
}

/// What is on a page: links to two others, so that each page is found once.
fn text_of(page: usize) -> String {
    format!("/{} /{}", 2 * page + 1, 2 * page + 2)
}

/// The links of a page, whose text is checked.
fn links(page: usize, body: &str) -> Result<impl Iterator<Item = usize>, Failure> {
    if body != text_of(page) {
        return Err(format!("page {page} is {body:?}").into());
    }
    Ok(body.split(' ').filter_map(|link| link.strip_prefix('/')?.parse().ok()))
}

/// Answers with the links of the page after some milliseconds, and prints its port.
fn serve(delay: usize) -> Result<(), Failure> {
    narrowboat::run(move || {
        let listener = narrowboat::net::TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept()?;
            narrowboat::go!(move || {
                let mut stream = BufReader::with_capacity(1024, stream);
                let mut line = String::new();
                loop {
                    line.clear();
                    if stream.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    let path = line.split(['/', ' ']).nth(2).unwrap_or_default();
                    let page: usize = path.parse().unwrap_or(0);
                    while line.trim_end() != "" {
                        line.clear();
                        if stream.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    if delay > 0 {
                        narrowboat::sleep(Duration::from_millis(delay as u64));
                    }
                    let body = text_of(page);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.get_mut().write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    })
}

struct Server(Child, u16);

impl Server {
    fn start(delay: usize) -> Result<Server, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command
            .args(["serve", &delay.to_string()])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut port)?;
        Ok(Server(child, port.trim().parse()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn memory(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn report(what: &str, workers: usize, fetched: usize, start: Instant, before: usize) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{workers} {what}: {fetched} pages in {seconds:.2} s, {:.0} pages/s, memory {} KB",
        fetched as f64 / seconds,
        memory("VmHWM").saturating_sub(before)
    );
}

fn client() -> Result<reqwest::Client, Failure> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?)
}

fn goroutines(workers: usize, pages: usize) -> Result<(), Failure> {
    let (server, client) = (Server::start(10)?, client()?);
    // So that neither runtime's start is part of the figures.
    let before = narrowboat::run(|| {
        async { tokio::time::sleep(Duration::from_millis(10)).await }.wait();
        memory("VmRSS")
    });
    let start = Instant::now();
    let port = server.1;
    let (tx, rx) = narrowboat::chan::unbounded();
    tx.send(0)?;
    let (found, fetched) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let crawlers: Vec<_> = (0..workers)
        .map(|_| {
            let (tx, rx, client) = (tx.clone(), rx.clone(), client.clone());
            let (found, fetched) = (found.clone(), fetched.clone());
            narrowboat::spawn(move || -> Result<(), Failure> {
                while let Ok(page) = rx.recv() {
                    let url = format!("http://127.0.0.1:{port}/{page}");
                    // With a time limit, `send` needs the context already when it is called.
                    let body = async { client.get(url).send().await?.text().await }.wait()?;
                    for link in links(page, &body)?.filter(|_| found.fetch_add(1, Ordering::Relaxed) < pages)
                    {
                        tx.send(link)?;
                    }
                    if fetched.fetch_add(1, Ordering::Relaxed) + 1 == pages {
                        rx.close();
                    }
                }
                Ok(())
            })
        })
        .collect();
    for crawler in crawlers {
        crawler.join().map_err(|_| "a crawler has panicked")??;
    }
    report("goroutines", workers, fetched.load(Ordering::Relaxed), start, before);
    Ok(())
}

fn tasks(workers: usize, pages: usize) -> Result<(), Failure> {
    let (server, client) = (Server::start(10)?, client()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let before = runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        memory("VmRSS")
    });
    let start = Instant::now();
    let port = server.1;
    let (tx, rx) = flume::unbounded();
    tx.send(Some(0))?;
    let (found, fetched) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let crawlers: Vec<_> = (0..workers)
        .map(|_| {
            let (tx, rx, client) = (tx.clone(), rx.clone(), client.clone());
            let (found, fetched) = (found.clone(), fetched.clone());
            runtime.spawn(async move {
                while let Ok(Some(page)) = rx.recv_async().await {
                    let response = client.get(format!("http://127.0.0.1:{port}/{page}")).send().await?;
                    let body = response.text().await?;
                    for link in links(page, &body)?.filter(|_| found.fetch_add(1, Ordering::Relaxed) < pages)
                    {
                        tx.send(Some(link))?;
                    }
                    if fetched.fetch_add(1, Ordering::Relaxed) + 1 == pages {
                        (0..workers).try_for_each(|_| tx.send(None))?;
                    }
                }
                Ok::<(), Failure>(())
            })
        })
        .collect();
    for crawler in crawlers {
        runtime.block_on(crawler)??;
    }
    report("tasks", workers, fetched.load(Ordering::Relaxed), start, before);
    Ok(())
}
