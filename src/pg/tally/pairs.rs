//! Pairs of group and distinct value in the table that an aggregate keeps them in: looked up in the order of their hash, and entered where
//! they are new, without a statement.
//!
//! Promises: pairs are found by the hash and told apart by the equality that the SQL of aggregates goes by, and what is entered is what that
//! SQL would enter, in all indexes. [`Table::open`] refuses every table that something of its own happens in: that one is the SQL's. The
//! table's lock is kept until the transaction ends. Never fires a trigger.

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{IntoDatum, pg_sys};

use crate::model::aggregate::{Hash, key_column};
use crate::pg::indexes::Indexes;
use crate::pg::{interrupts, versions};

use super::tables::{self, Column};
use super::{Fresh, Group, Set};

/// Rows that go into the table together; each needs a slot of its own.
const BATCH: usize = 250;

/// The table, and its index of hashes. To be closed by [`Table::close`]; behind an error the end of the transaction does it.
pub(super) struct Table {
    relation: pg_sys::Relation,
    index: pg_sys::Relation,
    hash: usize,
    value: Column,
    keys: Vec<Column>,
}

impl Table {
    /// `None` where the table is not as it was made, or the current role may not write it. `types`: of the value, then of the keys.
    pub(super) fn open(set: &Set, types: &[Oid]) -> Option<Table> {
        let relation = tables::open(&set.schema, &set.table)?;
        // SAFETY: opened above; closed here or by `close`.
        unsafe {
            let found = columns(relation, set, types).and_then(|(hash, mut columns)| {
                let keys = columns.split_off(1);
                let index = tables::index_of(relation, hash)?;
                Some(Table { relation, index, hash, value: columns.pop()?, keys })
            });
            if found.is_none() {
                tables::close(relation);
            }
            found
        }
    }

    pub(super) fn close(self) {
        // SAFETY: opened by `open`, once.
        unsafe {
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
            tables::close(self.relation);
        }
    }

