//! Making connections: to one address, or to the first of several that answers.
//!
//! Several addresses are tried as RFC 8305 ("happy eyeballs") says, so that an address that does
//! not answer delays the others by a quarter of a second and not by the minutes that TCP allows it:
//!
//! 1. The addresses are put in order: the first one, then alternately one of each family, each
//!    family in the order given.
//! 2. An attempt is begun with the first. The next one is begun when [`STAGGER`] has passed since
//!    the last, or at once when one has failed.
//! 3. The first connection that is made is the result, and the other attempts are abandoned. If all
//!    fail, the last error is the result.
//!
//! All of it happens in the calling goroutine, which waits for its sockets as a select would.

use crate::context;
use crate::direction::Direction;
use crate::handle;
use crate::ready::ready;
use crate::resolve;
use crate::source::{Operation, Source};
use narrowboat_chan::context::Context;
use narrowboat_chan::{Receiver, Select};
use narrowboat_runtime::park::Reason;
use narrowboat_runtime::world;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time between the beginning of one attempt and that of the next.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to one of the addresses of `addr`.
pub(super) fn connect<A: ToSocketAddrs>(addr: A, at: &'static Location<'static>) -> io::Result<Arc<Source>> {
    let addresses = resolve::addresses(addr, at)?;
    match addresses[..] {
        [] => Err(resolve::no_address()),
        [address] => connect_one(address, None, at),
        _ => race(interleaved(addresses), None),
    }
}

/// The same, until the context is done.
pub(super) fn connect_until_done<A: ToSocketAddrs>(
    addr: A,
    context: &Context,
    at: &'static Location<'static>,
) -> io::Result<Arc<Source>> {
    let addresses = resolve::addresses_until_done(addr, context, at)?;
    race(interleaved(addresses), Some(context))
}

/// Connects to one address, and waits for no longer than `timeout`.
pub(super) fn connect_timeout(
    address: SocketAddr,
    timeout: Duration,
    at: &'static Location<'static>,
) -> io::Result<Arc<Source>> {
    if timeout.is_zero() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
    }
    connect_one(address, Some(timeout), at)
}

fn connect_one(
    address: SocketAddr,
    timeout: Option<Duration>,
    at: &'static Location<'static>,
) -> io::Result<Arc<Source>> {
    let (socket, done) = handle::connect(&address)?;
    let source = Source::new(socket);
    if !done {
        // No other code has the socket yet, so its own timeout can serve for this one wait.
        source.set_timeout(Direction::Output, timeout)?;
        source.io(Operation::new(Reason::Connect, at), |socket| socket.connected()).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
            } else {
                error
            }
        })?;
        source.set_timeout(Direction::Output, None)?;
    }
    Ok(Arc::new(source))
}

/// Step 1.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_family);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut order = Vec::with_capacity(same.len() + other.len());
    while same.len() + other.len() > 0 {
        order.extend(same.next());
        order.extend(other.next());
    }
    order
}

/// A connection that is being made, and the channel that has a message when it is made or has
/// failed.
struct Attempt {
    source: Arc<Source>,
    decided: Receiver<()>,
}

/// Steps 2 and 3.
#[cold]
fn race(addresses: Vec<SocketAddr>, context: Option<&Context>) -> io::Result<Arc<Source>> {
    let mut waiting = addresses.into_iter();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut last = None;
    let mut next_at = world::now();
    loop {
        context.map_or(Ok(()), context::check)?;
        if next_at <= world::now()
            && let Some(address) = waiting.next()
        {
            match handle::connect(&address) {
                Ok((socket, true)) => return Ok(Arc::new(Source::new(socket))),
                Ok((socket, false)) => {
                    let source = Arc::new(Source::new(socket));
                    source.registered()?;
                    let decided = ready(&source, Direction::Output);
                    attempts.push(Attempt { source, decided });
                    next_at = world::now() + STAGGER;
                }
                // The next attempt begins at once.
                Err(error) => last = Some(error),
            }
            continue;
        }
        if attempts.is_empty() && waiting.len() == 0 {
            return Err(last.unwrap_or_else(resolve::no_address));
        }
        let next_at_latest = (waiting.len() > 0).then_some(next_at);
        let Some(index) = decided(&attempts, next_at_latest, context) else { continue };
        match attempts[index].source.handle().connected() {
            Ok(()) => return Ok(attempts.swap_remove(index).source),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                attempts.swap_remove(index);
                last = Some(error);
                next_at = world::now();
            }
        }
    }
}

/// Waits until one of the attempts is decided. `None` if the next attempt is due before that, or
/// the context is done.
fn decided(attempts: &[Attempt], next_at: Option<Instant>, context: Option<&Context>) -> Option<usize> {
    let mut select = Select::new();
    for attempt in attempts {
        select.recv(&attempt.decided);
    }
    if let Some(context) = context {
        select.recv(context.done());
    }
    let index = match next_at {
        Some(next_at) => select.ready_deadline(next_at).ok()?,
        None => select.ready(),
    };
    (index < attempts.len()).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use narrowboat_chan::context::{Error, background, with_cancel, with_timeout};
    use std::net::TcpListener;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_the_first_stays_first() {
        let six = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleaved(six), turns);
        let four = addresses(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]);
        assert_eq!(interleaved(four), addresses(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]));
        assert_eq!(interleaved(Vec::new()), []);
    }

    /// An address that does not answer: a listener with a full queue.
    fn dead() -> (SocketAddr, Vec<std::net::TcpStream>, socket2::Socket) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(60)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue never fills");
        }
        (address, queued, socket)
    }

    #[test]
    fn a_dead_address_costs_a_quarter_of_a_second_and_a_refusal_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let (dead, _queued, _socket) = dead();
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        let began = Instant::now();
        let source = race(vec![refusing, dead, refusing, alive], None).unwrap();
        assert_eq!(source.handle().peer_address().unwrap(), alive);
        // Two refusals and one wait.
        assert!(began.elapsed() >= STAGGER && began.elapsed() < Duration::from_secs(60), "{began:?}");

        let error = race(vec![refusing, refusing], None).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_context_that_is_done_ends_an_attempt() {
        let (dead, _queued, _socket) = dead();
        let (ctx, cancel) = with_cancel(&background());
        let attempt = std::thread::spawn({
            let ctx = ctx.clone();
            move || connect_until_done(dead, &ctx, Location::caller()).map(drop).unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(!attempt.is_finished());
        cancel.cancel();
        let error = attempt.join().unwrap();
        assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&Error::Canceled));

        // Later attempts are not begun, and names are not resolved.
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = alive.local_addr().unwrap().port();
        let name = format!("localhost:{port}");
        assert!(connect_until_done(&name, &ctx, Location::caller()).is_err());
        alive.set_nonblocking(true).unwrap();
        assert_eq!(alive.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

        let (soon, _cancel) = with_timeout(&background(), Duration::from_millis(20));
        let error = connect_until_done(dead, &soon, Location::caller()).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let source = connect_until_done(name, &background(), Location::caller()).unwrap();
        assert_eq!(source.handle().peer_address().unwrap().port(), port);
    }

    #[test]
    fn the_first_to_answer_wins_and_the_others_are_given_up() {
        // Both answer at once; the second is never tried.
        let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        second.set_nonblocking(true).unwrap();
        let addresses = [&first, &second].map(|listener| listener.local_addr().unwrap());
        for _ in 0..20 {
            let source = race(addresses.to_vec(), None).unwrap();
            assert_eq!(source.handle().peer_address().unwrap(), addresses[0]);
        }
        assert_eq!(second.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
