//! Procedures in Rust that commit as they go.

use pgrx::pg_sys;

use crate::model::{Code, Error, Result};

/// A procedure's right to commit. Dropping it ends the SPI connection that the commits go through.
pub struct Procedure(());

/// To be called first in a function that SQL declares as a procedure. Fails inside a transaction block, where a commit is not possible.
///
/// Commits once, so that the snapshot that CALL was parsed under is no longer held.
pub fn enter(fcinfo: pg_sys::FunctionCallInfo, name: &str) -> Result<Procedure> {
    // SAFETY: fcinfo is what Postgres called us with; `context` is a CallContext node when it is a CALL.
    unsafe {
        let context = (*fcinfo).context;
        let can_commit = !context.is_null()
            && (*context).type_ == pg_sys::NodeTag::T_CallContext
            && !(*context.cast::<pg_sys::CallContext>()).atomic;
        if !can_commit {
            return Err(Error::new(Code::ActiveTransaction, format!("{name} cannot run inside a transaction block"))
                .detail("It commits after each chunk.")
                .hint(format!("Call it on its own, with autocommit on: CALL {name}(…).")));
        }
        if pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32) != pg_sys::SPI_OK_CONNECT as i32 {
            return Err(Error::new(Code::Internal, "could not connect to SPI"));
        }
        pg_sys::SPI_commit();
        Ok(Procedure(()))
    }
}

impl Drop for Procedure {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: ends the connection made by `enter`. On the way out with an error the abort does it.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}