    /// Whether it has never held a row.
    pub(super) fn is_new(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) == 0 }
    }

    /// Enters the pairs that are not there yet; gives for each group how many values it has gained. Of groups that are one to GROUP BY,
    /// one gains what they share. `are_new`: none of the pairs, which all differ, is there byte by byte.
    ///
    /// SAFETY: keys and values are of the types that the table was opened for, and live.
    pub(super) unsafe fn enter(&self, groups: &[Group], fresh: &[Fresh], are_new: bool) -> Vec<i64> {
        let mut gained = vec![0; groups.len()];
        // SAFETY: as promised by the caller.
        let mut new = unsafe { self.hashed(groups, fresh) };
        if !are_new || !self.keys.iter().chain([&self.value]).all(Column::is_bytes) {
            // SAFETY: as above.
            new = unsafe { self.new_pairs(groups, new) };
        }
        for (_, pair) in &new {
            gained[pair.group as usize] += 1;
        }
        // SAFETY: as above.
        unsafe { self.insert(groups, &new) };
        gained
    }

    /// Pairs in the order of their hashes.
    unsafe fn hashed<'a>(&self, groups: &[Group], fresh: &'a [Fresh]) -> Vec<(i64, &'a Fresh)> {
        let mut hashes: Vec<Option<i64>> = vec![None; groups.len()];
        let mut all: Vec<(i64, &Fresh)> = Vec::with_capacity(fresh.len());
        for pair in fresh {
            let group = pair.group as usize;
            // SAFETY: as promised by the caller of `enter`.
            unsafe {
                let keys = || self.keys.iter().zip(&groups[group].keys).fold(0, |all, (c, key)| all ^ c.hash(*key));
                all.push((self.value.hash(Some(pair.value)) ^ *hashes[group].get_or_insert_with(keys), pair));
            }
        }
        all.sort_unstable_by_key(|(hash, _)| *hash);
        all
    }

    /// Those that are not there.
    unsafe fn new_pairs<'a>(&self, groups: &[Group], all: Vec<(i64, &'a Fresh)>) -> Vec<(i64, &'a Fresh)> {
        let mut new: Vec<(i64, &Fresh)> = Vec::with_capacity(all.len());
        // SAFETY: as promised by the caller of `enter`. The scan sees what earlier commands of this transaction have entered, and ends here.
        unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let scan = versions::begin_index_scan(self.relation, self.index, snapshot, 1);
            let slot = pg_sys::table_slot_create(self.relation, std::ptr::null_mut());
            for (hash, pair) in all {
                interrupts::check();
                let keys = &groups[pair.group as usize].keys;
                let is_same = |other: &Fresh| {
                    self.value.same(Some(other.value), Some(pair.value))
                        && self
                            .keys
                            .iter()
                            .zip(keys.iter().zip(&groups[other.group as usize].keys))
                            .all(|(c, (a, b))| c.same(*a, *b))
                };
                let before = new.iter().rev().take_while(|(other, _)| *other == hash);
                if !before.map(|(_, other)| *other).any(is_same) && !self.holds(scan, slot, hash, pair.value, keys) {
                    new.push((hash, pair));
                }
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::index_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
        }
        new
    }

    /// Whether the table has the pair.
    unsafe fn holds(
        &self,
        scan: pg_sys::IndexScanDesc,
        slot: *mut pg_sys::TupleTableSlot,
        hash: i64,
        value: Datum,
        keys: &[Option<Datum>],
    ) -> bool {
        let attribute = |column: &Column| {
            let mut null = true;
            // SAFETY: the slot holds a row of the table, which has a column of this number.
            let value = unsafe { pg_sys::slot_getattr(slot, column.number as i32 + 1, &mut null) };
            (!null).then_some(value)
        };
        // SAFETY: the scan is of the table's index.
        unsafe {
            tables::seek(scan, hash);
            while pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot) {
                if self.value.same(attribute(&self.value), Some(value))
                    && self.keys.iter().zip(keys).all(|(column, key)| column.same(attribute(column), *key))
                {
                    return true;
                }
            }
            false
        }
    }

    /// Puts pairs into the table and its indexes.
    unsafe fn insert(&self, groups: &[Group], new: &[(i64, &Fresh)]) {
        if new.is_empty() {
            return;
        }
        // SAFETY: the same calls as the executor makes for a table that it inserts into. A slot of the table has room for as many values as
        // its descriptor has columns, and those that have no number here were dropped.
        unsafe {
            let indexes = Indexes::open(self.relation);
            let command = pg_sys::GetCurrentCommandId(true);
            let count = (*(*self.relation).rd_att).natts as usize;
            let mut slots: Vec<_> = (0..new.len().min(BATCH))
                .map(|_| pg_sys::table_slot_create(self.relation, std::ptr::null_mut()))
                .collect();
            for batch in new.chunks(BATCH) {
                interrupts::check();
                for (slot, (hash, pair)) in slots.iter().zip(batch) {
                    let values = std::slice::from_raw_parts_mut((**slot).tts_values, count);
                    let nulls = std::slice::from_raw_parts_mut((**slot).tts_isnull, count);
                    nulls.fill(true);
                    let mut put = |number: usize, value: Option<Datum>| {
                        nulls[number] = value.is_none();
                        values[number] = value.unwrap_or(Datum::null());
                    };
                    put(self.hash, hash.into_datum());
                    put(self.value.number, Some(pair.value));
                    for (column, key) in self.keys.iter().zip(&groups[pair.group as usize].keys) {
                        put(column.number, *key);
                    }
                    pg_sys::ExecStoreVirtualTuple(*slot);
                }
                let filled = &mut slots[..batch.len()];
                let (first, length) = (filled.as_mut_ptr(), filled.len() as i32);
                pg_sys::table_multi_insert(self.relation, first, length, command, 0, std::ptr::null_mut());
                for slot in filled {
                    indexes.enter(*slot);
                    if let Some(clear) = (*(**slot).tts_ops).clear {
                        pg_sys::ffi::pg_guard_ffi_boundary(|| clear(*slot));
                    }
                }
            }
            for slot in slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            indexes.close();
            // Whatever comes next finds them.
            pg_sys::CommandCounterIncrement();
        }
    }
}

/// The number of the column of hashes, and the columns of the value and the keys; `None` where the table has others, or does something of
/// its own with rows.
///
/// SAFETY: the relation is open.
unsafe fn columns(relation: pg_sys::Relation, set: &Set, types: &[Oid]) -> Option<(usize, Vec<Column>)> {
    // SAFETY: an open relation's entry and descriptor are there as long as it is open.
    unsafe {
        let (form, described) = (&*(*relation).rd_rel, (*relation).rd_att);
        let constraints = (*described).constr;
        let is_left_alone = (*relation).trigdesc.is_null()
            && !(form.relhasrules || form.relispartition || form.relhassubclass)
            && (constraints.is_null() || (*constraints).num_check == 0);
        let count = versions::attributes(described).iter().filter(|a| !a.attisdropped).count();
        // Values without a hash would all be found by the same.
        let is_hashed = set.hashes.first().is_some_and(|hash| *hash != Hash::None);
        if !is_left_alone || count != types.len() + 1 || !is_hashed || !tables::may(relation, pg_sys::ACL_INSERT) {
            return None;
        }
        let name = |i: usize| if i == 0 { "v".to_owned() } else { key_column(i - 1) };
        let named = types.iter().zip(&set.hashes).enumerate().map(|(i, (type_oid, hash))| (name(i), *type_oid, hash));
        tables::columns(relation, named)
    }
}
