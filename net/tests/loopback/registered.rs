//! Streams that the netpoller knows.

use narrowboat_net::TcpStream;
use narrowboat_testing::ms;
use std::io::ErrorKind;

/// Has a stream wait once, so that the netpoller knows it and has reported what there was to
/// report.
pub fn register(stream: &TcpStream) {
    let before = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(ms(10))).unwrap();
    assert_eq!(stream.peek(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(before).unwrap();
}
