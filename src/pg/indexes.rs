//! The indexes of a table that rows are put into without a statement.
//!
//! Promises: a row is entered into all of them whose condition it meets, as a statement would have it. Never touches the table itself.

use pgrx::pg_sys;

use crate::pg::versions;

/// All indexes of a table, open for entries.
pub(super) struct Indexes {
    info: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
}

impl Indexes {
    /// SAFETY: the relation is open, and stays so until [`Indexes::close`].
    pub(super) unsafe fn open(relation: pg_sys::Relation) -> Indexes {
        // SAFETY: the same calls as the executor makes for a table that it changes.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let info = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(info, relation, 1, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(info, false);
            Indexes { info, estate }
        }
    }

    /// SAFETY: the slot holds a row of the table, with its place there.
    pub(super) unsafe fn enter(&self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: as promised by the caller; both were made by `open`.
        unsafe { versions::insert_index_entries(self.info, slot, self.estate) }
    }

    pub(super) fn close(self) {
        // SAFETY: made by `open`, and closed once. Behind an error the end of the transaction does it.
        unsafe {
            pg_sys::ExecCloseIndices(self.info);
            pg_sys::FreeExecutorState(self.estate);
        }
    }
}
