//! One party alone: every operation that does not wait comes to what the model says.

use crate::holds_for;
use crate::ledger::{Ledger, Value};
use crate::model::{Model, Refusal};
use narrowboat_chan::{Receiver, Select, Sender, bounded, select, unbounded};
use narrowboat_testing::suite;
use proptest::prelude::*;
use std::time::{Duration, Instant};

suite! {
    a_party_alone_sees_what_the_model_says,
}

/// A step of a program. Numbers pick a channel or a handle out of those there are, by remainder.
#[derive(Clone, Debug)]
enum Step {
    Put {
        channel: usize,
        form: usize,
    },
    Take {
        channel: usize,
        form: usize,
    },
    Choose {
        arms: Vec<(usize, bool)>,
        biased: bool,
        form: usize,
    },
    Watch {
        arms: Vec<(usize, bool)>,
        biased: bool,
    },
    /// A selected send that runs other steps while it makes its message, and may then give it up.
    PutAfter {
        channel: usize,
        steps: Vec<Step>,
        gives_up: bool,
    },
    Close {
        channel: usize,
        by_receiver: bool,
    },
    CloneSender(usize),
    CloneReceiver(usize),
    DropSender(usize),
    DropReceiver(usize),
}
use Step::*;

#[derive(Clone, Debug)]
struct Program {
    capacities: Vec<Option<usize>>,
    steps: Vec<Step>,
}

fn arms() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..3_usize, any::<bool>()), 0..5)
}

fn step() -> impl Strategy<Value = Step> {
    let channel = || 0..3_usize;
    let plain = prop_oneof![
        8 => (channel(), 0..6_usize).prop_map(|(channel, form)| Put { channel, form }),
        8 => (channel(), 0..7_usize).prop_map(|(channel, form)| Take { channel, form }),
        4 => (arms(), any::<bool>(), 0..3_usize).prop_map(|(arms, biased, form)| Choose { arms, biased, form }),
        2 => (arms(), any::<bool>()).prop_map(|(arms, biased)| Watch { arms, biased }),
        1 => (channel(), any::<bool>()).prop_map(|(channel, by_receiver)| Close { channel, by_receiver }),
        1 => channel().prop_map(CloneSender),
        1 => channel().prop_map(CloneReceiver),
        1 => channel().prop_map(DropSender),
        1 => channel().prop_map(DropReceiver),
    ];
    plain.prop_recursive(2, 8, 4, move |step| {
        prop_oneof![
            4 => step.clone(),
            1 => (channel(), prop::collection::vec(step, 0..4), any::<bool>())
                .prop_map(|(channel, steps, gives_up)| PutAfter { channel, steps, gives_up }),
        ]
    })
}

fn program() -> impl Strategy<Value = Program> {
    let capacity = prop_oneof![Just(Some(0)), Just(Some(1)), Just(Some(2)), Just(Some(5)), Just(None)];
    (prop::collection::vec(capacity, 1..4), prop::collection::vec(step(), 0..60))
        .prop_map(|(capacities, steps)| Program { capacities, steps })
}

/// A channel and the model of it. The handles may all be gone.
struct Pair {
    model: Model,
    senders: Vec<Sender<Value>>,
    receivers: Vec<Receiver<Value>>,
}

/// What a select has done.
enum Done {
    Put(Result<(), Refusal>),
    Taken(Result<usize, Refusal>),
}

struct Run {
    ledger: Ledger,
    pairs: Vec<Pair>,
}

impl Run {
    fn new(program: &Program) -> Run {
        let pairs = program.capacities.iter().map(|capacity| {
            let (tx, rx) = capacity.map_or_else(unbounded, bounded);
            Pair { model: Model::new(*capacity), senders: vec![tx], receivers: vec![rx] }
        });
        Run { ledger: Ledger::default(), pairs: pairs.collect() }
    }

    fn pair(&mut self, channel: usize) -> &mut Pair {
        let count = self.pairs.len();
        &mut self.pairs[channel % count]
    }

