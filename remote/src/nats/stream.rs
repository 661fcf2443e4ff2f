//! Durable streams: JetStream, with one pull consumer that all receivers share.

use super::client::{Client, transport};
use super::held::{Held, held, held_stream};
use crate::codec::Codec;
use crate::error::Error;
use crate::receiver::Receiver;
use crate::stream::{Delivery, StreamOptions, Ticket as AnyTicket};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{AckKind, Acker, PublishMessage};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use narrowboat_future::{FutureExt, StreamExt, tokio};
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The name of the consumer that all receivers of a stream share.
const CONSUMER: &str = "receivers";

/// How many messages a receiver asks for at a time. Those that it has not delivered when it ends come
/// to others after the `ack_wait`.
const BATCH: usize = 16;

/// After this time without messages a receiver asks the server again. One whose question was lost
/// with the connection goes on after this time and five seconds.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// How long to wait before a message is sent again that the server did not answer.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the server may take to make a stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream of the server's.
pub(crate) struct Stream {
    client: Client,
    name: Arc<str>,
    subject: Arc<str>,
    consumer: Consumer<pull::Config>,
    batch: usize,
}

impl Client {
    #[track_caller]
    pub(crate) fn stream(&self, name: &str, options: &StreamOptions) -> Result<Stream, Error> {
        held(self.open(name, options)).wait_timeout(PATIENCE).unwrap_or(Err(Error::Timeout))
    }

    async fn open(&self, name: &str, options: &StreamOptions) -> Result<Stream, Error> {
        let subject = format!("_stream.{name}");
        let max_messages = options.max_messages.try_into().unwrap_or(i64::MAX);
        let config = Config {
            name: name.to_owned(),
            subjects: vec![subject.clone()],
            max_messages,
            // A message is deleted when it is acknowledged, and a full stream takes no more.
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            storage: if options.in_memory { StorageType::Memory } else { StorageType::File },
            ..Config::default()
        };
        let stream = self.streams.get_or_create_stream(config).await.map_err(transport)?;
        if stream.cached_info().config.max_messages != max_messages {
            return Err(Error::Transport(format!("the stream {name:?} has other options")));
        }
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: options.ack_wait,
            max_ack_pending: options.max_unacknowledged.try_into().unwrap_or(i64::MAX),
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(CONSUMER, config).await.map_err(transport)?;
        let batch = BATCH.min(options.max_unacknowledged).max(1);
        Ok(Stream { client: self.clone(), name: name.into(), subject: subject.into(), consumer, batch })
    }
}

impl Stream {
    /// Adds a message, again and again until the server has said that it has it. The number makes
    /// it one message there.
    #[track_caller]
    pub(crate) fn add(&self, payload: Vec<u8>, deadline: Instant) -> Result<(), Error> {
        let number = self.client.nats.new_inbox();
        loop {
            let message = PublishMessage::build().payload(payload.clone().into()).message_id(&number);
            let added = held(async {
                // The first sends the message, the second waits for the server's word.
                self.client.streams.send_publish(self.subject.to_string(), message).await?.await
            })
            .wait_deadline(deadline);
            let error = match added {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => return Err(Error::Timeout),
            };
            match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => {
                    return Err(Error::TooLarge { size: payload.len(), limit: self.client.limit() });
                }
                _ if is_full(&error) => return Err(Error::Full),
                // The server is away, or has not opened its streams yet.
                PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::StreamNotFound => {}
                _ => return Err(transport(error)),
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout);
            }
            narrowboat_runtime::sleep(PAUSE);
        }
    }

    #[track_caller]
    pub(crate) fn count(&self, patience: Duration) -> Result<u64, Error> {
        let stream = held(self.client.streams.get_stream(self.name.to_string())).wait_timeout(patience);
        let stream = stream.map_err(|_| Error::Timeout)?.map_err(transport)?;
        Ok(stream.cached_info().state.messages)
    }

    /// A receiver. The server is asked for messages while something waits at the channel.
    #[track_caller]
    pub(crate) fn receiver<T>(&self, codec: Codec) -> Result<Receiver<Delivery<T>>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let asks = self.consumer.stream().max_messages_per_batch(self.batch).expires(ASK_AGAIN);
        let messages = asks.messages();
        let messages = held(messages).wait_timeout(PATIENCE).map_err(|_| Error::Timeout)?;
        let messages = held_stream(messages.map_err(transport)?);
        let deliveries = Deliveries { messages, codec, message: PhantomData };
        Ok(Receiver::new(deliveries.into_receiver(), ()))
    }
}

/// Whether the server has refused a message because the stream is full.
fn is_full(error: &PublishError) -> bool {
    let of_server = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    of_server.is_some_and(|error| {
        let text = error.to_string();
        error.error_code() == ErrorCode::STREAM_STORE_FAILED && text.contains("maximum messages")
    })
}

/// The messages of the consumer, decoded.
struct Deliveries<T> {
    messages: Held<pull::Stream>,
    codec: Codec,
    message: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> futures_core::Stream for Deliveries<T> {
    type Item = Result<Delivery<T>, Error>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        Pin::new(&mut this.messages).poll_next(task).map(|next| {
            next.map(|message| {
                let (message, acker) = message.map_err(transport)?.split();
                match this.codec.decode(&message.payload) {
                    Ok(value) => Ok(Delivery::new(value, AnyTicket::Nats(Ticket(Some(Box::new(acker)))))),
                    Err(error) => {
                        // It would never be of the right type.
                        tell(acker, AckKind::Term);
                        Err(error)
                    }
                }
            })
        })
    }
}

/// The right to acknowledge a message. The server delivers it again when this is dropped.
pub(crate) struct Ticket(Option<Box<Acker>>);

impl Ticket {
    #[track_caller]
    pub(crate) fn ack(mut self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        let acker = self.0.take().expect("it is dropped after this");
        loop {
            // The server answers, so it has forgotten the message. A part of the patience: an answer
            // may be lost with the connection.
            let try_until = deadline.min(Instant::now() + patience / 10);
            match held(acker.double_ack()).wait_deadline(try_until) {
                Ok(result) => return result.map_err(transport),
                Err(_) if Instant::now() < deadline => {}
                Err(_) => return Err(Error::Timeout),
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(acker) = self.0.take() {
            tell(*acker, AckKind::Nak(None));
        }
    }
}

/// Tells the server what becomes of a message, without waiting.
fn tell(acker: Acker, kind: AckKind) {
    tokio::handle().spawn(async move {
        // Without a connection the message comes again after the `ack_wait`.
        let _ = acker.ack_with(kind).await;
    });
}
