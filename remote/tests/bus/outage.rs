//! A server that fails and comes back, and clients that end in the middle.

use crate::server::Server;
use narrowboat::go;
use narrowboat::remote::{Bus, Error, Event, StreamOptions};
use narrowboat_testing::{LONG, eventually, ms, program, scaled};
use std::collections::BTreeSet;

#[test]
fn a_bus_goes_on_when_its_server_comes_back() {
    let Some(mut server) = Server::start() else { return };
    program(move || {
        let (one, other) = (server.connect(), server.connect());
        let receiver = one.receiver::<u64>("numbers").unwrap();
        let sender = other.sender::<u64>("numbers").unwrap();
        sender.send(&1).unwrap();
        assert_eq!(receiver.recv_timeout(LONG), Ok(1));
        server.kill();
        for bus in [&one, &other] {
            let mut events = std::iter::from_fn(|| bus.events().recv_timeout(LONG).ok());
            assert!(events.any(|event| event == Event::Disconnected));
        }
        assert_eq!(other.flush(ms(100)), Err(Error::Timeout));
        server.start_again();
        for bus in [&one, &other] {
            let mut events = std::iter::from_fn(|| bus.events().recv_timeout(LONG).ok());
            assert!(events.any(|event| event == Event::Connected));
        }
        eventually("messages arrive again", || {
            sender.send(&2).unwrap();
            receiver.recv_timeout(ms(50)) == Ok(2)
        });
        let service = one.service::<u8, u8>("service", "workers").unwrap();
        go!(move || service.recv().map(|request| request.reply(&2)));
        assert_eq!(other.request("service", &1_u8, LONG), Ok(2_u8));
    });
}

/// The server is killed while requests are on their way, and while their replies are.
#[test]
fn a_request_in_the_middle_of_an_outage_ends() {
    let Some(mut server) = Server::start() else { return };
    program(move || {
        let (asks, answers) = (server.connect(), server.connect());
        let service = answers.service::<u64, u64>("slow", "workers").unwrap();
        let (begin, begun) = narrowboat::chan::unbounded();
        let (go_on, gate) = narrowboat::chan::bounded::<()>(0);
        go!(move || {
            while let Ok(request) = service.recv() {
                let _ = begin.send(*request);
                let _ = gate.recv();
                let n = *request;
                // Where to has perhaps gone.
                let _ = request.reply(&n);
            }
        });
        let requests: Vec<_> = (0..20_u64)
            .map(|n| {
                let asks = asks.clone();
                go!(move || asks.request::<_, u64>("slow", &n, ms(3000)))
            })
            .collect();
        begun.recv_timeout(LONG).unwrap();
        server.kill();
        let begun = std::time::Instant::now();
        for (n, request) in requests.into_iter().enumerate() {
            let end = request.join().unwrap();
            assert!(end.is_err() || end == Ok(n as u64), "{end:?}");
        }
        assert!(begun.elapsed() < LONG / 2, "each within its time");
        // While there is no server a request fails in its time, too.
        assert!(asks.request::<_, u64>("slow", &1_u64, ms(100)).is_err());
        drop(go_on);
        server.start_again();
        eventually("requests are answered again", || {
            asks.request::<_, u64>("slow", &7_u64, ms(500)) == Ok(7)
        });
    });
}

#[test]
fn what_a_stream_has_acknowledged_outlives_its_server() {
    let Some(mut server) = Server::start() else { return };
    program(move || {
        let options = || StreamOptions { ack_wait: ms(1000), ..StreamOptions::default() };
        let stream = server.connect().stream::<u64>("work", options()).unwrap();
        let count = scaled(400) as u64;
        let producer = stream.clone();
        let sending = go!(move || (0..count).filter(|n| producer.send(n).is_ok()).collect::<BTreeSet<_>>());
        let worker = server.connect().stream::<u64>("work", options()).unwrap();
        let (tell, told) = narrowboat::chan::unbounded();
        go!(move || {
            let receiver = worker.receiver().unwrap();
            loop {
                // An error of the connection is one of this receive.
                if let Ok(delivery) = receiver.recv() {
                    if tell.send(*delivery).is_err() {
                        return;
                    }
                    let _ = delivery.ack();
                }
            }
        });
        let mut received = BTreeSet::new();
        for _ in 0..2 {
            let half = received.len() as u64 + count / 4;
            while (received.len() as u64) < half {
                received.insert(told.recv_timeout(LONG).unwrap());
            }
            server.kill();
            std::thread::sleep(ms(100));
            server.start_again();
        }
        let acknowledged = sending.join().unwrap();
        assert_eq!(acknowledged.len() as u64, count, "each send waits for the server");
        while !acknowledged.is_subset(&received) {
            received.insert(told.recv_timeout(LONG).expect("what was acknowledged arrives"));
        }
        eventually("the stream is empty", || stream.count() == Ok(0));
    });
}

#[test]
fn a_message_of_a_client_that_ends_goes_to_another() {
    let Some(server) = Server::start() else { return };
    program(move || {
        let options = || StreamOptions { ack_wait: ms(300), ..StreamOptions::default() };
        let stream = server.connect().stream::<u64>("work", options()).unwrap();
        stream.send(&7).unwrap();
        let dead = server.connect().stream::<u64>("work", options()).unwrap().receiver().unwrap();
        // As a process that is killed: nothing is said to the server.
        std::mem::forget(dead.recv_timeout(LONG).unwrap());
        let alive = stream.receiver().unwrap();
        let delivery = alive.recv_timeout(LONG).unwrap();
        assert_eq!(*delivery, 7);
        delivery.ack().unwrap();
        assert_eq!(stream.count(), Ok(0));
    });
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    program(|| {
        let error = Bus::connect("nats://127.0.0.1:1").unwrap_err();
        assert!(matches!(error, Error::Transport(_)), "{error}");
        assert!(Bus::connect("no address at all").is_err());
    });
}
