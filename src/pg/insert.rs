//! Rows that are decoded already, straight into a plain table: slots of a batch, one call of the table's multi-insert for it.
//!
//! Promises: the same rows, index entries, checks and errors as COPY would give; [`suits`] says for which tables that is so, and
//! every other one is COPY's. Never fires a trigger, for it takes no table that has one.

use pgrx::pg_sys;

use crate::model::{Code, Error, Result};
use crate::pg::copy::{Rows, Violation};
use crate::pg::datum::Reader;
use crate::pg::interrupts;
use crate::pg::judging::Judge;
use crate::pg::tally::{Counting, Tallies};
use crate::pg::versions;

/// Rows that go into the table together: some pages full, so that WAL is written a page at a time; each needs a slot of its own.
const BATCH: usize = 250;

/// Whether rows with these columns can go straight into the relation: a plain table that does nothing of its own with them.
///
/// SAFETY: `relation` is open.
pub(super) unsafe fn suits(relation: pg_sys::Relation, attributes: &[i16]) -> bool {
    // SAFETY: an open relation's entry and descriptor are there as long as it is open.
    unsafe {
        let form = &*(*relation).rd_rel;
        let own_values = versions::attributes((*relation).rd_att).iter().any(|attribute| {
            let filled = attributes.contains(&attribute.attnum);
            attribute.attgenerated != 0
                || (!filled && (attribute.atthasdef || attribute.attidentity != 0) && !attribute.attisdropped)
        });
        attributes.iter().all(|number| *number > 0)
            && form.relkind as u8 == pg_sys::RELKIND_RELATION
            && form.relam == pg_sys::HEAP_TABLE_AM_OID
            && (*relation).trigdesc.is_null()
            && !own_values
    }
}

/// What inserting needs. Everything in it lives in the context that was current when it was made.
struct Target {
    relation: pg_sys::Relation,
    estate: *mut pg_sys::EState,
    info: *mut pg_sys::ResultRelInfo,
    bulk: pg_sys::BulkInsertState,
    /// Number of the attribute, from 0, and how to read it: in the order of the rows' fields.
    columns: Vec<(usize, Reader)>,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    filled: usize,
    judge: Option<Judge>,
    passed: Vec<*mut pg_sys::TupleTableSlot>,
    /// The partition's bounds look at nothing but the first field, which is the same in all rows.
    one_look: bool,
    looked: bool,
    /// Every index says no more of a block than which values of the first field it holds: one row of each block will do.
    by_block: bool,
    block: Option<pg_sys::BlockNumber>,
    lasting: pg_sys::MemoryContext,
    /// For what a batch's values need, and reset with it.
    values: pg_sys::MemoryContext,
}

/// Inserts the rows. `attributes` are the numbers of their columns; `judge` says which go in. Gives what it found fault with.
///
/// SAFETY: the relation suits, `state` holds its range table entry with rights checked, `item` is that; the caller is in a transaction and
/// keeps the relation open.
pub(super) unsafe fn load(
    (state, item): (*mut pg_sys::ParseState, *mut pg_sys::ParseNamespaceItem),
    relation: pg_sys::Relation,
    attributes: &[i16],
    judge: Option<Judge>,
    rows: &mut dyn Rows,
    tallies: &mut Tallies,
) -> Result<Vec<Violation>> {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut target = Target::open(state, relation, attributes, judge, rows.size());
        let mut counting = Counting::open(tallies, state, item)?;
        let mut buffer = Vec::new();
        while rows.fill(&mut buffer) {
            target.take(&mut buffer, &mut counting)?;
            buffer.clear();
            interrupts::check();
        }
        Ok(target.close())
    }
}

