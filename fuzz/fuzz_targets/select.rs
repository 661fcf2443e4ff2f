//! Operations on channels, one after the other, beside a model: queues with a capacity. A select must
//! choose an arm that the model says is possible, and must choose one if any is.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narrowboat::chan::{self, Receiver, Select, Sender, TryRecvError, TrySendError};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
struct Program {
    capacities: [u8; 4],
    /// On a goroutine, or on a plain thread.
    on_goroutine: bool,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Send(u8),
    Receive(u8),
    Select { arms: Vec<Arm>, biased: bool, how: How },
    Ready { arms: Vec<Arm> },
    CloneSender(u8),
    CloneReceiver(u8),
    DropSender(u8),
    DropReceiver(u8),
    Close(u8),
    Look(u8),
    Drain(u8),
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Arm {
    Send(u8),
    Receive(u8),
}

#[derive(Arbitrary, Debug, Clone, Copy, PartialEq)]
enum How {
    Try,
    Timeout,
    /// Only where an arm is possible.
    Wait,
}

/// A channel and its model.
struct Channel {
    senders: Vec<Sender<u64>>,
    receivers: Vec<Receiver<u64>>,
    queue: VecDeque<u64>,
    capacity: Option<usize>,
    closed: bool,
}

impl Channel {
    fn new(byte: u8) -> Channel {
        let capacity = match byte % 5 {
            4 => None,
            n => Some(usize::from(n)),
        };
        let (sender, receiver) = capacity.map_or_else(chan::unbounded, chan::bounded);
        Channel {
            senders: vec![sender],
            receivers: vec![receiver],
            queue: VecDeque::new(),
            capacity,
            closed: false,
        }
    }

    fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.queue.len() < capacity)
    }

    /// Whether a send does not wait: it succeeds or fails.
    fn may_send(&self) -> bool {
        self.has_room() || !self.is_open_to_send()
    }

    fn is_open_to_send(&self) -> bool {
        !self.closed && !self.receivers.is_empty()
    }

    fn may_receive(&self) -> bool {
        !self.queue.is_empty() || self.is_over()
    }

    fn is_over(&self) -> bool {
        self.closed || self.senders.is_empty()
    }
}

fuzz_target!(|program: Program| {
    if program.on_goroutine {
        narrowboat::run(move || run(program));
    } else {
        run(program);
    }
});

fn run(program: Program) {
    let mut channels: Vec<Channel> = program.capacities.iter().map(|&byte| Channel::new(byte)).collect();
    let mut next = 0;
    for operation in program.operations.into_iter().take(200) {
        next += 1;
        step(&mut channels, operation, next);
    }
    for channel in &mut channels {
        drain(channel);
    }
}

fn step(channels: &mut [Channel], operation: Operation, message: u64) {
    let index = |n: u8| usize::from(n) % 4;
    match operation {
        Operation::Send(n) => {
            let channel = &mut channels[index(n)];
            let Some(sender) = channel.senders.last() else { return };
            let sent = sender.try_send(message);
            if !channel.is_open_to_send() {
                assert_eq!(sent, Err(TrySendError::Disconnected(message)));
            } else if channel.has_room() {
                assert_eq!(sent, Ok(()));
                channel.queue.push_back(message);
            } else {
                assert_eq!(sent, Err(TrySendError::Full(message)));
            }
        }
        Operation::Receive(n) => receive(&mut channels[index(n)]),
        Operation::Select { arms, biased, how } => select(channels, &arms, biased, how, message),
        Operation::Ready { arms } => ready(channels, &arms),
        Operation::CloneSender(n) => {
            let channel = &mut channels[index(n)];
            channel.senders.extend(channel.senders.last().cloned());
        }
        Operation::CloneReceiver(n) => {
            let channel = &mut channels[index(n)];
            channel.receivers.extend(channel.receivers.last().cloned());
        }
        Operation::DropSender(n) => drop(channels[index(n)].senders.pop()),
        Operation::DropReceiver(n) => {
            let channel = &mut channels[index(n)];
            if channel.receivers.pop().is_some() && channel.receivers.is_empty() {
                channel.queue.clear();
            }
        }
        Operation::Close(n) => {
            let channel = &mut channels[index(n)];
            if let Some(sender) = channel.senders.last() {
                let was_open = sender.close();
                assert_eq!(was_open, !channel.closed && !channel.receivers.is_empty());
                channel.closed = true;
            }
        }
        Operation::Look(n) => {
            let channel = &channels[index(n)];
            if let Some(sender) = channel.senders.last() {
                assert_eq!(sender.capacity(), channel.capacity);
                assert_eq!(sender.len(), channel.queue.len());
                assert_eq!(sender.is_empty(), channel.queue.is_empty());
                assert_eq!(sender.is_full(), !channel.has_room());
            }
            if let Some(receiver) = channel.receivers.last() {
                assert_eq!(receiver.len(), channel.queue.len());
                assert_eq!(receiver.is_empty(), channel.queue.is_empty());
                assert_eq!(receiver.is_full(), !channel.has_room());
            }
        }
        Operation::Drain(n) => drain(&mut channels[index(n)]),
    }
}

