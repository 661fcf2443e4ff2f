//! Much at once: nothing is lost, doubled, delayed for ever, or delivered to another.

mod loopback;

use loopback::{listener, pair};
use narrowboat_net::TcpStream;
use narrowboat_testing::{Dice, bounded, one_site::go};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A wake-up that is lost shows as a deadline that passes; a timeout would hide it by its last try.
fn give_up_later(stream: &TcpStream) {
    stream.set_deadline(Some(Instant::now() + Duration::from_secs(60))).unwrap();
}

fn pause(dice: &mut Dice) {
    match dice.roll(8) {
        0 => std::thread::sleep(Duration::from_micros(dice.roll(100))),
        1 => std::thread::yield_now(),
        2 => (0..dice.roll(2_000)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}

#[test]
fn a_thousand_connections_echo_at_once() {
    bounded(|| {
        const CONNECTIONS: u64 = 1_000;
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let server = go(move || {
            for stream in listener.incoming().take(CONNECTIONS as usize) {
                let stream = stream.unwrap();
                go(move || std::io::copy(&mut &stream, &mut &stream).unwrap());
            }
        });
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                go(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    give_up_later(&stream);
                    let mut dice = Dice::new(number);
                    for _ in 0..20 {
                        let mut sent = vec![0; 1 + dice.roll(300) as usize];
                        dice.fill(&mut sent);
                        stream.write_all(&sent).unwrap();
                        let mut got = vec![0; sent.len()];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(sent, got);
                    }
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
                })
            })
            .collect();
        for client in clients {
            client.join();
        }
        server.join();
    });
}

/// Descriptors and slots of the poller's table are reused at once, while others, which live long, carry
/// traffic too.
#[test]
fn connections_that_come_and_go_never_get_what_is_not_theirs() {
    bounded(|| {
        const CLIENTS: u64 = 8;
        const EACH: u64 = 2_500;
        let listener = Arc::new(listener());
        let address = listener.local_addr().unwrap();
        let servers: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let listener = Arc::clone(&listener);
                go(move || {
                    for stream in listener.incoming() {
                        let mut stream = stream.unwrap();
                        give_up_later(&stream);
                        let mut text = [0; 16];
                        match stream.read_exact(&mut text) {
                            Ok(()) if text == [0xff; 16] => return,
                            Ok(()) => match stream.write_all(&text) {
                                Ok(()) => {}
                                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                            },
                            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                        }
                        // The side that asked closes first, by a reset or not.
                        let _ = stream.read(&mut text);
                    }
                })
            })
            .collect();

        let stop = Arc::new(AtomicBool::new(false));
        let steady: Vec<_> = (0..4_u64)
            .map(|number| {
                let (mut one, other) = pair();
                let stop = Arc::clone(&stop);
                go(move || std::io::copy(&mut &other, &mut &other).unwrap());
                go(move || {
                    give_up_later(&one);
                    let mut dice = Dice::new(1 << 40 | number);
                    let (mut sent, mut got) = ([0; 64], [0; 64]);
                    while !stop.load(Ordering::Relaxed) {
                        dice.fill(&mut sent);
                        one.write_all(&sent).unwrap();
                        one.read_exact(&mut got).unwrap();
                        assert_eq!(sent, got);
                    }
                })
            })
            .collect();

        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                go(move || {
                    let mut dice = Dice::new(client);
                    for round in 0..EACH {
                        let mut stream = TcpStream::connect(address).unwrap();
                        give_up_later(&stream);
                        // No quarantine for the port, so that twenty thousand of them suffice.
                        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                        let mut sent = [0; 16];
                        sent[..8].copy_from_slice(&(client << 32 | round).to_ne_bytes());
                        match dice.roll(16) {
                            0 => continue,
                            1 => {
                                stream.write_all(&sent).unwrap();
                                continue;
                            }
                            _ => stream.write_all(&sent).unwrap(),
                        }
                        let mut got = [0; 16];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(sent, got);
                    }
                })
            })
            .collect();
        for client in clients {
            client.join();
        }
        stop.store(true, Ordering::Relaxed);
        for one in steady {
            one.join();
        }
        for _ in &servers {
            TcpStream::connect(address).unwrap().write_all(&[0xff; 16]).unwrap();
        }
        for server in servers {
            server.join();
        }
    });
}

