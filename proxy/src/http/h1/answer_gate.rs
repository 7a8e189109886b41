//! A scanner before hyper's reading of answers. hyper takes a bare line feed for
//! the end of a line, and has no say about what else makes a head ambiguous.

use memchr::{memchr, memchr3};

/// Watches the bytes of one origin connection, in whatever pieces they come.
///
/// Armed, it follows answer heads: any number of interim ones (1xx) and the final
/// one, together no longer than the limit. After it, until armed again, it lets
/// everything through: bodies are the decoder's business.
#[derive(Debug)]
pub struct AnswerGate {
    max_head_bytes: usize,
    /// Bytes of heads since it was armed, never more than the limit.
    seen: usize,
    place: Place,
}

/// Where in an answer the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the status line, of which so many bytes were seen. The status begins
    /// with this digit, once it is known.
    StatusLine { length: usize, class: u8 },
    /// At the first byte of a field line, or of the empty line.
    LineStart { class: u8 },
    /// In a field name.
    Name { class: u8 },
    /// In a field value.
    Value { class: u8 },
    /// After the carriage return of a line.
    LineEnd { class: u8 },
    /// After the carriage return of the empty line.
    HeadEnd { class: u8 },
    /// Behind the final head.
    Open,
}

/// `HTTP/1.1 200`: the digit that tells interim from final.
const CLASS_AT: usize = 9;

impl AnswerGate {
    /// Lets everything through until armed.
    pub fn new(max_head_bytes: usize) -> Self {
        Self {
            max_head_bytes,
            seen: 0,
            place: Place::Open,
        }
    }

    /// Arms the gate: the next bytes are a head. To be called before a request is
    /// written.
    pub fn expect_answer(&mut self) {
        self.seen = 0;
        self.place = Place::StatusLine {
            length: 0,
            class: 0,
        };
    }

    /// Whether the head awaited since `expect_answer` has not ended yet.
    pub fn is_armed(&self) -> bool {
        self.place != Place::Open
    }

    /// Checks the bytes that have just arrived. After an error the connection
    /// must be dropped without handing them on.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut rest = bytes;
        while self.place != Place::Open && !rest.is_empty() {
            let allowed = rest.len().min(self.max_head_bytes - self.seen);
            if allowed == 0 {
                return Err("the answer's head is longer than the limit");
            }
            let taken = self.step(&rest[..allowed])?;
            self.seen += taken;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Takes at least one byte of `rest`, which is not empty.
    fn step(&mut self, rest: &[u8]) -> Result<usize, &'static str> {
        let (taken, next) = match self.place {
            Place::StatusLine { length, class } => status_line(rest, length, class)?,
            Place::LineStart { class } => line_start(rest, class)?,
            Place::Name { class } => name(rest, class)?,
            Place::Value { class } => value(rest, class)?,
            Place::LineEnd { class } => (line_feed(rest)?, Place::LineStart { class }),
            Place::HeadEnd { class } => (line_feed(rest)?, after_head(class)),
            Place::Open => (rest.len(), Place::Open),
        };
        self.place = next;
        Ok(taken)
    }
}

type Step = Result<(usize, Place), &'static str>;

fn status_line(rest: &[u8], length: usize, class: u8) -> Step {
    if length == 0 && rest[0].is_ascii_whitespace() {
        return Err("the answer begins with whitespace");
    }
    let (taken, is_complete) = line_text(rest)?;
    let class = match CLASS_AT.checked_sub(length) {
        Some(at) if at < taken => rest[at],
        _ => class,
    };
    if is_complete {
        Ok((taken + 1, Place::LineEnd { class }))
    } else {
        let length = length + taken;
        Ok((taken, Place::StatusLine { length, class }))
    }
}

fn line_start(rest: &[u8], class: u8) -> Step {
    match rest[0] {
        b'\r' => Ok((1, Place::HeadEnd { class })),
        b' ' | b'\t' => Err("folded line in the answer"),
        b':' => Err("empty field name in the answer"),
        _ => name(rest, class),
    }
}

fn name(rest: &[u8], class: u8) -> Step {
    let end = rest
        .iter()
        .position(|byte| !super::scan::is_token_byte(*byte));
    match end.map(|end| (end, rest[end])) {
        None => Ok((rest.len(), Place::Name { class })),
        Some((end, b':')) => Ok((end + 1, Place::Value { class })),
        Some((_, b' ' | b'\t')) => Err("whitespace before a colon in the answer"),
        Some(_) => Err("illegal field name in the answer"),
    }
}

fn value(rest: &[u8], class: u8) -> Step {
    let (taken, is_complete) = line_text(rest)?;
    if is_complete {
        Ok((taken + 1, Place::LineEnd { class }))
    } else {
        Ok((taken, Place::Value { class }))
    }
}

/// How many bytes come before the carriage return, and whether there is one.
fn line_text(rest: &[u8]) -> Result<(usize, bool), &'static str> {
    match memchr3(b'\r', b'\n', 0, rest) {
        None => Ok((rest.len(), false)),
        Some(at) => match rest[at] {
            b'\r' => Ok((at, true)),
            b'\n' => Err("line feed without carriage return in the answer"),
            _ => Err("NUL in the answer's head"),
        },
    }
}

fn line_feed(rest: &[u8]) -> Result<usize, &'static str> {
    match memchr(b'\n', &rest[..1]) {
        Some(_) => Ok(1),
        None => Err("carriage return without line feed in the answer"),
    }
}

/// A 101 counts as interim here. Where one was asked for, this gate is taken away with
/// its head; elsewhere it is refused.
fn after_head(class: u8) -> Place {
    if class == b'1' {
        Place::StatusLine {
            length: 0,
            class: 0,
        }
    } else {
        Place::Open
    }
}

#[cfg(test)]
mod tests;
