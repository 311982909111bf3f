//! DROP DATABASE: our workers leave the database first, as nobody else could ask them to.
//!
//! Without this the command would fail with "is being accessed by other users" wherever a pipeline runs, and need FORCE.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::pg::{shmem, versions};

static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

/// Installs the hook; only in the postmaster, while it preloads.
pub fn install() {
    // SAFETY: the postmaster has one thread, and its children inherit what is set here.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(utility);
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: Postgres' own arguments are passed on as they came; the tree is only read. PREVIOUS was set before the fork.
    unsafe {
        let tree = (*statement).utilityStmt;
        if pgrx::is_a(tree, pg_sys::NodeTag::T_DropdbStmt) {
            let name = (*tree.cast::<pg_sys::DropdbStmt>()).dbname;
            vacate(CStr::from_ptr(name));
        }
        match PREVIOUS {
            Some(next) => pg_sys::ffi::pg_guard_ffi_boundary(|| {
                next(statement, query, read_only_tree, context, params, environment, destination, completion)
            }),
            None => pg_sys::standard_ProcessUtility(
                statement,
                query,
                read_only_tree,
                context,
                params,
                environment,
                destination,
                completion,
            ),
        }
    }
}

/// Lets the workers of a database go, if the caller may drop it at all. DROP DATABASE itself waits some seconds for them.
///
/// SAFETY: inside a transaction.
unsafe fn vacate(name: &CStr) {
    // SAFETY: as promised by the caller; missing_ok = true.
    unsafe {
        let database = pg_sys::get_database_oid(name.as_ptr(), true);
        if database == pg_sys::Oid::INVALID || !versions::owns_database(database) {
            return;
        }
        for pid in shmem::vacate(database.to_u32()) {
            libc::kill(pid, libc::SIGTERM);
        }
    }
}
