//! The values that a context carries: a list with the innermost value first, which all contexts
//! derived from one share.

use std::any::Any;
use std::sync::Arc;

/// Values, found by their types.
#[derive(Clone, Default)]
pub(super) struct Values(Option<Arc<Link>>);

struct Link {
    value: Box<dyn Any + Send + Sync>,
    rest: Values,
}

impl Values {
    /// A list with `value` in front of these values.
    pub(super) fn with<T: Any + Send + Sync>(&self, value: T) -> Values {
        Values(Some(Arc::new(Link { value: Box::new(value), rest: self.clone() })))
    }

    /// The innermost value of the type.
    pub(super) fn get<T: Any>(&self) -> Option<&T> {
        let mut link = self.0.as_deref();
        while let Some(Link { value, rest }) = link {
            if let Some(value) = (**value).downcast_ref() {
                return Some(value);
            }
            link = rest.0.as_deref();
        }
        None
    }
}

/// Drops a long list in a loop, link by link, up to a link that another list still uses.
impl Drop for Link {
    fn drop(&mut self) {
        let mut rest = self.rest.0.take();
        while let Some(link) = rest {
            rest = Arc::into_inner(link).and_then(|mut link| link.rest.0.take());
        }
    }
}
