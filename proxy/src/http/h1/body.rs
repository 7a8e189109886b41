//! The body of a request, piece by piece and without copying.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use memchr::memchr;

use super::chunk::read_chunk_line;
use super::trailers::{MAX_TRAILER_BYTES, read_trailers};
use crate::http::Framing;
use crate::http::error::BodyError;

/// Bytes of one line before a chunk, and of all extensions of a body: they cost the
/// reader and carry nothing for anyone here.
const MAX_CHUNK_LINE: usize = 1024;
const MAX_EXTENSION_BYTES: usize = 4 * 1024;

/// Reads the body that follows one request head.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of body that may still come.
    allowance: u64,
    extension_bytes: usize,
}

#[derive(Debug)]
enum State {
    Length(u64),
    ChunkLine,
    /// Bytes left of a chunk, never 0.
    Chunk(u64),
    /// The CRLF after a chunk.
    ChunkEnd,
    Trailers,
    Done,
    /// Refused once: where it ends is no longer known.
    Broken(BodyError),
}

/// One step of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Never empty.
    Data(Bytes),
    /// Never empty. `End` comes next.
    Trailers(HeaderMap),
    /// The body is complete; what is left in the buffer is the next request's.
    End,
    /// The buffer has nothing more to give; its bytes, if any, are needed again.
    NeedMore,
}

impl BodyDecoder {
    pub fn new(framing: Framing, max_body: u64) -> Self {
        let state = match framing {
            Framing::None => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine,
        };
        Self {
            state,
            allowance: max_body,
            extension_bytes: 0,
        }
    }

    /// Whether the body was read to its end: a connection that closes before has
    /// cut it off, and one that is to be used again must get here.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Length(0))
    }

    /// Takes the next piece off the front of `buffer`. A body that says it will be
    /// longer than allowed fails before its first byte. One that failed fails
    /// again: what follows must not be taken for more of it, or for a request.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, BodyError> {
        let decoded = self.step(buffer);
        if let Err(error) = decoded {
            self.state = State::Broken(error);
        }
        decoded
    }

    fn step(&mut self, buffer: &mut BytesMut) -> Result<Decoded, BodyError> {
        loop {
            match self.state {
                State::Done | State::Length(0) => return Ok(Decoded::End),
                State::Broken(error) => return Err(error),
                State::Length(left) => {
                    if left > self.allowance {
                        return Err(BodyError::TOO_LARGE);
                    }
                    return Ok(self.take_data(buffer, left, State::Length));
                }
                State::Chunk(left) => {
                    let after = |left| {
                        if left == 0 {
                            State::ChunkEnd
                        } else {
                            State::Chunk(left)
                        }
                    };
                    return Ok(self.take_data(buffer, left, after));
                }
                State::ChunkLine => match take_line(buffer, MAX_CHUNK_LINE)? {
                    Some(line) => self.begin_chunk(&line)?,
                    None => return Ok(Decoded::NeedMore),
                },
                State::ChunkEnd => match &buffer[..] {
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        self.state = State::ChunkLine;
                    }
                    [] | [b'\r'] => return Ok(Decoded::NeedMore),
                    _ => return Err(BodyError::bad("chunk longer than its size")),
                },
                State::Trailers => match self.take_trailers(buffer)? {
                    Some(trailers) if trailers.is_empty() => {}
                    Some(trailers) => return Ok(Decoded::Trailers(trailers)),
                    None => return Ok(Decoded::NeedMore),
                },
            }
        }
    }

    fn take_data(
        &mut self,
        buffer: &mut BytesMut,
        left: u64,
        after: impl FnOnce(u64) -> State,
    ) -> Decoded {
        if buffer.is_empty() {
            return Decoded::NeedMore;
        }
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.allowance -= count as u64;
        self.state = after(left - count as u64);
        Decoded::Data(buffer.split_to(count).freeze())
    }

    fn begin_chunk(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let size = read_chunk_line(line).map_err(BodyError::bad)?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        self.extension_bytes += line.len() - digits;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(BodyError::bad("too many bytes of chunk extensions"));
        }
        if size > self.allowance {
            return Err(BodyError::TOO_LARGE);
        }
        self.state = match size {
            0 => State::Trailers,
            _ => State::Chunk(size),
        };
        Ok(())
    }

    /// The whole trailer section, once it is there. It is small, so that looking
    /// for its end again with every piece costs little.
    fn take_trailers(&mut self, buffer: &mut BytesMut) -> Result<Option<HeaderMap>, BodyError> {
        let Some(length) = find_section_end(buffer)? else {
            return Ok(None);
        };
        let section = buffer.split_to(length).freeze();
        buffer.advance(2);
        let trailers = read_trailers(&section).map_err(BodyError::bad)?;
        self.state = State::Done;
        Ok(Some(trailers))
    }
}

/// A line without its CRLF, once it is complete. `max` is with it.
fn take_line(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, BodyError> {
    let window = &buffer[..buffer.len().min(max)];
    match memchr(b'\n', window) {
        Some(line_feed) => {
            check_line_end(window, line_feed)?;
            let mut line = buffer.split_to(line_feed + 1).freeze();
            line.truncate(line_feed - 1);
            Ok(Some(line))
        }
        None if buffer.len() > max => Err(BodyError::bad("chunk line too long")),
        None => Ok(None),
    }
}

/// The length of the trailer lines before the empty one.
fn find_section_end(buffer: &[u8]) -> Result<Option<usize>, BodyError> {
    let window = &buffer[..buffer.len().min(MAX_TRAILER_BYTES)];
    let mut line_start = 0;
    for line_feed in memchr::memchr_iter(b'\n', window) {
        check_line_end(window, line_feed)?;
        if line_feed == line_start + 1 {
            return Ok(Some(line_start));
        }
        line_start = line_feed + 1;
    }
    if buffer.len() > MAX_TRAILER_BYTES {
        return Err(BodyError::bad("too many bytes of trailers"));
    }
    Ok(None)
}

fn check_line_end(window: &[u8], line_feed: usize) -> Result<(), BodyError> {
    if line_feed == 0 || window[line_feed - 1] != b'\r' {
        return Err(BodyError::bad("line feed without carriage return"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
