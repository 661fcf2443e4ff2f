//! The bus: one handle for both kinds.

use crate::codec::Codec;
use crate::error::Error;
use crate::inbox::{Inbox, inbox};
use crate::local;
#[cfg(feature = "nats")]
use crate::nats;
use crate::receiver::Receiver;
use crate::request::Request;
use crate::sender::{Order, Outgoing, Sender, encode};
use crate::stream::{Kind, Stream, StreamOptions};
use crate::subject;
use narrowboat_chan as chan;
use narrowboat_chan::bounded;
use narrowboat_runtime::Builder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// How many messages a receiver's buffer has room for, unless [`Bus::with_capacity`] says otherwise.
const CAPACITY: usize = 1024;

/// How many messages may wait for the goroutine of the bus.
const OUTGOING: usize = 256;

/// How many events are kept. Further ones are dropped.
const EVENTS: usize = 64;

/// Carries typed messages between goroutines of one process, or of many. Clones are of the same bus.
///
/// ```
/// use narrowboat::remote::Bus;
///
/// let bus = Bus::local();
/// let everything = bus.receiver::<String>("log.>")?;
/// bus.sender::<str>("log.kernel.boot")?.send("started")?;
/// assert_eq!(everything.recv()?, "started");
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
    codec: Codec,
    capacity: usize,
}

struct Shared {
    outgoing: chan::Sender<Outgoing>,
    events: chan::Receiver<Event>,
    kind: Backend,
}

/// What carries the messages.
#[derive(Clone)]
pub(crate) enum Backend {
    Local(Arc<local::Hub>),
    #[cfg(feature = "nats")]
    Nats(Arc<nats::Client>),
}

/// What has happened to the connection of a bus.
///
/// ```
/// let bus = narrowboat::remote::Bus::local();
/// assert!(bus.events().try_recv().is_err()); // it has none
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// There is a connection, for the first time or again.
    Connected,
    /// The connection is broken. The bus tries to connect again.
    Disconnected,
    /// The server, or the client, says this.
    Problem(String),
}

impl Backend {
    /// Carries out an order. It may wait for the connection.
    fn carry_out(&self, order: Order) {
        match self {
            Backend::Local(hub) => hub.carry_out(order),
            #[cfg(feature = "nats")]
            Backend::Nats(client) => client.carry_out(order),
        }
    }

    /// Waits until everything is on its way, before the connection is dropped.
    fn finish(&self) {
        #[cfg(feature = "nats")]
        if let Backend::Nats(client) = self {
            client.finish();
        }
    }

    /// Adds a receiver. It ends with what is returned.
    fn subscribe(
        &self,
        pattern: &str,
        group: Option<&str>,
        inbox: Box<dyn Inbox>,
    ) -> Result<Box<dyn Any + Send + Sync>, Error> {
        match self {
            Backend::Local(hub) => Ok(Box::new(local::Hub::subscribe(hub, pattern, group, inbox))),
            #[cfg(feature = "nats")]
            Backend::Nats(client) => Ok(Box::new(client.subscribe(pattern, group, inbox)?)),
        }
    }

    /// How many bytes a message may have.
    fn limit(&self) -> usize {
        match self {
            Backend::Local(_) => local::MAX_PAYLOAD,
            #[cfg(feature = "nats")]
            Backend::Nats(client) => client.limit(),
        }
    }
}

impl Bus {
    /// A bus in this process. It needs no server, and ends with its last handle.
    ///
    /// ```
    /// let bus = narrowboat::remote::Bus::local();
    /// assert!(bus.flush(std::time::Duration::from_secs(5)).is_ok());
    /// ```
    pub fn local() -> Bus {
        let (_, events) = bounded(EVENTS);
        Bus::new(Backend::Local(Arc::default()), events)
    }

    /// A bus over the NATS server at this address, such as `nats://127.0.0.1:4222`. Several, with
    /// commas between them, are those of a cluster.
    ///
    /// # Errors
    /// If no server answers, or it refuses the client.
    ///
    /// ```no_run
    /// # #[cfg(feature = "nats")] {
    /// let bus = narrowboat::remote::Bus::connect("nats://127.0.0.1:4222")?;
    /// bus.sender::<str>("greetings")?.send("hello")?;
    /// # }
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[cfg(feature = "nats")]
    #[track_caller]
    pub fn connect(url: &str) -> Result<Bus, Error> {
        let (tell, events) = bounded(EVENTS);
        Ok(Bus::new(Backend::Nats(Arc::new(nats::Client::connect(url, tell)?)), events))
    }

