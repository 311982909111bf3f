//! Sleeping in a worker: on its latch, so that shutdown, cancel and wake-ups end the sleep at once.

use std::time::Duration;

use pgrx::pg_sys;

use crate::pg::wait_event::{Wait, Waiting};

/// Sleeps, shown as waiting `for_what`, until `time` has passed or the latch is set; true if it was set. Then answers interrupts and re-reads the configuration if asked to.
pub fn sleep(for_what: Wait, time: Duration) -> bool {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).clamp(1, i64::from(i32::MAX));
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: on the server's thread of a process with a latch.
    unsafe {
        let waiting = Waiting::begin(for_what);
        let woken = pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, millis as _, for_what.number());
        drop(waiting);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        pgrx::check_for_interrupts!();
        reload_if_asked();
        woken & pg_sys::WL_LATCH_SET as i32 != 0
    }
}

/// Re-reads the configuration if asked to, in a worker that has no time to sleep.
pub fn reload_if_asked() {
    // SAFETY: ConfigReloadPending is only set by the signal handler; no transaction is open.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// True while there is a process of this server with this id.
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: a look into shared memory that answers NULL for a process that is not ours.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Wakes the process with this id if it is one of this server's. Never fails: waking is a hint.
pub fn wake(pid: i32) {
    // SAFETY: BackendPidGetProc answers NULL for a process that is not ours; procLatch belongs to a PGPROC in shared memory,
    // which stays valid for the life of the server.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if !process.is_null() {
            pg_sys::SetLatch(&raw mut (*process).procLatch);
        }
    }
}
