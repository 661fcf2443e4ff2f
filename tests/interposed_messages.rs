//! `recvmmsg` and `sendmmsg` park a goroutine, and answer as on a thread.

use libc::{c_int, iovec, mmsghdr, timespec};
use narrowboat::go;
use narrowboat_testing::{ms, named, program, sized, waits_in_libc};
use std::io::{self, Read};
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

/// What a call has answered, with the lengths of the messages that it has counted.
type Answer = Result<Vec<usize>, Option<i32>>;

/// Makes a call on messages with these buffers.
fn with(buffers: &mut [Vec<u8>], call: impl FnOnce(*mut mmsghdr, u32) -> c_int) -> Answer {
    let mut vectors: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    let of = |vector: &mut iovec| {
        // SAFETY: numbers and pointers, for which zeroes are values.
        let mut message: mmsghdr = unsafe { mem::zeroed() };
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
        message
    };
    let mut messages: Vec<_> = vectors.iter_mut().map(of).collect();
    let answer = call(messages.as_mut_ptr(), messages.len() as u32);
    let error = io::Error::last_os_error().raw_os_error();
    let count = usize::try_from(answer).map_err(|_| error)?;
    Ok(messages[..count].iter().map(|message| message.msg_len as usize).collect())
}

/// Receives as many messages, of no more than 100 bytes.
fn receive(fd: RawFd, count: usize, flags: c_int, timeout: Option<&mut timespec>) -> Answer {
    let timeout = timeout.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the messages have buffers, and the timeout can be read and written.
    with(&mut vec![vec![0; 100]; count], |messages, count| unsafe {
        libc::recvmmsg(fd, messages, count, flags, timeout)
    })
}

fn send(fd: RawFd, buffers: &mut [Vec<u8>], flags: c_int) -> Answer {
    // SAFETY: the messages have buffers.
    with(buffers, |messages, count| unsafe { libc::sendmmsg(fd, messages, count, flags) })
}

fn seconds(seconds: i64, nanos: i64) -> timespec {
    timespec { tv_sec: seconds, tv_nsec: nanos }
}

/// What a goroutine and a thread both find.
fn both<T: PartialEq + std::fmt::Debug + Send + 'static>(f: fn() -> T) -> T {
    let found = go!(f).join().unwrap();
    assert_eq!(found, thread::spawn(f).join().unwrap(), "a thread finds another thing");
    found
}

#[test]
fn as_many_messages_as_asked_for_are_waited_for() {
    program(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        let number = one.as_raw_fd();
        let receiver = named("receives", move || receive(number, 3, 0, None));
        for length in [5, 0] {
            waits_in_libc("receives");
            other.send(&vec![1; length]).unwrap();
        }
        thread::sleep(ms(20));
        waits_in_libc("receives");
        other.send(&[1; 7]).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(vec![5, 0, 7]));
        // What is not asked for is left.
        (0..5).for_each(|length| assert_eq!(other.send(&vec![1; length]).unwrap(), length));
        assert_eq!(receive(number, 2, 0, None), Ok(vec![0, 1]));
        assert_eq!(receive(number, 9, libc::MSG_DONTWAIT, None), Ok(vec![2, 3, 4]));
        // Only the first is waited for.
        let receiver = named("receives", move || receive(number, 3, libc::MSG_WAITFORONE, None));
        waits_in_libc("receives");
        other.send(&[1; 9]).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(vec![9]));
    });
}

/// A time-out of the call is looked at when a message has come, and at no other time.
#[test]
fn time_that_is_over_ends_a_call_with_the_next_message() {
    program(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        let number = one.as_raw_fd();
        for timeout in [seconds(0, 20_000_000), seconds(0, 0)] {
            let receiver = named("receives", move || {
                let mut timeout = timeout;
                let answer = receive(number, 5, 0, Some(&mut timeout));
                (answer, timeout.tv_sec, timeout.tv_nsec)
            });
            waits_in_libc("receives");
            thread::sleep(ms(50));
            waits_in_libc("receives");
            other.send(&[1; 4]).unwrap();
            assert_eq!(receiver.join().unwrap(), (Ok(vec![4]), 0, 0));
        }
        // What is left is told.
        let mut timeout = seconds(60, 0);
        let receiver = named("receives", move || (receive(number, 2, 0, Some(&mut timeout)), timeout.tv_sec));
        waits_in_libc("receives");
        (0..2).for_each(|_| assert_eq!(other.send(&[1; 4]).unwrap(), 4));
        let (answer, left) = receiver.join().unwrap();
        assert!(answer == Ok(vec![4, 4]) && (1..60).contains(&left), "{left} s");
    });
}

