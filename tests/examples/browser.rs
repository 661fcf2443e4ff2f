//! The debug page in a real browser, while the program that it shows is under load.

use crate::example;
use crate::server::Server;
use narrowboat_testing::{python_with, tool};
use std::net::TcpListener;

const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/examples/browser.py");

#[test]
fn the_debug_page_moves_finds_and_answers_clicks_under_load() {
    let (Some(_), Some(mut python)) = (tool("chromium"), python_with("json")) else { return };
    let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port").local_addr().expect("has one");
    let mut server = example("http_server");
    server.args(["--load", "1000", "--load-for", "600"]).env("NARROWBOAT_DEBUG", free.to_string());
    let _server = Server::start_as(&mut server);
    if std::net::TcpStream::connect(free).is_err() {
        // As with `cargo test -p narrowboat`. With the workspace, the window's own tests ask for it.
        eprintln!("SKIPPED: the example was built without the feature `debug`");
        return;
    }
    let output = python.arg(DRIVER).arg(free.to_string()).output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
