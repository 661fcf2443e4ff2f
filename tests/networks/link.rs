//! A link between two interfaces that does what real ones do: it loses packets, holds them up,
//! changes their order, doubles and damages them, and it breaks connections.

use narrowboat_testing::Dice;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of packets. The numbers are in a thousand.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rules {
    pub lost: u32,
    pub doubled: u32,
    /// One bit is turned over.
    pub damaged: u32,
    /// A segment of TCP arrives as an end of its connection by force.
    pub reset: u32,
    pub delay: Duration,
    /// At most so much more, which changes the order.
    pub jitter: Duration,
    pub partition: bool,
}

pub struct Link {
    rules: Arc<Mutex<Rules>>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<[u64; 2]>>,
}

/// A packet on its way.
struct Packet {
    due: Instant,
    /// Keeps packets of one time in order.
    number: u64,
    to: usize,
    bytes: Vec<u8>,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Packet) -> bool {
        self.number == other.number
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Packet) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    /// The one that is due first is the greatest.
    fn cmp(&self, other: &Packet) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl Link {
    pub fn between(ends: [File; 2], seed: u64) -> Link {
        let rules = Arc::new(Mutex::new(Rules::default()));
        let over = Arc::new(AtomicBool::new(false));
        let (its_rules, its_over) = (rules.clone(), over.clone());
        let carry = move || carry(ends, &its_rules, &its_over, Dice::new(seed));
        Link { rules, over, thread: Some(std::thread::spawn(carry)) }
    }

    pub fn set(&self, rules: Rules) {
        *self.rules.lock().expect("nothing panics with it") = rules;
    }

    /// Ends it. Returns how many packets it has carried, and to how many it has done something.
    pub fn end(mut self) -> [u64; 2] {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("ends once").join().expect("it does not panic")
    }
}

fn carry(mut ends: [File; 2], rules: &Mutex<Rules>, over: &AtomicBool, mut dice: Dice) -> [u64; 2] {
    let (mut packets, mut harmed, mut number) = (0, 0, 0);
    let mut under_way = BinaryHeap::<Packet>::new();
    let mut buffer = vec![0; 1 << 16];
    while !over.load(Ordering::Relaxed) {
        let mut polled =
            [0, 1].map(|n: usize| libc::pollfd { fd: ends[n].as_raw_fd(), events: libc::POLLIN, revents: 0 });
        let now = Instant::now();
        let next = under_way
            .peek()
            .map_or(Duration::from_millis(20), |packet| packet.due.saturating_duration_since(now));
        let timeout = next.as_micros().div_ceil(1000).min(20) as i32;
        // SAFETY: two live entries.
        unsafe { libc::poll(polled.as_mut_ptr(), 2, timeout) };
        let rules = *rules.lock().expect("nothing panics with it");
        for (from, end) in ends.iter_mut().enumerate() {
            // Some at once; the other end has its turn in between.
            for _ in 0..32 {
                let Ok(length) = end.read(&mut buffer) else { break };
                let mut bytes = buffer[..length].to_vec();
                packets += 1;
                let mut happens = |chance: u32| dice.roll(1000_u32) < chance;
                if rules.partition || happens(rules.lost) {
                    harmed += 1;
                    continue;
                }
                let (reset, damaged) = (happens(rules.reset), happens(rules.damaged));
                let copies = if happens(rules.doubled) { 2 } else { 1 };
                harmed += u64::from(reset || damaged || copies > 1);
                if reset {
                    make_reset(&mut bytes);
                }
                if damaged {
                    let at = dice.roll(bytes.len());
                    bytes[at] ^= 1 << dice.roll(8_u32);
                }
                for _ in 0..copies {
                    let jitter = rules.jitter.mul_f64(dice.roll(1000_u32).into()) / 1000;
                    number += 1;
                    let due = Instant::now() + rules.delay + jitter;
                    under_way.push(Packet { due, number, to: 1 - from, bytes: bytes.clone() });
                }
            }
        }
        while under_way.peek().is_some_and(|packet| packet.due <= Instant::now()) {
            let packet = under_way.pop().expect("just seen");
            // An interface without room loses it.
            let _ = ends[packet.to].write(&packet.bytes);
        }
    }
    [packets, harmed]
}

/// Makes a segment of TCP over IPv4 one that resets its connection: nothing but a header, with the
/// same sequence number.
fn make_reset(packet: &mut Vec<u8>) {
    const TCP: u8 = 6;
    const RESET: u8 = 4;
    let header = usize::from(packet[0] & 0xf) * 4;
    if packet[0] >> 4 != 4 || packet[9] != TCP || packet.len() < header + 20 {
        return;
    }
    packet.truncate(header + 20);
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[header + 12] = 5 << 4;
    packet[header + 13] = RESET;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header], 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[header + 16..header + 18].fill(0);
    // The sum begins with both addresses, the protocol and the length.
    let addresses: u32 =
        packet[12..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = checksum(&packet[header..], addresses + u32::from(TCP) + 20);
    packet[header + 16..header + 18].copy_from_slice(&sum.to_be_bytes());
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
