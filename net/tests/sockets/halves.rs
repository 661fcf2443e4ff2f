//! Halves of streams, and copying between streams.

use crate::loopback::pair;
use narrowboat_net::unix::UnixStream;
use narrowboat_testing::{bounded, one_site::go, scaled, settle};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

#[test]
fn dropping_the_writing_half_is_the_end_for_the_peer_only() {
    bounded(|| {
        let (one, mut other) = pair();
        let (mut reader, mut writer) = one.into_split();
        writer.write_all(b"question").unwrap();
        drop(writer);
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        other.write_all(b"answer").unwrap();
        drop(other);
        text.clear();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
    });
}

#[test]
fn halves_work_at_the_same_time_and_find_together_again() {
    bounded(|| {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut reader, mut writer) = one.into_split();
        let reading = go(move || {
            let mut text = [0; 4];
            reader.read_exact(&mut text).unwrap();
            (reader, text)
        });
        settle();
        writer.write_all(b"out").unwrap();
        (&other).write_all(b"back").unwrap();
        let (reader, text) = reading.join();
        assert_eq!(&text, b"back");
        let (stranger, _other) = UnixStream::pair().unwrap();
        let (strange_reader, strange_writer) = stranger.into_split();
        let error = reader.reunite(strange_writer).unwrap_err();
        drop(strange_reader);
        let one = error.0.reunite(writer).unwrap();
        // Nothing has ended by that.
        (&one).write_all(b"more").unwrap();
        (&other).read_exact(&mut [0; 7]).unwrap();
        drop(one);
        assert_eq!((&other).read(&mut [0; 8]).unwrap(), 0);
    });
}

/// The heart of a proxy: each direction copied on its own, the end of each passed on when it comes.
#[test]
fn a_relay_passes_on_bytes_and_each_end_by_itself() {
    bounded(|| {
        let size = scaled(4 << 20);
        let ((client, inward), (outward, mut server)) = (pair(), UnixStream::pair().unwrap());
        let (mut from_client, mut to_client) = inward.into_split();
        let (mut from_server, mut to_server) = outward.into_split();
        let there = go(move || io::copy(&mut from_client, &mut to_server).unwrap());
        let back = go(move || io::copy(&mut from_server, &mut to_client).unwrap());
        let serving = go(move || {
            let mut request = Vec::new();
            server.read_to_end(&mut request).unwrap();
            // The client has ended its half; it still gets all of the answer.
            server.write_all(&request).unwrap();
            request.len()
        });
        let mut sending = client.try_clone().unwrap();
        let sender = go(move || {
            sending.write_all(&vec![7; size]).unwrap();
            sending.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        (&client).read_to_end(&mut answer).unwrap();
        assert!(answer.len() == size && answer.iter().all(|&byte| byte == 7));
        sender.join();
        assert_eq!(serving.join(), size);
        assert_eq!((there.join(), back.join()), (size as u64, size as u64));
    });
}

#[test]
fn a_half_given_up_by_forget_ends_nothing() {
    bounded(|| {
        let (one, other) = pair();
        let (reader, writer) = one.into_split();
        writer.forget();
        other.set_read_timeout(Some(std::time::Duration::from_millis(5))).unwrap();
        assert_eq!((&other).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(reader);
        other.set_read_timeout(None).unwrap();
        assert_eq!((&other).read(&mut [0; 1]).unwrap(), 0);
    });
}
