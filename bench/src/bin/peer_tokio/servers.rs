//! The echo and HTTP servers, one task per connection.

use std::io;

use narrowboat_bench::cli::{fail, listening};
use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::http::{REPLY, RequestCounter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Bytes of a connection's buffer.
const BUFFER: usize = 1024;

/// Sends back what comes, for ever.
pub async fn echo(address: &str) {
    let listener = listen(address).await;
    loop {
        tokio::spawn(echo_connection(accept(&listener).await));
    }
}

/// The echo server, and beside it `count` tasks that disturb it: right there, or on the pool of threads for such.
pub async fn disturbed(address: &str, disturbance: Disturbance, count: usize, on_the_pool: bool) {
    for number in 0..count {
        tokio::spawn(async move {
            for time in 0.. {
                sleep(disturbance.rest(number, time)).await;
                if on_the_pool {
                    spawn_blocking(move || disturbance.once()).await.expect("it does not panic");
                } else {
                    disturbance.once();
                }
            }
        });
    }
    echo(address).await;
}

/// Answers each request with the fixed reply, for ever.
pub async fn http(address: &str) {
    let listener = listen(address).await;
    loop {
        tokio::spawn(http_connection(accept(&listener).await));
    }
}

async fn listen(address: &str) -> TcpListener {
    let listener =
        TcpListener::bind(address).await.unwrap_or_else(|error| fail(&format!("cannot listen: {error}")));
    listening(listener.local_addr().expect("a bound socket has an address"));
    listener
}

async fn accept(listener: &TcpListener) -> TcpStream {
    match listener.accept().await {
        Ok((stream, _)) => stream,
        Err(error) => fail(&format!("cannot accept: {error}")),
    }
}

async fn echo_connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn http_connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut requests = RequestCounter::default();
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => {
                for _ in 0..requests.feed(&buffer[..n]) {
                    stream.write_all(REPLY).await?;
                }
            }
        }
    }
}