impl Target {
    unsafe fn open(
        state: *mut pg_sys::ParseState,
        relation: pg_sys::Relation,
        attributes: &[i16],
        judge: Option<Judge>,
        size: usize,
    ) -> Target {
        // SAFETY: the same calls in the same order as COPY makes them.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            versions::init_range_table(estate, state);
            let info = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::ExecInitResultRelation(estate, info, 1);
            versions::check_target(info);
            pg_sys::ExecOpenIndices(info, false);
            (*estate).es_output_cid = pg_sys::GetCurrentCommandId(true);
            let described = versions::attributes((*relation).rd_att);
            let columns = attributes
                .iter()
                .map(|number| {
                    let i = *number as usize - 1;
                    (i, Reader::new(described[i].atttypid, described[i].atttypmod))
                })
                .collect();
            let values = pg_sys::AllocSetContextCreateExtended(
                pg_sys::CurrentMemoryContext,
                c"millrace values".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            );
            let first = attributes.first().copied().unwrap_or(0);
            Target {
                relation,
                estate,
                info,
                bulk: bulk_state(size),
                columns,
                slots: Vec::with_capacity(BATCH),
                filled: 0,
                judge,
                passed: Vec::with_capacity(BATCH),
                one_look: looks_at_one_column(relation, first),
                looked: false,
                by_block: summarize_one_column(info, first),
                block: None,
                lasting: pg_sys::CurrentMemoryContext,
                values,
            }
        }
    }

    /// Inserts the tuples that the buffer holds, which are whole.
    unsafe fn take(&mut self, buffer: &mut [u8], counting: &mut Counting) -> Result<()> {
        let mut at = 0;
        while at < buffer.len() {
            // SAFETY: the buffer stays as it is until the batch is in the table, and so does the memory that values are made in.
            unsafe {
                let old = pg_sys::MemoryContextSwitchTo(self.values);
                let read = self.fill_slot(buffer, at);
                pg_sys::MemoryContextSwitchTo(old);
                at = read?;
                if self.filled == BATCH {
                    self.flush(counting)?;
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.flush(counting) }
    }

    /// Reads one tuple into the next slot; gives where the one behind it begins.
    unsafe fn fill_slot(&mut self, buffer: &mut [u8], from: usize) -> Result<usize> {
        let broken = || Error::new(Code::Internal, "a row on its way into the table is malformed");
        // SAFETY: a slot made for the relation has room for as many values as its descriptor has attributes, which the numbers of
        // `columns` are among.
        unsafe {
            if self.filled == self.slots.len() {
                let values = pg_sys::MemoryContextSwitchTo(self.lasting);
                self.slots.push(pg_sys::table_slot_create(self.relation, std::ptr::null_mut()));
                pg_sys::MemoryContextSwitchTo(values);
            }
            let slot = self.slots[self.filled];
            let natts = (*(*slot).tts_tupleDescriptor).natts as usize;
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, natts);
            let values = std::slice::from_raw_parts_mut((*slot).tts_values, natts);
            nulls.fill(true);
            let count = buffer.get(from..).and_then(|b| b.first_chunk::<2>()).ok_or_else(broken)?;
            if usize::from(u16::from_be_bytes(*count)) != self.columns.len() {
                return Err(broken());
            }
            let mut at = from + 2;
            for (i, reader) in &mut self.columns {
                let length = buffer.get(at..).and_then(|b| b.first_chunk::<4>()).ok_or_else(broken)?;
                let length = i32::from_be_bytes(*length);
                at += 4;
                if length < 0 {
                    reader.null();
                    continue;
                }
                let end = at + length as usize;
                if end > buffer.len() {
                    return Err(broken());
                }
                values[*i] = reader.read(buffer, at, end);
                nulls[*i] = false;
                at = end;
            }
            // As ExecStoreVirtualTuple.
            (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*slot).tts_nvalid = natts as i16;
            self.filled += 1;
            Ok(at)
        }
    }

    /// Puts the filled slots that pass into the table and its indexes, counts them, and empties them.
    unsafe fn flush(&mut self, counting: &mut Counting) -> Result<()> {
        // SAFETY: slots, relation and state belong together; what may raise an error is called under a guard, in frames that own nothing.
        unsafe {
            self.choose();
            self.check();
            let (relation, passed) = (self.relation, &mut self.passed);
            if !passed.is_empty() {
                pg_sys::table_multi_insert(
                    relation,
                    passed.as_mut_ptr(),
                    passed.len() as i32,
                    (*self.estate).es_output_cid,
                    0,
                    self.bulk,
                );
                if (*self.info).ri_NumIndices > 0 {
                    for slot in passed.iter() {
                        let block = Some(block_of(&(**slot).tts_tid));
                        if self.by_block && self.block == block {
                            continue;
                        }
                        self.block = block;
                        versions::insert_index_entries(self.info, *slot, self.estate);
                    }
                }
                counting.see(per_tuple(self.estate), passed)?;
            }
            let filled = &self.slots[..self.filled];
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for slot in filled {
                    if let Some(clear) = (*(**slot).tts_ops).clear {
                        clear(*slot);
                    }
                }
            });
            self.filled = 0;
            self.passed.clear();
            pg_sys::MemoryContextReset(self.values);
            pg_sys::MemoryContextReset((*per_tuple(self.estate)).ecxt_per_tuple_memory);
            Ok(())
        }
    }

    /// Lists the slots whose rows go in.
    unsafe fn choose(&mut self) {
        self.passed.clear();
        let filled = &self.slots[..self.filled];
        match &mut self.judge {
            // SAFETY: the slots are of the relation; the context's memory is kept until the batch is in the table.
            Some(judge) => unsafe { judge.choose(per_tuple(self.estate), filled, &mut self.passed) },
            None => self.passed.extend_from_slice(filled),
        }
    }

    /// NOT NULL, CHECK and the partition's bounds.
    unsafe fn check(&mut self) {
        // SAFETY: as for `flush`.
        unsafe {
            let descriptor = (*self.relation).rd_att;
            let constraints = (*descriptor).constr;
            let checks = !constraints.is_null() && (*constraints).num_check > 0;
            let required: Vec<usize> = if constraints.is_null() || !(*constraints).has_not_null {
                vec![]
            } else {
                versions::attributes(descriptor)
                    .iter()
                    .enumerate()
                    .filter(|(_, a)| a.attnotnull)
                    .map(|(i, _)| i)
                    .collect()
            };
            let partition = (*(*self.relation).rd_rel).relispartition;
            for slot in &self.passed {
                if checks || required.iter().any(|i| *(**slot).tts_isnull.add(*i)) {
                    pg_sys::ExecConstraints(self.info, *slot, self.estate);
                }
                if partition && !(self.one_look && self.looked) {
                    pg_sys::ExecPartitionCheck(self.info, *slot, self.estate, true);
                    self.looked = true;
                }
            }
        }
    }

    unsafe fn close(self) -> Vec<Violation> {
        // SAFETY: what `open` made, once.
        unsafe {
            pg_sys::FreeBulkInsertState(self.bulk);
            for slot in self.slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::ExecCloseResultRelations(self.estate);
            pg_sys::ExecCloseRangeTableRelations(self.estate);
            pg_sys::FreeExecutorState(self.estate);
            pg_sys::MemoryContextDelete(self.values);
            self.judge.map(Judge::into_violations).unwrap_or_default()
        }
    }
}

