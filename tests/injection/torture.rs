//! A program that uses every part of the runtime that asks the system for something, and looks at
//! what comes of it. An error ends it with a sentence.

use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{Builder, blocking, chan, select, sleep, spawn, stack};
use std::io::{self, Read, Write};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

#[test]
#[ignore = "the program of another test"]
fn under_faults() {
    match narrowboat::run(all) {
        Ok(()) => println!("all of it was right"),
        Err(error) => {
            eprintln!("torture: {error}");
            std::process::exit(3);
        }
    }
    std::process::exit(0);
}

fn all() -> io::Result<()> {
    messages();
    crowd()?;
    own_stacks()?;
    pool();
    sockets()?;
    locks();
    files()?;
    Ok(())
}

/// Goroutines and threads that send to each other, and timers.
fn messages() {
    const EACH: u64 = 500;
    let (tx, rx) = chan::bounded(3);
    let (other, others) = chan::unbounded();
    let goroutines: Vec<_> = (0..4)
        .map(|n| {
            let (tx, other) = (tx.clone(), other.clone());
            spawn(move || {
                for i in 0..EACH {
                    if i % 2 == 0 {
                        tx.send(n * EACH + i).unwrap()
                    } else {
                        other.send(n * EACH + i).unwrap()
                    }
                }
                sleep(Duration::from_micros(300));
            })
        })
        .collect();
    let thread = std::thread::Builder::new().spawn(move || (4 * EACH..5 * EACH).try_for_each(|i| tx.send(i)));
    // Without the thread, its part is missing.
    let senders = if thread.is_ok() { 5 } else { 4 };
    drop(other);
    let mut sum = 0;
    for _ in 0..senders * EACH {
        select! {
            recv(rx) -> n => sum += n.expect("a sender has more"),
            recv(others) -> n => match n {
                Ok(n) => sum += n,
                Err(_) => sum += rx.recv().expect("a sender has more"),
            },
            default(Duration::from_secs(10)) => panic!("a message is missing"),
        }
    }
    goroutines.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    if let Ok(thread) = thread {
        thread.join().unwrap().unwrap();
    }
    let n = senders * EACH;
    assert_eq!(sum, n * (n - 1) / 2);
}

/// More goroutines of one line than have places of their own, with different stacks, which wait
/// until all are there.
fn crowd() -> io::Result<()> {
    const CROWD: usize = 1_400;
    let (all, here) = chan::bounded(0);
    let (leave, left) = chan::bounded::<()>(0);
    let mut goroutines = Vec::new();
    for n in 0..CROWD {
        let (all, left) = (all.clone(), left.clone());
        goroutines.push(Builder::new().spawn(move || {
            let bytes = [n as u8; 700];
            all.send(()).unwrap();
            left.recv().unwrap_err();
            std::hint::black_box(&bytes).iter().map(|&byte| usize::from(byte)).sum::<usize>()
        })?);
    }
    (0..CROWD).for_each(|_| here.recv().unwrap());
    drop(leave);
    for (n, goroutine) in goroutines.into_iter().enumerate() {
        assert_eq!(goroutine.join().unwrap(), 700 * (n % 256));
    }
    Ok(())
}

fn own_stacks() -> io::Result<()> {
    fn deep(n: usize) -> usize {
        stack::maybe_grow(64 << 10, 1 << 20, || {
            let bytes = [1u8; 20_000];
            let here = usize::from(std::hint::black_box(&bytes)[n]);
            if n == 0 { here } else { here + deep(n - 1) }
        })
    }
    let goroutines: io::Result<Vec<_>> =
        (0..8).map(|_| Builder::new().own_stack(128 << 10).spawn(|| deep(200))).collect();
    for goroutine in goroutines? {
        assert_eq!(goroutine.join().unwrap(), 201);
    }
    Ok(())
}

fn pool() {
    let callers: Vec<_> = (0..6)
        .map(|n| {
            spawn(move || {
                blocking(move || {
                    std::thread::sleep(Duration::from_millis(2));
                    n
                })
            })
        })
        .collect();
    for (n, caller) in callers.into_iter().enumerate() {
        assert_eq!(caller.join().unwrap(), n);
    }
}

fn sockets() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = spawn(move || -> io::Result<()> {
        for _ in 0..4 {
            let (mut stream, _) = listener.accept()?;
            spawn(move || {
                let mut buffer = vec![0; 5_000];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(())
    });
    let clients: Vec<_> = (0..4_u8)
        .map(|n| {
            spawn(move || -> io::Result<()> {
                let mut stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                let (sent, mut received) = (vec![n; 30_000], vec![0; 30_000]);
                for _ in 0..3 {
                    stream.write_all(&sent)?;
                    stream.read_exact(&mut received)?;
                    assert!(sent == received, "other bytes than were sent");
                }
                Ok(())
            })
        })
        .collect();
    // All of them first: one that has failed leaves the server waiting for it.
    let clients: io::Result<Vec<()>> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    clients?;
    server.join().unwrap()
}

/// std's locks between goroutines and threads.
fn locks() {
    let (sum, barrier) = (Arc::new(Mutex::new(0)), Arc::new(Barrier::new(8)));
    let goroutines: Vec<_> = (0..8)
        .map(|_| {
            let (sum, barrier) = (sum.clone(), barrier.clone());
            spawn(move || {
                for _ in 0..50 {
                    let mut sum = sum.lock().unwrap();
                    *sum += 1;
                    if *sum % 20 == 0 {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                }
                barrier.wait();
            })
        })
        .collect();
    goroutines.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    assert_eq!(*sum.lock().unwrap(), 400);
}

/// Files, pipes and a child by std.
fn files() -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    assert!(status.contains("VmRSS"), "a part of the file: {status:?}");
    let (mut reader, mut writer) = io::pipe()?;
    let thread = spawn(move || -> io::Result<()> { writer.write_all(&[7; 100_000]) });
    let mut bytes = Vec::new();
    let read = reader.read_to_end(&mut bytes);
    // The one that writes ends first if reading fails.
    drop(reader);
    thread.join().unwrap().and(read)?;
    assert!(bytes == [7; 100_000], "other bytes than were written");
    let status = std::process::Command::new("true").status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("a child has failed")) }
}
