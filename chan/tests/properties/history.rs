//! What a history of operations on channels must be like, whatever the parties' luck was.

use std::collections::HashMap;

/// What one operation came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Sent(usize),
    Received(usize),
    /// A send found the channel closed.
    Closed,
    /// A receive found it closed and empty.
    Ended,
    /// It could not be done in its time.
    Nothing,
}

/// One operation of one party. `begun` and `ended` are stamps of one clock for all.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub channel: usize,
    pub begun: usize,
    pub ended: usize,
    pub outcome: Outcome,
}

/// A message's way through a channel: the operation that sent it, and the one that received it, unless it was left.
struct Way {
    sender: usize,
    sent: Event,
    received: Option<(usize, Event)>,
}

/// Judges the events of all parties, each in its order, and what was left in the channels at the end.
pub fn check(capacities: &[Option<usize>], parties: &[Vec<Event>], left: &[Vec<usize>]) {
    for channel in 0..capacities.len() {
        let of = |party: usize| parties[party].iter().filter(move |event| event.channel == channel);
        let mut ways: HashMap<usize, Way> = HashMap::new();
        for sender in 0..parties.len() {
            for event in of(sender) {
                if let Outcome::Sent(id) = event.outcome {
                    ways.insert(id, Way { sender, sent: *event, received: None });
                }
            }
        }
        for receiver in 0..parties.len() {
            for event in of(receiver) {
                if let Outcome::Received(id) = event.outcome {
                    let way = ways.get_mut(&id).unwrap_or_else(|| panic!("{id} was received and never sent"));
                    let before = way.received.replace((receiver, *event));
                    assert!(before.is_none(), "{id} was received twice");
                }
            }
            is_over_for_good(of(receiver));
        }
        let mut lost: Vec<_> =
            ways.iter().filter(|(_, way)| way.received.is_none()).map(|(id, _)| *id).collect();
        let mut rest = left[channel].clone();
        lost.sort();
        rest.sort();
        assert_eq!(lost, rest, "what was not received, and what was left in channel {channel}");
        assert!(capacities[channel].is_none_or(|capacity| rest.len() <= capacity));

        in_order(&ways.into_values().collect::<Vec<_>>());
        nothing_new_after_the_end(parties, channel);
    }
}

/// A party that was told of the end of a channel gets nothing more from it, and sends nothing more.
fn is_over_for_good<'a>(events: impl Iterator<Item = &'a Event>) {
    let (mut closed, mut ended) = (false, false);
    for event in events {
        match event.outcome {
            Outcome::Sent(id) => assert!(!closed && !ended, "{id} was sent into a closed channel"),
            Outcome::Received(id) => assert!(!ended, "{id} came after the end"),
            Outcome::Closed => closed = true,
            Outcome::Ended => (closed, ended) = (true, true),
            Outcome::Nothing => {}
        }
    }
}

/// The same across parties: a send that begins after a party has seen the close does not succeed.
fn nothing_new_after_the_end(parties: &[Vec<Event>], channel: usize) {
    let events = || parties.iter().flatten().filter(|event| event.channel == channel);
    let seen = events()
        .filter(|event| matches!(event.outcome, Outcome::Closed | Outcome::Ended))
        .map(|event| event.ended)
        .min()
        .unwrap_or(usize::MAX);
    for event in events() {
        let late = event.begun > seen && matches!(event.outcome, Outcome::Sent(_));
        assert!(!late, "sent after the end was seen: {event:?}");
    }
}

/// First in, first out, as far as the parties can tell: between a sender and a receiver always; between others where one
/// operation had ended before the other began.
fn in_order(ways: &[Way]) {
    for first in ways {
        for second in ways.iter().filter(|second| first.sent.ended < second.sent.begun) {
            let (Some((to1, got1)), Some((to2, got2))) = (&first.received, &second.received) else {
                // What is left is younger than what was taken.
                assert!(
                    first.received.is_some() || second.received.is_none(),
                    "one was left, and a later one received: {:?} {:?}",
                    first.sent,
                    second.sent
                );
                continue;
            };
            let same = to1 == to2 && first.sender == second.sender;
            let overtaken = got2.ended < got1.begun;
            assert!(
                !(overtaken || same && got2.begun < got1.begun),
                "overtaken: {:?} by {:?}, received {got1:?} and {got2:?}",
                first.sent,
                second.sent
            );
        }
    }
}
