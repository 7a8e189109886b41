//! The ways in which a filter breaks its promises, each with a name.

use std::fmt;

use crate::stats::filter::FAULTS;

/// How a filter failed. The order is that of [`FAULTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterFault {
    /// A phase answered `err`.
    Error,
    /// The guest trapped or panicked, or called what it may not.
    Trap,
    /// It used up the CPU time of one call.
    Overrun,
    /// It trapped after it had been refused more memory.
    Memory,
    /// Its stack overflowed.
    Stack,
    /// It left more on the exchange than it may, or sent too much at once.
    OutputLimit,
    /// It called into the host more often than it may for one exchange.
    HostCalls,
    /// It waited longer for its calls than it may for one exchange.
    CallTime,
    /// It decided what cannot be done: it replaced a body of which it had seen
    /// the beginning only.
    InvalidVerdict,
    /// Its answer is not legal HTTP.
    InvalidReply,
    ReplyTooLarge,
    /// A new instance did not accept a configuration accepted before.
    Create,
    /// No instance could be made.
    NoInstance,
    /// It overran too often and is not called for a while.
    Paused,
    /// A run of its job took too long, waits included.
    Late,
}

impl FilterFault {
    pub const ALL: [FilterFault; FAULTS.len()] = [
        FilterFault::Error,
        FilterFault::Trap,
        FilterFault::Overrun,
        FilterFault::Memory,
        FilterFault::Stack,
        FilterFault::OutputLimit,
        FilterFault::HostCalls,
        FilterFault::CallTime,
        FilterFault::InvalidVerdict,
        FilterFault::InvalidReply,
        FilterFault::ReplyTooLarge,
        FilterFault::Create,
        FilterFault::NoInstance,
        FilterFault::Paused,
        FilterFault::Late,
    ];

    /// The name that logs and metrics use.
    pub const fn name(self) -> &'static str {
        FAULTS[self as usize]
    }

    /// Whether the filter was called at all.
    pub const fn was_called(self) -> bool {
        !matches!(
            self,
            FilterFault::Create | FilterFault::NoInstance | FilterFault::Paused
        )
    }

    /// Whether it cost the worker as much as a call can: a filter that does so again
    /// and again is paused.
    pub(super) const fn is_overrun(self) -> bool {
        matches!(self, FilterFault::Overrun | FilterFault::HostCalls)
    }

    /// Whether the instance may be called again: the guest ran to its end and
    /// left nothing behind.
    pub(super) const fn spares_instance(self) -> bool {
        matches!(
            self,
            FilterFault::Error
                | FilterFault::InvalidVerdict
                | FilterFault::InvalidReply
                | FilterFault::ReplyTooLarge
                // There was no stack for the call, which never began.
                | FilterFault::NoInstance
        )
    }
}

impl fmt::Display for FilterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One failure: how, and in the words of who noticed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}: {detail}")]
pub struct Failure {
    pub fault: FilterFault,
    pub detail: String,
}

impl Failure {
    pub fn new(fault: FilterFault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            detail: detail.into(),
        }
    }
}

/// What the host returns when the guest takes more than it may: the call ends
/// there.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct LimitBroken {
    pub fault: FilterFault,
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_the_name_at_its_place() {
        for (place, fault) in FilterFault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
        }
        assert_eq!(FilterFault::Paused.name(), "paused");
        assert_eq!(FilterFault::Late.name(), "late");
        assert_eq!(FilterFault::OutputLimit.name(), "output-limit");
        assert_eq!(FilterFault::Error.name(), "error");
    }
}
