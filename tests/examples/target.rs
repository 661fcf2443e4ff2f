//! A server of the soak as its clients see it: where it is, how often it was started anew, and what
//! they have found.

use crate::faults::FAULTS;
use crate::subject::Subject;
use crate::talk::{Talk, client};
use crate::window::{QUESTIONS, Window};
use narrowboat_testing::Dice;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub struct Target {
    pub subject: Arc<Subject>,
    pub window: Window,
    /// How often a restart has begun or ended, of this server and of that which it needs: odd
    /// during a restart.
    pub restarts: Vec<Arc<AtomicUsize>>,
    pub latencies: Mutex<Vec<Duration>>,
    /// Right replies to well-behaved clients, connections of all clients, faults committed, and
    /// right answers of the window.
    pub replies: AtomicUsize,
    pub connections: AtomicUsize,
    pub faults: AtomicUsize,
    pub answers: AtomicUsize,
    /// Errors for which a restart is the reason.
    pub excused: AtomicUsize,
    /// All others.
    failures: Mutex<Vec<String>>,
}

/// What tells clients to go on, to be at rest, or to end.
#[derive(Default)]
pub struct Conductor {
    pub rest: AtomicBool,
    pub over: AtomicBool,
    /// The window is asked for nothing any more that takes much memory for a moment.
    pub without_names: AtomicBool,
    pub resting: AtomicUsize,
}

impl Conductor {
    fn plays(&self) -> bool {
        !self.rest.load(SeqCst) && !self.over.load(SeqCst)
    }

    fn sleep(&self, duration: Duration) {
        let start = Instant::now();
        while self.plays() && start.elapsed() < duration {
            std::thread::sleep(Duration::from_millis(50).min(duration));
        }
    }

    /// Repeats `play` until all is over. Lets go of everything by `leave` while clients are to be
    /// at rest.
    fn repeat<T>(&self, state: &mut T, mut play: impl FnMut(&mut T), leave: impl Fn(&mut T)) {
        while !self.over.load(SeqCst) {
            if self.plays() {
                play(state);
                continue;
            }
            leave(state);
            self.resting.fetch_add(1, SeqCst);
            while self.rest.load(SeqCst) && !self.over.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            self.resting.fetch_sub(1, SeqCst);
        }
    }
}

/// A client, and since when it has its connection.
struct Line {
    talk: Box<dyn Talk>,
    since: Option<Epoch>,
    last: Option<Epoch>,
}

/// A server's life. Between two equal ones that are steady, no restart has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    count: usize,
    is_steady: bool,
}

impl Line {
    fn new(target: &Target, key: usize) -> Line {
        Line { talk: client(&target.subject, key), since: None, last: None }
    }

    fn ask(&mut self, target: &Target) -> io::Result<()> {
        let since = match self.since {
            Some(since) => since,
            None => {
                let since = target.epoch();
                target.connections.fetch_add(1, SeqCst);
                let anew = self.last.is_some_and(|last| last != since || !last.is_steady);
                let opened = self.talk.open(anew || self.last.is_none());
                target.judge(since, "connects", &opened);
                opened?;
                (self.since, self.last) = (Some(since), Some(since));
                since
            }
        };
        let start = Instant::now();
        let asked = self.talk.ask();
        if asked.is_ok() {
            target.latencies.lock().expect("nothing panics while holding it").push(start.elapsed());
            target.replies.fetch_add(1, SeqCst);
        } else {
            self.close();
        }
        target.judge(since, "asks", &asked);
        asked
    }

    fn close(&mut self) {
        self.talk.close();
        self.since = None;
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restarts = self.restarts.iter().map(|count| count.load(SeqCst) / 2).sum::<usize>();
        write!(
            f,
            "{} right replies, {} connections, {} faults, {} right answers of the window; {} restarts, {} errors in them",
            self.replies.load(SeqCst),
            self.connections.load(SeqCst),
            self.faults.load(SeqCst),
            self.answers.load(SeqCst),
            restarts,
            self.excused.load(SeqCst)
        )
    }
}

impl Target {
    pub fn new(subject: Subject, window: Window, restarts: Vec<Arc<AtomicUsize>>) -> Target {
        Target {
            subject: Arc::new(subject),
            window,
            restarts,
            latencies: Default::default(),
            replies: Default::default(),
            connections: Default::default(),
            faults: Default::default(),
            answers: Default::default(),
            excused: Default::default(),
            failures: Default::default(),
        }
    }

