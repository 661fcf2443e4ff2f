//! What a channel is, said as shortly as possible: the model that the real one is compared with.

use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It would have to wait.
    Busy,
    Closed,
}

/// A channel that one party uses alone: nothing ever waits in it.
pub struct Model {
    /// `None` is without limit.
    pub capacity: Option<usize>,
    pub queue: VecDeque<usize>,
    /// Places that selected sends have been promised.
    pub promised: usize,
    pub senders: usize,
    pub receivers: usize,
    pub closed: bool,
}

impl Model {
    pub fn new(capacity: Option<usize>) -> Model {
        Model { capacity, queue: VecDeque::new(), promised: 0, senders: 1, receivers: 1, closed: false }
    }

    pub fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.queue.len() + self.promised < capacity)
    }

    pub fn can_send(&self) -> bool {
        self.closed || self.has_room()
    }

    pub fn can_receive(&self) -> bool {
        self.closed || !self.queue.is_empty()
    }

    pub fn send(&mut self, value: usize) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        if !self.has_room() {
            return Err(Refusal::Busy);
        }
        self.queue.push_back(value);
        Ok(())
    }

    /// Brings the value for a promised place.
    pub fn deliver(&mut self, value: usize) -> Result<(), Refusal> {
        self.promised -= 1;
        if self.closed {
            return Err(Refusal::Closed);
        }
        self.queue.push_back(value);
        Ok(())
    }

    pub fn receive(&mut self) -> Result<usize, Refusal> {
        self.queue.pop_front().ok_or(if self.closed { Refusal::Closed } else { Refusal::Busy })
    }

    pub fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    pub fn drop_sender(&mut self) {
        self.senders -= 1;
        self.closed |= self.senders == 0;
    }

    pub fn drop_receiver(&mut self) {
        self.receivers -= 1;
        if self.receivers == 0 {
            self.closed = true;
            self.queue.clear();
        }
    }
}
