//! Which session this is.

use pgrx::pg_sys;

/// Backend pid and start of the backend: a pid comes back after a while, together with its start it does not.
pub fn id() -> String {
    // SAFETY: both are set once, when the process begins, and read on its own thread.
    let (pid, started) = unsafe { (pg_sys::MyProcPid, pg_sys::MyStartTimestamp) };
    format!("{pid}@{started}")
}
