//! Rules over the rows of a load, judged one row after the other: which go in, and which rules the others do not meet.
//!
//! Promises: the verdict that Postgres' own evaluation of each rule gives. What is compared here ([`plain`]) only ever finds that a row
//! meets a rule; every row that is not found to meet all of them is judged by Postgres, rule by rule.

mod plain;

use pgrx::PgList;
use pgrx::pg_sys;

use crate::model::{Code, Error, Result};
use crate::pg::condition;
use crate::pg::copy::{Filter, Violation};

use plain::Plain;

/// The rules of one load, ready to be evaluated. All of it lives in the memory context that was current when it was made.
pub(super) struct Judge {
    /// Where it is true nothing is asked of the row.
    exempt: *mut pg_sys::ExprState,
    plain: Vec<Plain>,
    /// What of the rules is not plain, all together; null: nothing.
    others: *mut pg_sys::ExprState,
    /// Each rule by itself, made when the first row is met that breaks one.
    each: Vec<*mut pg_sys::ExprState>,
    trees: Vec<*mut pg_sys::List>,
    /// Attribute of the row's number, from 0.
    row_no: usize,
    kept: u64,
    memory: pg_sys::MemoryContext,
    passes: Vec<bool>,
    violations: Vec<Violation>,
}

impl Judge {
    /// SAFETY: `state` and `item` belong together, and the item's relation, which has a column `_row_no`, is open.
    pub(super) unsafe fn new(
        state: *mut pg_sys::ParseState,
        item: *mut pg_sys::ParseNamespaceItem,
        filter: &Filter,
    ) -> Result<Judge> {
        // SAFETY: as promised by the caller; trees are palloc'ed, and none is changed after it was made ready.
        unsafe {
            let none = std::ptr::null_mut();
            let row_no = pg_sys::get_attnum((*(*item).p_rte).relid, c"_row_no".as_ptr());
            let row_no = usize::try_from(row_no - 1)
                .map_err(|_| Error::new(Code::WrongState, "the staging table has lost its column _row_no"))?;
            let exempt = match &filter.exempt {
                Some(sql) => pg_sys::ExecInitQual(condition::prepare(state, item, sql)?.cast(), none),
                None => std::ptr::null_mut(),
            };
            let (mut plain, mut trees, mut others) = (Vec::new(), Vec::new(), std::ptr::null_mut());
            for rule in &filter.rules {
                let tree = condition::prepare(state, item, rule)?.cast::<pg_sys::List>();
                for part in PgList::<pg_sys::Node>::from_pg(tree).iter_ptr() {
                    if !Plain::read(part, false, &mut plain) {
                        others = pg_sys::lappend(others, part.cast());
                    }
                }
                trees.push(tree);
            }
            Ok(Judge {
                exempt,
                plain,
                others: pg_sys::ExecInitQual(others, none),
                each: vec![],
                trees,
                row_no,
                kept: filter.kept,
                memory: pg_sys::CurrentMemoryContext,
                passes: vec![],
                violations: vec![],
            })
        }
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    /// Lists the slots whose rows go in, and notes what is wrong with rows.
    ///
    /// SAFETY: the slots hold rows of the relation; the context's memory is kept until the call returns.
    pub(super) unsafe fn choose(
        &mut self,
        context: *mut pg_sys::ExprContext,
        slots: &[*mut pg_sys::TupleTableSlot],
        passed: &mut Vec<*mut pg_sys::TupleTableSlot>,
    ) {
        // SAFETY: as promised by the caller; conditions are evaluated as ExecQual does it, in the memory of the per-tuple context, under
        // a guard and in frames that own nothing.
        unsafe {
            self.passes.clear();
            self.passes.extend(slots.iter().map(|slot| self.plain.iter().all(|plain| plain.meets(*slot))));
            let old = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            let (exempt, others, passes) = (self.exempt, self.others, &mut self.passes);
            if !exempt.is_null() || !others.is_null() {
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    for (slot, passes) in slots.iter().zip(passes) {
                        (*context).ecxt_scantuple = *slot;
                        *passes = !exempt.is_null() && holds(exempt, context) || *passes && holds(others, context);
                    }
                });
            }
            if self.passes.iter().all(|passes| *passes) {
                passed.extend_from_slice(slots);
            } else {
                self.blame(context, slots, passed);
            }
            pg_sys::MemoryContextSwitchTo(old);
        }
    }

    /// SAFETY: as for `choose`, in whose memory context it is called.
    unsafe fn blame(
        &mut self,
        context: *mut pg_sys::ExprContext,
        slots: &[*mut pg_sys::TupleTableSlot],
        passed: &mut Vec<*mut pg_sys::TupleTableSlot>,
    ) {
        // SAFETY: as for `choose`. The lists have room for all slots, so that they stay where they are.
        unsafe {
            if self.each.is_empty() {
                let old = pg_sys::MemoryContextSwitchTo(self.memory);
                self.each = self.trees.iter().map(|tree| pg_sys::ExecInitQual(*tree, std::ptr::null_mut())).collect();
                pg_sys::MemoryContextSwitchTo(old);
            }
            passed.reserve(slots.len());
            self.violations.reserve(slots.len());
            let (each, violations, row_no, kept) = (&self.each, &mut self.violations, self.row_no, self.kept);
            let passes = &self.passes;
            // Postgres has been asked about all of it already.
            let is_known = each.len() == 1 && self.plain.is_empty();
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for (slot, passes) in slots.iter().zip(passes) {
                    let mut broken = 0;
                    if !passes && is_known {
                        broken = 1;
                    } else if !passes {
                        (*context).ecxt_scantuple = *slot;
                        for (i, rule) in each.iter().enumerate() {
                            broken |= u64::from(!holds(*rule, context)) << i;
                        }
                    }
                    if broken != 0 {
                        let row_no = (*(**slot).tts_values.add(row_no)).value() as i64;
                        violations.push(Violation { row_no, rules: broken });
                    }
                    if broken & !kept == 0 {
                        passed.push(*slot);
                    }
                }
            });
        }
    }
}

/// As ExecQual; a condition of nothing holds.
///
/// SAFETY: as ExecQual, in the memory of the per-tuple context.
#[inline]
unsafe fn holds(condition: *mut pg_sys::ExprState, context: *mut pg_sys::ExprContext) -> bool {
    // SAFETY: as promised by the caller; each condition that was made ready has its function.
    unsafe {
        let mut null = false;
        condition.is_null() || (*condition).evalfunc.is_some_and(|f| f(condition, context, &mut null).value() != 0)
    }
}