    pub fn failures(&self) -> MutexGuard<'_, Vec<String>> {
        self.failures.lock().expect("nothing panics while holding it")
    }

    pub fn epoch(&self) -> Epoch {
        let counts: Vec<usize> = self.restarts.iter().map(|count| count.load(SeqCst)).collect();
        Epoch { count: counts.iter().sum(), is_steady: counts.iter().all(|count| count % 2 == 0) }
    }

    /// Counts an error. It is excused if a restart was under way since the epoch in which the
    /// connection was made.
    fn judge<T>(&self, since: Epoch, what: &str, result: &io::Result<T>) {
        let Err(error) = result else { return };
        let is_wrong = error.kind() == ErrorKind::InvalidData;
        if !is_wrong && (!since.is_steady || self.epoch() != since) {
            self.excused.fetch_add(1, SeqCst);
            return;
        }
        self.failures().push(format!(
            "{}: one that {what}: {:?}: {error:.2000}",
            self.subject.name,
            error.kind()
        ));
    }

    /// Keeps connections, and expects to be served on them all the time.
    pub fn keep(&self, conductor: &Conductor) {
        // All guests of a chat hear each other, and a console admits few.
        let count = match self.subject.name {
            "websocket_chat" => 5,
            "actors" => 3,
            _ => 20,
        };
        let mut lines: Vec<_> = (0..count).map(|key| Line::new(self, key)).collect();
        let mut next = 0;
        conductor.repeat(
            &mut lines,
            |lines| {
                next = (next + 1) % count;
                // Those that could not connect try again in their turn.
                let _ = lines[next].ask(self);
                std::thread::sleep(Duration::from_millis(10));
            },
            |lines| lines.iter_mut().for_each(Line::close),
        );
    }

    /// Connections of all kinds with short lives: well-behaved ones, and those that commit a fault.
    pub fn bother(&self, conductor: &Conductor) {
        let mut dice = Dice::new(self.subject.name.len());
        let mut line = Line::new(self, 1_000);
        let pause = if self.subject.name == "actors" { 100 } else { 20 };
        conductor.repeat(
            &mut line,
            |line| {
                if dice.roll(3) == 0 {
                    let _ = line.ask(self);
                    line.close();
                } else {
                    // Mostly short lives; the others cost more.
                    let fault = &FAULTS[if dice.roll(3) == 0 { dice.roll(FAULTS.len()) } else { 0 }];
                    if fault.applies_to(&self.subject) {
                        let since = self.epoch();
                        let committed = (fault.commit)(&self.subject);
                        self.judge(since, fault.what, &committed);
                        self.connections.fetch_add(1, SeqCst);
                        self.faults.fetch_add(1, SeqCst);
                    }
                }
                std::thread::sleep(Duration::from_millis(pause));
            },
            Line::close,
        );
    }

    /// Asks the debug window for all that it has, by turns, a question each `pause`.
    pub fn inspect(&self, conductor: &Conductor, pause: Duration) {
        let mut next = 0;
        conductor.repeat(
            &mut next,
            |next| {
                let question = QUESTIONS[*next % QUESTIONS.len()];
                *next += 1;
                if question.has_names && conductor.without_names.load(SeqCst) {
                    return;
                }
                let since = self.epoch();
                let answer = self.window.ask(question);
                self.judge(since, question.path, &answer);
                self.answers.fetch_add(usize::from(answer.is_ok()), SeqCst);
                // At first all of it, because the first time of each takes memory that stays.
                let at_first = *next <= QUESTIONS.len();
                conductor.sleep(if at_first { Duration::from_millis(100) } else { pause });
            },
            |_| {},
        );
    }
}

/// A server that answers everything with `reply`, and then closes.
fn server_that_says(reply: &'static [u8]) -> Target {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("has one");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply);
        }
    });
    Target::new(Subject::at("echo_server", address), Window(address), vec![Arc::default(), Arc::default()])
}

#[test]
fn an_error_is_excused_by_a_restart_and_by_nothing_else() {
    let target = server_that_says(b"");
    let found = || (target.excused.load(SeqCst), target.failures().len());
    let mut line = Line::new(&target, 1);
    assert!(line.ask(&target).is_err());
    assert_eq!(found(), (0, 1));
    // One of the server behind it has begun, and ends.
    for count in [1, 2] {
        target.restarts[1].store(count, SeqCst);
        assert!(line.ask(&target).is_err());
    }
    assert_eq!(found(), (1, 2));
    // The connection is older than a restart.
    let since = target.epoch();
    target.restarts[0].store(2, SeqCst);
    target.judge(since, "waits", &Err::<(), _>(ErrorKind::TimedOut.into()));
    assert_eq!(found(), (2, 2));
}

#[test]
fn nothing_excuses_a_wrong_reply() {
    let target = server_that_says(b"another");
    target.restarts[0].store(1, SeqCst);
    // "7, 1: " and some letters were sent.
    assert!(Line::new(&target, 7).ask(&target).is_err());
    assert_eq!((target.excused.load(SeqCst), target.failures().len()), (1, 0), "a piece of a reply");
    let target = server_that_says(&[b'y'; 4096]);
    target.restarts[0].store(1, SeqCst);
    assert!(Line::new(&target, 7).ask(&target).is_err());
    assert_eq!((target.excused.load(SeqCst), target.failures().len()), (0, 1));
}
