//! What the allocator and the system keep.

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

/// From now on this process has pages of the usual size only. The allocator asks for
/// huge ones, and the kernel makes them of any region with one page in use, little by
/// little: what was given back returned as zeros, a quarter of all memory in an hour
/// of reloads. Without effect where there are none.
#[allow(unsafe_code)] // There is no safe call for it.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    {
        let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
        // SAFETY: takes numbers only, and changes nothing that a program can see in
        // its memory.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) };
    }
}
