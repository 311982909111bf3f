//! The launcher: sees to it that each database has its worker, if it has the extension. Connected to no database itself.

use std::time::Duration;

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::shmem::{Claim, Duty};
use crate::pg::transaction::{self, Mode};
use crate::pg::wait_event::Wait;
use crate::pg::{bgworker, databases, gucs, latch, shmem};

/// How often databases without a worker are looked at, unasked: a restored or promoted server has pipelines that nobody created here.
const LOOK: Duration = Duration::from_secs(60);
/// After being woken: the change that woke us may not be committed yet.
const SOON: Duration = Duration::from_millis(500);
const LOOKS_AFTER_WAKING: u32 = 6;

#[allow(unsafe_code, reason = "exporting the name that Postgres looks up is all there is to it")]
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn millrace_launcher_main(_arg: pg_sys::Datum) {
    bgworker::begin(None);
    bgworker::name_session("pg_millrace launcher");
    shmem::set_launcher(bgworker::my_pid());
    let mut looks = LOOKS_AFTER_WAKING;
    loop {
        if let Ok(found) = transaction::run(Mode::Worker, || Ok(databases::connectable())) {
            found.into_iter().for_each(start_worker);
        }
        let wait = if looks > 0 { SOON } else { LOOK };
        looks = looks.saturating_sub(1);
        if latch::sleep(Wait::Duty, wait) {
            looks = LOOKS_AFTER_WAKING;
        }
    }
}

fn start_worker(database: u32) {
    match shmem::claim(Duty { database, pipeline: 0 }, gucs::max_workers()) {
        Claim::Slot(slot) => {
            if !bgworker::start("database", "millrace_database_main", slot) {
                shmem::release(slot);
                pgrx::log!(
                    "pg_millrace: database={database} waits_for=worker_slot hint=\"raise max_worker_processes\""
                );
            }
        }
        Claim::Running | Claim::Leaving => {}
        Claim::Full => {
            pgrx::log!("pg_millrace: database={database} waits_for=worker hint=\"all millrace.max_workers are in use\"")
        }
    }
}
