//! The body of a request, as far as it has been received: with a length known in advance, or in
//! chunks.

use super::response::{self, Status};
use httparse::Status::{Complete, Partial};

const MAX_BODY: usize = 1024 * 1024;
/// The maximum length of the line with a chunk's size and its extensions, which are not used in
/// practice.
const MAX_CHUNK_LINE: usize = 1024;
const MAX_TRAILERS: usize = 8 * 1024;

pub struct Body {
    next: Next,
    length: usize,
    /// The body itself, if the action needs it.
    kept: Option<Vec<u8>>,
}

/// What the next byte belongs to.
enum Next {
    Data(usize),
    ChunkSize,
    Chunk(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// Headers after the last chunk, which are dropped.
    Trailers,
    Nothing,
}

impl Body {
    /// # Errors
    /// Refuses a body that is too long.
    pub fn of_length(length: usize) -> Result<Body, Status> {
        if length > MAX_BODY {
            return Err(response::CONTENT_TOO_LARGE);
        }
        let next = if length == 0 { Next::Nothing } else { Next::Data(length) };
        Ok(Body { next, length, kept: None })
    }

    pub fn in_chunks() -> Body {
        Body { next: Next::ChunkSize, length: 0, kept: None }
    }

    pub fn keep(&mut self) {
        self.kept = Some(Vec::new());
    }

    pub fn into_kept(self) -> Vec<u8> {
        self.kept.unwrap_or_default()
    }

    /// The length without the framing. For a body in chunks, the length received so far.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// Takes the bytes at the start of `input` that belong to the body and can be parsed already,
    /// and returns how many they were.
    ///
    /// # Errors
    /// The status of the refusal, if this is not a valid body, or if it is too long.
    pub fn take(&mut self, input: &[u8]) -> Result<usize, Status> {
        let mut taken = 0;
        while let Some(step) = self.step(&input[taken..])? {
            taken += step;
        }
        Ok(taken)
    }

    /// One step through the framing. `None` if more input is needed, or if the body is complete.
    fn step(&mut self, input: &[u8]) -> Result<Option<usize>, Status> {
        if input.is_empty() {
            return Ok(None);
        }
        let taken = match self.next {
            Next::Nothing => return Ok(None),
            Next::Data(left) => {
                let taken = self.data(&input[..left.min(input.len())]);
                self.next = if taken == left { Next::Nothing } else { Next::Data(left - taken) };
                taken
            }
            Next::Chunk(left) => {
                let taken = self.data(&input[..left.min(input.len())]);
                self.next = if taken == left { Next::ChunkEnd } else { Next::Chunk(left - taken) };
                taken
            }
            Next::ChunkSize => match httparse::parse_chunk_size(input) {
                Ok(Complete((line, size))) => {
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    self.length = self.length.saturating_add(size);
                    if self.length > MAX_BODY {
                        return Err(response::CONTENT_TOO_LARGE);
                    }
                    self.next = if size == 0 { Next::Trailers } else { Next::Chunk(size) };
                    line
                }
                Ok(Partial) if input.len() < MAX_CHUNK_LINE => return Ok(None),
                Ok(Partial) | Err(_) => return Err(response::BAD_REQUEST),
            },
            Next::ChunkEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.next = Next::ChunkSize;
                    2
                }
                [b'\r'] => return Ok(None),
                _ => return Err(response::BAD_REQUEST),
            },
            Next::Trailers => match httparse::parse_headers(input, &mut [httparse::EMPTY_HEADER; 16]) {
                Ok(Complete((length, _))) => {
                    self.next = Next::Nothing;
                    length
                }
                Ok(Partial) if input.len() < MAX_TRAILERS => return Ok(None),
                Ok(Partial) | Err(httparse::Error::TooManyHeaders) => return Err(response::HEAD_TOO_LARGE),
                Err(_) => return Err(response::BAD_REQUEST),
            },
        };
        Ok(Some(taken))
    }

    fn data(&mut self, data: &[u8]) -> usize {
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(data);
        }
        data.len()
    }
}
