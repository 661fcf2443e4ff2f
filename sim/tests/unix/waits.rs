//! Waits that a select, a limit of time or a context ends.

use crate::{Log, SETTLE, alike, connected, fill, read, receive};
use narrowboat::chan::{self, select};
use narrowboat::context::{background, with_cancel};
use narrowboat::net::unix::{UnixDatagram, UnixListener, UnixStream};
use narrowboat::{go, sleep};
use std::io::Write;

#[test]
fn sockets_stand_in_a_select() {
    alike(|place, log| {
        let listener = UnixListener::bind(place.path("select")).unwrap();
        let datagrams = UnixDatagram::bind(place.path("datagrams")).unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let arms = [listener.readable(), datagrams.readable(), other.readable()];
        let (stop, stopped) = chan::bounded::<()>(1);
        let next = |log: &mut Log| {
            let what = select! {
                recv(arms[0]) -> _ => {
                    listener.accept().unwrap();
                    "a connection".to_owned()
                }
                recv(arms[1]) -> _ => receive(&datagrams).unwrap().0,
                recv(arms[2]) -> _ => read(&other).unwrap(),
                recv(stopped) -> _ => "stopped".to_owned(),
                recv(chan::after(SETTLE)) -> _ => "nothing".to_owned(),
            };
            log.say("next", what);
        };
        next(log);
        let path = place.path("select");
        let connecting = go!(move || UnixStream::connect(path).map(drop));
        connecting.join().unwrap().unwrap();
        next(log);
        UnixDatagram::unbound().unwrap().send_to(b"a datagram", place.path("datagrams")).unwrap();
        next(log);
        let writing = go!({
            let one = one.try_clone().unwrap();
            move || {
                sleep(SETTLE / 3);
                (&one).write_all(b"a text").unwrap();
            }
        });
        writing.join().unwrap();
        next(log);
        one.writable().recv().unwrap();
        datagrams.writable().recv().unwrap();
        stop.send(()).unwrap();
        next(log);
        drop(one);
        next(log);
    });
}

#[test]
fn limits_of_time_and_contexts_end_operations() {
    alike(|place, log| {
        let soon = || Some(narrowboat_runtime::world::now() + SETTLE);
        let listener = UnixListener::bind(place.path("late")).unwrap();
        listener.set_deadline(soon()).unwrap();
        log.note("accept", listener.accept());
        listener.set_deadline(None).unwrap();

        let (one, other) = connected(&listener);
        other.set_read_timeout(Some(SETTLE)).unwrap();
        log.note("read", read(&other));
        other.set_read_deadline(soon()).unwrap();
        log.note("read", read(&other));
        one.set_write_timeout(Some(SETTLE)).unwrap();
        log.note("write", (&one).write_all(&vec![0; 1 << 20]));
        one.set_write_deadline(soon()).unwrap();
        log.note("write", (&one).write_all(&vec![0; 1 << 20]));

        let receiver = UnixDatagram::bind(place.path("full")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(place.path("full")).unwrap();
        fill(&sender);
        sender.set_write_timeout(Some(SETTLE)).unwrap();
        log.note("send", sender.send(b"x"));
        log.note("send", sender.send_to(b"x", place.path("full")));
        sender.set_deadline(soon()).unwrap();
        log.note("send", sender.send(b"x"));
        log.note("receive", receive(&sender));

        let (context, cancel) = with_cancel(&background());
        let (tied, stream) = (receiver.with_context(&context), listener.with_context(&context));
        log.note("tied", tied.recv(&mut [0; 8]));
        let accepting = go!(move || stream.accept());
        sleep(SETTLE);
        cancel.cancel();
        log.note("tied", accepting.join().unwrap());
        log.note("tied", tied.recv(&mut [0; 8]));
    });
}
