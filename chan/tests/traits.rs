//! What the types promise at compile time, and how they and the errors print.

use narrowboat_chan::*;
use std::error::Error;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe};

fn shared<T: Send + Sync>() {}
fn unwinds<T: UnwindSafe + RefUnwindSafe>() {}
fn error<T: Error>() {}
fn fused<T: FusedIterator>() {}

#[test]
fn auto_traits_are_those_of_crossbeam_channel() {
    struct Plain;
    type Local = *const ();
    type Cell = std::cell::Cell<u8>;

    // Messages only have to be `Send`: they are handed over, never shared.
    shared::<Sender<Cell>>();
    shared::<Receiver<Cell>>();
    shared::<IntoIter<Cell>>();
    shared::<Iter<'static, Cell>>();
    shared::<TryIter<'static, Cell>>();
    shared::<Select<'static>>();
    unwinds::<Sender<Cell>>();
    unwinds::<Receiver<Cell>>();
    unwinds::<Sender<Local>>();
    unwinds::<Iter<'static, Local>>();
    unwinds::<TryIter<'static, Local>>();
    unwinds::<IntoIter<Local>>();
    unwinds::<SelectedOperation<'static>>();
    fused::<Iter<'static, Plain>>();
    fused::<IntoIter<Plain>>();
    error::<SendError<Plain>>();
    error::<TrySendError<Plain>>();
    error::<SendTimeoutError<Plain>>();
    error::<RecvError>();
    error::<TryRecvError>();
    error::<RecvTimeoutError>();
    error::<TrySelectError>();
    error::<SelectTimeoutError>();
}

#[test]
fn handles_are_no_more_send_than_their_messages() {
    trait IfSend<Mark> {
        fn check() {}
    }
    impl<T> IfSend<()> for T {}
    struct Yes;
    impl<T: Send> IfSend<Yes> for T {}
    // Ambiguous, hence an error, if the type were `Send`.
    <Sender<std::rc::Rc<()>> as IfSend<_>>::check();
    <Receiver<std::rc::Rc<()>> as IfSend<_>>::check();
    <SelectedOperation<'static> as IfSend<_>>::check();
}

#[test]
fn everything_prints() {
    struct Plain;
    let (tx, rx) = bounded::<Plain>(0);
    assert_eq!(format!("{tx:?} {rx:?}"), "Sender { .. } Receiver { .. }");
    assert_eq!(format!("{:?} {:?}", rx.iter(), rx.try_iter()), "Iter { .. } TryIter { .. }");
    assert_eq!(format!("{:?}", rx.into_iter()), "IntoIter { .. }");
    assert_eq!(format!("{:?}", SendError(Plain)), "SendError(..)");
    assert_eq!(format!("{:?}", TrySendError::Full(Plain)), "Full(..)");
    assert_eq!(format!("{:?}", TrySendError::Disconnected(Plain)), "Disconnected(..)");
    assert_eq!(format!("{:?}", SendTimeoutError::Timeout(Plain)), "SendTimeoutError(..)");

    // The words are crossbeam-channel's.
    let sent = "sending on a disconnected channel";
    assert_eq!(SendError(Plain).to_string(), sent);
    assert_eq!(TrySendError::Full(Plain).to_string(), "sending on a full channel");
    assert_eq!(TrySendError::Disconnected(Plain).to_string(), sent);
    assert_eq!(SendTimeoutError::Timeout(Plain).to_string(), "timed out waiting on send operation");
    assert_eq!(SendTimeoutError::Disconnected(Plain).to_string(), sent);
    let received = "receiving on an empty and disconnected channel";
    assert_eq!(RecvError.to_string(), received);
    assert_eq!(TryRecvError::Empty.to_string(), "receiving on an empty channel");
    assert_eq!(TryRecvError::Disconnected.to_string(), received);
    assert_eq!(RecvTimeoutError::Timeout.to_string(), "timed out waiting on receive operation");
    assert_eq!(RecvTimeoutError::Disconnected.to_string(), "channel is empty and disconnected");
    assert_eq!(TrySelectError.to_string(), "all operations in select would block");
    assert_eq!(SelectTimeoutError.to_string(), "timed out waiting on select");
}

#[test]
fn errors_convert_into_wider_ones() {
    assert_eq!(TrySendError::from(SendError(1)), TrySendError::Disconnected(1));
    assert_eq!(SendTimeoutError::from(SendError(1)), SendTimeoutError::Disconnected(1));
    assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
    assert_eq!(RecvTimeoutError::from(RecvError), RecvTimeoutError::Disconnected);
}
