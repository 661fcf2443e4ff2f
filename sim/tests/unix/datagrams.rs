//! Sockets for datagrams.

use crate::{SETTLE, alike, crowd, fill, receive};
use narrowboat::chan::select;
use narrowboat::net::unix::UnixDatagram;
use narrowboat::{go, sleep};
use std::net::Shutdown;

#[test]
fn datagrams_have_bounds_an_order_and_senders() {
    alike(|place, log| {
        let socket = UnixDatagram::bind(place.path("to")).unwrap();
        log.note("bound", socket.local_addr());
        log.note("not connected", socket.peer_addr());
        log.note("not connected", socket.send(b"x"));
        let named = UnixDatagram::bind(place.path("from")).unwrap();
        let unnamed = UnixDatagram::unbound().unwrap();
        log.note("unbound", unnamed.local_addr());
        log.note("to a path", named.send_to(b"first", place.path("to")));
        log.note("empty", unnamed.send_to(b"", place.path("to")));
        log.note("to an address", unnamed.send_to_addr(b"third", &socket.local_addr().unwrap()));
        log.note("connect", named.connect(place.path("to")));
        log.note("peer", named.peer_addr());
        log.note("connected", named.send(b"fourth"));
        log.note("peek", socket.peek(&mut [0; 3]));
        log.note("peek", socket.peek_from(&mut [0; 64]));
        for _ in 0..3 {
            log.note("received", receive(&socket));
        }
        log.note("what does not fit is lost", socket.recv(&mut [0; 2]));
        socket.set_nonblocking(true).unwrap();
        log.note("nothing", receive(&socket));
        log.note("nothing", socket.peek(&mut [0; 3]));
        log.note("to itself", socket.send_to(b"own", place.path("to")));
        log.note("from itself", receive(&socket));
        let large = vec![5; 1 << 20];
        log.note("large", named.send(&large[..100_000]));
        log.note("large", socket.recv(&mut vec![0; 1 << 20]));
        log.note("too large", named.send(&large));
        log.note("too large", named.send_to(&large, place.path("to")));
        log.note("no error", named.take_error().map(|error| error.is_none()));

        let (one, other) = UnixDatagram::pair().unwrap();
        log.note("pair", one.local_addr());
        log.note("pair", one.peer_addr());
        log.note("pair", one.send(b"over"));
        log.note("pair", receive(&other));
        log.note("and elsewhere", one.send_to(b"away", place.path("to")));
        log.note("and elsewhere", receive(&socket));
    });
}

#[test]
fn a_datagram_waits_for_room() {
    alike(|place, log| {
        let path = place.path("full");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&path).unwrap();
        let count = crowd(&path);
        log.note::<()>("full", Err(fill(&sender).1));
        let writable = sender.writable();
        log.say("full", select! { recv(writable) -> _ => "writable", default => "not writable" });
        for _ in 0..5 {
            log.note("taken", receive(&receiver));
        }
        writable.recv().unwrap();
        log.say("room for as many", fill(&sender).0);

        // Both kinds of senders wait.
        let patient = go!(move || sender.send(b"patient"));
        let elsewhere = go!(move || UnixDatagram::unbound().unwrap().send_to(b"elsewhere", path));
        sleep(SETTLE);
        log.say("they wait", !patient.is_finished() && !elsewhere.is_finished());
        let mut texts: Vec<_> = (0..count + 2).map(|_| receive(&receiver).unwrap().0).collect();
        log.note("sent", patient.join().unwrap());
        log.note("sent", elsewhere.join().unwrap());
        let mut last = texts.split_off(count);
        log.say("in order", texts.iter().all(|it| it == "filler"));
        last.sort();
        log.say("the last", last);

        for (one, other) in [UnixDatagram::pair().unwrap(), {
            let one = UnixDatagram::unbound().unwrap();
            one.connect(place.path("full")).unwrap();
            (one, receiver)
        }] {
            let sending = go!(move || (0..2_000u32).all(|n| one.send(&n.to_be_bytes()).is_ok()));
            let mut bytes = [0; 8];
            let in_order = (0..2_000u32).all(|n| {
                other.recv(&mut bytes).is_ok_and(|length| length == 4) && bytes[..4] == n.to_be_bytes()
            });
            log.say("in order", in_order);
            log.say("sent", sending.join().unwrap());
        }
    });
}

#[test]
fn a_connected_socket_takes_datagrams_of_its_peer_alone() {
    alike(|place, log| {
        let [one, other, third] =
            ["one", "other", "third"].map(|name| UnixDatagram::bind(place.path(name)).unwrap());
        third.send_to(b"early", place.path("one")).unwrap();
        log.note("connect", one.connect(place.path("other")));
        log.note("what came before", receive(&one));
        log.note("refused", third.send_to(b"late", place.path("one")));
        log.note("refused", third.connect(place.path("one")));
        log.note("its peer", other.send_to(b"peer", place.path("one")));
        log.note("its peer", receive(&one));
        log.note("connect", other.connect(place.path("one")));
        log.note("connect", other.connect_addr(&one.local_addr().unwrap()));

        // Another peer: what is there is lost, and the former one learns it.
        other.send(b"lost").unwrap();
        log.note("connect", one.connect(place.path("third")));
        one.set_nonblocking(true).unwrap();
        log.note("nothing", receive(&one));
        log.note("reset", other.send(b"x"));
        log.note("refused", other.send(b"x"));
        log.note("peer", one.peer_addr());
        log.note("send", one.send(b"text"));
        log.note("receive", receive(&third));
    });
}

