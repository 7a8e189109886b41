//! Why a change was refused.

use thiserror::Error;

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SharedError {
    #[error("the entry is not at that version")]
    Conflict,
    #[error("larger than one entry may be")]
    TooLarge,
    #[error("not a counter")]
    NotACounter,
}
