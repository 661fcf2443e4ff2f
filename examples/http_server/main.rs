//! An HTTP/1.1 server: keep-alive, pipelining, bodies with a length or in chunks, limits on
//! everything that a client decides, and a graceful end that finishes the requests in progress.
//!
//!     cargo run --release --example http_server -- --load 1000
//!
//! serves a thousand clients of its own for ten seconds, prints counts each second, and ends. For
//! other clients:
//!
//!     cargo run --release --example http_server -- 127.0.0.1:8080
//!
//! and in a second terminal:
//!
//!     curl -i http://127.0.0.1:8080/
//!     curl -d 'say it again' http://127.0.0.1:8080/echo
//!     curl http://127.0.0.1:8080/sleep/3000           press Ctrl-C in the first terminal meanwhile
//!     wrk -c 1000 -d 10 http://127.0.0.1:8080/
//!
//! `GET /` says hello, `/stats` returns counts, `/sleep/MILLISECONDS` answers after that time;
//! `POST /` drops a body, `/echo` returns it. Options with their defaults: `--max-connections
//! 20000`, `--idle-timeout 60`, `--request-timeout 30`, `--grace 30` (in seconds; the last one is
//! for requests in progress when SIGINT or SIGTERM comes; a second signal ends the process at
//! once), and `--load-for 10` for `--load`.
//!
//! Where to read: this file accepts connections and stops the server, `connection` is the goroutine
//! of one client, `request` and `body` parse, `response` answers, `stats` counts, `load` has the
//! server's own clients.

mod body;
mod connection;
mod load;
mod options;
mod request;
mod response;
mod server;
mod stats;

use narrowboat::chan::{self, Receiver, RecvTimeoutError};
use narrowboat::net::TcpListener;
use narrowboat::{go, time};
pub(crate) use options::Options;
pub(crate) use server::Server;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

fn main() -> io::Result<()> {
    let options = Options::from_args();
    // Allows as many connections as the system does: each needs a descriptor.
    rlimit::increase_nofile_limit(u64::MAX)?;
    narrowboat::run(|| {
        let listener = TcpListener::bind(&options.address)?;
        let (server, traffic) = Server::new(listener, options);
        end_on_signals(server.clone())?;
        serve(server, traffic)
    })
}

/// Serves clients until the server is told to stop.
pub(crate) fn serve(server: Arc<Server>, traffic: Receiver<()>) -> io::Result<()> {
    let address = server.listener.local_addr()?;
    println!("listening on {address}\ntry: curl -i http://{address}/");
    go!(stats::print(server.clone(), traffic));
    let load = server.options.load.map(|clients| {
        let server = server.clone();
        go!(move || {
            let report = load::run(address, clients, server.options.load_for);
            server.stop();
            report
        })
    });

    // Nothing is ever sent on this channel. Every connection holds a sender, so the channel closes
    // when the last connection has ended.
    let (open, ended) = chan::bounded::<Infallible>(0);
    while !server.is_stopping() {
        match server.listener.accept() {
            Ok((stream, _peer)) => {
                let (server, open) = (server.clone(), open.clone());
                go!(move || {
                    // A broken connection concerns only its client.
                    let _ = connection::serve(stream, &server);
                    drop(open);
                });
            }
            Err(_) if server.is_stopping() => break,
            Err(error) => {
                // Most likely the process has no descriptors left. Open connections are still
                // served, and some of them will close.
                eprintln!("cannot accept: {error}; trying again");
                time::sleep(Duration::from_millis(50));
            }
        }
    }

    drop(open);
    match ended.recv_timeout(server.options.grace) {
        Err(RecvTimeoutError::Timeout) => println!("cut off {} connections; {}", server.open(), server.stats),
        _ => println!("every connection has ended; {}", server.stats),
    }
    if let Some(load) = load {
        println!("{}", load.join().expect("a load does not panic")?);
    }
    Ok(())
}

/// Stops the server at the first signal, and the process at the second.
fn end_on_signals(server: Arc<Server>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // A plain thread, because the wait for a signal blocks it. Like any thread, it can use
    // everything in Narrowboat.
    std::thread::spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        // First, because there may be nothing left that takes the words.
        server.stop();
        println!("finishing what is under way; a second signal ends it at once");
        drop(server);
        signals.next();
        std::process::exit(1);
    });
    Ok(())
}
