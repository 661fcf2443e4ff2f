//! `select!` and `select_biased!`.
//!
//! An expansion has two steps. `__select_parse!` takes the arms from the front of the input, one at
//! each recursion, and collects for each: its kind, a name for its handle, its index, its
//! arguments, its pattern and its body. All names are written `handle`, but each comes from an
//! expansion of its own, so hygiene makes them different. Then `__select_run!` writes the code: one
//! `match` that borrows the handles (so that temporaries in their expressions live until the end),
//! the table of arms, and a second `match` on the index that was chosen.
//!
//! All paths begin with `$crate`, so the macros work through any re-export.

/// Waits for several channel operations, carries out one of them, and runs the code of its arm.
///
/// | arm | is chosen when |
/// | --- | --- |
/// | `recv(rx) -> msg => ...` | a receive is possible; `msg` is a `Result<T, RecvError>` |
/// | `send(tx, value) -> res => ...` | a send is possible; `res` is a `Result<(), SendError<T>>` |
/// | `default => ...` | no other operation is possible at this moment |
/// | `default(timeout) => ...` | no other operation became possible within this `Duration` |
///
/// The operations of a closed channel can always be carried out: their result is the error. If
/// several arms can be chosen, each has the same chance, whatever their order. Without a `default`
/// the select waits.
///
/// The handles are expressions, evaluated once, in order, before anything else. The message of a
/// `send` is evaluated only if its arm is chosen, at that moment. If its evaluation panics, or
/// leaves the arm with `?`, nothing is sent, and the receiver goes on waiting.
///
/// On a channel without buffer a receiver waits for the message meanwhile. A receiver that has a
/// time limit or other arms waits at most about a millisecond for an evaluation that itself waits
/// for something, and at most a tenth of a second for any other evaluation. Then it continues as if
/// it had not met the send. The send, which has been chosen, waits with its message for the next
/// receiver, as a plain send does. So do not put expressions that wait into arms: make the message
/// before the `select!`.
///
/// An arm may be `break`, `continue`, `return` or `?`. `select! {}` waits for ever.
///
/// # Examples
/// ```
/// use narrowboat::chan::{bounded, select, unbounded};
/// use std::time::Duration;
///
/// let (tx, rx) = unbounded();
/// let (full, _keep) = bounded(1);
/// full.send(0).unwrap();
///
/// let got = select! {
///     recv(rx) -> msg => msg.ok(),
///     send(full, 1) -> res => { res.unwrap(); None }
///     default(Duration::from_millis(5)) => None,
/// };
/// assert_eq!(got, None);
///
/// tx.send(7).unwrap();
/// select! {
///     recv(rx) -> msg => assert_eq!(msg, Ok(7)),
///     send(full, 1) -> _ => unreachable!("it is still full"),
/// }
/// ```
///
/// A loop that ends when a channel is closed:
/// ```
/// use narrowboat::chan::{bounded, select};
/// use std::thread;
///
/// let (work_tx, work) = bounded(0);
/// let (done_tx, done) = bounded::<()>(0);
/// let worker = thread::spawn(move || {
///     let mut sum = 0;
///     loop {
///         select! {
///             recv(work) -> n => sum += n.unwrap(),
///             recv(done) -> _ => break sum,
///         }
///     }
/// });
/// for n in 1..=10 {
///     work_tx.send(n).unwrap();
/// }
/// drop(done_tx);
/// assert_eq!(worker.join().unwrap(), 55);
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => { $crate::__select_parse!(Fair (0) [] [] $($arms)*) };
}

/// As [`select!`], but if several arms can be chosen it takes the first of them in the order
/// written.
///
/// # Examples
/// ```
/// use narrowboat::chan::{select_biased, unbounded};
///
/// let (urgent_tx, urgent) = unbounded();
/// let (bulk_tx, bulk) = unbounded();
/// bulk_tx.send("bulk").unwrap();
/// urgent_tx.send("urgent").unwrap();
/// let first = select_biased! {
///     recv(urgent) -> msg => msg.unwrap(),
///     recv(bulk) -> msg => msg.unwrap(),
/// };
/// assert_eq!(first, "urgent");
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($arms:tt)*) => { $crate::__select_parse!(Biased (0) [] [] $($arms)*) };
}