fn receive(channel: &mut Channel) {
    let Some(receiver) = channel.receivers.last() else { return };
    let received = receiver.try_recv();
    let expected = match channel.queue.pop_front() {
        Some(message) => Ok(message),
        None if channel.is_over() => Err(TryRecvError::Disconnected),
        None => Err(TryRecvError::Empty),
    };
    assert_eq!(received, expected);
}

fn drain(channel: &mut Channel) {
    if let Some(receiver) = channel.receivers.last() {
        let all: Vec<u64> = receiver.try_iter().collect();
        assert_eq!(all, Vec::from(std::mem::take(&mut channel.queue)));
    }
}

/// The arms that the channels have ends for, and whether each is possible.
fn arms_of(channels: &[Channel], arms: &[Arm]) -> (Vec<Arm>, Vec<bool>) {
    let exists = |arm: &&Arm| match arm {
        Arm::Send(n) => !channels[usize::from(*n) % 4].senders.is_empty(),
        Arm::Receive(n) => !channels[usize::from(*n) % 4].receivers.is_empty(),
    };
    let arms: Vec<Arm> = arms.iter().filter(exists).take(8).copied().collect();
    let possible = |arm: &Arm| match arm {
        Arm::Send(n) => channels[usize::from(*n) % 4].may_send(),
        Arm::Receive(n) => channels[usize::from(*n) % 4].may_receive(),
    };
    let possible = arms.iter().map(possible).collect();
    (arms, possible)
}

fn select(channels: &mut [Channel], arms: &[Arm], biased: bool, how: How, message: u64) {
    let (arms, possible) = arms_of(channels, arms);
    let any = possible.contains(&true);
    let mut select = if biased { Select::new_biased() } else { Select::new() };
    for arm in &arms {
        match arm {
            Arm::Send(n) => select.send(channels[usize::from(*n) % 4].senders.last().expect("looked")),
            Arm::Receive(n) => select.recv(channels[usize::from(*n) % 4].receivers.last().expect("looked")),
        };
    }
    let operation = match how {
        How::Wait if any => Some(select.select()),
        How::Timeout => select.select_timeout(Duration::from_micros(if any { 1_000_000 } else { 20 })).ok(),
        How::Try | How::Wait => select.try_select().ok(),
    };
    let Some(operation) = operation else {
        assert!(!any, "no arm was taken of {arms:?}, {possible:?}");
        return;
    };
    let chosen = operation.index();
    assert!(possible[chosen], "arm {chosen} of {arms:?}, {possible:?}");
    if biased {
        assert_eq!(Some(chosen), possible.iter().position(|&possible| possible));
    }
    match arms[chosen] {
        Arm::Send(n) => {
            let channel = &channels[usize::from(n) % 4];
            let sent = operation.send(channel.senders.last().expect("looked"), message);
            assert_eq!(sent.is_ok(), channel.is_open_to_send());
            if sent.is_ok() {
                channels[usize::from(n) % 4].queue.push_back(message);
            }
        }
        Arm::Receive(n) => {
            let received = operation.recv(channels[usize::from(n) % 4].receivers.last().expect("looked"));
            assert_eq!(received.ok(), channels[usize::from(n) % 4].queue.pop_front());
        }
    }
}

fn ready(channels: &[Channel], arms: &[Arm]) {
    let (arms, possible) = arms_of(channels, arms);
    let mut select = Select::new();
    for arm in &arms {
        match arm {
            Arm::Send(n) => select.send(channels[usize::from(*n) % 4].senders.last().expect("looked")),
            Arm::Receive(n) => select.recv(channels[usize::from(*n) % 4].receivers.last().expect("looked")),
        };
    }
    match select.try_ready() {
        Ok(index) => assert!(possible[index]),
        Err(_) => assert!(!possible.contains(&true)),
    }
}
