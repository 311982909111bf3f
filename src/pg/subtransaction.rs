//! Subtransactions: try something, and undo all of it when it fails.

use pgrx::pg_sys;

use crate::model::Result;
use crate::pg::error::catch;

/// Runs `f` in a subtransaction: kept on `Ok`, rolled back on `Err`, on an error raised by Postgres and on a panic.
/// A cancel or termination is not swallowed for long: the next interrupt check of the caller sees the next one, and
/// the error returned here carries SQLSTATE 57014, which callers pass on.
pub fn run<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: called on the server's thread inside a transaction. Memory context and resource owner are put back on both
    // paths, as a subtransaction leaves its own behind.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = catch(f);
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}
