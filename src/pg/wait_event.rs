//! What a process of ours waits for: in pg_stat_activity, and on the board of `progress`.
//!
//! Promises: a wait that ends, however it ends, is no longer shown; naming one never fails. From Postgres 17 on each has a name of its own in
//! pg_stat_activity; before, all are called Extension there, and only the board tells them apart.

use std::ffi::CStr;
use std::sync::OnceLock;

use pgrx::pg_sys;

use crate::pg::{progress, versions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Storage, or the threads that decode what came from it.
    Lake,
    /// The time of the next look.
    Tick,
    /// A chunk, in a consumer's session.
    Chunk,
    /// Databases and pipelines that need a worker.
    Duty,
}

const WAITS: [Wait; 4] = [Wait::Lake, Wait::Tick, Wait::Chunk, Wait::Duty];

/// The numbers that the server gave for the names, in this process.
static NUMBERS: [OnceLock<u32>; WAITS.len()] = [const { OnceLock::new() }; WAITS.len()];

impl Wait {
    fn event(self) -> &'static CStr {
        match self {
            Wait::Lake => c"MillraceLake",
            Wait::Tick => c"MillraceTick",
            Wait::Chunk => c"MillraceChunk",
            Wait::Duty => c"MillraceDuty",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Wait::Lake => "lake",
            Wait::Tick => "next tick",
            Wait::Chunk => "chunk",
            Wait::Duty => "duty",
        }
    }

    /// As the server's waiting functions want it. On the server's thread.
    pub(super) fn number(self) -> u32 {
        *NUMBERS[self as usize].get_or_init(|| versions::wait_event(self.event()))
    }
}

/// Shown while it lives. On the server's thread.
pub(super) struct Waiting;

impl Waiting {
    pub(super) fn begin(wait: Wait) -> Waiting {
        progress::waits(wait as u32 + 1);
        // SAFETY: writes a number to this process's own entry.
        unsafe { pg_sys::pgstat_report_wait_start(wait.number()) };
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        progress::waits(0);
        // SAFETY: as above.
        unsafe { pg_sys::pgstat_report_wait_end() };
    }
}

/// What a process that runs a pipeline of this database waits for: in our words, or the server's, such as "Lock: relation". `None`: it works, or
/// it is no such process.
pub fn of(pid: i32) -> Option<String> {
    let number = progress::waits_of(pid)?;
    if let Some(wait) = (number as usize).checked_sub(1).and_then(|n| WAITS.get(n)) {
        return Some(wait.words().to_string());
    }
    // SAFETY: NULL for a process that is not this server's, else a place in shared memory that stays; a number is read from it. The names are
    // text that lasts, or NULL.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() {
            return None;
        }
        let info = (&raw const (*process).wait_event_info).read_volatile();
        let (kind, event) = (pg_sys::pgstat_get_wait_event_type(info), pg_sys::pgstat_get_wait_event(info));
        if kind.is_null() || event.is_null() {
            return None;
        }
        let text = |s| CStr::from_ptr(s).to_string_lossy();
        Some(format!("{}: {}", text(kind), text(event)))
    }
}
