//! Names that are free, taken, unknown, or none.

use crate::{alike, connected};
use narrowboat::net::unix::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::os::linux::net::SocketAddrExt;

#[test]
fn names_are_free_taken_or_unknown() {
    alike(|place, log| {
        let path = place.path("name");
        log.note("never bound", UnixStream::connect(&path));
        log.note("never bound", UnixDatagram::unbound().unwrap().send_to(b"x", &path));
        log.note("never bound", UnixDatagram::unbound().unwrap().connect(&path));
        let listener = UnixListener::bind(&path).unwrap();
        log.note("taken", UnixListener::bind(&path));
        log.note("taken", UnixDatagram::bind(&path));
        log.note("the other kind", UnixDatagram::unbound().unwrap().connect(&path));
        log.note("the other kind", UnixDatagram::unbound().unwrap().send_to(b"x", &path));
        let (one, other) = connected(&listener);
        let typed = place.path("./name");
        log.note("the peer's name is its own", UnixStream::connect(&typed).unwrap().peer_addr());
        drop(listener);
        log.note("bound once", UnixStream::connect(&path));
        log.note("bound once", UnixDatagram::unbound().unwrap().send_to(b"x", &path));
        log.note("an accepted stream keeps its address", other.local_addr());
        log.note("and its peer", one.peer_addr());

        let path = place.path("datagrams");
        let socket = UnixDatagram::bind(&path).unwrap();
        log.note("taken", UnixListener::bind(&path));
        log.note("the other kind", UnixStream::connect(&path));
        let connected = UnixDatagram::unbound().unwrap();
        connected.connect(place.path("./datagrams")).unwrap();
        log.note("the peer's name is its own", connected.peer_addr());
        drop(socket);
        log.note("bound once", UnixDatagram::unbound().unwrap().connect(&path));

        let long = place.path(&"x".repeat(200));
        log.note("too long", UnixListener::bind(&long));
        log.note("too long", UnixStream::connect(&long));
        log.note("too long", UnixDatagram::bind(&long));
    });
}

#[test]
fn abstract_names_go_with_their_sockets() {
    alike(|place, log| {
        let name = place.named("abstract");
        log.note("never bound", UnixStream::connect_addr(&name));
        log.note("never bound", UnixDatagram::unbound().unwrap().connect_addr(&name));
        let listener = UnixListener::bind_addr(&name).unwrap();
        log.note("listener", listener.local_addr());
        log.note("taken", UnixListener::bind_addr(&name));
        log.note("of the other kind there is none", UnixDatagram::unbound().unwrap().connect_addr(&name));
        let socket = UnixDatagram::bind_addr(&name).unwrap();
        log.note("each kind has its own", socket.local_addr());
        let (one, other) = connected(&listener);
        log.note("peer", one.peer_addr());
        log.note("accepted", other.local_addr());
        drop(listener);
        log.note("gone", UnixStream::connect_addr(&name));
        log.note("free", UnixListener::bind_addr(&name).and_then(|it| it.local_addr()));

        let unnamed = SocketAddr::from_pathname("").unwrap();
        log.note("no name", UnixStream::connect_addr(&unnamed));
        log.note("no name", socket.connect_addr(&unnamed));
        log.note("no name", socket.send_to_addr(b"x", &unnamed));
        let chosen = UnixListener::bind_addr(&unnamed).unwrap().local_addr().unwrap();
        log.say("a name that was chosen", chosen.as_abstract_name().map(<[u8]>::len));
        let chosen = UnixDatagram::bind_addr(&unnamed).unwrap().local_addr().unwrap();
        log.say("a name that was chosen", chosen.as_abstract_name().map(<[u8]>::len));
    });
}
