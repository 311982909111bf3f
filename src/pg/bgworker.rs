//! Background workers: registering, starting, and what each does first.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys;

use crate::pg::versions;

const LIBRARY: &str = "pg_millrace";

/// Postgres' own signal handlers by address: the generated bindings wrap them in a guard that must not run in a handler.
mod handlers {
    unsafe extern "C-unwind" {
        pub fn die(signal: std::ffi::c_int);
        #[allow(non_snake_case)]
        pub fn SignalHandlerForConfigReload(signal: std::ffi::c_int);
    }
}

/// Registers the launcher; only in the postmaster, while it preloads. It is restarted a second after it ended with an error.
pub fn register_launcher(function: &str) {
    BackgroundWorkerBuilder::new("pg_millrace launcher")
        .set_type("pg_millrace launcher")
        .set_library(LIBRARY)
        .set_function(function)
        .enable_spi_access()
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// Starts a worker for a slot of the board. False: the server has no room (max_worker_processes).
/// Never restarted by Postgres: whoever started it watches its slot.
pub fn start(kind: &str, function: &str, slot: usize) -> bool {
    let name = format!("pg_millrace {kind}");
    BackgroundWorkerBuilder::new(&name)
        .set_type(&name)
        .set_library(LIBRARY)
        .set_function(function)
        .enable_spi_access()
        .set_argument(Some(pg_sys::Datum::from(slot)))
        .set_restart_time(None)
        .load_dynamic()
        .is_ok()
}

/// Connects this worker, to no database or to the one given, as the bootstrap superuser; then lets signals in.
/// SIGTERM ends the process at the next safe point wherever it is; SIGHUP re-reads the configuration.
pub fn begin(database: Option<u32>) {
    // SAFETY: called once, first thing in a worker's main function. The handlers are Postgres' own.
    unsafe {
        versions::handle_signal(pg_sys::SIGTERM, handlers::die);
        versions::handle_signal(pg_sys::SIGHUP, handlers::SignalHandlerForConfigReload);
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            Some(oid) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(pg_sys::Oid::from(oid), pg_sys::Oid::INVALID, 0)
            }
            None => pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0),
        }
    }
}

/// Names the process in pg_stat_activity's application_name, and gives it settings that a server's own work should have.
pub fn name_session(name: &str) {
    let Ok(value) = std::ffi::CString::new(name) else { return };
    let set = |name: &CStr, value: *const c_char| {
        // SAFETY: both strings live across the call.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value,
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
            )
        }
    };
    set(c"application_name", value.as_ptr());
    // A limit meant for clients must not end a long load.
    set(c"statement_timeout", c"0".as_ptr());
    set(c"idle_in_transaction_session_timeout", c"0".as_ptr());
    set(c"search_path", c"pg_catalog, pg_temp".as_ptr());
}

pub fn my_pid() -> i32 {
    // SAFETY: reads a process-wide value.
    unsafe { pg_sys::MyProcPid }
}

/// True while pg_upgrade runs the server: nothing of ours may.
pub fn in_binary_upgrade() -> bool {
    // SAFETY: reads a process-wide value.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// True while the postmaster loads shared_preload_libraries.
pub fn preloading() -> bool {
    // SAFETY: reads a process-wide value.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}
