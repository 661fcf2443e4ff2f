//! The bounded buffer of a receiver, as the bus sees it.
//!
//! The bus never waits for a receiver: one that is slow would hold up all others. A message for which
//! there is no room is dropped and counted, and the receiver gets the count as an error, in the place
//! of what is missing.

use crate::error::Error;
use crate::request::ReplyTo;
use narrowboat_chan::{Receiver, Sender, TrySendError, bounded};

/// A message as it has arrived.
pub(crate) struct Incoming<'a> {
    pub(crate) payload: &'a [u8],
    /// Where a reply goes, if one is wanted.
    pub(crate) reply: Option<ReplyTo>,
}

/// Takes messages for a receiver.
pub(crate) trait Inbox: Send {
    fn push(&mut self, incoming: Incoming<'_>) -> Pushed;

    /// Whether the receiver is gone.
    fn is_closed(&self) -> bool;
}

/// What has become of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// The receiver has it, or will.
    Kept,
    /// There was no room for it.
    Dropped,
    /// The receiver is gone.
    Closed,
}

struct Typed<T, F> {
    channel: Sender<Result<T, Error>>,
    decode: F,
    /// How many messages were dropped since the last one that was kept.
    lost: u64,
}

/// An inbox and the channel of its receiver.
pub(crate) fn inbox<T: Send + 'static>(
    capacity: usize,
    decode: impl Fn(Incoming<'_>) -> Result<T, Error> + Send + 'static,
) -> (Box<dyn Inbox>, Receiver<Result<T, Error>>) {
    // Room for the error beside the message that follows it.
    let (channel, messages) = bounded(capacity.max(1) + 1);
    (Box::new(Typed { channel, decode, lost: 0 }), messages)
}

impl<T, F> Typed<T, F> {
    /// Whether a message has room, and beside it the error that is due, or the next one that will be.
    fn has_room(&self) -> bool {
        let capacity = self.channel.capacity().expect("it is bounded");
        self.channel.len() + 1 < capacity
    }
}

impl<T: Send, F: Fn(Incoming<'_>) -> Result<T, Error> + Send> Inbox for Typed<T, F> {
    fn push(&mut self, incoming: Incoming<'_>) -> Pushed {
        if self.is_closed() {
            return Pushed::Closed;
        }
        if !self.has_room() {
            self.lost += 1;
            return Pushed::Dropped;
        }
        if self.lost > 0 {
            match self.channel.try_send(Err(Error::Lost(self.lost))) {
                Ok(()) => self.lost = 0,
                Err(TrySendError::Full(_)) => unreachable!("only this sends, and there was room"),
                Err(TrySendError::Disconnected(_)) => return Pushed::Closed,
            }
        }
        match self.channel.try_send((self.decode)(incoming)) {
            Ok(()) => Pushed::Kept,
            Err(TrySendError::Full(_)) => unreachable!("only this sends, and there was room for two"),
            Err(TrySendError::Disconnected(_)) => Pushed::Closed,
        }
    }

    fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(inbox: &mut dyn Inbox, n: u8) -> Pushed {
        inbox.push(Incoming { payload: &[n], reply: None })
    }

    #[test]
    fn what_has_no_room_is_counted_where_it_is_missing() {
        let (mut inbox, messages) = inbox(2, |incoming| Ok(incoming.payload[0]));
        let kept: Vec<_> = (0..5).map(|n| push(&mut *inbox, n)).collect();
        assert_eq!(kept, [Pushed::Kept, Pushed::Kept, Pushed::Dropped, Pushed::Dropped, Pushed::Dropped]);
        assert_eq!(messages.try_iter().collect::<Vec<_>>(), [Ok(0), Ok(1)]);
        assert_eq!(push(&mut *inbox, 5), Pushed::Kept);
        assert_eq!(messages.try_iter().collect::<Vec<_>>(), [Err(Error::Lost(3)), Ok(5)]);
        drop(messages);
        assert_eq!(push(&mut *inbox, 6), Pushed::Closed);
    }
}
