//! What the allocator keeps.

/// Gives memory that nothing is in back to the system. Building a snapshot, and
/// compiling above all, takes many times what the result needs, and it is a
/// thread that has come to its end that took it: nobody would come by to give it
/// back. Takes milliseconds, so not for a worker. Without effect under another
/// allocator.
#[allow(unsafe_code)] // The crate of the allocator has no safe call for it.
pub fn give_back() {
    // SAFETY: takes a flag only, and looks at the allocator's own state, which
    // it guards against other threads itself.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