#[test]
fn a_large_transfer_arrives_whole() {
    bounded(|| {
        const BYTES: usize = 64 << 20;
        let (mut one, mut other) = pair();
        give_up_later(&one);
        give_up_later(&other);
        let sum = |sum: u64, bytes: &[u8]| {
            bytes.iter().fold(sum, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        };
        let writer = go(move || {
            let mut dice = Dice::new(1);
            let mut block = vec![0; 1 << 20];
            let mut sent = 0;
            for _ in 0..BYTES >> 20 {
                dice.fill(&mut block);
                sent = sum(sent, &block);
                one.write_all(&block).unwrap();
            }
            sent
        });
        let mut block = vec![0; 300_000];
        let (mut got, mut count) = (0, 0);
        loop {
            let read = other.read(&mut block).unwrap();
            if read == 0 {
                break;
            }
            got = sum(got, &block[..read]);
            count += read;
        }
        assert_eq!(count, BYTES);
        assert_eq!(got, writer.join());
    });
}

#[test]
fn a_slow_reader_gets_fragments_in_order() {
    bounded(|| {
        const BYTES: usize = 4 << 20;
        let (mut one, mut other) = pair();
        // Small, so that the writer is often out of room; the receiver's stays, lest TCP's own timers set the
        // pace.
        SockRef::from(&one).set_send_buffer_size(8 << 10).unwrap();
        give_up_later(&one);
        give_up_later(&other);
        let data: Arc<Vec<u8>> = Arc::new({
            let mut data = vec![0; BYTES];
            Dice::new(2).fill(&mut data);
            data
        });
        let sent = Arc::clone(&data);
        let writer = go(move || {
            let mut dice = Dice::new(3);
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let end = (1 + dice.roll(40_000) as usize).min(rest.len());
                one.write_all(&rest[..end]).unwrap();
                rest = &rest[end..];
                pause(&mut dice);
            }
        });
        let mut dice = Dice::new(4);
        let mut got = Vec::new();
        let mut part = vec![0; 20_000];
        loop {
            let end = 1 + dice.roll(20_000) as usize;
            match other.read(&mut part[..end]).unwrap() {
                0 => break,
                count => got.extend_from_slice(&part[..count]),
            }
            pause(&mut dice);
        }
        writer.join();
        assert!(got == *data);
    });
}

/// Short reads, after which the next call is left out, against data and ends of streams that arrive at every
/// possible moment: before the event, between the event and the read, after the read, together with data,
/// alone.
#[test]
fn a_read_left_out_after_a_short_one_never_misses_data_or_the_end() {
    bounded(|| {
        const ROUNDS: u64 = 2_000;
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let writer = go(move || {
            for round in 0..ROUNDS {
                let mut dice = Dice::new(round);
                let mut stream = TcpStream::connect(address).unwrap();
                SockRef::from(&stream).set_tcp_nodelay(true).unwrap();
                let pieces = dice.roll(12);
                for _ in 0..pieces {
                    let mut piece = vec![0; 1 + dice.roll(200) as usize];
                    dice.fill(&mut piece);
                    stream.write_all(&piece).unwrap();
                    pause(&mut dice);
                }
                if dice.roll(2) == 0 {
                    stream.shutdown(Shutdown::Write).unwrap();
                    // The other side closes first, and answers with how much it got.
                    stream.read_exact(&mut [0; 8]).unwrap();
                    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
                }
            }
        });
        for round in 0..ROUNDS {
            // The same numbers in the same order tell what must come.
            let mut expected = Vec::new();
            let mut dice = Dice::new(round);
            for _ in 0..dice.roll(12) {
                let mut piece = vec![0; 1 + dice.roll(200) as usize];
                dice.fill(&mut piece);
                expected.extend_from_slice(&piece);
                skip_pause(&mut dice);
            }
            let answer = dice.roll(2) == 0;

            let mut stream = listener.accept().unwrap().0;
            give_up_later(&stream);
            let mut dice = Dice::new(!round);
            let mut got = Vec::new();
            let mut part = [0; 512];
            loop {
                let end = 1 + dice.roll(part.len() as u64) as usize;
                match stream.read(&mut part[..end]) {
                    Ok(0) => break,
                    Ok(count) => got.extend_from_slice(&part[..count]),
                    Err(error) => panic!("round {round}, after {} of {}: {error}", got.len(), expected.len()),
                }
                pause(&mut dice);
            }
            assert!(got == expected, "round {round}");
            if answer {
                stream.write_all(&[0; 8]).unwrap();
            }
        }
        writer.join();
    });
}

/// Takes as many numbers as [`pause`] does.
fn skip_pause(dice: &mut Dice) {
    if matches!(dice.roll(8), 0 | 2) {
        dice.bits();
    }
}
