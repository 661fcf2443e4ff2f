//! What a service is to its author: two traits.

use crate::turn::Turn;

/// The state of a service. What it does is in its implementations of [`Handle`].
///
/// ```
/// use narrowboat::actor::{Service, System};
///
/// struct Cache(Vec<u8>);
/// impl Service for Cache {
///     fn info(&self) -> String {
///         format!("{} bytes", self.0.len())
///     }
///     fn memory(&self) -> usize {
///         self.0.capacity()
///     }
/// }
///
/// let cache = System::new().spawn(Cache(vec![0; 10]));
/// assert_eq!(cache.ask_info()?, "10 bytes");
/// # Ok::<(), narrowboat::actor::CallError>(())
/// ```
pub trait Service: Sized + Send + 'static {
    /// What [`Address::ask_info`](crate::Address::ask_info), and so the console's `info`, shows of
    /// this state. Nothing, unless it is implemented.
    fn info(&self) -> String {
        String::new()
    }

    /// How many bytes the state has on the heap, for the console's `mem`. 0, unless it is
    /// implemented.
    fn memory(&self) -> usize {
        0
    }
}

/// A service takes messages of the type `M`.
///
/// The whole message is handled in one [`Turn`]: no other handler of the service runs meanwhile,
/// unless this one gives up the turn.
///
/// ```
/// use narrowboat::actor::{Handle, Service, System, Turn};
///
/// struct Greeter;
/// impl Service for Greeter {}
/// impl Handle<String> for Greeter {
///     type Reply = String;
///     fn handle(_: &mut Turn<Self>, name: String) -> String {
///         format!("hello, {name}")
///     }
/// }
///
/// let greeter = System::new().spawn(Greeter);
/// assert_eq!(greeter.call("Ada".to_string())?, "hello, Ada");
/// # Ok::<(), narrowboat::actor::CallError>(())
/// ```
pub trait Handle<M: Send + 'static>: Service {
    /// What a caller gets. It is dropped if the message was sent without a call.
    type Reply: Send + 'static;

    /// Handles a message.
    fn handle(turn: &mut Turn<Self>, message: M) -> Self::Reply;
}
