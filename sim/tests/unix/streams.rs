//! Listeners and streams.

use crate::{SETTLE, alike, read};
use narrowboat::chan::select;
use narrowboat::net::unix::{UnixListener, UnixStream};
use narrowboat::{go, sleep};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;

#[test]
fn an_echo_its_end_and_the_addresses_of_both_ends() {
    alike(|place, log| {
        let listener = UnixListener::bind(place.path("echo")).unwrap();
        log.note("listener", listener.local_addr());
        let mut one = UnixStream::connect(place.path("echo")).unwrap();
        let (other, from) = listener.accept().unwrap();
        log.say("accepted from", from);
        for (name, end) in [("one", &one), ("other", &other)] {
            log.note(name, end.local_addr());
            log.note(name, end.peer_addr());
            log.note(name, end.take_error().map(|error| error.is_none()));
        }
        let echo = go!(move || io::copy(&mut &other, &mut &other).unwrap());
        let sender = one.try_clone().unwrap();
        let sending = go!(move || {
            (&sender).write_all(&vec![7; 1 << 20]).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
            (&sender).write(b"more").map_err(|error| error.kind())
        });
        let mut all = Vec::new();
        log.note("read", one.read_to_end(&mut all));
        log.say("the same", all.iter().all(|byte| *byte == 7));
        log.say("a write after the end", sending.join().unwrap());
        log.say("copied", echo.join().unwrap());
        log.note("the end is there again", read(&one));
    });
}

#[test]
fn many_clients_are_served() {
    alike(|place, log| {
        let listener = UnixListener::bind(place.path("many")).unwrap();
        let server = go!(move || {
            for stream in listener.incoming().take(30) {
                let stream = stream.unwrap();
                go!(move || io::copy(&mut &stream, &mut &stream).unwrap());
            }
        });
        let clients: Vec<_> = (0..30u8)
            .map(|n| {
                let path = place.path("many");
                go!(move || {
                    let mut stream = UnixStream::connect(path).unwrap();
                    let mut back = [0; 3];
                    for round in 0..10 {
                        stream.write_all(&[n, round, n]).unwrap();
                        stream.read_exact(&mut back).unwrap();
                        assert_eq!(back, [n, round, n]);
                    }
                    back
                })
            })
            .collect();
        for client in clients {
            log.say("client", client.join().unwrap());
        }
        server.join().unwrap();
    });
}

#[test]
fn a_listener_without_room_makes_connections_wait() {
    alike(|place, log| {
        let listener = place.narrow_listener("narrow");
        let first = UnixStream::connect(place.path("narrow")).unwrap();
        let connect = || {
            let path = place.path("narrow");
            go!(move || UnixStream::connect(path))
        };
        let second = connect();
        sleep(SETTLE);
        log.say("the second waits", !second.is_finished());
        let accepted = listener.accept().unwrap().0;
        let second = second.join().unwrap().unwrap();
        (&first).write_all(b"first").unwrap();
        log.note("the first was accepted first", read(&accepted));
        (&second).write_all(b"early").unwrap();
        let third = connect();
        sleep(SETTLE);
        log.say("the third waits", !third.is_finished());
        drop(listener);
        log.note("the third", third.join().unwrap());
        log.note("what was never accepted", read(&second));
        log.note("and then", read(&second));
        log.note("and a write", (&second).write(b"x"));
        log.note("what was accepted", (&accepted).write(b"stays"));
        log.note("what was accepted", read(&first));
    });
}

