//! What is done to an answer's bytes before hyper sees them: heads pass the
//! answer gate, and interim answers (1xx) are taken out.
//!
//! hyper could report interim answers too, but only to a `Send` callback that
//! travels with each request as an extension: four allocations for something
//! that hardly ever comes.

use std::collections::VecDeque;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::http::ResponseHead;
use crate::http::h1::AnswerGate;

/// Interim answers of one request.
const MAX_INTERIM: usize = 32;

/// Enough of a status line to tell an interim answer: `HTTP/1.1 1`.
const TELLING: usize = 10;

/// Where a status line has the status.
const CODE: std::ops::Range<usize> = 9..12;

/// Why an answer is refused while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Bad(&'static str),
    TooLarge,
}

/// What becomes of bytes that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// They go on as they are.
    Pass,
    /// They are kept; read more.
    Held,
    /// All that is held goes on: see [`AnswerStream::release`].
    Release,
}

/// The bytes of one connection's answers, in the order of arrival.
pub(super) struct AnswerStream {
    gate: AnswerGate,
    place: Place,
    /// Bytes that hyper has not been given.
    held: Vec<u8>,
    interim: VecDeque<ResponseHead>,
    interim_count: usize,
    max_head_bytes: usize,
    /// Whether an answer of status 101 is one, and what follows no HTTP.
    may_switch: bool,
    has_switched: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// At the first byte of a head, or in a head that may be an interim one.
    Head,
    /// Past the place where that was decided.
    Answer,
}

impl AnswerStream {
    pub fn new(max_head_bytes: usize) -> Self {
        Self {
            // hyper limits the head, and tells too large from malformed.
            gate: AnswerGate::new(usize::MAX),
            place: Place::Answer,
            held: Vec::new(),
            interim: VecDeque::new(),
            interim_count: 0,
            max_head_bytes,
            may_switch: false,
            has_switched: false,
        }
    }

    /// The next byte is the first of an answer, which may switch the connection to
    /// another protocol.
    pub fn expect_answer(&mut self, may_switch: bool) {
        self.may_switch = may_switch;
        self.gate.expect_answer();
        self.place = Place::Head;
        self.interim_count = 0;
    }

    pub fn take_interim(&mut self) -> Option<ResponseHead> {
        self.interim.pop_front()
    }

    /// Whether the connection goes on in another protocol.
    pub fn has_switched(&self) -> bool {
        self.has_switched
    }

    /// What is left of the bytes that were held.
    pub fn take_held(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Bytes that were held and now go on, as many as `room` takes.
    pub fn release(&mut self, room: usize) -> impl Iterator<Item = u8> + '_ {
        let count = if self.place == Place::Answer {
            self.held.len().min(room)
        } else {
            0
        };
        self.held.drain(..count)
    }

    /// Whether [`release`](Self::release) has something.
    pub fn has_released(&self) -> bool {
        self.place == Place::Answer && !self.held.is_empty()
    }

    pub fn arrived(&mut self, bytes: &[u8]) -> Result<Arrived, Refused> {
        if self.place == Place::Answer {
            self.gate.check(bytes).map_err(Refused::Bad)?;
            return Ok(Arrived::Pass);
        }
        if self.held.is_empty() && bytes.len() >= TELLING && !is_interim(bytes) {
            self.place = Place::Answer;
            self.gate.check(bytes).map_err(Refused::Bad)?;
            return Ok(Arrived::Pass);
        }
        self.hold(bytes)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<Arrived, Refused> {
        self.held.extend_from_slice(bytes);
        while self.held.len() >= TELLING {
            if !is_interim(&self.held) {
                self.place = Place::Answer;
                self.gate.check(&self.held).map_err(Refused::Bad)?;
                return Ok(Arrived::Release);
            }
            let Some(end) = memchr::memmem::find(&self.held, b"\r\n\r\n") else {
                break;
            };
            if self.may_switch && self.held[CODE] == *b"101" {
                self.gate
                    .check(&self.held[..end + 4])
                    .map_err(Refused::Bad)?;
                // What follows is not its business.
                self.gate = AnswerGate::new(usize::MAX);
                self.place = Place::Answer;
                self.has_switched = true;
                return Ok(Arrived::Release);
            }
            self.take_out(end + 4)?;
        }
        if self.held.len() > self.max_head_bytes {
            return Err(Refused::TooLarge);
        }
        Ok(Arrived::Held)
    }

    fn take_out(&mut self, end: usize) -> Result<(), Refused> {
        if end > self.max_head_bytes {
            return Err(Refused::TooLarge);
        }
        self.interim_count += 1;
        if self.interim_count > MAX_INTERIM {
            return Err(Refused::Bad("too many interim answers"));
        }
        self.gate.check(&self.held[..end]).map_err(Refused::Bad)?;
        let head = parse(&self.held[..end]).map_err(Refused::Bad)?;
        self.held.drain(..end);
        self.gate.expect_answer();
        match head.status {
            // The client was told to go on by ourselves.
            StatusCode::CONTINUE => {}
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Refused::Bad("switches protocols unasked"));
            }
            _ => self.interim.push_back(head),
        }
        Ok(())
    }
}

