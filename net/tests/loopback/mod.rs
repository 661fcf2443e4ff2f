//! Sockets on the loopback interface.

use narrowboat_net::{TcpListener, TcpStream};

/// A listener.
pub fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a listener")
}

/// Both ends of a connection: the one that asked for it, and the one that was accepted.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let one = TcpStream::connect(listener.local_addr().unwrap()).expect("a connection");
    let (other, peer) = listener.accept().expect("its other end");
    assert_eq!(peer, one.local_addr().unwrap());
    (one, other)
}
