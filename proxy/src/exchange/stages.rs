//! What filters make of a body on its way: pieces go in at one end, pass every
//! transform in order, and come out at the other. Does no input or output.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::midway::Midway;
use crate::error::ProxyError;
use crate::filter::{Collect, Collected, Transform};
use crate::upstream::Frame;

/// What a transform is given at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long transforms may work before the worker's other exchanges have a turn.
const TURN: Duration = Duration::from_micros(500);

/// The transforms of one body, and what lies before, between and behind them.
pub struct Stages {
    transforms: Vec<Transform>,
    /// One more than there are transforms: what waits for each, and what is
    /// ready to go on.
    queues: Vec<Queue>,
    turn: Option<Instant>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Nothing comes any more.
    ended: bool,
}

/// What can be done next.
pub enum Step {
    /// This goes on.
    Give(Frame),
    /// Everything has come out.
    End,
    /// More has to come in.
    Want,
    /// Others should have a turn before the next call.
    Rest,
}

/// A body as far as it was collected for a filter.
pub struct Collection {
    /// What the filter sees, and may have replaced since.
    pub body: Collected,
    /// What was read beyond its limit.
    rest: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Stages {
    pub fn new() -> Self {
        Self {
            transforms: Vec::new(),
            queues: vec![Queue::default()],
            turn: None,
        }
    }

    /// Passes everything that has not come out yet through one more filter.
    pub fn add(&mut self, transform: Transform) {
        self.transforms.push(transform);
        self.queues.push(Queue::default());
    }

    /// Puts in the next part, or that there is none.
    pub fn feed(&mut self, frame: Option<Frame>) {
        let first = &mut self.queues[0];
        match frame {
            Some(frame) => first.frames.push_back(frame),
            None => first.ended = true,
        }
    }

    /// The length of what is still to come out, where that is known.
    pub fn length(&self) -> Option<u64> {
        let ready = self.queues.last()?;
        let data = ready.frames.iter().map(|frame| match frame {
            Frame::Data(bytes) => Some(bytes.len() as u64),
            Frame::Trailers(_) => None,
        });
        data.sum::<Option<u64>>().filter(|_| ready.ended)
    }

    /// One call of a filter at most.
    pub fn advance(&mut self, midway: &Midway<'_>) -> Result<Step, ProxyError> {
        loop {
            let ready = self.transforms.len();
            if let Some(frame) = self.queues[ready].frames.pop_front() {
                return Ok(Step::Give(frame));
            }
            if self.queues[ready].ended {
                return Ok(Step::End);
            }
            let Some(place) = self.furthest() else {
                self.turn = None;
                return Ok(Step::Want);
            };
            if self.turn.is_some_and(|began| began.elapsed() > TURN) {
                self.turn = None;
                return Ok(Step::Rest);
            }
            self.turn.get_or_insert_with(Instant::now);
            self.work(place, midway)?;
        }
    }

    /// The last transform that has something to do.
    fn furthest(&self) -> Option<usize> {
        let has_work = |place: &usize| {
            let queue = &self.queues[*place];
            !queue.frames.is_empty() || queue.ended && !self.queues[place + 1].ended
        };
        (0..self.transforms.len()).rev().find(has_work)
    }

    fn work(&mut self, place: usize, midway: &Midway<'_>) -> Result<(), ProxyError> {
        let transform = &mut self.transforms[place];
        let (given, then) = match self.queues[place].frames.pop_front() {
            Some(Frame::Data(mut bytes)) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                if !bytes.is_empty() {
                    self.queues[place].frames.push_front(Frame::Data(bytes));
                }
                (midway.push(transform, &piece)?, None)
            }
            // They stand behind everything that the transform has left.
            Some(trailers @ Frame::Trailers(_)) => (midway.finish(transform)?, Some(trailers)),
            None => {
                let given = midway.finish(transform)?;
                self.queues[place + 1].ended = true;
                (given, None)
            }
        };
        let next = &mut self.queues[place + 1].frames;
        if !given.is_empty() {
            next.push_back(Frame::Data(given));
        }
        next.extend(then);
        Ok(())
    }

    /// Puts what was collected behind all transforms, to go on from there. Of a
    /// body that was seen to its end nothing else is left.
    pub fn put_back(&mut self, collection: Collection) {
        if collection.body.is_complete {
            *self = Self::new();
        }
        let is_complete = collection.body.is_complete;
        let bytes = Bytes::from(collection.body.bytes);
        let data = [Some(bytes), collection.rest].into_iter().flatten();
        let data = data.filter(|bytes| !bytes.is_empty()).map(Frame::Data);
        let trailers = collection.trailers.map(Frame::Trailers);
        let frames: Vec<_> = data.chain(trailers).collect();
        if let Some(ready) = self.queues.last_mut() {
            ready.ended |= is_complete;
            for frame in frames.into_iter().rev() {
                ready.frames.push_front(frame);
            }
        }
    }
}

impl Collection {
    pub fn new() -> Self {
        Self {
            body: Collected::default(),
            rest: None,
            trailers: None,
        }
    }

    /// Takes the next part of the body, or its end. `false` while more is wanted.
    pub fn take(&mut self, part: Option<Frame>, collect: Collect) -> Result<bool, TooLarge> {
        match part {
            Some(Frame::Data(mut bytes)) => {
                let seen = &mut self.body.bytes;
                let room = collect.limit - seen.len();
                if bytes.len() > room && collect.reject {
                    return Err(TooLarge);
                }
                seen.extend_from_slice(&bytes.split_to(bytes.len().min(room)));
                self.rest = Some(bytes).filter(|rest| !rest.is_empty());
                Ok(self.rest.is_some())
            }
            Some(Frame::Trailers(trailers)) => {
                self.trailers = Some(trailers);
                Ok(false)
            }
            None => {
                self.body.is_complete = true;
                Ok(true)
            }
        }
    }
}

/// The body is longer than the filter takes.
pub struct TooLarge;