#[test]
fn a_time_out_of_the_socket_ends_a_call_after_a_part() {
    program(|| {
        let found = both(|| {
            let (one, other) = UnixDatagram::pair().unwrap();
            one.set_read_timeout(Some(ms(30))).unwrap();
            other.send(&[1; 8]).unwrap();
            other.send(&[1; 9]).unwrap();
            let start = Instant::now();
            let first = receive(one.as_raw_fd(), 3, 0, None);
            assert!(start.elapsed() >= ms(30));
            let mut timeout = seconds(60, 0);
            let second = receive(one.as_raw_fd(), 3, 0, Some(&mut timeout));
            assert!(start.elapsed() >= ms(60));
            // Nothing has come, so nothing is told.
            (first, second, timeout.tv_sec)
        });
        assert_eq!(found, (Ok(vec![8, 9]), Err(Some(libc::EAGAIN)), 60));
    });
}

#[test]
fn what_the_kernel_refuses_is_refused() {
    program(|| {
        let found = both(|| {
            let (one, other) = UnixDatagram::pair().unwrap();
            let number = one.as_raw_fd();
            other.send(&[1; 8]).unwrap();
            let timeouts = [seconds(-1, 0), seconds(0, -1), seconds(0, 1_000_000_000)];
            let refused = timeouts.map(|mut timeout| receive(number, 1, 0, Some(&mut timeout)));
            one.set_nonblocking(true).unwrap();
            let (file, none) = (std::fs::File::open("/dev/null").unwrap(), &mut []);
            let more = [
                receive(number, 3, 0, None),
                receive(number, 3, 0, None),
                receive(number, 0, 0, None),
                receive(file.as_raw_fd(), 1, 0, None),
                receive(-1, 1, 0, None),
                send(number, none, 0),
                send(file.as_raw_fd(), &mut [vec![1]], 0),
                send(-1, &mut [vec![1]], 0),
            ];
            // SAFETY: the kernel refuses to read or write messages there.
            let nowhere = unsafe {
                other.send(&[1; 8]).unwrap();
                [
                    libc::recvmmsg(number, ptr::null_mut(), 1, 0, ptr::null_mut()),
                    libc::sendmmsg(number, ptr::null_mut(), 1, 0),
                ]
            };
            (refused, more, nowhere, io::Error::last_os_error().raw_os_error())
        });
        let invalid = || Err(Some(libc::EINVAL));
        let no_socket = || Err(Some(libc::ENOTSOCK));
        let bad = || Err(Some(libc::EBADF));
        let (eight, again, none) = (Ok(vec![8]), Err(Some(libc::EAGAIN)), Ok(Vec::new()));
        let more = [eight, again, none.clone(), no_socket(), bad(), none, no_socket(), bad()];
        assert_eq!(found, ([(); 3].map(|()| invalid()), more, [-1, -1], Some(libc::EFAULT)));
    });
}

/// An error that comes after a message is what the next call tells.
#[test]
fn an_error_after_the_first_message_is_kept_for_the_next_call() {
    program(|| {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        one.connect(other.local_addr().unwrap()).unwrap();
        let number = one.as_raw_fd();
        other.send_to(&[1; 8], one.local_addr().unwrap()).unwrap();
        let receiver = named("receives", move || receive(number, 2, 0, None));
        waits_in_libc("receives");
        drop(other);
        // Nothing receives it, which the system of the receiver reports.
        one.send(&[1; 3]).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(vec![8]));
        assert_eq!(receive(number, 2, 0, None), Err(Some(libc::ECONNREFUSED)));
    });
}

