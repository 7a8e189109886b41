//! Finds the end of a head under limits, before any of it is understood.

use std::ops::Range;

use memchr::{memchr, memchr_iter};
use smallvec::SmallVec;

use crate::config::Limits;
use crate::error::ErrorKind;
use crate::http::error::HeadError;

/// How far a head that is still arriving was looked at, so that no byte is looked
/// at twice. A connection keeps one; it is as new once a head was taken.
#[derive(Debug, Default)]
pub struct HeadScanner {
    is_started: bool,
    scanned: usize,
    line_start: usize,
    /// Where each complete line begins and its CRLF stands, the request line first.
    lines: SmallVec<[Range<usize>; 12]>,
}

impl HeadScanner {
    /// Looks for the end of the head, behind the empty line. Every limit is enforced
    /// by position, so that the outcome does not depend on how the bytes were cut.
    pub(super) fn find_end(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, HeadError> {
        if !self.is_started {
            match first_byte(buffer)? {
                Some(start) => self.start_at(start),
                None => return Ok(None),
            }
        }
        let window = &buffer[..buffer.len().min(limits.max_head_bytes)];
        let from = self.scanned.min(window.len());
        for offset in memchr_iter(b'\n', &window[from..]) {
            if self.end_line(window, from + offset, limits)? {
                return Ok(Some(self.scanned));
            }
        }
        self.scanned = self.scanned.max(window.len());
        if self.lines.is_empty() {
            let line_start = self.line_start.min(window.len());
            check_target_length(&window[line_start..], limits)?;
        }
        if buffer.len() > limits.max_head_bytes {
            let why = "the head is longer than the limit";
            return Err(HeadError::new(ErrorKind::HeadTooLarge, why));
        }
        Ok(None)
    }

    fn start_at(&mut self, start: usize) {
        self.is_started = true;
        self.scanned = start;
        self.line_start = start;
    }

    /// Takes a line feed; true when it ends the head.
    fn end_line(
        &mut self,
        window: &[u8],
        line_feed: usize,
        limits: &Limits,
    ) -> Result<bool, HeadError> {
        let line = &window[self.line_start..line_feed];
        if self.lines.is_empty() {
            check_target_length(line, limits)?;
        }
        if line.last() != Some(&b'\r') {
            return Err(HeadError::bad("line feed without carriage return"));
        }
        self.scanned = line_feed + 1;
        if line.len() == 1 {
            return Ok(true);
        }
        if self.lines.len() > limits.max_headers {
            return Err(HeadError::new(
                ErrorKind::HeadTooLarge,
                "more fields than the limit",
            ));
        }
        self.lines.push(self.line_start..line_feed - 1);
        self.line_start = self.scanned;
        Ok(false)
    }

    /// The lines of a complete head: the request line and the fields.
    pub(super) fn lines(&self) -> Option<(&Range<usize>, &[Range<usize>])> {
        self.lines.split_first()
    }

    /// Makes ready for the next head. The lines are cleared where they lie: moving
    /// them out costs more than all the rest of this.
    pub(super) fn reset(&mut self) {
        self.is_started = false;
        self.scanned = 0;
        self.line_start = 0;
        self.lines.clear();
    }
}

/// Where the request line begins, once its first byte is there. One empty line
/// before it is passed over (RFC 9112 section 2.2). What cannot be a method is
/// refused at once: a TLS handshake need not run into the head's timeout.
fn first_byte(buffer: &[u8]) -> Result<Option<usize>, HeadError> {
    let (start, first) = match buffer {
        [] | [b'\r'] | [b'\r', b'\n'] => return Ok(None),
        [b'\r', b'\n', first, ..] => (2, first),
        [first, ..] => (0, first),
    };
    if is_token_byte(*first) {
        Ok(Some(start))
    } else {
        Err(HeadError::bad("no request line"))
    }
}

/// The target lies between the first and the second space, or the end of what
/// has arrived.
fn check_target_length(line: &[u8], limits: &Limits) -> Result<(), HeadError> {
    if line.len() <= limits.max_target_bytes {
        return Ok(());
    }
    let Some(space) = memchr(b' ', line) else {
        return Ok(());
    };
    let target = &line[space + 1..];
    let length = memchr(b' ', target).unwrap_or(target.len());
    if length > limits.max_target_bytes {
        return Err(HeadError::new(
            ErrorKind::TargetTooLong,
            "the target is longer than the limit",
        ));
    }
    Ok(())
}

/// A character of a token (RFC 9110 section 5.6.2).
pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
