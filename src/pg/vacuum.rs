//! VACUUM of a table from a background worker, which has no client to send the command.
//!
//! Promise: a table that somebody else has locked is left for another time, and what fails leaves no transaction open. Only to be called
//! where none is.

use std::ffi::CString;
use std::ptr;

use pgrx::{PgList, pg_sys};

use crate::model::{Code, Error, Result};
use crate::pg::error::catch;

/// Vacuums a table whose name is written as in SQL. Its file is not cut off at the end: that would need a lock that nobody else can stand.
pub fn table(name: &str) -> Result<()> {
    let statement = CString::new(format!("VACUUM (SKIP_LOCKED, TRUNCATE false) {name}"))
        .map_err(|_| Error::new(Code::Internal, "the name of a table holds a zero byte"))?;
    // SAFETY: no transaction is open. VACUUM begins and ends its own; what it keeps over their ends it takes from PortalContext, as does the
    // tree, and that memory lives until all is over. Whatever fails is aborted here, before anything else runs.
    unsafe {
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_millrace vacuum".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::SetCurrentStatementStartTimestamp();
        let result = catch(|| {
            pg_sys::StartTransactionCommand();
            pg_sys::MemoryContextSwitchTo(memory);
            let parsed = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::pg_parse_query(statement.as_ptr()));
            let tree = parsed.head().map_or(ptr::null_mut(), |raw| (*raw).stmt);
            if !pgrx::is_a(tree, pg_sys::NodeTag::T_VacuumStmt) {
                return Err(Error::new(Code::Internal, format!("this is no VACUUM: {statement:?}")));
            }
            pg_sys::PortalContext = memory;
            pg_sys::ExecVacuum(pg_sys::make_parsestate(ptr::null_mut()), tree.cast(), true);
            pg_sys::CommitTransactionCommand();
            Ok(())
        });
        if result.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::PortalContext = ptr::null_mut();
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        pg_sys::MemoryContextDelete(memory);
        pg_sys::pgstat_report_stat(true);
        result
    }
}