    fn new(kind: Backend, events: chan::Receiver<Event>) -> Bus {
        let (outgoing, orders) = bounded::<Outgoing>(OUTGOING);
        let carrier = kind.clone();
        // It ends, after the last order, when the bus and all its senders are gone.
        Builder::new()
            .name("remote bus")
            .spawn(move || {
                orders.iter().for_each(|Outgoing(order)| carrier.carry_out(order));
                carrier.finish();
            })
            .expect("a goroutine can be started");
        Bus {
            shared: Arc::new(Shared { outgoing, events, kind }),
            codec: Codec::default(),
            capacity: CAPACITY,
        }
    }

    /// The same bus with another codec, for what is made from this handle.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Codec};
    /// let bus = Bus::local().with_codec(Codec::Postcard);
    /// # drop(bus);
    /// ```
    pub fn with_codec(mut self, codec: Codec) -> Bus {
        self.codec = codec;
        self
    }

    /// The same bus with another capacity of receivers' buffers, for what is made from this handle.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error};
    /// use std::time::Duration;
    ///
    /// let bus = Bus::local().with_capacity(1);
    /// let rx = bus.receiver::<u8>("numbers")?;
    /// let tx = bus.sender::<u8>("numbers")?;
    /// (0..3).try_for_each(|n| tx.send(&n))?;
    /// bus.flush(Duration::from_secs(5))?;
    /// assert_eq!(rx.recv(), Ok(0));
    /// tx.send(&3)?;
    /// assert_eq!((rx.recv(), rx.recv()), (Err(Error::Lost(2)), Ok(3)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn with_capacity(mut self, capacity: usize) -> Bus {
        self.capacity = capacity;
        self
    }

    /// A sender to a subject: words between dots.
    ///
    /// # Errors
    /// If it is not a subject.
    ///
    /// ```
    /// let tx = narrowboat::remote::Bus::local().sender::<u8>("numbers.small")?;
    /// tx.send(&7)?; // nothing receives it
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    pub fn sender<T: Serialize + ?Sized>(&self, subject: &str) -> Result<Sender<T>, Error> {
        subject::check(subject)?;
        Ok(Sender::new(subject, self.codec, self.shared.kind.limit(), self.shared.outgoing.clone()))
    }

    /// A receiver of all messages of a subject, from now on. In place of a word there may be `*`, for
    /// any word, and at the end `>`, for all that follow.
    ///
    /// # Errors
    /// If it is not a subject, or the server does not take the subscription.
    ///
    /// ```
    /// use narrowboat::remote::Bus;
    ///
    /// let bus = Bus::local();
    /// let (one, other) = (bus.receiver::<u8>("numbers.*")?, bus.receiver::<u8>("numbers.small")?);
    /// bus.sender::<u8>("numbers.small")?.send(&7)?;
    /// assert_eq!((one.recv(), other.recv()), (Ok(7), Ok(7)));
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn receiver<T>(&self, subject: &str) -> Result<Receiver<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.subscribe(subject, None)
    }

    /// A receiver that shares the messages of a subject with all others of the same group, on
    /// whatever node: each message goes to one of them.
    ///
    /// # Errors
    /// As for [`receiver`](Bus::receiver); and if the group has no such name.
    ///
    /// ```
    /// use narrowboat::remote::Bus;
    /// use std::time::Duration;
    ///
    /// let bus = Bus::local();
    /// let workers = [bus.queue_receiver::<u8>("jobs", "workers")?, bus.queue_receiver::<u8>("jobs", "workers")?];
    /// bus.sender::<u8>("jobs")?.send(&7)?;
    /// bus.flush(Duration::from_secs(5))?;
    /// assert_eq!(workers.iter().filter(|worker| worker.channel().try_recv().is_ok()).count(), 1);
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn queue_receiver<T>(&self, subject: &str, group: &str) -> Result<Receiver<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        subject::check_name(group)?;
        self.subscribe(subject, Some(group))
    }

    #[track_caller]
    fn subscribe<T>(&self, pattern: &str, group: Option<&str>) -> Result<Receiver<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        subject::check_pattern(pattern)?;
        let codec = self.codec;
        let (inbox, channel) = inbox(self.capacity, move |incoming| codec.decode(incoming.payload));
        Ok(Receiver::new(channel, self.shared.kind.subscribe(pattern, group, inbox)?))
    }

    /// Receives requests: each goes to one receiver of the group, which replies.
    ///
    /// # Errors
    /// As for [`queue_receiver`](Bus::queue_receiver).
    ///
    /// ```
    /// use narrowboat::{go, remote::Bus};
    /// use std::time::Duration;
    ///
    /// let bus = Bus::local();
    /// let lengths = bus.service::<String, usize>("lengths", "workers")?;
    /// go!(move || lengths.recv().map(|request| { let n = request.len(); request.reply(&n) }));
    /// assert_eq!(bus.request::<_, usize>("lengths", "four", Duration::from_secs(5)), Ok(4));
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn service<Q, R>(&self, subject: &str, group: &str) -> Result<Receiver<Request<Q, R>>, Error>
    where
        Q: DeserializeOwned + Send + 'static,
        R: Serialize + ?Sized + 'static,
    {
        subject::check_pattern(subject)?;
        subject::check_name(group)?;
        let (codec, limit, bus) = (self.codec, self.shared.kind.limit(), self.shared.outgoing.clone());
        let (inbox, channel) = inbox(self.capacity, move |incoming| {
            let question = codec.decode(incoming.payload)?;
            Ok(Request::new(question, incoming.reply, codec, limit, bus.clone()))
        });
        Ok(Receiver::new(channel, self.shared.kind.subscribe(subject, Some(group), inbox)?))
    }

    /// Asks what receives the requests of a subject, and waits for the reply for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::NoReceiver`] at once if there is none, [`Error::NoReply`] if it has dropped the
    /// request, [`Error::Timeout`]; and if question or reply cannot be serialised.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error};
    /// use std::time::Duration;
    ///
    /// let bus = Bus::local();
    /// let reply = bus.request::<_, u8>("oracle", "why?", Duration::from_secs(5));
    /// assert_eq!(reply, Err(Error::NoReceiver));
    /// ```
    #[track_caller]
    pub fn request<Q, R>(&self, subject: &str, question: &Q, timeout: Duration) -> Result<R, Error>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        subject::check(subject)?;
        let payload = encode(self.codec, self.shared.kind.limit(), question)?;
        let reply = match &self.shared.kind {
            Backend::Local(hub) => hub.request(subject, &payload, timeout)?,
            #[cfg(feature = "nats")]
            Backend::Nats(client) => client.request(subject, payload, timeout)?,
        };
        self.codec.decode(&reply)
    }

    /// A durable stream: the one of this name, which is made if there is none. See [`Stream`].
    ///
    /// # Errors
    /// If the name is none, if there is a stream of that name with other options, or if the server
    /// has no streams (`nats-server -js` has them).
    ///
    /// ```
    /// use narrowboat::remote::{Bus, StreamOptions};
    ///
    /// let bus = Bus::local();
    /// let one = bus.stream::<u8>("jobs", StreamOptions::default())?;
    /// let same = bus.stream::<u8>("jobs", StreamOptions::default())?;
    /// one.send(&7)?;
    /// assert_eq!(same.count()?, 1);
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn stream<T>(&self, name: &str, options: StreamOptions) -> Result<Stream<T>, Error> {
        subject::check_name(name)?;
        let kind = match &self.shared.kind {
            Backend::Local(hub) => Kind::Local(hub.stream(name, &options)?),
            #[cfg(feature = "nats")]
            Backend::Nats(client) => Kind::Nats(Arc::new(client.stream(name, &options)?)),
        };
        Ok(Stream { codec: self.codec, limit: self.shared.kind.limit(), kind, message: PhantomData })
    }

    /// Waits until the server has what was sent before.
    ///
    /// # Errors
    /// [`Error::Timeout`], and what the connection says.
    ///
    /// ```
    /// use std::time::Duration;
    /// let bus = narrowboat::remote::Bus::local();
    /// bus.sender::<u8>("numbers")?.send(&7)?;
    /// bus.flush(Duration::from_secs(5))?;
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn flush(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = std::time::Instant::now() + timeout;
        let (done, is_done) = bounded(1);
        self.shared
            .outgoing
            .send_deadline(Outgoing(Order::Flush(done)), deadline)
            .map_err(|error| if error.is_timeout() { Error::Timeout } else { Error::Closed })?;
        is_done
            .recv_deadline(deadline)
            .unwrap_or_else(|error| Err(if error.is_timeout() { Error::Timeout } else { Error::Closed }))
    }

    /// What has happened to the connection, since the bus was made. Events that are not read in time
    /// are dropped. A bus in one process has none.
    ///
    /// ```
    /// let bus = narrowboat::remote::Bus::local();
    /// assert!(bus.events().is_empty());
    /// ```
    pub fn events(&self) -> &chan::Receiver<Event> {
        &self.shared.events
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bus = f.debug_struct("Bus");
        bus.field("codec", &self.codec).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
