//! The examples of services.

use crate::server::Server;
use crate::{example, output_of};
use std::io::{Read, Write};
use std::process::Stdio;

#[test]
fn actors_play_and_a_failed_store_is_started_anew() {
    let output = output_of(example("actors").arg("1000").stderr(Stdio::null()));
    // 250 games, and two of them are a multiple of 97.
    for part in
        ["1000 players, 250 games", "248 games were stored, 2 were", "failed 2 times", "started anew 2"]
    {
        assert!(output.contains(part), "no {part:?} in {output}");
    }
    assert!(output.ends_with("\n1000 points in all\n"), "{output}");
}

#[test]
fn actors_answer_on_their_console() {
    let server = Server::start_with("actors", &["8"]);
    let mut console = server.connect();
    console.write_all(b"info lobby\ninfo store\nquit\n").expect("it reads");
    let mut text = String::new();
    console.read_to_string(&mut text).expect("it replies");
    for part in ["0 wait for a room, 2 games were played", "2 scores since the latest start"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(text.matches("<CMD OK>").count(), 2, "{text}");
}

#[test]
fn actor_rates_counts_right() {
    let output = output_of(example("actor_rates").arg("2000"));
    assert!(output.contains("sum 2000") && output.lines().count() == 5, "{output}");
}
