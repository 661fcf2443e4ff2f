//! The program on a terminal, looking at a window of this process.

use narrowboat::{Builder, chan, diag, labels, run};
use narrowboat_testing::program;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_narrowboat-top");

/// A terminal of 150 columns with a program on it.
struct Terminal {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn with(address: &str) -> Terminal {
        let (mut ours, mut its) = (0, 0);
        let size = libc::winsize { ws_row: 50, ws_col: 150, ws_xpixel: 0, ws_ypixel: 0 };
        let nothing = std::ptr::null_mut();
        // SAFETY: there is room for the answers; the descriptors are new, and owned from here on.
        let (ours, its) = unsafe {
            assert_eq!(libc::openpty(&mut ours, &mut its, nothing, nothing.cast(), &size), 0);
            (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(its))
        };
        let stdio = || Stdio::from(its.try_clone().unwrap());
        let mut command = Command::new(PROGRAM);
        command.arg(address).stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm-256color");
        // SAFETY: async-signal-safe calls without pointers.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(its);
        let (to, output) = channel();
        let mut reader = File::from(ours.try_clone().unwrap());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            // The end of the program ends this with an error.
            while let Ok(n @ 1..) = reader.read(&mut piece) {
                if to.send(piece[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        assert!(ours.as_raw_fd() >= 0);
        Terminal { child, keys: File::from(ours), output, seen: String::new() }
    }

    /// Waits until the program has written this since the last call.
    fn sees(&mut self, text: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.seen.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(piece) => self.seen += &String::from_utf8_lossy(&piece),
                Err(_) => panic!("{text:?} did not come: {:?}", self.seen),
            }
        }
        self.seen.clear();
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }
}

/// The terminal and the waits for it belong to plain threads; the window is served by goroutines.
#[test]
fn it_shows_groups_finds_one_and_ends() {
    let window = program(|| {
        let window = diag::serve("127.0.0.1:0").unwrap();
        let (tx, rx) = chan::bounded::<()>(0);
        for n in 0..30 {
            let rx = rx.clone();
            labels!(request = 4711 => {
                Builder::new().name(format!("clerk {n}")).spawn(move || rx.recv().is_err()).unwrap()
            });
        }
        std::mem::forget(tx);
        window
    });
    let mut terminal = Terminal::with(&window.local_addr().to_string());
    terminal.sees("request=4711");
    terminal.press("/clerk\r");
    // Only what changes on the screen is written.
    terminal.sees("found by");
    terminal.press("\r");
    terminal.sees("one of 30");
    terminal.press("oq");
    let status = terminal.child.wait().unwrap();
    assert!(status.success(), "{status}: {}", terminal.seen);
    window.close();
}

#[test]
fn an_address_without_a_window_is_an_error() {
    run(|| ());
    let output = Command::new(PROGRAM).arg("127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no window at 127.0.0.1:1"), "{text}");
    let usage = Command::new(PROGRAM).arg("--help").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("usage: narrowboat-top ADDRESS"));
}
