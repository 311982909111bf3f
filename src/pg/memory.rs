//! The allocator of a worker: it holds large buffers for moments, and should not keep what they took.

/// Lets threads share arenas: each arena keeps its own freed memory, and ours free what others allocated.
pub fn few_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only sets a number that the allocator reads when a thread first allocates.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives freed memory back to the system.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: walks the allocator's own free lists under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
