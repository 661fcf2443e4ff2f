//! Sockets as arms of a `select!`.

use crate::TestPath;
use crate::loopback::pair;
use narrowboat_chan::{Select, after, bounded as channel, select, unbounded};
use narrowboat_net::unix::{UnixDatagram, UnixListener, UnixStream};
use narrowboat_net::{TcpStream, UdpSocket};
use narrowboat_testing::{LONG, bounded, one_site::go, scaled, settle};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn whichever_comes_first_is_chosen() {
    bounded(|| {
        let (mut one, mut other) = pair();
        let (tx, rx) = channel(0);
        let readable = other.readable();
        let chooser = go(move || {
            let mut log = Vec::new();
            loop {
                select! {
                    recv(readable) -> ready => {
                        ready.unwrap();
                        let mut text = [0; 8];
                        match other.read(&mut text).unwrap() {
                            0 => return log,
                            count => log.extend_from_slice(&text[..count]),
                        }
                    }
                    recv(rx) -> msg => log.push(msg.unwrap()),
                    recv(after(LONG)) -> _ => panic!("nothing came"),
                }
            }
        });
        settle();
        tx.send(b'1').unwrap();
        one.write_all(b"a").unwrap();
        settle();
        tx.send(b'2').unwrap();
        settle();
        one.write_all(b"bc").unwrap();
        settle();
        drop(one);
        assert_eq!(chooser.join(), b"1a2bc");
    });
}

#[test]
fn readiness_stays_until_it_is_used_up() {
    bounded(|| {
        let (mut one, mut other) = pair();
        let readable = other.readable();
        assert!(readable.try_recv().is_err() && readable.is_empty());
        one.write_all(b"four").unwrap();
        readable.recv().unwrap();
        for _ in 0..3 {
            assert_eq!(readable.try_recv(), Ok(()));
        }
        // What is left after a read that took less than there was is still there.
        other.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(readable.recv_timeout(LONG), Ok(()));
        other.read_exact(&mut [0; 1]).unwrap();
        assert!(readable.recv_timeout(Duration::from_millis(5)).is_err());
        drop(one);
        for _ in 0..3 {
            readable.recv().unwrap();
            assert_eq!(other.read(&mut [0; 8]).unwrap(), 0);
        }
    });
}

#[test]
fn listeners_and_datagrams_and_room_can_be_waited_for() {
    bounded(|| {
        let path = TestPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let (udp, unix) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UnixDatagram::pair().unwrap());
        let (mut full, mut drain) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(&[0; 4096]).is_ok() {}
        let channels = [listener.readable(), udp.readable(), unix.0.readable(), full.writable()];
        let ready = |limit| {
            let mut select = Select::new();
            for channel in &channels {
                select.recv(channel);
            }
            select.ready_timeout(limit).ok()
        };
        assert_eq!(ready(Duration::from_millis(5)), None);
        let client = path.to_owned();
        let client = go(move || UnixStream::connect(client).unwrap());
        assert_eq!(ready(LONG), Some(0));
        listener.accept().unwrap();
        client.join();
        let to = udp.local_addr().unwrap();
        let sender = go(move || UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", to).unwrap());
        assert_eq!(ready(LONG), Some(1));
        udp.recv(&mut [0; 1]).unwrap();
        sender.join();
        unix.1.send(b"x").unwrap();
        assert_eq!(ready(LONG), Some(2));
        unix.0.recv(&mut [0; 1]).unwrap();
        let draining = go(move || {
            let mut block = vec![0; 1 << 20];
            drain.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            while drain.read(&mut block).is_ok() {}
            drain
        });
        assert_eq!(ready(LONG), Some(3));
        draining.join();
    });
}

#[test]
fn deadlines_and_closing_count_as_ready() {
    bounded(|| {
        let (one, _other) = pair();
        let readable = one.readable();
        let waiting = go({
            let readable = readable.clone();
            move || readable.recv_timeout(LONG)
        });
        settle();
        one.set_read_deadline(Some(Instant::now() + Duration::from_millis(5))).unwrap();
        assert_eq!(waiting.join(), Ok(()));
        assert!((&one).read(&mut [0; 1]).is_err());
        one.set_read_deadline(None).unwrap();
        assert!(readable.recv_timeout(Duration::from_millis(5)).is_err());
        let waiting = go({
            let readable = readable.clone();
            move || readable.recv_timeout(LONG)
        });
        settle();
        one.close();
        assert_eq!(waiting.join(), Ok(()));
    });
}

/// A message and a byte race for one select; whichever loses must be there for the next one.
#[test]
fn nothing_is_lost_when_the_other_arm_wins() {
    bounded(|| {
        const EACH: u32 = 3_000;
        let each = scaled(EACH as usize) as u32;
        let (mut one, mut other) = pair();
        let (tx, rx) = unbounded();
        let writer = go(move || {
            for n in 0..each {
                one.write_all(&n.to_ne_bytes()).unwrap();
                if n % 16 == 0 {
                    std::thread::yield_now();
                }
            }
            one
        });
        let sender = go(move || (0..each).for_each(|n| tx.send(n).unwrap()));
        let readable = other.readable();
        let (mut bytes, mut messages) = (0, 0);
        while bytes < each || messages < each {
            select! {
                recv(readable) -> _ => {
                    let mut number = [0; 4];
                    other.read_exact(&mut number).unwrap();
                    assert_eq!(u32::from_ne_bytes(number), bytes);
                    bytes += 1;
                }
                recv(rx) -> msg => if let Ok(n) = msg {
                    assert_eq!(n, messages);
                    messages += 1;
                } else {
                    // Closed and empty; the rest comes by the socket.
                    readable.recv().unwrap();
                },
            }
        }
        drop(writer.join());
        sender.join();
    });
}

/// Readers, and selects that only look, at one socket.
#[test]
fn selects_and_reads_wait_at_one_socket_together() {
    bounded(|| {
        let (one, other) = pair();
        let rounds = scaled(500) as u32;
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut other = other.try_clone().unwrap();
                go(move || {
                    let mut sum = 0;
                    let mut byte = [0];
                    while other.read(&mut byte).unwrap() == 1 {
                        sum += u32::from(byte[0]);
                    }
                    sum
                })
            })
            .collect();
        let watchers: Vec<_> = (0..2)
            .map(|_| {
                let other = other.try_clone().unwrap();
                go(move || {
                    let readable = other.readable();
                    loop {
                        select! {
                            recv(readable) -> _ => if other.peek(&mut [0; 1]).unwrap() == 0 { return },
                            recv(after(LONG)) -> _ => panic!("the end was missed"),
                        }
                    }
                })
            })
            .collect();
        for n in 0..rounds {
            (&one).write_all(&[1]).unwrap();
            if n % 8 == 0 {
                std::thread::yield_now();
            }
        }
        drop::<TcpStream>(one);
        assert_eq!(readers.into_iter().map(|reader| reader.join()).sum::<u32>(), rounds);
        watchers.into_iter().for_each(|watcher| watcher.join());
    });
}
