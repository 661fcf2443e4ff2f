//! The parsers of http_server: heads of requests, and bodies in whatever pieces they come.
#![no_main]
#![allow(dead_code)]

#[path = "../../examples/http_server/body.rs"]
mod body;
#[path = "../../examples/http_server/options.rs"]
mod options;
#[path = "../../examples/http_server/request.rs"]
mod request;
#[path = "../../examples/http_server/response.rs"]
mod response;
#[path = "../../examples/http_server/server.rs"]
mod server;
#[path = "../../examples/http_server/stats.rs"]
mod stats;

use body::Body;
use libfuzzer_sys::fuzz_target;
use request::Request;
use response::Status;

fuzz_target!(|bytes: &[u8]| {
    let Some((&seed, bytes)) = bytes.split_first() else { return };
    match Request::parse(bytes) {
        Ok(Some((length, request))) => {
            assert!(length <= bytes.len());
            let shorter = Request::parse(&bytes[..length]);
            assert!(shorter.is_ok_and(|parsed| parsed.is_some_and(|(again, _)| again == length)));
            let rest = &bytes[length..];
            let again = Request::parse(bytes).ok().flatten().expect("was one").1;
            compare(request.body, again.body, rest, seed);
        }
        Ok(None) => assert!(bytes.len() < request::MAX_HEAD),
        Err(_) => {}
    }
    let chunked = || {
        let mut body = Body::in_chunks();
        body.keep();
        body
    };
    compare(chunked(), chunked(), bytes, seed);
});

/// A body that comes at once is the same as one that comes in pieces.
fn compare(whole: Body, pieces: Body, bytes: &[u8], seed: u8) {
    let at_once = receive(whole, [bytes].into_iter());
    let in_pieces = receive(pieces, bytes.chunks(1 + usize::from(seed % 7)));
    match (&at_once, &in_pieces) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(_), Err(_)) => {}
        _ => panic!("{at_once:?} at once, {in_pieces:?} in pieces"),
    }
}

type Received = (bool, usize, Vec<u8>);

fn receive<'a>(mut body: Body, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Received, Status> {
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend(piece);
        let taken = body.take(&buffer)?;
        buffer.drain(..taken);
        if body.is_complete() {
            break;
        }
    }
    Ok((body.is_complete(), body.len(), body.into_kept()))
}
