//! The server's databases, for a process that is connected to none.

use pgrx::pg_sys;

/// Databases that can be connected to, without templates.
pub fn connectable() -> Vec<u32> {
    let mut found = Vec::new();
    // SAFETY: inside a transaction. pg_database is a shared catalog that may be scanned without a database; each tuple is read before
    // the next one is fetched.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let header = (*tuple).t_data;
            let database = header.cast::<u8>().add((*header).t_hoff as usize).cast::<pg_sys::FormData_pg_database>();
            if (*database).datallowconn && !(*database).datistemplate {
                found.push((*database).oid.to_u32());
            }
        }
        if let Some(end) = (*(*scan).rs_rd).rd_tableam.as_ref().and_then(|am| am.scan_end) {
            end(scan)
        }
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found
}

/// The database of this process.
pub fn current() -> u32 {
    // SAFETY: reads a process-wide value.
    unsafe { pg_sys::MyDatabaseId.to_u32() }
}
