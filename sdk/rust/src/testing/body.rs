//! Plays a body as the verdict about its head says.

use std::cell::RefCell;
use std::rc::Rc;

use super::call::call;
use crate::host::simulated::{Phase, with};
use crate::{Body, BodyVerdict, Error, Exchange, Overflow, Reply, Transform, Verdict};

/// What became of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It went on, as these bytes.
    Sent(Vec<u8>),
    /// The filter answered instead.
    Answered(Reply),
    /// The filter had the exchange reset.
    Reset,
    /// It was longer than [`Verdict::buffer`] allows: the filter was not called,
    /// and the proxy answers with this status.
    Rejected(u16),
}

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
}

/// What a body is to go through.
#[derive(Default)]
pub(super) enum Way {
    #[default]
    Past,
    Buffer {
        limit: u32,
        overflow: Overflow,
    },
    Transform(Shared),
}

impl Way {
    /// The way that a verdict asks for, and the verdict for the outcome.
    pub(super) fn of(verdict: Verdict) -> (Way, Verdict) {
        match verdict {
            Verdict::Buffer { limit, overflow } => (Way::Buffer { limit, overflow }, verdict),
            Verdict::Transform(transform) => {
                let shared = Shared(Rc::new(RefCell::new(transform)));
                let verdict = Verdict::transform(shared.clone());
                (Way::Transform(shared), verdict)
            }
            Verdict::Next | Verdict::Leave | Verdict::Respond(_) | Verdict::Reset => {
                (Way::Past, verdict)
            }
        }
    }

    pub(super) fn play(
        self,
        message: Message,
        chunks: &[&[u8]],
        on_body: impl FnOnce(Body) -> Result<BodyVerdict, Error>,
    ) -> Result<Fate, Error> {
        match self {
            Way::Past => Ok(Fate::Sent(message.receive(chunks))),
            Way::Buffer { limit, overflow } => {
                let whole = message.receive(chunks);
                collect(message, whole, limit, overflow, on_body)
            }
            Way::Transform(transform) => stream(transform, message, chunks),
        }
    }
}

impl Message {
    /// Count what arrives.
    fn receive(self, chunks: &[&[u8]]) -> Vec<u8> {
        let bytes = chunks.concat();
        with(|simulated| {
            let counter = match self {
                Message::Request => &mut simulated.exchange.request_bytes,
                Message::Response => &mut simulated.exchange.response_bytes,
            };
            *counter += bytes.len() as u64;
        });
        bytes
    }

    /// The head is held while its body is collected.
    fn phase(self) -> Phase {
        match self {
            Message::Request => Phase::Request,
            Message::Response => Phase::Response,
        }
    }

    fn rejection(self) -> u16 {
        match self {
            Message::Request => 413,
            Message::Response => 502,
        }
    }
}

fn collect(
    message: Message,
    whole: Vec<u8>,
    limit: u32,
    overflow: Overflow,
    on_body: impl FnOnce(Body) -> Result<BodyVerdict, Error>,
) -> Result<Fate, Error> {
    let shown = whole.len().min(limit as usize);
    let complete = shown == whole.len();
    if !complete && overflow == Overflow::Reject {
        return Ok(Fate::Rejected(message.rejection()));
    }
    let bytes = whole[..shown].to_vec();
    call(message.phase(), || {
        settle(on_body(Body { bytes, complete })?, whole, complete)
    })
}

fn settle(verdict: BodyVerdict, whole: Vec<u8>, complete: bool) -> Result<Fate, Error> {
    match verdict {
        BodyVerdict::Keep => Ok(Fate::Sent(whole)),
        BodyVerdict::Replace(bytes) if complete => Ok(Fate::Sent(bytes)),
        BodyVerdict::Replace(_) => Err("a body of which only the beginning was shown \
                                        cannot be replaced"
            .into()),
        BodyVerdict::Respond(reply) => Ok(Fate::Answered(reply)),
        BodyVerdict::Reset => Ok(Fate::Reset),
    }
}

fn stream(mut transform: Shared, message: Message, chunks: &[&[u8]]) -> Result<Fate, Error> {
    let exchange = Exchange::in_later_phase();
    let mut sent = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        let chunk = message.receive(&[chunk]);
        sent.extend(call(Phase::Transform, || transform.push(&exchange, chunk))?);
    }
    sent.extend(call(Phase::Transform, || transform.finish(&exchange))?);
    Ok(Fate::Sent(sent))
}

/// One transform in two hands: the harness plays it, the outcome tells of it.
#[derive(Clone)]
pub(super) struct Shared(Rc<RefCell<Box<dyn Transform>>>);

impl Transform for Shared {
    fn push(&mut self, exchange: &Exchange, chunk: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.0.borrow_mut().push(exchange, chunk)
    }

    fn finish(&mut self, exchange: &Exchange) -> Result<Vec<u8>, Error> {
        self.0.borrow_mut().finish(exchange)
    }
}

#[cfg(test)]
mod tests;