unsafe extern "C-unwind" {
    /// utils/partcache.h
    fn RelationGetPartitionQual(relation: pg_sys::Relation) -> *mut pg_sys::List;
}

/// As COPY has one, but its ring of few buffers, which the loader would have to write out itself again and again, is kept for a load that
/// would push much else out of memory: as for sequential scans (initscan in heapam.c), one of more than a quarter of it. The rows of a
/// smaller chunk are still there for those who read them next.
unsafe fn bulk_state(size: usize) -> pg_sys::BulkInsertState {
    /// access/hio.h: what it begins with.
    #[repr(C)]
    struct Head {
        strategy: pg_sys::BufferAccessStrategy,
    }
    // SAFETY: the state was just made and is ours alone; without a strategy its buffers are found as any other.
    unsafe {
        let state = pg_sys::GetBulkInsertState();
        let memory = pg_sys::NBuffers as usize * pg_sys::BLCKSZ as usize;
        let head = state.cast::<Head>();
        if size < memory / 4 && !(*head).strategy.is_null() {
            pg_sys::FreeAccessStrategy((*head).strategy);
            (*head).strategy = std::ptr::null_mut();
        }
        state
    }
}

/// As GetPerTupleExprContext.
unsafe fn per_tuple(estate: *mut pg_sys::EState) -> *mut pg_sys::ExprContext {
    // SAFETY: a live executor state.
    unsafe {
        if (*estate).es_per_tuple_exprcontext.is_null() {
            pg_sys::MakePerTupleExprContext(estate)
        } else {
            (*estate).es_per_tuple_exprcontext
        }
    }
}

fn block_of(tid: &pg_sys::ItemPointerData) -> pg_sys::BlockNumber {
    u32::from(tid.ip_blkid.bi_hi) << 16 | u32::from(tid.ip_blkid.bi_lo)
}

/// Whether all indexes are BRIN over this attribute alone, and without a condition: to such a one, rows of a block that have the same
/// value are one.
unsafe fn summarize_one_column(info: *mut pg_sys::ResultRelInfo, attribute: i16) -> bool {
    // SAFETY: the indexes were opened with `info`, which has as many of both as it says.
    unsafe {
        (0..(*info).ri_NumIndices as usize).all(|i| {
            let (index, how) = (*(*info).ri_IndexRelationDescs.add(i), *(*info).ri_IndexRelationInfo.add(i));
            (*(*index).rd_rel).relam == pg_sys::BRIN_AM_OID
                && (*how).ii_Predicate.is_null()
                && (*how).ii_NumIndexAttrs == 1
                && (*how).ii_IndexAttrNumbers[0] == attribute
        })
    }
}

/// Whether the bounds of a partition, if the relation is one, look at this attribute alone.
unsafe fn looks_at_one_column(relation: pg_sys::Relation, attribute: i16) -> bool {
    // SAFETY: the relation is open; the walk reads the tree of its bounds.
    unsafe {
        if !(*(*relation).rd_rel).relispartition {
            return false;
        }
        let bounds = pg_sys::ffi::pg_guard_ffi_boundary(|| RelationGetPartitionQual(relation));
        let mut seen: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        pg_sys::pull_varattnos(bounds.cast(), 1, &mut seen);
        let member = i32::from(attribute) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        pg_sys::bms_membership(seen) == pg_sys::BMS_Membership::BMS_SINGLETON && pg_sys::bms_is_member(member, seen)
    }
}
