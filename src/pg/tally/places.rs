//! Where the groups of a chunk lie in the table that an aggregate keeps them in, looked up without a statement.
//!
//! Promises: finds what the statement that merges would see and find. Makes room on a page only where the new versions of its rows would find
//! none: a statement that looks a row up does so each time, which for a group here and there costs more than to change it. The table's lock
//! is kept until the transaction ends, so that nothing that moves rows comes between. Never changes a row.

use std::collections::HashMap;

use pgrx::itemptr::item_pointer_get_block_number;
use pgrx::pg_sys::{self, Datum};

use crate::pg::{interrupts, versions};

use super::tables::{self, Column};
use super::{Group, State};

/// What a new version of a row takes more than the old one, at most as a rule: its pointer, what its length is rounded up by, longer sums.
const BESIDE: usize = 20;

/// A page with rows that are about to be changed.
struct Page {
    /// Bytes that are not used.
    room: usize,
    /// Bytes that the new versions will take, if they are as long as the old ones.
    wanted: usize,
}

/// The table, and its index of hashes. To be closed by [`Table::close`]; behind an error the end of the transaction does it.
pub(super) struct Table {
    relation: pg_sys::Relation,
    index: pg_sys::Relation,
    keys: Vec<Column>,
}

impl Table {
    /// `None` where the table is not as it was made, where groups lie beside it, or where the current role may not read it. `types`: of the keys.
    pub(super) fn open(state: &State, types: impl Iterator<Item = pg_sys::Oid>) -> Option<Table> {
        if let Some(long) = &state.long {
            let long = tables::open(&state.schema, long)?;
            // SAFETY: opened above.
            let is_empty = unsafe {
                let blocks = pg_sys::RelationGetNumberOfBlocksInFork(long, pg_sys::ForkNumber::MAIN_FORKNUM);
                tables::close(long);
                blocks == 0
            };
            if !is_empty {
                return None;
            }
        }
        let relation = tables::open(&state.schema, &state.table)?;
        // SAFETY: opened above; closed here or by `close`.
        unsafe {
            let named = types.zip(&state.hashes).enumerate();
            let named = named.map(|(i, (kind, hash))| (crate::model::aggregate::key_column(i), kind, hash));
            let found = tables::columns(relation, named)
                .and_then(|(hash, keys)| Some(Table { relation, index: tables::index_of(relation, hash)?, keys }));
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

    /// The place of each group's row; `None` for a group that has none.
    ///
    /// SAFETY: the groups' keys are of the types that the table was opened for, and live.
    pub(super) unsafe fn find(&self, groups: &[Group]) -> Vec<Option<pg_sys::ItemPointerData>> {
        let mut places = vec![None; groups.len()];
        let mut pages: HashMap<pg_sys::BlockNumber, Page> = HashMap::new();
        // SAFETY: as promised by the caller. The snapshot is of the kind that the next statement will have; scan and slot end here.
        unsafe {
            let hash = |group: &Group| self.keys.iter().zip(&group.keys).fold(0, |all, (c, key)| all ^ c.hash(*key));
            let mut hashes: Vec<(i64, usize)> = groups.iter().enumerate().map(|(i, group)| (hash(group), i)).collect();
            // Neighbours in the index are found on pages that are at hand.
            hashes.sort_unstable();
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
            let scan = versions::begin_index_scan(self.relation, self.index, snapshot, 1);
            let slot = pg_sys::MakeSingleTupleTableSlot((*self.relation).rd_att, &pg_sys::TTSOpsBufferHeapTuple);
            for (hash, i) in hashes {
                interrupts::check();
                tables::seek(scan, hash);
                places[i] = self.next(scan, slot, &groups[i], &mut pages);
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::index_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
            for (block, _) in pages.into_iter().filter(|(_, page)| page.room < page.wanted) {
                let buffer = pg_sys::ReadBuffer(self.relation, block);
                pg_sys::heap_page_prune_opt(self.relation, buffer);
                pg_sys::ReleaseBuffer(buffer);
            }
        }
        places
    }

    /// The group among the rows that the scan gives.
    ///
    /// SAFETY: the scan is of the table's index, and the slot of the table; as for `find`.
    unsafe fn next(
        &self,
        scan: pg_sys::IndexScanDesc,
        slot: *mut pg_sys::TupleTableSlot,
        group: &Group,
        pages: &mut HashMap<pg_sys::BlockNumber, Page>,
    ) -> Option<pg_sys::ItemPointerData> {
        // SAFETY: a page is read while it is pinned, and searched for the version that the snapshot sees while it is locked, as an index scan
        // does. The slot holds a pin of its own, and what it refers to lives until it is cleared.
        unsafe {
            loop {
                let place = pg_sys::index_getnext_tid(scan, pg_sys::ScanDirection::ForwardScanDirection);
                if place.is_null() {
                    return None;
                }
                // Of the version, where the index knows the first.
                let mut place = *place;
                let block = item_pointer_get_block_number(&place);
                let buffer = pg_sys::ReadBuffer(self.relation, block);
                let (mut tuple, mut is_dead): (pg_sys::HeapTupleData, bool) = (std::mem::zeroed(), false);
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let is_seen = pg_sys::heap_hot_search_buffer(
                    &mut place,
                    self.relation,
                    buffer,
                    (*scan).xs_snapshot,
                    &mut tuple,
                    &mut is_dead,
                    true,
                );
                // The index forgets what nobody can see any more.
                (*scan).kill_prior_tuple = is_dead && !(*scan).xactStartedInRecovery;
                let room = pg_sys::PageGetHeapFreeSpace(pg_sys::BufferGetPage(buffer));
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
                let is_it = is_seen && {
                    pg_sys::ExecStoreBufferHeapTuple(&mut tuple, slot, buffer);
                    let is_it = self.is_of(slot, group);
                    if let Some(clear) = (*(*slot).tts_ops).clear {
                        pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
                    }
                    is_it
                };
                pg_sys::ReleaseBuffer(buffer);
                if is_it {
                    let page = pages.entry(block).or_insert(Page { room, wanted: 0 });
                    page.wanted += tuple.t_len as usize + BESIDE;
                    return Some(place);
                }
            }
        }
    }

    /// Whether the slot's row is the group's.
    ///
    /// SAFETY: the slot holds a row of the table; as for `find`.
    unsafe fn is_of(&self, slot: *mut pg_sys::TupleTableSlot, group: &Group) -> bool {
        self.keys.iter().zip(&group.keys).all(|(column, key)| {
            let mut null = true;
            // SAFETY: as promised by the caller; the table has a column of this number.
            unsafe {
                let value: Datum = pg_sys::slot_getattr(slot, column.number as i32 + 1, &mut null);
                column.same((!null).then_some(value), *key)
            }
        })
    }
}
