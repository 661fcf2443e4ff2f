//! Connections that come and go, a hundred thousand of them. A program of its own, because descriptors are counted for the
//! whole process.
#![cfg(target_os = "linux")]

use narrowboat_net::{TcpListener, TcpStream};
use narrowboat_testing::{bounded, one_site::go, scaled};
use socket2::SockRef;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_hundred_thousand_connections_leave_nothing_behind() {
    bounded(|| {
        const CLIENTS: usize = 4;
        let each = scaled(100_000) / CLIENTS;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = listener.try_clone().unwrap();
        let server = go(move || {
            for stream in accepting.incoming() {
                let stream = stream.unwrap();
                // How it ends is the client's business.
                go(move || std::io::copy(&mut &stream, &mut &stream).is_ok());
            }
        });
        // One of them has been waited for, so the netpoller is there.
        let mut bystander = TcpStream::connect(address).unwrap();
        let mut talk = move || {
            bystander.write_all(b"x").unwrap();
            bystander.read_exact(&mut [0; 1]).unwrap();
        };
        talk();
        let before = descriptors();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                go(move || {
                    for round in 0..each {
                        let mut stream = TcpStream::connect(address).unwrap();
                        // No quarantine for the port, of which there are fewer than connections.
                        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                        if round % 4 == 0 {
                            stream.write_all(b"x").unwrap();
                            stream.read_exact(&mut [0; 1]).unwrap();
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join();
        }
        talk();
        let start = Instant::now();
        while descriptors() > before {
            assert!(start.elapsed() < Duration::from_secs(30), "{before} became {}", descriptors());
            std::thread::sleep(Duration::from_millis(10));
        }
        listener.close();
        server.join();
    });
}
