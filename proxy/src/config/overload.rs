//! When the process has more than it can carry.

/// Where overload begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overload {
    /// In bytes; `None` takes what the system says.
    pub memory_limit: Option<u64>,
    /// In thousandths of what there is.
    pub memory: Marks,
    /// Likewise.
    pub descriptors: Marks,
    /// In milliseconds.
    pub delay: Marks,
}

/// Beyond how much what is done. None is smaller than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Connections are closed; where it is `None`, they are not.
    pub close: Option<u64>,
    /// New requests are answered 503.
    pub shed: u64,
    /// New connections are refused.
    pub refuse: u64,
}
