//! A row of one of the extension's own tables, found by an index and changed where it lies, without a statement: where one row is all that
//! is wanted, starting and ending an executor costs several times the work.
//!
//! Promises: sees, waits and conflicts as a statement of the same transaction would; rows are entered into all indexes. Fires no trigger
//! and checks nothing but NOT NULL and unique indexes: for tables that have no more than that to be kept by the change at hand.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::{FromDatum, IntoDatum};

use crate::model::{Code, Error, Result};
use crate::pg::indexes::Indexes;
use crate::pg::versions;

/// What is compared with a column of the index.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    Int4(i32),
    Int8(i64),
    Text(&'a str),
}

/// Which rows are there to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// What the calling statement sees.
    Statement,
    /// What is committed by now, whatever the transaction's isolation.
    Now,
}

/// A column's value to be; `None` is NULL.
pub struct Value(pub(super) Option<pg_sys::Datum>);

impl<T: IntoDatum> From<T> for Value {
    fn from(value: T) -> Value {
        Value(value.into_datum())
    }
}

/// What is read through it and written through it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A table, the index that its rows are found by, and the row that was found last.
pub struct Table {
    relation: pg_sys::Relation,
    index: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    lock: i32,
}

impl Table {
    /// Of the extension's schema.
    pub fn open(name: &CStr, index: &CStr, access: Access) -> Result<Table> {
        let lock = match access {
            Access::Read => pg_sys::AccessShareLock,
            Access::Write => pg_sys::RowExclusiveLock,
        } as i32;
        // SAFETY: in a transaction; the names end with a zero, and what they name is locked by being opened, until it is closed.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"millrace".as_ptr(), true);
            let find = |name: &CStr| match pg_sys::get_relname_relid(name.as_ptr(), schema) {
                pg_sys::InvalidOid => {
                    let message = format!("relation \"millrace.{}\" is gone", name.to_string_lossy());
                    Err(Error::new(Code::Internal, message).hint("Drop the extension and create it anew."))
                }
                found => Ok(found),
            };
            let (table, index) = (find(name)?, find(index)?);
            let relation = pg_sys::table_open(table, lock);
            let index = pg_sys::index_open(index, lock);
            let slot = pg_sys::table_slot_create(relation, std::ptr::null_mut());
            Ok(Table { relation, index, slot, lock })
        }
    }

    /// Goes to the first row whose leading columns of the index have these values.
    pub fn find<const N: usize>(&mut self, keys: [Key; N], seen: Seen) -> Result<bool> {
        // SAFETY: the index is open and has as many columns as are asked for, of the types that the functions compare; the scan ends here,
        // and the slot keeps the row's page for itself.
        unsafe {
            let mut entries: [pg_sys::ScanKeyData; N] = std::mem::zeroed();
            let count = usize::from((*(*self.index).rd_index).indnkeyatts.cast_unsigned());
            for (i, key) in keys.into_iter().enumerate() {
                let (kind, equal, value) = match key {
                    Key::Int4(value) => (pg_sys::INT4OID, pg_sys::F_INT4EQ, value.into_datum()),
                    Key::Int8(value) => (pg_sys::INT8OID, pg_sys::F_INT8EQ, value.into_datum()),
                    Key::Text(value) => (pg_sys::TEXTOID, pg_sys::F_TEXTEQ, value.into_datum()),
                };
                if i >= count || *(*self.index).rd_opcintype.add(i) != kind {
                    return Err(Error::new(Code::Internal, format!("column {i} of an index is not of type {kind}")));
                }
                pg_sys::ScanKeyEntryInitialize(
                    &mut entries[i],
                    0,
                    i as i16 + 1,
                    pg_sys::BTEqualStrategyNumber as u16,
                    pg_sys::InvalidOid,
                    *(*self.index).rd_indcollation.add(i),
                    pg_sys::Oid::from(equal),
                    value.unwrap_or(pg_sys::Datum::null()),
                );
            }
            let now = match seen {
                Seen::Now => Some(pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot())),
                Seen::Statement => None,
            };
            let snapshot = now.unwrap_or_else(|| pg_sys::GetActiveSnapshot());
            let scan = versions::begin_index_scan(self.relation, self.index, snapshot, N as i32);
            pg_sys::index_rescan(scan, entries.as_mut_ptr(), N as i32, std::ptr::null_mut(), 0);
            let found = pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, self.slot);
            pg_sys::index_endscan(scan);
            if let Some(now) = now {
                pg_sys::UnregisterSnapshot(now);
            }
            Ok(found)
        }
    }

    /// Of the row that was found. T: the column's type.
    pub fn value<T: FromDatum>(&self, column: &str) -> Result<Option<T>> {
        let number = self.number(column)?;
        // SAFETY: the slot holds a row of the table, which has that many columns; what is by reference is copied or read before the row goes.
        unsafe {
            let mut null = true;
            let datum = pg_sys::slot_getattr(self.slot, number as i32 + 1, &mut null);
            Ok(T::from_datum(datum, null))
        }
    }

    /// A value that is never NULL.
    pub fn given<T: FromDatum>(&self, column: &str) -> Result<T> {
        let value = self.value(column)?;
        value.ok_or_else(|| Error::new(Code::Internal, format!("column \"{column}\" of a row of ours is NULL")))
    }

    /// Locks the row that was found, as FOR UPDATE SKIP LOCKED; false if somebody else has it, or has changed it since.
    pub fn lock_or_skip(&mut self) -> bool {
        // SAFETY: the slot holds a row of the open table, seen by the active snapshot.
        unsafe {
            let mut place = (*self.slot).tts_tid;
            let mut failure: pg_sys::TM_FailureData = std::mem::zeroed();
            let result = pg_sys::table_tuple_lock(
                self.relation,
                &mut place,
                pg_sys::GetActiveSnapshot(),
                self.slot,
                pg_sys::GetCurrentCommandId(true),
                pg_sys::LockTupleMode::LockTupleExclusive,
                pg_sys::LockWaitPolicy::LockWaitSkip,
                0,
                &mut failure,
            );
            result == pg_sys::TM_Result::TM_Ok
        }
    }

    /// Changes the row that was found, waiting for whoever has it locked; false, and nothing is changed, if somebody else has changed it since.
    pub fn update<const N: usize>(&mut self, changes: [(&str, Value); N]) -> Result<bool> {
        // SAFETY: the slot holds a row of the open table; its values are as many as the descriptor says, and the changed row is a copy.
        unsafe {
            let described = (*self.relation).rd_att;
            let count = (*described).natts as usize;
            let mut values = vec![pg_sys::Datum::null(); count];
            let (mut nulls, mut replaces) = (vec![false; count], vec![false; count]);
            for (column, Value(value)) in changes {
                let i = self.number(column)?;
                replaces[i] = true;
                nulls[i] = value.is_none();
                values[i] = value.unwrap_or(pg_sys::Datum::null());
            }
            let mut place = (*self.slot).tts_tid;
            let old = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, std::ptr::null_mut());
            let new = pg_sys::heap_modify_tuple(
                old,
                described,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                replaces.as_mut_ptr(),
            );
            // The new row needs a slot that owns no page.
            let slot = pg_sys::MakeSingleTupleTableSlot(described, &pg_sys::TTSOpsHeapTuple);
            pg_sys::ExecStoreHeapTuple(new, slot, true);
            let (result, elsewhere) = versions::update_row(self.relation, &mut place, slot);
            if result == pg_sys::TM_Result::TM_Ok && elsewhere {
                self.enter(slot);
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            Ok(result == pg_sys::TM_Result::TM_Ok)
        }
    }

    /// Makes a row; columns that are not named are NULL.
    pub fn insert<const N: usize>(&mut self, row: [(&str, Value); N]) -> Result<()> {
        // SAFETY: the slot was made for the open table and has room for as many values as its descriptor says; what they refer to lives in
        // the caller's memory context.
        unsafe {
            let described = (*self.relation).rd_att;
            let count = (*described).natts as usize;
            let clear = (*(*self.slot).tts_ops).clear;
            if let Some(clear) = clear {
                let slot = self.slot;
                pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
            }
            let values = std::slice::from_raw_parts_mut((*self.slot).tts_values, count);
            let nulls = std::slice::from_raw_parts_mut((*self.slot).tts_isnull, count);
            nulls.fill(true);
            for (column, Value(value)) in row {
                let i = self.number(column)?;
                nulls[i] = value.is_none();
                values[i] = value.unwrap_or(pg_sys::Datum::null());
            }
            let attributes = versions::attributes(described);
            if let Some(missing) = attributes.iter().zip(&*nulls).find(|(a, null)| a.attnotnull && **null) {
                let name = pgrx::name_data_to_str(&missing.0.attname);
                return Err(Error::new(Code::Internal, format!("column \"{name}\" of a row of ours would be NULL")));
            }
            pg_sys::ExecStoreVirtualTuple(self.slot);
            pg_sys::table_tuple_insert(
                self.relation,
                self.slot,
                pg_sys::GetCurrentCommandId(true),
                0,
                std::ptr::null_mut(),
            );
            self.enter(self.slot);
        }
        Ok(())
    }

    /// Enters the slot's row into all indexes of the table.
    unsafe fn enter(&self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the table is open; the slot has the row's place.
        unsafe {
            let indexes = Indexes::open(self.relation);
            indexes.enter(slot);
            indexes.close();
        }
    }

    /// From 0.
    fn number(&self, column: &str) -> Result<usize> {
        // SAFETY: the relation is open.
        let attributes = unsafe { versions::attributes((*self.relation).rd_att) };
        attributes
            .iter()
            .position(|attribute| {
                let name = attribute.attname.data.iter().map(|c| c.cast_unsigned()).take_while(|c| *c != 0);
                !attribute.attisdropped && name.eq(column.bytes())
            })
            .ok_or_else(|| Error::new(Code::Internal, format!("a table of ours has no column \"{column}\"")))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // Behind an error the end of the transaction closes what is open.
        if !std::thread::panicking() {
            // SAFETY: opened with these locks. Those on what was changed stay until the transaction ends, as after a statement.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                let keep = pg_sys::NoLock as i32;
                let lock = if self.lock == pg_sys::AccessShareLock as i32 { self.lock } else { keep };
                pg_sys::index_close(self.index, lock);
                pg_sys::table_close(self.relation, lock);
            }
        }
    }
}

/// Raises an error where nothing may be written.
pub fn about_to_write(what: &CStr) {
    // SAFETY: reads the transaction's state.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(what.as_ptr());
        pg_sys::PreventCommandIfParallelMode(what.as_ptr());
    }
}
