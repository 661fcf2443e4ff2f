//! The connection, plain messages and requests.

use super::held::held;
use crate::bus::Event;
use crate::error::Error;
use crate::inbox::{Inbox, Incoming, Pushed};
use crate::request::ReplyTo;
use crate::sender::Order;
use crate::subject::matches;
use async_nats::client::RequestErrorKind;
use async_nats::{ConnectOptions, HeaderMap, Request, ServerAddr, Subscriber, jetstream};
use futures_core::Stream;
use narrowboat_chan::Sender;
use narrowboat_future::{FutureExt, tokio};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

/// The header of a reply that says that there is none.
const DROPPED: &str = "Narrowboat-Dropped";

/// How long the client waits before it tries to connect again: longer each time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a server may take to say that it has a subscription.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Client {
    pub(super) nats: async_nats::Client,
    pub(super) streams: jetstream::Context,
    events: Sender<Event>,
}

/// A subscription, which ends when this is dropped.
pub(crate) struct Subscription(Box<dyn Fn() + Send + Sync>);

impl Drop for Subscription {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// An error of the client's that is none of ours.
pub(super) fn transport(error: impl std::fmt::Display) -> Error {
    Error::Transport(error.to_string())
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(url: &str, events: Sender<Event>) -> Result<Client, Error> {
        let addresses: Vec<ServerAddr> =
            url.split(',').map(str::parse).collect::<Result<_, _>>().map_err(transport)?;
        let tell = events.clone();
        let options = ConnectOptions::new()
            .name("narrowboat")
            .reconnect_delay_callback(|attempts| {
                LONGEST_PAUSE
                    .min(Duration::from_millis(10).saturating_mul(attempts.try_into().unwrap_or(u32::MAX)))
            })
            .event_callback(move |event| {
                let event = match event {
                    async_nats::Event::Connected => Event::Connected,
                    async_nats::Event::Disconnected => Event::Disconnected,
                    other => Event::Problem(other.to_string()),
                };
                // Full if the program does not read them.
                let _ = tell.try_send(event);
                std::future::ready(())
            });
        // In a future, and so in the context of tokio: both start tasks.
        held(async move {
            let nats = options.connect(addresses).await.map_err(transport)?;
            let streams = jetstream::new(nats.clone());
            Ok(Client { nats, streams, events })
        })
        .wait()
    }

    pub(crate) fn limit(&self) -> usize {
        self.nats.max_payload()
    }

    /// Waits until the server has all that was sent before: a message comes back that follows it.
    async fn round_trip(&self) -> Result<(), Error> {
        let inbox = self.nats.new_inbox();
        let mut back = self.nats.subscribe(inbox.clone()).await.map_err(transport)?;
        self.nats.publish(inbox, "".into()).await.map_err(transport)?;
        next(&mut back).await.map(drop).ok_or(Error::Closed)
    }

    /// Waits until the server has everything. The client drops what it has not written yet when its
    /// last handle is dropped.
    pub(crate) fn finish(&self) {
        // Without a server for so long it is lost.
        let _ = held(self.round_trip()).wait_timeout(PATIENCE);
    }

    #[track_caller]
    pub(crate) fn subscribe(
        &self,
        pattern: &str,
        group: Option<&str>,
        mut inbox: Box<dyn Inbox>,
    ) -> Result<Subscription, Error> {
        let mut messages = held(async {
            let pattern = pattern.to_owned();
            let messages = match group {
                None => self.nats.subscribe(pattern).await,
                Some(group) => self.nats.queue_subscribe(pattern, group.to_owned()).await,
            };
            let messages = messages.map_err(transport)?;
            self.round_trip().await?;
            Ok(messages)
        })
        .wait_timeout(PATIENCE)
        .unwrap_or(Err(Error::Timeout))?;
        let pattern = pattern.to_owned();
        let task = tokio::handle().spawn(async move {
            while let Some(message) = next(&mut messages).await {
                // The server has another view of the words of its own.
                if !matches(&pattern, &message.subject) {
                    continue;
                }
                let reply = message.reply.map(|subject| ReplyTo::Subject(subject.into_string()));
                if inbox.push(Incoming { payload: &message.payload, reply }) == Pushed::Closed {
                    return;
                }
            }
        });
        let task = task.abort_handle();
        Ok(Subscription(Box::new(move || task.abort())))
    }

    pub(crate) fn carry_out(&self, order: Order) {
        let result = match order {
            Order::Publish { subject, payload } => {
                self.nats.publish(subject.to_string(), payload.into()).wait().map_err(transport)
            }
            Order::Reply { to: ReplyTo::Subject(subject), payload: Some(payload) } => {
                self.nats.publish(subject, payload.into()).wait().map_err(transport)
            }
            Order::Reply { to: ReplyTo::Subject(subject), payload: None } => {
                let mut headers = HeaderMap::new();
                headers.insert(DROPPED, "1");
                self.nats.publish_with_headers(subject, headers, "".into()).wait().map_err(transport)
            }
            Order::Reply { to: ReplyTo::Local(_), .. } => {
                unreachable!("a request over a server has its caller at a subject")
            }
            Order::Flush(done) => {
                // Apart from the other messages, which do not wait for the answer.
                let client = self.clone();
                tokio::handle().spawn(async move {
                    let result = client.round_trip().await;
                    let _ = done.try_send(result);
                });
                Ok(())
            }
        };
        if let Err(error) = result {
            let _ = self.events.try_send(Event::Problem(error.to_string()));
        }
    }

    #[track_caller]
    pub(crate) fn request(
        &self,
        subject: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, Error> {
        let request = Request::new().payload(payload.into()).timeout(Some(timeout));
        let reply = held(self.nats.send_request(subject.to_owned(), request)).wait_timeout(timeout);
        let reply = reply.map_err(|_| Error::Timeout)?.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => Error::Timeout,
            RequestErrorKind::NoResponders => Error::NoReceiver,
            _ => transport(error),
        })?;
        match reply.headers {
            Some(headers) if headers.get(DROPPED).is_some() => Err(Error::NoReply),
            _ => Ok(reply.payload.into()),
        }
    }
}

async fn next(messages: &mut Subscriber) -> Option<async_nats::Message> {
    poll_fn(|task| Pin::new(&mut *messages).poll_next(task)).await
}