fn is_interim(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") && bytes[8..TELLING] == *b" 1"
}

fn parse(bytes: &[u8]) -> Result<ResponseHead, &'static str> {
    const BAD: &str = "bad interim answer";
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(bytes).map_err(|_| BAD)?;
    if parsed != httparse::Status::Complete(bytes.len()) {
        return Err(BAD);
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BAD)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| BAD)?);
    }
    let status = head
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(BAD)?;
    Ok(ResponseHead { status, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// Feeds the bytes in pieces of each size; gives interim statuses and what
    /// went on.
    fn read(bytes: &[u8], size: usize, may_switch: bool) -> Result<(Vec<u16>, Vec<u8>), Refused> {
        let mut stream = AnswerStream::new(1024);
        stream.expect_answer(may_switch);
        let mut passed = Vec::new();
        for piece in bytes.chunks(size) {
            match stream.arrived(piece)? {
                Arrived::Pass => passed.extend_from_slice(piece),
                Arrived::Held => {}
                Arrived::Release => {
                    while stream.has_released() {
                        passed.extend(stream.release(7));
                    }
                }
            }
        }
        let interim = std::iter::from_fn(|| stream.take_interim());
        Ok((interim.map(|head| head.status.as_u16()).collect(), passed))
    }

    fn check(interim: &[u8], wanted: Result<&[u16], Refused>) {
        let bytes = [interim, ANSWER].concat();
        for size in 1..=bytes.len() {
            let found = read(&bytes, size, false);
            let wanted = wanted.map(|statuses| (statuses.to_vec(), ANSWER.to_vec()));
            assert_eq!(
                found,
                wanted,
                "{:?} by {size}",
                interim.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn interim_answers_are_taken_out() {
        check(b"", Ok(&[]));
        check(b"HTTP/1.1 100 Continue\r\n\r\n", Ok(&[]));
        check(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            Ok(&[103]),
        );
        check(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
            Ok(&[102, 103]),
        );
        check(
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            Err(Refused::Bad("switches protocols unasked")),
        );
        check(
            &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33),
            Err(Refused::Bad("too many interim answers")),
        );
    }

    #[test]
    fn an_answer_that_switches_goes_on_with_all_that_follows() {
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
        // No HTTP, and more than a head may have.
        let rest = [b"\r\n HTTP/1.1 103\n\0".as_slice(), &[b'x'; 2000]].concat();
        let early = b"HTTP/1.1 103 Early Hints\r\n\r\n".as_slice();
        let bytes = [early, switch, &rest].concat();
        for size in [1, 2, 7, 40, 60, 100, bytes.len()] {
            let wanted = [switch.as_slice(), &rest].concat();
            assert_eq!(read(&bytes, size, true), Ok((vec![103], wanted)), "{size}");
        }
        let answered = read(ANSWER, 3, true);
        assert_eq!(answered, Ok((vec![], ANSWER.to_vec())));
    }

    #[test]
    fn an_interim_answer_without_end_is_too_large() {
        let endless = [b"HTTP/1.1 103 Early Hints\r\nx: ".as_slice(), &[b'x'; 1024]].concat();
        check(&endless, Err(Refused::TooLarge));
    }

    #[test]
    fn a_short_answer_that_is_none_goes_on() {
        let mut stream = AnswerStream::new(1024);
        stream.expect_answer(false);
        assert_eq!(stream.arrived(b"SSH-2"), Ok(Arrived::Held));
        assert!(!stream.has_released());
    }
}
