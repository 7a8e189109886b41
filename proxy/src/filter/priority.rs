//! Work that gives way to workers.

/// Below everything that serves.
const NICENESS: i32 = 10;

/// From now on this thread, or the process whose only one it is, runs when others leave
/// the processor to it.
#[allow(unsafe_code)] // The standard library knows no priorities.
pub fn yield_to_workers() {
    // SAFETY: takes numbers only. Where it is not allowed it changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
