//! Go's table of what blocks: every state of a channel against every form of an operation.

use narrowboat_chan::{Receiver, Select, Sender, bounded, never, select, unbounded};
use narrowboat_testing::{LONG, Work, eventually, go, ms, settle, suite};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

suite! {
    what_a_receive_comes_to,
    what_a_send_comes_to,
    what_blocks_goes_on_blocking,
}

/// What an operation comes to. A receive that is done says which message it got.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Is {
    Blocked,
    Done(u32),
    Failed,
}
use Is::{Blocked, Done, Failed};

/// What a send that is done comes to: it has no message to show.
const SENT: Is = Done(0);

/// A channel in some state, and what keeps it there.
struct Scene {
    tx: Sender<u32>,
    rx: Receiver<u32>,
    /// A party on the other side, waiting or about to.
    partner: Option<Work<()>>,
}

impl Scene {
    fn new((tx, rx): (Sender<u32>, Receiver<u32>), messages: u32) -> Scene {
        (1..=messages).for_each(|n| tx.send(n).unwrap());
        Scene { tx, rx, partner: None }
    }

    fn closed(self) -> Scene {
        assert!(self.tx.close());
        self
    }

    fn with_sender(mut self) -> Scene {
        let tx = self.tx.clone();
        self.partner = Some(go(move || tx.send(1).unwrap()));
        self
    }

    fn with_receiver(mut self) -> Scene {
        let rx = self.rx.clone();
        self.partner = Some(go(move || _ = rx.recv().unwrap()));
        self
    }

    fn with_selecting_sender(mut self) -> Scene {
        let tx = self.tx.clone();
        self.partner = Some(go(move || {
            select! { send(tx, 1) -> sent => sent.unwrap(), recv(never::<()>()) -> _ => unreachable!() }
        }));
        self
    }

    fn with_selecting_receiver(mut self) -> Scene {
        let rx = self.rx.clone();
        self.partner = Some(go(move || {
            select! { recv(rx) -> msg => _ = msg.unwrap(), recv(never::<()>()) -> _ => unreachable!() }
        }));
        self
    }

    /// Does an operation, again and again if it is a matter of time until the partner is there.
    fn outcome(&self, mut operation: impl FnMut() -> Is) -> Is {
        let mut is = operation();
        if self.partner.is_some() {
            eventually("the partner waits", || {
                if is == Blocked {
                    is = operation();
                }
                is != Blocked
            });
        }
        is
    }
}

