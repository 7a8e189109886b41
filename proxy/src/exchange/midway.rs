//! An exchange as its filters know it, and how the request's body and the answer
//! look at it by turns while both are under way.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::ProxyError;
use crate::filter::{FilterFailed, Lendable, Participants, Transform, WorkerChain};

/// What filters see and left, and which of them take part.
pub struct Course {
    pub view: Lendable,
    pub taken: Participants,
}

impl Course {
    /// Of a request that no filter has seen.
    pub fn of(view: Lendable) -> Self {
        Self {
            view,
            taken: Participants::default(),
        }
    }
}

/// Borrowed only while a filter is called.
pub struct Midway<'a> {
    chain: &'a WorkerChain,
    course: RefCell<&'a mut Course>,
}

impl<'a> Midway<'a> {
    pub fn new(chain: &'a WorkerChain, course: &'a mut Course) -> Self {
        Self {
            chain,
            course: RefCell::new(course),
        }
    }

    /// Bytes of the request's body so far, for filters to see.
    pub fn set_request_bytes(&self, bytes: u64) {
        self.course.borrow_mut().view.request_bytes = bytes;
    }

    /// Bytes of the answer's body so far, for filters to see.
    pub fn set_response_bytes(&self, bytes: u64) {
        self.course.borrow_mut().view.response_bytes = bytes;
    }

    pub fn push(&self, transform: &mut Transform, chunk: &[u8]) -> Result<Bytes, ProxyError> {
        Ok(transform.push(chunk, &mut self.course.borrow_mut().view)?)
    }

    pub fn finish(&self, transform: &mut Transform) -> Result<Bytes, ProxyError> {
        Ok(transform.finish(&mut self.course.borrow_mut().view)?)
    }

    pub fn request_trailers(&self, trailers: &mut HeaderMap) -> Result<(), ProxyError> {
        let Course { view, taken } = &mut **self.course.borrow_mut();
        Ok(self.chain.on_request_trailers(view, taken, trailers)?)
    }

    pub fn response_trailers(&self, trailers: &mut HeaderMap) -> Result<(), ProxyError> {
        let Course { view, taken } = &mut **self.course.borrow_mut();
        Ok(self.chain.on_response_trailers(view, taken, trailers)?)
    }
}

impl From<FilterFailed> for ProxyError {
    fn from(failed: FilterFailed) -> Self {
        Self::with(failed.kind, failed)
    }
}