#[test]
fn messages_are_sent_when_there_is_room() {
    let rounds = sized(100, 20);
    program(move || {
        let (one, other) = UnixDatagram::pair().unwrap();
        let sender = named("sends", move || {
            for _ in 0..rounds {
                let mut messages: Vec<_> = (0..50).map(|length| vec![length as u8; 10 * length]).collect();
                let lengths = messages.iter().map(Vec::len).collect();
                assert_eq!(send(one.as_raw_fd(), &mut messages, 0), Ok(lengths));
            }
        });
        waits_in_libc("sends");
        let mut buffer = [0; 1000];
        for at in 0..50 * rounds {
            let length = other.recv(&mut buffer).unwrap();
            assert_eq!(length, at % 50 * 10);
            assert!(buffer[..length].iter().all(|byte| usize::from(*byte) == at % 50));
        }
        sender.join().unwrap();
    });
}

/// A stream may have room for a part of a message, and the call goes on with the rest.
#[test]
fn messages_go_out_whole_through_a_stream() {
    program(|| {
        let (one, mut other) = UnixStream::pair().unwrap();
        let messages = || [vec![1u8; 900_000], Vec::new(), vec![2; 1], vec![3; 700_000]];
        let sender = named("sends", move || send(one.as_raw_fd(), &mut messages(), 0));
        waits_in_libc("sends");
        let mut received = Vec::new();
        other.read_to_end(&mut received).unwrap();
        assert_eq!(sender.join().unwrap(), Ok(vec![900_000, 0, 1, 700_000]));
        assert!(received == messages().concat());
    });
}

#[test]
fn a_part_that_was_sent_is_told() {
    program(|| {
        let found = both(|| {
            [Some(ms(30)), None].map(|timeout| {
                let (one, mut other) = UnixStream::pair().unwrap();
                one.set_write_timeout(timeout).unwrap();
                one.set_nonblocking(timeout.is_none()).unwrap();
                let start = Instant::now();
                let mut messages = [vec![1u8; 10], vec![2; 5_000_000], vec![3; 10]];
                let lengths = send(one.as_raw_fd(), &mut messages, 0).unwrap();
                assert!(start.elapsed() >= timeout.unwrap_or(Duration::ZERO));
                let none = send(one.as_raw_fd(), &mut messages, 0);
                drop(one);
                let mut received = Vec::new();
                other.read_to_end(&mut received).unwrap();
                assert_eq!(received.len(), lengths.iter().sum::<usize>());
                assert!(lengths[1] > 0 && lengths[1] < 5_000_000, "{lengths:?}");
                (lengths.len(), lengths[0], none)
            })
        });
        let told = || (2, 10, Err(Some(libc::EAGAIN)));
        assert_eq!(found, [told(), told()]);
    });
}

#[test]
fn an_error_is_told_if_nothing_was_sent() {
    program(|| {
        let found = both(|| {
            let (one, other) = UnixDatagram::pair().unwrap();
            let too_long = || vec![0u8; 10_000_000];
            let answers = [
                send(one.as_raw_fd(), &mut [vec![1; 5], too_long(), vec![1; 6]], 0),
                send(one.as_raw_fd(), &mut [too_long(), vec![1; 6]], 0),
            ];
            drop(other);
            (answers, send(one.as_raw_fd(), &mut [vec![1; 5]], libc::MSG_NOSIGNAL))
        });
        let refused = Err(Some(libc::ECONNREFUSED));
        assert_eq!(found, ([Ok(vec![5]), Err(Some(libc::EMSGSIZE))], refused));
    });
}

#[test]
fn a_wait_ends_when_its_descriptor_is_closed() {
    program(|| {
        for (sent, answer) in [(0, Err(Some(libc::EBADF))), (1, Ok(vec![3]))] {
            let (one, other) = UnixDatagram::pair().unwrap();
            let number = one.as_raw_fd();
            (0..sent).for_each(|_| assert_eq!(other.send(&[1; 3]).unwrap(), 3));
            let receiver = named("receives", move || receive(number, 2, 0, None));
            waits_in_libc("receives");
            drop(one);
            assert_eq!(receiver.join().unwrap(), answer);
        }
    });
}