    fn step(&mut self, step: &Step) {
        match step {
            Put { channel, form } => self.put(*channel, *form),
            Take { channel, form } => self.take(*channel, *form),
            Choose { arms, biased, form } => self.choose(arms, *biased, *form),
            Watch { arms, biased } => self.watch(arms, *biased),
            PutAfter { channel, steps, gives_up } => self.put_after(*channel, steps, *gives_up),
            Close { channel, by_receiver } => {
                let pair = self.pair(*channel);
                let closed = match (pair.senders.first(), pair.receivers.first()) {
                    (_, Some(rx)) if *by_receiver => rx.close(),
                    (Some(tx), _) => tx.close(),
                    (None, Some(rx)) => rx.close(),
                    (None, None) => return,
                };
                assert_eq!(closed, pair.model.close());
            }
            CloneSender(channel) => {
                let pair = self.pair(*channel);
                if let Some(tx) = pair.senders.last().cloned() {
                    pair.senders.push(tx);
                    pair.model.senders += 1;
                }
            }
            CloneReceiver(channel) => {
                let pair = self.pair(*channel);
                if let Some(rx) = pair.receivers.last().cloned() {
                    pair.receivers.push(rx);
                    pair.model.receivers += 1;
                }
            }
            DropSender(channel) => {
                let pair = self.pair(*channel);
                if pair.senders.pop().is_some() {
                    pair.model.drop_sender();
                }
            }
            DropReceiver(channel) => {
                let pair = self.pair(*channel);
                if pair.receivers.pop().is_some() {
                    pair.model.drop_receiver();
                }
            }
        }
        self.compare();
    }

    fn put(&mut self, channel: usize, form: usize) {
        let value = self.ledger.value();
        let id = value.id;
        let pair = self.pair(channel);
        let Some(tx) = pair.senders.last() else { return };
        let result = match form {
            0 => tx.try_send(value).map_err(|error| (refusal(error.is_full()), error.into_inner())),
            1 => tx
                .send_timeout(value, Duration::ZERO)
                .map_err(|error| (refusal(error.is_timeout()), error.into_inner())),
            2 => tx
                .send_deadline(value, Instant::now())
                .map_err(|error| (refusal(error.is_timeout()), error.into_inner())),
            3 => select! {
                send(tx, value) -> sent => sent.map_err(|error| (Refusal::Closed, error.into_inner())),
                default => Err((Refusal::Busy, value)),
            },
            4 => select! {
                send(tx, value) -> sent => sent.map_err(|error| (Refusal::Closed, error.into_inner())),
                default(Duration::from_nanos(1)) => Err((Refusal::Busy, value)),
            },
            // Where it does not have to wait, the plain form.
            _ if pair.model.can_send() => {
                tx.send(value).map_err(|error| (Refusal::Closed, error.into_inner()))
            }
            _ => Err((Refusal::Busy, value)),
        };
        let result = result.map_err(|(refusal, back)| {
            assert_eq!(back.id, id, "another message came back");
            refusal
        });
        assert_eq!(result, pair.model.send(id));
    }

    fn take(&mut self, channel: usize, form: usize) {
        let pair = self.pair(channel);
        let Some(rx) = pair.receivers.last() else { return };
        let result = match form {
            0 => rx.try_recv().map_err(|error| refusal(error.is_empty())),
            1 => rx.recv_timeout(Duration::ZERO).map_err(|error| refusal(error.is_timeout())),
            2 => rx.recv_deadline(Instant::now()).map_err(|error| refusal(error.is_timeout())),
            3 => {
                select! { recv(rx) -> msg => msg.map_err(|_| Refusal::Closed), default => Err(Refusal::Busy) }
            }
            4 => select! {
                recv(rx) -> msg => msg.map_err(|_| Refusal::Closed),
                default(Duration::from_nanos(1)) => Err(Refusal::Busy),
            },
            5 => match rx.try_iter().next() {
                Some(value) => Ok(value),
                None => Err(if rx.is_closed() { Refusal::Closed } else { Refusal::Busy }),
            },
            _ if pair.model.can_receive() => rx.recv().map_err(|_| Refusal::Closed),
            _ => Err(Refusal::Busy),
        };
        assert_eq!(result.map(|value| value.id), pair.model.receive());
    }

    /// The arms whose handles are still there, and which of them are possible.
    fn live(&self, arms: &[(usize, bool)]) -> Vec<(usize, bool)> {
        let arms = arms.iter().map(|(channel, sends)| (channel % self.pairs.len(), *sends));
        arms.filter(|(channel, sends)| {
            let pair = &self.pairs[*channel];
            if *sends { !pair.senders.is_empty() } else { !pair.receivers.is_empty() }
        })
        .collect()
    }

    fn possible(&self, (channel, sends): (usize, bool)) -> bool {
        let model = &self.pairs[channel].model;
        if sends { model.can_send() } else { model.can_receive() }
    }

