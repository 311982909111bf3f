//! Where major versions of Postgres differ: one function for each thing that is called or laid out another way, the same for callers.
//!
//! Promises: the same effect on 15 to 18. Nothing outside this file asks for the version.

use std::ffi::{c_int, c_void};

use pgrx::pg_sys;

pub(super) type Mutator = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> *mut pg_sys::Node;

/// SAFETY: the node is a tree of an analyzed query, and `mutate` keeps the types of nodes.
pub(super) unsafe fn mutate_tree(node: *mut pg_sys::Node, mutate: Mutator, context: *mut c_void) -> *mut pg_sys::Node {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            // The mutator's type is declared without arguments, as C's unspecified ones are.
            let again = std::mem::transmute::<Mutator, unsafe extern "C-unwind" fn() -> *mut pg_sys::Node>(mutate);
            pg_sys::expression_tree_mutator(node, Some(again), context)
        }
        #[cfg(not(feature = "pg15"))]
        pg_sys::expression_tree_mutator_impl(node, Some(mutate), context)
    }
}

/// Notes that inserting into these columns of the table is all that the statement needs to be allowed; what it reads comes on top.
///
/// SAFETY: `item` was just made for an open relation.
pub(super) unsafe fn want_insert(item: *mut pg_sys::ParseNamespaceItem, columns: impl Iterator<Item = i16>) {
    // SAFETY: as promised by the caller. Up to 15 rights are in the range table's entry, later in a node of their own beside it.
    unsafe {
        #[cfg(feature = "pg15")]
        let wanted = (*item).p_rte;
        #[cfg(not(feature = "pg15"))]
        let wanted = (*item).p_perminfo;
        (*wanted).requiredPerms = pg_sys::ACL_INSERT as pg_sys::AclMode;
        for number in columns {
            let member = c_int::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
            (*wanted).insertedCols = pg_sys::bms_add_member((*wanted).insertedCols, member);
        }
    }
}

/// Raises an error if the current role may not do what the range table notes.
///
/// SAFETY: the range table is whole.
pub(super) unsafe fn check_rights(state: *mut pg_sys::ParseState) {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecCheckRTPerms((*state).p_rtable, true);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecCheckPermissions((*state).p_rtable, (*state).p_rteperminfos, true);
    }
}

/// SAFETY: the range table of `state` has one relation, which stays open as long as the executor's state.
pub(super) unsafe fn init_range_table(estate: *mut pg_sys::EState, state: *mut pg_sys::ParseState) {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInitRangeTable(estate, (*state).p_rtable);
        #[cfg(any(feature = "pg16", feature = "pg17"))]
        pg_sys::ExecInitRangeTable(estate, (*state).p_rtable, (*state).p_rteperminfos);
        #[cfg(feature = "pg18")]
        {
            let all = pg_sys::bms_make_singleton(1);
            pg_sys::ExecInitRangeTable(estate, (*state).p_rtable, (*state).p_rteperminfos, all);
        }
    }
}

/// Raises an error if rows can't be inserted there.
///
/// SAFETY: `info` was made by ExecInitResultRelation.
pub(super) unsafe fn check_target(info: *mut pg_sys::ResultRelInfo) {
    let insert = pg_sys::CmdType::CMD_INSERT;
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        pg_sys::CheckValidResultRel(info, insert);
        #[cfg(feature = "pg17")]
        pg_sys::CheckValidResultRel(info, insert, std::ptr::null_mut());
        #[cfg(feature = "pg18")]
        pg_sys::CheckValidResultRel(info, insert, pg_sys::OnConflictAction::ONCONFLICT_NONE, std::ptr::null_mut());
    }
}

/// Enters a row that was just inserted into the indexes of its table.
///
/// SAFETY: the three belong together, the indexes are open, and the slot has the row's place.
pub(super) unsafe fn insert_index_entries(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
) {
    let none = std::ptr::null_mut();
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInsertIndexTuples(info, slot, estate, false, false, none, std::ptr::null_mut());
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecInsertIndexTuples(info, slot, estate, false, false, none, std::ptr::null_mut(), false);
    }
}

/// SAFETY: both are open, and the snapshot is in use until the scan ends.
pub(super) unsafe fn begin_index_scan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: c_int,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(table, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}

/// Puts the slot's row in the place of another, waiting for whoever has that locked. Gives what came of it, and whether the indexes must know.
///
/// SAFETY: the table is open, the place is of a row that the active snapshot sees, and the slot is of its row type.
pub(super) unsafe fn update_row(
    table: pg_sys::Relation,
    place: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
) -> (pg_sys::TM_Result::Type, bool) {
    // SAFETY: as promised by the caller; the last three are written before they are read.
    unsafe {
        let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
        let mut lock = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        #[cfg(feature = "pg15")]
        let mut indexes = false;
        #[cfg(not(feature = "pg15"))]
        let mut indexes = pg_sys::TU_UpdateIndexes::TU_None;
        let result = pg_sys::table_tuple_update(
            table,
            place,
            slot,
            pg_sys::GetCurrentCommandId(true),
            pg_sys::GetActiveSnapshot(),
            std::ptr::null_mut(),
            true,
            &mut failure,
            &mut lock,
            &mut indexes,
        );
        #[cfg(feature = "pg15")]
        return (result, indexes);
        #[cfg(not(feature = "pg15"))]
        return (result, indexes != pg_sys::TU_UpdateIndexes::TU_None);
    }
}

/// The attributes of a table.
///
/// SAFETY: the descriptor outlives what is given.
pub(super) unsafe fn attributes<'a>(descriptor: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: as promised by the caller; from 18 on they lie behind the compact ones, as before one after the other.
    unsafe {
        let count = (*descriptor).natts as usize;
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_slice(count);
        #[cfg(feature = "pg18")]
        return std::slice::from_raw_parts((*descriptor).compact_attrs.as_ptr().add(count).cast(), count);
    }
}

/// SAFETY: inside a transaction.
pub(super) unsafe fn owns_database(database: pg_sys::Oid) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_database_ownercheck(database, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, pg_sys::GetUserId());
    }
}

pub(super) fn has_returning(update: &pg_sys::UpdateStmt) -> bool {
    #[cfg(not(feature = "pg18"))]
    return !update.returningList.is_null();
    #[cfg(feature = "pg18")]
    return !update.returningClause.is_null();
}

/// The number under which a wait of this name is shown. Names are the server's since 17, as many as 128 for all extensions together: where they
/// are used up, the wait is shown without one.
pub(super) fn wait_event(name: &std::ffi::CStr) -> u32 {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    {
        let _ = name;
        pg_sys::PG_WAIT_EXTENSION
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    // SAFETY: the name ends with a zero and is copied. A failure leaves the server's lock on names taken, and no other: begun before a wait.
    unsafe {
        pgrx::PgTryBuilder::new(|| pg_sys::WaitEventExtensionNew(name.as_ptr()))
            .catch_others(|_| {
                pg_sys::LWLockReleaseAll();
                pg_sys::PG_WAIT_EXTENSION
            })
            .execute()
    }
}

/// SAFETY: the handler does only what is allowed in one.
pub(super) unsafe fn handle_signal(signal: u32, handler: unsafe extern "C-unwind" fn(c_int)) {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal as c_int, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal as c_int, Some(handler));
    }
}