/// `order (index of the next arm) [arms] [default] rest of the input`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_parse {
    ($order:ident $next:tt [$($arms:tt)*] [$($default:tt)*]) => {
        $crate::__select_run!($order [$($arms)*] [$($default)*])
    };

    (@arm $order:ident ($($next:tt)*) [$($arms:tt)*] $default:tt
        $kind:ident $args:tt ($res:pat) $body:tt $($rest:tt)*) => {
        $crate::__select_parse!(
            $order ($($next)* + 1)
            [$($arms)* { $kind handle ($($next)*) $args ($res) $body }]
            $default $($rest)*
        )
    };
    (@default $order:ident $next:tt $arms:tt [] $args:tt $body:tt $($rest:tt)*) => {
        $crate::__select_parse!($order $next $arms [$args $body] $($rest)*)
    };
    (@default $($rest:tt)*) => {
        ::core::compile_error!("there can be only one `default` arm in a `select!`")
    };

    // A body is a block, after which the comma may be omitted, or an expression. The rule for the
    // block comes first, because a block that is parsed as an expression would include the tokens
    // after it.
    ($order:ident $next:tt $arms:tt $default:tt
        default => $($rest:tt)*) => {
        $crate::__select_parse!($order $next $arms $default default() => $($rest)*)
    };
    ($order:ident $next:tt $arms:tt $default:tt
        default $args:tt => { $($body:tt)* }, $($rest:tt)*) => {
        $crate::__select_parse!(@default $order $next $arms $default $args ({ $($body)* }) $($rest)*)
    };
    ($order:ident $next:tt $arms:tt $default:tt
        default $args:tt => { $($body:tt)* } $($rest:tt)*) => {
        $crate::__select_parse!(@default $order $next $arms $default $args ({ $($body)* }) $($rest)*)
    };
    ($order:ident $next:tt $arms:tt $default:tt
        default $args:tt => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select_parse!(@default $order $next $arms $default $args ($body) $($($rest)*)?)
    };
    ($order:ident $next:tt $arms:tt $default:tt
        $kind:ident $args:tt -> $res:pat => { $($body:tt)* }, $($rest:tt)*) => {
        $crate::__select_parse!(
            @arm $order $next $arms $default $kind $args ($res) ({ $($body)* }) $($rest)*
        )
    };
    ($order:ident $next:tt $arms:tt $default:tt
        $kind:ident $args:tt -> $res:pat => { $($body:tt)* } $($rest:tt)*) => {
        $crate::__select_parse!(
            @arm $order $next $arms $default $kind $args ($res) ({ $($body)* }) $($rest)*
        )
    };
    ($order:ident $next:tt $arms:tt $default:tt
        $kind:ident $args:tt -> $res:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select_parse!(
            @arm $order $next $arms $default $kind $args ($res) ($body) $($($rest)*)?
        )
    };
    ($order:ident $next:tt $arms:tt $default:tt $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "expected an arm of `select!`: `recv(rx) -> msg => ...`, `send(tx, value) -> res => ...`, ",
            "`default => ...` or `default(timeout) => ...`, each followed by a comma unless its body is a \
             block; found `", ::core::stringify!($($rest)*), "`"
        ))
    };
}

