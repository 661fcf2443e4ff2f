//! A client of the window, and a reader of profiles.

// Not every test uses all of it.
#![allow(dead_code)]

use flate2::read::GzDecoder;
use narrowboat::net::TcpStream;
use narrowboat_testing::tool;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What comes until the server closes.
pub fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|piece| piece == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    answer(stream)
}

pub fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut profile = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut profile).unwrap();
    profile
}

/// The samples of the profile at a path.
pub fn profile(address: SocketAddr, path: &str) -> Vec<Sample> {
    let answer = get(address, path);
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    samples(&unpacked(&answer.body))
}

/// What `go tool pprof` says of a profile.
pub fn pprof(packed: &[u8], arguments: &[&str]) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("narrowboat-{}-{number}.pb.gz", std::process::id()));
    std::fs::write(&file, packed).unwrap();
    let output = tool("go").unwrap().args(["tool", "pprof"]).args(arguments).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// One sample of a profile: its last value, its labels, and the name, file and line of each frame.
pub struct Sample {
    pub value: u64,
    pub labels: Vec<(String, String)>,
    pub frames: Vec<(String, String, u64)>,
}

/// The fields of a message of protocol buffers: numbers, or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let value = number(&mut bytes);
        let content = match key & 7 {
            0 => &[][..],
            2 => bytes.split_off(..value as usize).unwrap(),
            other => panic!("a profile has no fields of kind {other}"),
        };
        found.push((key >> 3, value, content));
    }
    found
}

/// All samples of a profile.
pub fn samples(profile: &[u8]) -> Vec<Sample> {
    let all = fields(profile);
    let of = |wanted: u64| all.iter().filter(move |(field, ..)| *field == wanted).map(|(.., bytes)| *bytes);
    let first = |bytes: &[u8], wanted: u64| {
        fields(bytes)
            .iter()
            .find(|(field, ..)| *field == wanted)
            .map(|(_, value, _)| *value)
            .unwrap_or_default()
    };
    let texts: Vec<_> = of(6).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect();
    assert_eq!(texts[0], "");
    let functions: HashMap<_, _> = of(5)
        .map(|function| {
            let text = |field| texts[first(function, field) as usize].clone();
            (first(function, 1), (text(2), text(4)))
        })
        .collect();
    let locations: HashMap<_, _> = of(4)
        .map(|location| {
            let inner = fields(location);
            let line = inner.iter().find(|(field, ..)| *field == 4).unwrap().2;
            let (name, file) = functions[&first(line, 1)].clone();
            (first(location, 1), (name, file, first(line, 2)))
        })
        .collect();
    of(2)
        .map(|sample| {
            let inner = fields(sample);
            let frames = inner.iter().filter(|(field, ..)| *field == 1);
            let labels = inner.iter().filter(|(field, ..)| *field == 3).map(|(.., label)| {
                let text = |field| texts[first(label, field) as usize].clone();
                (text(1), text(2))
            });
            Sample {
                labels: labels.collect(),
                value: inner.iter().rfind(|(field, ..)| *field == 2).unwrap().1,
                frames: frames.map(|(_, id, _)| locations[id].clone()).collect(),
            }
        })
        .collect()
}
