//! A chat room over WebSocket: every guest gets the messages of every other guest.
//!
//!     cargo run --release --example websocket_chat -- 127.0.0.1:9001
//!
//! Then, in the console of a web browser (two of them make a chat):
//!
//!     s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)
//!     s.send("hello")
//!
//! There are three kinds of goroutine, connected by channels: a reader and a writer for each guest,
//! and the room. The room owns the list of guests, so no lock is needed. It never waits for a
//! guest: if an outbox is full, its guest has not read for a long time, and the room disconnects
//! it. So a slow reader delays no other guest.

use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{go, time};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// How many frames may wait for one guest.
const OUTBOX: usize = 256;
const MAX_MESSAGE: usize = 64 * 1024;

/// Whole frames for a guest's socket. Shared, because all guests get the same bytes.
type Bytes = Arc<[u8]>;

enum Event {
    Joined { id: u64, stream: Arc<TcpStream>, outbox: Sender<Bytes> },
    Said { id: u64, text: String },
    Left { id: u64 },
}

struct Guest {
    stream: Arc<TcpStream>,
    outbox: Sender<Bytes>,
}

/// The goroutine that owns the list of guests.
fn room(events: Receiver<Event>) {
    let mut guests: HashMap<u64, Guest> = HashMap::new();
    for event in events {
        let text = match event {
            Event::Joined { id, stream, outbox } => {
                guests.insert(id, Guest { stream, outbox });
                format!("* guest {id} has joined, {} here", guests.len())
            }
            Event::Said { id, text } => format!("guest {id}: {text}"),
            Event::Left { id } => {
                guests.remove(&id);
                format!("* guest {id} has left")
            }
        };
        let frame = text_frame(&text);
        guests.retain(|_, guest| {
            let keeps_up = guest.outbox.try_send(frame.clone()).is_ok();
            if !keeps_up {
                // Ends its reader, which then reports that the guest has left.
                let _ = guest.stream.shutdown(Shutdown::Both);
            }
            keeps_up
        });
    }
}

/// Encodes a frame once for all guests, because frames of a server are not masked.
fn text_frame(text: &str) -> Bytes {
    let frame = Frame::message(text.to_owned(), OpCode::Data(Data::Text), true);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("a vector takes everything");
    bytes.into()
}

/// The stream under the WebSocket of a guest. Reads come from the socket. Writes (answers to pings
/// and to a close) go through the outbox like all frames. Otherwise their bytes would land inside a
/// frame that the writer is writing.
struct Halves {
    stream: Arc<TcpStream>,
    outbox: Sender<Bytes>,
}

impl Read for Halves {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.stream).read(buf)
    }
}

impl Write for Halves {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outbox.send(buf.into()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The goroutine that reads from a guest.
fn welcome(id: u64, stream: TcpStream, events: &Sender<Event>) -> tungstenite::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    // Limits the handshake. Afterwards a guest may be silent for any time.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let greeted = tungstenite::accept(stream).map_err(|error| match error {
        tungstenite::HandshakeError::Failure(error) => error,
        tungstenite::HandshakeError::Interrupted(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
    })?;
    let stream = Arc::new(greeted.into_inner());
    stream.set_read_timeout(None)?;

    let (outbox, frames) = chan::bounded(OUTBOX);
    let socket = stream.clone();
    go!(move || {
        if write(&socket, &frames).is_err() {
            // This also ends the reader.
            let _ = socket.shutdown(Shutdown::Both);
        }
    });
    let _ = events.send(Event::Joined { id, stream: stream.clone(), outbox: outbox.clone() });
    let mut socket = WebSocket::from_raw_socket(Halves { stream, outbox }, Role::Server, Some(config));
    let result = loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                let _ = events.send(Event::Said { id, text: text.as_str().to_owned() });
            }
            Ok(_) => {}
            Err(Error::ConnectionClosed) => break Ok(()),
            Err(error) => {
                say_why(&mut socket, &error);
                break Err(error);
            }
        }
    };
    let _ = events.send(Event::Left { id });
    let Halves { stream, outbox } = socket.into_inner();
    // With the room's end of the outbox, which the guest's departure drops, this ends the writer.
    drop(outbox);
    let _ = drain(&stream);
    result
}

/// Tells a guest that has broken the rules which rule it was, as RFC 6455 asks for.
fn say_why(socket: &mut WebSocket<Halves>, error: &Error) {
    let code = match error {
        Error::Protocol(_) => CloseCode::Protocol,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Capacity(_) => CloseCode::Size,
        // There is no connection any more, or it was closed as it should be.
        _ => return,
    };
    // Fails if the guest is gone, too.
    let _ = socket.close(Some(CloseFrame { code, reason: error.to_string().into() }));
    let _ = socket.flush();
}

/// Reads what a guest still sends, for a moment and up to a limit. A socket that is closed before
/// its bytes have been read resets the connection, and the guest would lose the last frames that it
/// was sent.
fn drain(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut rest = vec![0; 4 * 1024];
    let mut left: usize = 16 * MAX_MESSAGE;
    while left > 0 {
        match stream.read(&mut rest)? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// The goroutine that writes to a guest, until all senders of the outbox are dropped.
fn write(mut stream: &TcpStream, frames: &Receiver<Bytes>) -> io::Result<()> {
    for frame in frames {
        stream.write_all(&frame)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    // Bounded: if the room has too much to do, the readers wait, and guests that send too much
    // wait, too.
    let (events, inbox) = chan::bounded(128);
    go!(room(inbox));
    for id in 1.. {
        let stream = loop {
            match listener.accept() {
                Ok((stream, _peer)) => break stream,
                Err(error) => {
                    // Most likely the process has no descriptors left. Open connections are still
                    // served, and some of them will close.
                    eprintln!("cannot accept: {error}; trying again");
                    time::sleep(Duration::from_millis(50));
                }
            }
        };
        let events = events.clone();
        go!(move || {
            if let Err(error) = welcome(id, stream, &events) {
                eprintln!("guest {id}: {error}");
            }
        });
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    narrowboat::run(move || serve(&address))
}