/// `order [{ kind handle (index) (arguments) (pattern) (body) }...] [(default's arguments)
/// (default's body)]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_run {
    ($order:ident [] []) => { $crate::__private::block_forever() };

    // A select with one receive is a plain receive.
    ($order:ident [{ recv $handle:ident $index:tt ($rx:expr $(,)?) ($res:pat) ($body:expr) }] []) => {
        match &$rx {
            $handle => {
                let $res = $crate::Receiver::recv($handle);
                $body
            }
        }
    };
    ($order:ident [{ recv $handle:ident $index:tt ($rx:expr $(,)?) ($res:pat) ($body:expr) }]
        [() ($default:expr)]) => {
        match &$rx {
            $handle => match $crate::__private::try_recv($handle) {
                ::core::option::Option::Some(result) => {
                    let $res = result;
                    $body
                }
                ::core::option::Option::None => $default,
            },
        }
    };
    ($order:ident [{ recv $handle:ident $index:tt ($rx:expr $(,)?) ($res:pat) ($body:expr) }]
        [($timeout:expr $(,)?) ($default:expr)]) => {
        match &$rx {
            $handle => match $crate::__private::recv_timeout($handle, $timeout) {
                ::core::option::Option::Some(result) => {
                    let $res = result;
                    $body
                }
                ::core::option::Option::None => $default,
            },
        }
    };

    ($order:ident [$({ $kind:ident $handle:ident $index:tt $args:tt $res:tt $body:tt })*] []) => {
        match ($($crate::__select_arm!(@handle $kind $args),)*) {
            ($($handle,)*) => {
                let chosen = $crate::__private::select(
                    &mut [$($crate::__private::Arm::$kind($handle, $index)),*],
                    $crate::__private::Order::$order,
                );
                match chosen.index() {
                    $(index if index == $index => {
                        $crate::__select_arm!(@complete chosen $kind $handle $args $res $body)
                    })*
                    _ => ::core::unreachable!(),
                }
            }
        }
    };
    ($order:ident [$({ $kind:ident $handle:ident $index:tt $args:tt $res:tt $body:tt })*]
        [$limit:tt ($default:expr)]) => {
        match ($($crate::__select_arm!(@handle $kind $args),)*) {
            ($($handle,)*) => match $crate::__select_arm!(
                @choose $limit
                &mut [$($crate::__private::Arm::$kind($handle, $index)),*],
                $crate::__private::Order::$order
            ) {
                ::core::option::Option::Some(chosen) => match chosen.index() {
                    $(index if index == $index => {
                        $crate::__select_arm!(@complete chosen $kind $handle $args $res $body)
                    })*
                    _ => ::core::unreachable!(),
                },
                ::core::option::Option::None => $default,
            },
        }
    };
}

/// The parts of the code that differ between kinds of arms.
#[doc(hidden)]
#[macro_export]
macro_rules! __select_arm {
    (@handle recv ($rx:expr $(,)?)) => {
        &$rx
    };
    (@handle send ($tx:expr, $message:expr $(,)?)) => {
        &$tx
    };
    (@handle recv $args:tt) => {
        ::core::compile_error!(::core::concat!(
            "expected `recv(rx)` with one receiver, found `recv",
            ::core::stringify!($args),
            "`"
        ))
    };
    (@handle send $args:tt) => {
        ::core::compile_error!(::core::concat!(
            "expected `send(tx, value)` with a sender and a message, found `send",
            ::core::stringify!($args),
            "`"
        ))
    };
    (@handle $kind:ident $args:tt) => {
        ::core::compile_error!(::core::concat!(
            "expected `recv`, `send` or `default`, found `",
            ::core::stringify!($kind),
            "`"
        ))
    };

    (@choose () $arms:expr, $order:expr) => {
        $crate::__private::try_select($arms, $order)
    };
    (@choose ($timeout:expr $(,)?) $arms:expr, $order:expr) => {
        $crate::__private::select_timeout($arms, $order, $timeout)
    };

    (@complete $chosen:ident recv $handle:ident $args:tt ($res:pat) ($body:expr)) => {{
        let $res = $chosen.recv($handle);
        $body
    }};
    (@complete $chosen:ident send $handle:ident ($tx:expr, $message:expr $(,)?) ($res:pat) ($body:expr)) => {{
        let $res = $chosen.send($handle, $message);
        $body
    }};
}
