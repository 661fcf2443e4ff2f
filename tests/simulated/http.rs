//! `http_server`, with its own load, its limits of time, and its graceful end.

use super::{Client, SECOND, each_twice, http_server};
use http_server::{Options, Server};
use narrowboat::net::TcpListener;
use narrowboat::sim::net;
use narrowboat::{JoinHandle, sleep};
use std::io::{ErrorKind, Read};
use std::sync::Arc;

/// Starts the server. It is told to stop by what is returned first.
fn start(options: Options) -> (Arc<Server>, JoinHandle<()>) {
    let serving = net::host("web").spawn(|| {
        let listener = TcpListener::bind(&options.address).unwrap();
        Server::new(listener, options)
    });
    let (server, traffic) = serving.join().unwrap();
    let serve = server.clone();
    let ended = net::host("web").spawn(move || http_server::serve(serve, traffic).unwrap());
    sleep(SECOND);
    (server, ended)
}

fn options() -> Options {
    Options { address: "0.0.0.0:80".into(), ..Options::default() }
}

const HELLO: &str = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";

/// Reads a reply, and returns its status line.
fn reply(client: &mut Client) -> std::io::Result<String> {
    let status = client.line()?;
    let mut length = 0;
    loop {
        let line = client.line()?.to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    client.stream.read_exact(&mut vec![0; length])?;
    Ok(status)
}

pub fn the_load_of_its_own_is_answered() {
    each_twice(0..2, || {
        let options = Options { load: Some(10), load_for: SECOND / 10, ..options() };
        let (_, ended) = start(options);
        ended.join().unwrap();
        net::crash("web");
    });
}

pub fn limits_of_time_hold_through_a_partition_and_a_slow_client() {
    each_twice(0..5, || {
        let (server, ended) = start(options());
        let mut client = Client::connect("web:80").unwrap();
        client.send(HELLO).unwrap();
        assert_eq!(reply(&mut client).unwrap(), "HTTP/1.1 200 OK");
        // A request that is never complete.
        let mut slow = Client::connect("web:80").unwrap();
        slow.stream.get_ref().set_read_timeout(None).unwrap();
        slow.send("GET / HT").unwrap();
        let start = std::time::Instant::now();
        assert!(reply(&mut slow).unwrap().starts_with("HTTP/1.1 408"));
        assert!((25..35).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        // One whose request is on its way when the link is cut.
        net::partition("main", "web");
        client.send(HELLO).unwrap();
        sleep(5 * SECOND);
        net::heal("main", "web");
        assert_eq!(reply(&mut client).unwrap(), "HTTP/1.1 200 OK");
        // One that is gone: the server forgets it in its time.
        net::partition("main", "web");
        sleep(200 * SECOND);
        assert_eq!(server.open(), 0);
        net::heal("main", "web");
        net::host("web").spawn(move || server.stop()).join().unwrap();
        ended.join().unwrap();
        net::crash("web");
    });
}

pub fn a_graceful_end_finishes_what_is_under_way() {
    each_twice(0..5, || {
        let (server, ended) = start(options());
        let mut idle = Client::connect("web:80").unwrap();
        idle.send(HELLO).unwrap();
        reply(&mut idle).unwrap();
        let mut busy = Client::connect("web:80").unwrap();
        busy.send("GET /sleep/20000 HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        busy.stream.get_ref().set_read_timeout(None).unwrap();
        sleep(SECOND);
        net::host("web").spawn(move || server.stop()).join().unwrap();
        assert_eq!(idle.line().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(reply(&mut busy).unwrap(), "HTTP/1.1 200 OK");
        ended.join().unwrap();
        assert!(Client::connect("web:80").is_err_and(|it| it.kind() == ErrorKind::ConnectionRefused));
        net::crash("web");
    });
}