#[test]
fn a_receiver_that_has_gone_refuses() {
    alike(|place, log| {
        let (one, other) = UnixDatagram::pair().unwrap();
        other.send(b"left").unwrap();
        drop(other);
        one.set_nonblocking(true).unwrap();
        log.note("peer", one.peer_addr());
        log.note("left", receive(&one));
        log.note("nothing", receive(&one));
        log.note("refused", one.send(b"x"));
        log.note("not connected", one.send(b"x"));
        log.note("not connected", one.peer_addr());

        let (one, other) = UnixDatagram::pair().unwrap();
        other.send(b"lost").unwrap();
        drop(other);
        one.set_nonblocking(true).unwrap();
        log.note("refused", one.send(b"x"));
        log.note("lost", receive(&one));

        let receiver = UnixDatagram::bind(place.path("gone")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(place.path("gone")).unwrap();
        log.say("full", fill(&sender).0 > 0);
        let waiting = go!({
            let sender = sender.try_clone().unwrap();
            move || sender.send(b"patient")
        });
        sleep(SETTLE);
        log.say("waits", !waiting.is_finished());
        drop(receiver);
        log.note("refused", waiting.join().unwrap());
        log.note("not connected", sender.send(b"x"));
        log.note("refused", sender.send_to(b"x", place.path("gone")));
    });
}

#[test]
fn half_of_a_datagram_socket_may_end() {
    alike(|place, log| {
        let socket = UnixDatagram::bind(place.path("half")).unwrap();
        log.note("not connected", socket.shutdown(Shutdown::Write));
        let sender = UnixDatagram::unbound().unwrap();
        log.note("still takes", sender.send_to(b"text", place.path("half")));
        log.note("still takes", receive(&socket));
        log.note("sends nothing", socket.send_to(b"x", place.path("half")));

        let (one, other) = UnixDatagram::pair().unwrap();
        one.send(b"before").unwrap();
        log.note("shutdown", other.shutdown(Shutdown::Read));
        log.note("refused", one.send(b"after"));
        log.note("before", receive(&other));
        log.note("end", receive(&other));
        log.note("end", other.peek(&mut [0; 8]));
        // The end is told to those alone that would wait otherwise.
        other.set_nonblocking(true).unwrap();
        log.note("nothing", receive(&other));
        log.note("nothing", other.recv(&mut [0; 8]));
        log.note("nothing", other.peek(&mut [0; 8]));
        other.set_nonblocking(false).unwrap();
        log.note("other way", other.send(b"back"));
        log.note("other way", receive(&one));
        let waiting = go!({
            let one = one.try_clone().unwrap();
            move || receive(&one)
        });
        sleep(SETTLE);
        log.note("shutdown", one.shutdown(Shutdown::Both));
        log.note("woken", waiting.join().unwrap());
        log.note("own end", one.send(b"x"));

        let (one, other) = UnixDatagram::pair().unwrap();
        one.close();
        log.note("closed", one.send(b"x"));
        log.note("closed", receive(&one));
        log.note("at the other end", other.send(b"x"));
    });
}

/// Those that wait for room learn of it when there is some, and not before.
#[test]
fn an_end_is_no_event_for_those_that_wait_for_room() {
    alike(|place, log| {
        let path = place.path("end");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&path).unwrap();
        let count = crowd(&path);
        let waiting = go!(move || sender.send(b"patient"));
        sleep(SETTLE);
        log.note("shutdown", receiver.shutdown(Shutdown::Read));
        sleep(SETTLE);
        log.say("still waits", !waiting.is_finished());
        let texts: Vec<_> = (0..count).map(|_| receive(&receiver).unwrap().0).collect();
        log.say("what came before", texts.iter().all(|it| it == "filler"));
        log.note("woken", waiting.join().unwrap());
        log.note("end", receive(&receiver));
    });
}

/// Its limit is not that of others then, but the kernel does not say so.
#[test]
fn that_a_receiver_connects_to_its_sender_is_no_event() {
    alike(|place, log| {
        let (to, from) = (place.path("to"), place.path("from"));
        let receiver = UnixDatagram::bind(&to).unwrap();
        let sender = UnixDatagram::bind(&from).unwrap();
        sender.connect(&to).unwrap();
        let count = crowd(&to);
        let waiting = go!({
            let sender = sender.try_clone().unwrap();
            move || sender.send(b"patient")
        });
        sleep(SETTLE);
        log.note("connect", receiver.connect(&from));
        sleep(SETTLE);
        log.say("still waits", !waiting.is_finished());
        log.note("another does not", sender.send(b"other"));
        log.note("taken", receive(&receiver));
        log.note("sent", waiting.join().unwrap());
        let texts: Vec<_> = (0..count + 1).map(|_| receive(&receiver).unwrap().0).collect();
        log.say("the last", &texts[count - 1..]);
    });
}
