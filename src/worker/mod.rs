//! The background workers: a launcher for the server, a worker for each database with the extension, one for each pipeline.
//!
//! Promises: each ends within a second of being asked to, answers a failure with a wait that doubles, and leaves nothing that
//! a new one would need. What they do is `pipeline::runner`, as in run().

mod database;
mod launcher;
mod pipeline;
mod tidy;

use pgrx::{PgXactCallbackEvent, register_xact_callback};

use crate::pg::{bgworker, databases, drop_database, error, gucs, latch, progress, shmem, waiters};

/// Called from _PG_init.
pub fn init() {
    error::keep_backtraces_out();
    error::keep_expected_panics_out();
    let preloading = bgworker::preloading();
    gucs::define();
    if preloading && !bgworker::in_binary_upgrade() {
        shmem::request();
        waiters::request();
        progress::request();
        drop_database::install();
        bgworker::register_launcher("millrace_launcher_main");
    }
}

/// Lets the workers look again once this transaction has committed: something was created, changed or dropped in this database. A
/// hint: they look by themselves, too, as they must after a prepared transaction.
pub fn wake() {
    if shmem::is_ready() {
        register_xact_callback(PgXactCallbackEvent::Commit, wake_now);
    }
}

fn wake_now() {
    for pid in shmem::pids(databases::current(), None) {
        latch::wake(pid);
    }
    latch::wake(shmem::launcher());
}