    fn list(&self, arms: &[(usize, bool)], biased: bool) -> Select<'_> {
        let mut list = if biased { Select::new_biased() } else { Select::new() };
        for (channel, sends) in arms {
            let pair = &self.pairs[*channel];
            if *sends {
                list.send(&pair.senders[0])
            } else {
                list.recv(&pair.receivers[0])
            };
        }
        list
    }

    /// The choice of a select is one that the model allows.
    fn check_choice(&self, arms: &[(usize, bool)], biased: bool, index: Option<usize>) {
        let first = arms.iter().position(|arm| self.possible(*arm));
        match index {
            Some(index) if biased => assert_eq!(Some(index), first, "not the first that is possible"),
            Some(index) => assert!(self.possible(arms[index]), "not possible"),
            None => assert_eq!(first, None, "possible, and not chosen"),
        }
    }

    fn choose(&mut self, arms: &[(usize, bool)], biased: bool, form: usize) {
        let arms = self.live(arms);
        let value = self.ledger.value();
        let id = value.id;
        let any = arms.iter().any(|arm| self.possible(*arm));
        let (channel, result) = {
            let mut list = self.list(&arms, biased);
            let chosen = match form {
                0 => list.try_select().ok(),
                1 => list.select_timeout(Duration::ZERO).ok(),
                _ if any => Some(list.select()),
                _ => list.select_deadline(Instant::now()).ok(),
            };
            self.check_choice(&arms, biased, chosen.as_ref().map(|chosen| chosen.index()));
            let Some(chosen) = chosen else { return };
            let (channel, sends) = arms[chosen.index()];
            let pair = &self.pairs[channel];
            let result = if sends {
                Done::Put(chosen.send(&pair.senders[0], value).map_err(|error| {
                    assert_eq!(error.into_inner().id, id);
                    Refusal::Closed
                }))
            } else {
                Done::Taken(
                    chosen.recv(&pair.receivers[0]).map(|value| value.id).map_err(|_| Refusal::Closed),
                )
            };
            (channel, result)
        };
        let model = &mut self.pairs[channel].model;
        match result {
            Done::Put(result) => assert_eq!(result, model.send(id)),
            Done::Taken(result) => assert_eq!(result, model.receive()),
        }
    }

    fn watch(&mut self, arms: &[(usize, bool)], biased: bool) {
        let arms = self.live(arms);
        let index = self.list(&arms, biased).try_ready().ok();
        self.check_choice(&arms, biased, index);
    }

    fn put_after(&mut self, channel: usize, steps: &[Step], gives_up: bool) {
        let pair = self.pair(channel);
        let Some(tx) = pair.senders.last().cloned() else { return };
        pair.model.senders += 1;
        let (open, possible) = (!pair.model.closed, pair.model.can_send());
        if possible && open {
            pair.model.promised += 1;
        }
        let mut made = None;
        // A closure, so that giving up can leave the arm early.
        let mut attempt = |run: &mut Run| -> Option<Result<bool, usize>> {
            select! {
                send(tx, {
                    run.compare();
                    steps.iter().for_each(|step| run.step(step));
                    let value = run.ledger.value();
                    made = Some(value.id);
                    (!gives_up).then_some(value)?
                }) -> sent => Some(sent.map(|()| true).map_err(|error| error.into_inner().id)),
                default => Some(Ok(false)),
            }
        };
        let outcome = attempt(self);
        let model = &mut self.pair(channel).model;
        match outcome {
            Some(Ok(false)) => assert!(!possible),
            None => {
                assert!(possible && gives_up);
                model.promised -= usize::from(open);
            }
            Some(result) => {
                assert!(possible);
                let id = made.expect("the message was made");
                let expected = if open { model.deliver(id) } else { Err(Refusal::Closed) };
                assert_eq!(result.map(|_| ()), expected.map_err(|_| id));
            }
        }
        model.drop_sender();
        drop(tx);
    }

    /// What can be seen of the channels, and where the values are.
    fn compare(&self) {
        let mut kept = Vec::new();
        for Pair { model, senders, receivers } in &self.pairs {
            let len = model.queue.len();
            let seen = (len, len == 0, !model.has_room(), model.closed, model.capacity);
            for tx in senders {
                assert_eq!((tx.len(), tx.is_empty(), tx.is_full(), tx.is_closed(), tx.capacity()), seen);
            }
            for rx in receivers {
                assert_eq!((rx.len(), rx.is_empty(), rx.is_full(), rx.is_closed(), rx.capacity()), seen);
            }
            kept.extend(&model.queue);
        }
        kept.sort();
        assert_eq!(self.ledger.alive(), kept, "the values that are alive, and those that are in channels");
    }
}

fn refusal(busy: bool) -> Refusal {
    if busy { Refusal::Busy } else { Refusal::Closed }
}

fn a_party_alone_sees_what_the_model_says() {
    holds_for(600, program(), |program| {
        let mut run = Run::new(program);
        run.compare();
        program.steps.iter().for_each(|step| run.step(step));
        let ledger = run.ledger.clone();
        drop(run);
        assert!(ledger.alive().is_empty());
    });
}
