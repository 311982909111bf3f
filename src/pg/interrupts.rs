//! Answering Ctrl-C, statement_timeout, pg_terminate_backend, shutdown, and the death of the postmaster.

use pgrx::pg_sys;

/// Lets Postgres act on pending signals. Raises (and so unwinds) when the query is cancelled.
///
/// A process that waits for nothing learns of the postmaster's death nowhere else; while it works on, no new server can start.
pub fn check() {
    if is_orphan() {
        // SAFETY: no critical section, and nothing that holds interrupts off: what is open is rolled back on the way out.
        unsafe { pg_sys::proc_exit(1) };
    }
    pgrx::check_for_interrupts!();
}

fn is_orphan() -> bool {
    // SAFETY: reads process-wide values, and asks the kernel who our parent is.
    unsafe {
        pg_sys::IsUnderPostmaster
            && pg_sys::InterruptHoldoffCount == 0
            && pg_sys::CritSectionCount == 0
            && libc::getppid() != pg_sys::PostmasterPid
    }
}
