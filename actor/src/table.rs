//! The services of a system, by number and by name, whatever their types are.

use crate::cell::{Cell, Job};
use crate::envelope::{Answer, Question};
use crate::error::CallError;
use crate::info::{ServiceId, ServiceInfo};
use crate::run;
use crate::service::Service;
use narrowboat_chan::{Receiver, bounded};
use std::any::{Any, type_name};
use std::sync::Arc;
use std::time::Duration;

/// A service of any type.
pub(crate) trait AnyService: Send + Sync {
    fn id(&self) -> ServiceId;
    fn name(&self) -> Option<&Arc<str>>;
    fn kind(&self) -> &'static str;
    fn end(&self);
    fn snapshot(&self) -> ServiceInfo;
    /// See [`Cell::stuck`].
    fn stuck(&self, limit: Duration) -> Option<(Job, Duration)>;
    /// See [`Address::restart`](crate::Address::restart).
    fn restart(self: Arc<Self>) -> bool;
    /// Puts a question into the mailbox.
    fn ask(self: Arc<Self>) -> Result<Receiver<Answer>, CallError>;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<S: Service> AnyService for Cell<S> {
    fn id(&self) -> ServiceId {
        self.id
    }

    fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    fn kind(&self) -> &'static str {
        type_name::<S>()
    }

    fn end(&self) {
        Cell::end(self);
    }

    fn snapshot(&self) -> ServiceInfo {
        Cell::snapshot(self)
    }

    fn stuck(&self, limit: Duration) -> Option<(Job, Duration)> {
        Cell::stuck(self, limit)
    }

    fn restart(self: Arc<Self>) -> bool {
        let Some((supervision, life)) = self.begin_restart() else { return false };
        run::start_anew(&self, supervision, life);
        true
    }

    fn ask(self: Arc<Self>) -> Result<Receiver<Answer>, CallError> {
        let (reply, answer) = bounded(1);
        match self.deliver(Box::new(Question { reply })) {
            Ok(Some(work)) => run::start(&self, work),
            Ok(None) => {}
            Err(_) => return Err(CallError::Ended),
        }
        Ok(answer)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
