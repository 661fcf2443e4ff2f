//! The functions that the macros call. Each takes the location of the `select!` that it was
//! expanded from, for diagnostics.

use super::arm::Arm;
use super::operation::SelectedOperation;
use super::order::Order;
use super::run::choose;
use super::token::Token;
use crate::Receiver;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::limit::Limit;
use std::panic::Location;
use std::time::Duration;

#[inline(always)]
#[track_caller]
fn within<'a>(arms: &mut [Arm<'a>], order: Order, limit: Limit) -> Option<SelectedOperation<'a>> {
    let mut token = Token::new();
    let chosen = choose(arms, &mut token, order, limit, Location::caller())?;
    Some(SelectedOperation::of_macro(arms[chosen], token))
}

/// A select without `default`.
#[inline]
#[track_caller]
pub fn select<'a>(arms: &mut [Arm<'a>], order: Order) -> SelectedOperation<'a> {
    within(arms, order, Limit::None).expect("a select without limit ends with an operation")
}

/// A select with `default`.
#[inline]
#[track_caller]
pub fn try_select<'a>(arms: &mut [Arm<'a>], order: Order) -> Option<SelectedOperation<'a>> {
    within(arms, order, Limit::Now)
}

/// A select with `default(timeout)`.
#[inline]
#[track_caller]
pub fn select_timeout<'a>(
    arms: &mut [Arm<'a>],
    order: Order,
    timeout: Duration,
) -> Option<SelectedOperation<'a>> {
    within(arms, order, Limit::within(timeout))
}

/// `select! {}`.
#[track_caller]
pub fn block_forever() -> ! {
    within(&mut [], Order::Biased, Limit::None);
    unreachable!("a select without operations does not end")
}

/// A select with one receive and `default`.
#[inline]
#[track_caller]
pub fn try_recv<T>(receiver: &Receiver<T>) -> Option<Result<T, RecvError>> {
    match receiver.try_recv() {
        Ok(message) => Some(Ok(message)),
        Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
        Err(TryRecvError::Empty) => None,
    }
}

/// A select with one receive and `default(timeout)`.
#[inline]
#[track_caller]
pub fn recv_timeout<T>(receiver: &Receiver<T>, timeout: Duration) -> Option<Result<T, RecvError>> {
    match receiver.recv_timeout(timeout) {
        Ok(message) => Some(Ok(message)),
        Err(RecvTimeoutError::Disconnected) => Some(Err(RecvError)),
        Err(RecvTimeoutError::Timeout) => None,
    }
}
