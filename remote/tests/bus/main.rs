//! A bus as programs use it: in one process, and with the feature `nats` over a real server.

mod harbor;
#[cfg(feature = "nats")]
mod outage;
#[cfg(feature = "nats")]
mod server;
mod streams;
mod subjects;
#[cfg(feature = "nats")]
mod survivors;

/// Makes a module of tests for each kind of bus, of functions that take a function which gives
/// handles of one bus: over a server each is a connection of its own.
macro_rules! on_each_bus {
    ($($test:ident),* $(,)?) => {
        mod local {
            $(
                #[test]
                fn $test() {
                    narrowboat_testing::program(|| {
                        let bus = narrowboat::remote::Bus::local();
                        super::$test(&|| bus.clone());
                    });
                }
            )*
        }

        #[cfg(feature = "nats")]
        mod over_a_server {
            $(
                #[test]
                fn $test() {
                    let Some(server) = $crate::server::Server::start() else { return };
                    narrowboat_testing::program(move || super::$test(&|| server.connect()));
                }
            )*
        }
    };
}
pub(crate) use on_each_bus;

/// A function that gives handles of one bus.
type Handles<'a> = &'a dyn Fn() -> narrowboat::remote::Bus;
