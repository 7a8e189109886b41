//! Which times of a request filters made too short for anybody to be blamed for.

use std::time::Duration;

use crate::error::ErrorKind;

/// Who gives an endpoint less time has asked for too much.
pub const FAIR: Duration = Duration::from_millis(100);

/// Of each time, whether it is shorter than the configuration has it, and than [`FAIR`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Hurry {
    pub total: bool,
    pub one_try: bool,
    pub idle: bool,
    pub connect: bool,
    pub tls: bool,
    pub answer: bool,
}

impl Hurry {
    /// Whether who failed so is spared: it is such a time that ran out.
    pub(super) fn spares(self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::TotalTimeout => self.total,
            ErrorKind::TryTimeout => self.one_try,
            ErrorKind::UpstreamStalled => self.idle,
            ErrorKind::ConnectTimeout => self.connect,
            ErrorKind::TlsTimeout => self.tls,
            ErrorKind::AnswerTimeout => self.answer,
            _ => false,
        }
    }
}