/// A state by name, and what a receive and a send come to in it.
type State = (&'static str, fn() -> Scene, Is, Is);

fn states() -> [State; 17] {
    fn never_ready() -> Scene {
        let (tx, keep) = bounded(0);
        std::mem::forget(keep);
        Scene { tx, rx: never(), partner: None }
    }
    [
        ("nil", never_ready, Blocked, Blocked),
        ("unbuffered", || Scene::new(bounded(0), 0), Blocked, Blocked),
        ("unbuffered, a sender waits", || Scene::new(bounded(0), 0).with_sender(), Done(1), Blocked),
        (
            "unbuffered, a sender selects",
            || Scene::new(bounded(0), 0).with_selecting_sender(),
            Done(1),
            Blocked,
        ),
        ("unbuffered, a receiver waits", || Scene::new(bounded(0), 0).with_receiver(), Blocked, SENT),
        (
            "unbuffered, a receiver selects",
            || Scene::new(bounded(0), 0).with_selecting_receiver(),
            Blocked,
            SENT,
        ),
        ("unbuffered, closed", || Scene::new(bounded(0), 0).closed(), Failed, Failed),
        ("empty", || Scene::new(bounded(2), 0), Blocked, SENT),
        ("neither empty nor full", || Scene::new(bounded(2), 1), Done(1), SENT),
        ("full", || Scene::new(bounded(2), 2), Done(1), Blocked),
        ("empty and closed", || Scene::new(bounded(2), 0).closed(), Failed, Failed),
        ("neither, and closed", || Scene::new(bounded(2), 1).closed(), Done(1), Failed),
        ("full and closed", || Scene::new(bounded(2), 2).closed(), Done(1), Failed),
        ("unbounded and empty", || Scene::new(unbounded(), 0), Blocked, SENT),
        ("unbounded", || Scene::new(unbounded(), 100), Done(1), SENT),
        ("unbounded, empty and closed", || Scene::new(unbounded(), 0).closed(), Failed, Failed),
        ("unbounded and closed", || Scene::new(unbounded(), 100).closed(), Done(1), Failed),
    ]
}

fn got<E>(result: Result<u32, E>) -> Is {
    result.map_or(Failed, Done)
}

fn sent<E>(result: Result<(), E>) -> Is {
    result.map_or(Failed, |()| SENT)
}

/// An operation in one of its forms, on a receiver or a sender.
type Form<Handle> = (&'static str, fn(&Handle) -> Is);

/// The forms of a receive that do not wait, or not for long.
const RECEIVES: &[Form<Receiver<u32>>] = &[
    ("try_recv", |rx| match rx.try_recv() {
        Err(error) if error.is_empty() => Blocked,
        result => got(result),
    }),
    ("recv_timeout without time", |rx| match rx.recv_timeout(Duration::ZERO) {
        Err(error) if error.is_timeout() => Blocked,
        result => got(result),
    }),
    ("recv_timeout", |rx| match rx.recv_timeout(ms(2)) {
        Err(error) if error.is_timeout() => Blocked,
        result => got(result),
    }),
    ("recv_deadline now", |rx| match rx.recv_deadline(Instant::now()) {
        Err(error) if error.is_timeout() => Blocked,
        result => got(result),
    }),
    ("one arm and default", |rx| select! { recv(rx) -> msg => got(msg), default => Blocked }),
    ("one arm and a timeout", |rx| select! { recv(rx) -> msg => got(msg), default(ms(2)) => Blocked }),
    ("two arms and default", |rx| {
        select! { recv(rx) -> msg => got(msg), recv(never::<()>()) -> _ => unreachable!(), default => Blocked }
    }),
    ("two arms and a timeout", |rx| {
        select! { recv(rx) -> msg => got(msg), recv(never::<()>()) -> _ => unreachable!(), default(ms(2)) => Blocked }
    }),
    (
        "the same arm twice",
        |rx| select! { recv(rx) -> msg => got(msg), recv(rx) -> msg => got(msg), default => Blocked },
    ),
    ("try_select", |rx| {
        let mut select = Select::new();
        select.recv(rx);
        select.try_select().map_or(Blocked, |chosen| got(chosen.recv(rx)))
    }),
    ("select_timeout", |rx| {
        let mut select = Select::new_biased();
        select.recv(rx);
        select.select_timeout(ms(2)).map_or(Blocked, |chosen| got(chosen.recv(rx)))
    }),
];

const SENDS: &[Form<Sender<u32>>] = &[
    ("try_send", |tx| match tx.try_send(9) {
        Err(error) if error.is_full() => Blocked,
        result => sent(result),
    }),
    ("send_timeout without time", |tx| match tx.send_timeout(9, Duration::ZERO) {
        Err(error) if error.is_timeout() => Blocked,
        result => sent(result),
    }),
    ("send_timeout", |tx| match tx.send_timeout(9, ms(2)) {
        Err(error) if error.is_timeout() => Blocked,
        result => sent(result),
    }),
    ("send_deadline now", |tx| match tx.send_deadline(9, Instant::now()) {
        Err(error) if error.is_timeout() => Blocked,
        result => sent(result),
    }),
    ("one arm and default", |tx| select! { send(tx, 9) -> res => sent(res), default => Blocked }),
    ("one arm and a timeout", |tx| select! { send(tx, 9) -> res => sent(res), default(ms(2)) => Blocked }),
    ("two arms and default", |tx| {
        select! { send(tx, 9) -> res => sent(res), recv(never::<()>()) -> _ => unreachable!(), default => Blocked }
    }),
    ("two arms and a timeout", |tx| {
        select! { send(tx, 9) -> res => sent(res), recv(never::<()>()) -> _ => unreachable!(), default(ms(2)) => Blocked }
    }),
    (
        "the same arm twice",
        |tx| select! { send(tx, 9) -> res => sent(res), send(tx, 9) -> res => sent(res), default => Blocked },
    ),
    ("try_select", |tx| {
        let mut select = Select::new();
        select.send(tx);
        select.try_select().map_or(Blocked, |chosen| sent(chosen.send(tx, 9)))
    }),
    ("select_timeout", |tx| {
        let mut select = Select::new_biased();
        select.send(tx);
        select.select_timeout(ms(2)).map_or(Blocked, |chosen| sent(chosen.send(tx, 9)))
    }),
];

/// The forms that wait as long as it takes.
const WAITING_RECEIVES: &[Form<Receiver<u32>>] = &[
    ("recv", |rx| got(rx.recv())),
    ("recv_timeout", |rx| got(rx.recv_timeout(LONG))),
    ("iter", |rx| rx.iter().next().map_or(Failed, Done)),
    ("one arm", |rx| select! { recv(rx) -> msg => got(msg) }),
    ("two arms", |rx| select! { recv(rx) -> msg => got(msg), recv(never::<()>()) -> _ => unreachable!() }),
    ("the same arm twice", |rx| select! { recv(rx) -> msg => got(msg), recv(rx) -> msg => got(msg) }),
    ("select", |rx| {
        let mut select = Select::new();
        select.recv(rx);
        select.select().recv(rx).map_or(Failed, Done)
    }),
];

const WAITING_SENDS: &[Form<Sender<u32>>] = &[
    ("send", |tx| sent(tx.send(9))),
    ("send_timeout", |tx| sent(tx.send_timeout(9, LONG))),
    ("one arm", |tx| select! { send(tx, 9) -> res => sent(res) }),
    (
        "two arms",
        |tx| select! { send(tx, 9) -> res => sent(res), recv(never::<()>()) -> _ => unreachable!() },
    ),
    ("the same arm twice", |tx| select! { send(tx, 9) -> res => sent(res), send(tx, 9) -> res => sent(res) }),
    ("select", |tx| {
        let mut select = Select::new();
        select.send(tx);
        sent(select.select().send(tx, 9))
    }),
];

fn what_a_receive_comes_to() {
    for (state, make, expected, _) in states() {
        for (form, receive) in RECEIVES.iter().chain(if expected == Blocked { &[] } else { WAITING_RECEIVES })
        {
            // A receiver that waits for the partner to come would take the message from the partner in its stead.
            let scene = make();
            if expected == Blocked && scene.partner.is_some() {
                assert_eq!(receive(&scene.rx), Blocked, "{form} on a channel that is {state}");
            } else {
                let is = scene.outcome(|| receive(&scene.rx));
                assert_eq!(is, expected, "{form} on a channel that is {state}");
            }
            end(scene);
        }
    }
}

fn what_a_send_comes_to() {
    for (state, make, _, expected) in states() {
        for (form, send) in SENDS.iter().chain(if expected == Blocked { &[] } else { WAITING_SENDS }) {
            let scene = make();
            if expected == Blocked && scene.partner.is_some() {
                assert_eq!(send(&scene.tx), Blocked, "{form} on a channel that is {state}");
            } else {
                let before = scene.rx.len();
                let is = scene.outcome(|| send(&scene.tx));
                assert_eq!(is, expected, "{form} on a channel that is {state}");
                let added = usize::from(is == SENT && scene.partner.is_none());
                assert_eq!(scene.rx.len(), before + added, "{form} on a channel that is {state}");
            }
            end(scene);
        }
    }
}

/// Lets the partner go, whichever side it is on.
fn end(mut scene: Scene) {
    if let Some(partner) = scene.partner.take() {
        let (tx, rx) = (scene.tx, scene.rx);
        while !partner.is_finished() {
            select! {
                recv(rx) -> _ => {}
                send(tx, 0) -> _ => {}
                default(ms(1)) => {}
            }
        }
        partner.join();
    }
}

/// Each form that waits is started where it has to, and has come to nothing after a while. Closing ends it.
fn what_blocks_goes_on_blocking() {
    let ended = Arc::new(AtomicUsize::new(0));
    let mut waiting = Vec::new();
    let mut scenes = Vec::new();
    let counting = |work: Box<dyn FnOnce() -> Is + Send>| {
        let ended = ended.clone();
        go(move || {
            let is = work();
            ended.fetch_add(1, Ordering::SeqCst);
            is
        })
    };
    // The nil channel cannot be closed, so a wait for it could not be ended.
    for (state, make, receive_is, send_is) in states().into_iter().skip(1) {
        for (form, receive) in WAITING_RECEIVES {
            let scene = make();
            if receive_is == Blocked && scene.partner.is_none() {
                let rx = scene.rx.clone();
                waiting.push((state, form, counting(Box::new(move || receive(&rx)))));
                scenes.push(scene);
            } else {
                end(scene);
            }
        }
        for (form, send) in WAITING_SENDS {
            let scene = make();
            if send_is == Blocked && scene.partner.is_none() {
                let tx = scene.tx.clone();
                waiting.push((state, form, counting(Box::new(move || send(&tx)))));
                scenes.push(scene);
            } else {
                end(scene);
            }
        }
    }
    assert!(waiting.len() > 20);
    settle();
    assert_eq!(ended.load(Ordering::SeqCst), 0, "none of them has anything to go on with");
    for scene in &scenes {
        assert!(scene.tx.close());
    }
    for (state, form, work) in waiting {
        assert_eq!(work.join(), Failed, "{form} on a channel that was {state}");
    }
}
