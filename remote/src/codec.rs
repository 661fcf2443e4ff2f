//! How messages become bytes.

use crate::error::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How a bus serialises messages. Both ends have to use the same.
///
/// ```
/// use narrowboat::remote::{Bus, Codec};
///
/// let bus = Bus::local().with_codec(Codec::Postcard);
/// let rx = bus.receiver::<(u8, String)>("pairs")?;
/// bus.sender::<(u8, String)>("pairs")?.send(&(1, "one".to_string()))?;
/// assert_eq!(rx.recv()?, (1, "one".to_string()));
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Codec {
    /// Text that programs in other languages read, too.
    #[default]
    Json,
    /// The compact bytes of the crate `postcard`. Types must be the same at both ends.
    Postcard,
}

impl Codec {
    pub(crate) fn encode<T: Serialize + ?Sized>(self, message: &T) -> Result<Vec<u8>, Error> {
        match self {
            Codec::Json => serde_json::to_vec(message).map_err(|error| Error::Encode(error.to_string())),
            Codec::Postcard => postcard::to_stdvec(message).map_err(|error| Error::Encode(error.to_string())),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Error> {
        match self {
            Codec::Json => serde_json::from_slice(bytes).map_err(|error| Error::Decode(error.to_string())),
            Codec::Postcard => postcard::from_bytes(bytes).map_err(|error| Error::Decode(error.to_string())),
        }
    }
}