/// What happens to a connection after it is made is for the next call to say.
#[test]
fn a_connect_beside_the_end_of_its_listener_is_made_or_refused() {
    fn check(connected: io::Result<UnixStream>) {
        match connected {
            Ok(stream) => assert_eq!(read(&stream).unwrap_err().kind(), ErrorKind::ConnectionReset),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    }
    alike(|place, log| {
        for round in 0..20 {
            let path = place.path(&format!("beside-{round}"));
            let listener = UnixListener::bind(&path).unwrap();
            let connecting = go!(move || UnixStream::connect(path));
            go!(move || drop(listener)).join().unwrap();
            check(connecting.join().unwrap());
        }
        // And one that has waited for room.
        for round in 0..3 {
            let name = format!("waiting-{round}");
            let (listener, path) = (place.narrow_listener(&name), place.path(&name));
            let _first = UnixStream::connect(&path).unwrap();
            let connecting = go!(move || UnixStream::connect(path));
            sleep(SETTLE);
            log.say("it waits", !connecting.is_finished());
            let _accepted = listener.accept().unwrap();
            drop(listener);
            check(connecting.join().unwrap());
        }
    });
}

#[test]
fn a_client_that_has_gone_is_accepted_all_the_same() {
    alike(|place, log| {
        let listener = UnixListener::bind(place.path("gone")).unwrap();
        let mut client = UnixStream::connect(place.path("gone")).unwrap();
        client.write_all(b"and away").unwrap();
        drop(client);
        let (stream, from) = listener.accept().unwrap();
        log.say("from", from);
        log.note("what it said", read(&stream));
        log.note("its end", read(&stream));
        log.note("an answer", (&stream).write(b"x"));
        listener.set_nonblocking(true).unwrap();
        log.note("nothing more", listener.accept());
    });
}

#[test]
fn what_a_peer_that_has_gone_leaves() {
    alike(|_, log| {
        let (one, other) = UnixStream::pair().unwrap();
        log.note("unnamed", one.local_addr());
        log.note("unnamed", other.peer_addr());
        (&one).write_all(b"left").unwrap();
        drop(one);
        log.note("left", read(&other));
        log.note("end", read(&other));
        log.note("write", (&other).write(b"x"));
        log.note("write nothing", (&other).write(b""));
        log.note("peer", other.peer_addr());
        log.note("shutdown", other.shutdown(Shutdown::Both));

        let (one, other) = UnixStream::pair().unwrap();
        (&other).write_all(b"unread").unwrap();
        (&one).write_all(b"left").unwrap();
        drop(one);
        log.note("write", (&other).write(b"x"));
        log.note("left", read(&other));
        log.note("reset", read(&other));
        log.note("end", read(&other));
        log.note("write", (&other).write(b"x"));

        let (one, other) = UnixStream::pair().unwrap();
        (&other).write_all(b"unread").unwrap();
        drop(one);
        log.note("error", other.take_error().map(|error| error.map(|error| error.kind())));
        log.note("no error", other.take_error().map(|error| error.map(|error| error.kind())));
        log.note("end", read(&other));

        // Those that wait learn it, too.
        let (one, other) = UnixStream::pair().unwrap();
        let waiting = other.try_clone().unwrap();
        let reading = go!(move || read(&waiting));
        let writing = go!({
            let other = other.try_clone().unwrap();
            move || (&other).write_all(&vec![0; 1 << 20])
        });
        sleep(SETTLE);
        drop(one);
        log.note("write", writing.join().unwrap());
        log.note("read", reading.join().unwrap());
    });
}

#[test]
fn half_of_a_stream_may_end() {
    alike(|_, log| {
        let (one, other) = UnixStream::pair().unwrap();
        (&other).write_all(b"before").unwrap();
        log.note("no more reads", one.shutdown(Shutdown::Read));
        log.note("peer writes", (&other).write(b"after"));
        log.note("was there", read(&one));
        log.note("end", read(&one));
        log.note("own writes go on", (&one).write(b"on"));
        log.note("and arrive", read(&other));
        log.note("no more writes", one.shutdown(Shutdown::Write));
        log.note("write", (&one).write(b"x"));
        log.note("end", read(&other));
        log.note("again", one.shutdown(Shutdown::Both));

        let (one, other) = UnixStream::pair().unwrap();
        let reading = go!({
            let one = one.try_clone().unwrap();
            move || read(&one)
        });
        let writing = go!({
            let other = other.try_clone().unwrap();
            move || (&other).write_all(&vec![0; 1 << 20])
        });
        sleep(SETTLE);
        log.say("woken", reading.join().unwrap().unwrap().len());
        sleep(SETTLE);
        log.say("still waits", !writing.is_finished());
        log.note("shutdown", one.shutdown(Shutdown::Both));
        log.note("woken", writing.join().unwrap());

        // That the peer reads no more is no event. That nothing goes in either direction is one.
        let (one, other) = UnixStream::pair().unwrap();
        let writing = go!({
            let other = other.try_clone().unwrap();
            move || (&other).write_all(&vec![0; 1 << 20])
        });
        sleep(SETTLE);
        log.note("shutdown", one.shutdown(Shutdown::Read));
        sleep(SETTLE);
        log.say("still waits", !writing.is_finished());
        let writable = other.writable();
        log.say("full", select! { recv(writable) -> _ => "writable", default => "not writable" });
        log.note("shutdown", one.shutdown(Shutdown::Write));
        log.note("woken", writing.join().unwrap());
        writable.recv().unwrap();

        let (one, other) = UnixStream::pair().unwrap();
        let (reader, writer) = one.into_split();
        drop(writer);
        log.note("end of the writing half", read(&other));
        (&other).write_all(b"to the reading half").unwrap();
        let mut text = [0; 19];
        log.note("reading half", { reader }.read_exact(&mut text));

        let (one, other) = UnixStream::pair().unwrap();
        let reading = go!({
            let one = one.try_clone().unwrap();
            move || read(&one)
        });
        sleep(SETTLE);
        one.close();
        log.note("closed", reading.join().unwrap());
        log.note("closed", (&one).write(b"x"));
        log.note("end", read(&other));
    });
}

#[test]
fn what_is_written_is_there_at_once() {
    alike(|_, log| {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        log.note("nothing", read(&other));
        let parts = [IoSlice::new(b"in "), IoSlice::new(b""), IoSlice::new(b"parts")];
        log.note("parts", (&one).write_vectored(&parts));
        let mut text = [0; 4];
        log.note("peek", other.peek(&mut text));
        let (mut first, mut second) = ([0; 2], [0; 20]);
        let both = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        log.note("parts", (&other).read_vectored(both));
        log.say("parts", (text, first, second));
        log.note("nothing", other.peek(&mut text));

        let mut written = 0;
        let error = loop {
            match (&one).write(&[1; 1000]) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        log.note::<()>("full", Err(error));
        let writable = one.writable();
        log.say("full", select! { recv(writable) -> _ => "writable", default => "not writable" });
        let mut come = 0;
        let error = loop {
            match (&other).read(&mut [0; 999]) {
                Ok(count) => come += count,
                Err(error) => break error,
            }
        };
        log.note::<()>("empty", Err(error));
        log.say("all has come", written == come && come > 10_000);
        writable.recv().unwrap();
        log.note("room", (&one).write(b"again"));
        log.note("come", read(&other));
    });
}
