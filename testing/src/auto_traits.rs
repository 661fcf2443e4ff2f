//! Whether a type is `Send` and `Sync`.

use std::marker::PhantomData;

/// Its associated constants are those of the type itself if there are any, and else those of
/// [`Neither`].
pub struct Probe<T: ?Sized>(PhantomData<T>);

/// What holds if a type does not have an auto trait.
pub trait Neither {
    /// Whether the type is `Send`.
    const SEND: bool = false;
    /// Whether the type is `Sync`.
    const SYNC: bool = false;
}

impl<T: ?Sized> Neither for Probe<T> {}

impl<T: ?Sized + Send> Probe<T> {
    /// The type is `Send`.
    pub const SEND: bool = true;
}

impl<T: ?Sized + Sync> Probe<T> {
    /// The type is `Sync`.
    pub const SYNC: bool = true;
}

/// Whether a type is `Send`, and whether it is `Sync`.
#[macro_export]
macro_rules! send_and_sync {
    ($type:ty) => {{
        #[allow(unused_imports, reason = "not needed if the type is both")]
        use $crate::Neither as _;
        ($crate::Probe::<$type>::SEND, $crate::Probe::<$type>::SYNC)
    }};
}
