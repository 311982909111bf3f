//! Expressions over the columns of a table, ready to be computed for its rows.

use pgrx::pg_sys::{self, Datum};

use crate::model::Result;
use crate::pg::condition;

use super::Spec;
use super::value::Kind;

enum Source {
    /// A column as it is: its number, from 0.
    Column(usize),
    Expression(*mut pg_sys::ExprState),
}

/// The expressions of a tally, and behind them its condition if it has one.
pub(super) struct Compiled {
    kinds: Vec<Kind>,
    sources: Vec<Source>,
    /// Row after row.
    values: Vec<Option<Datum>>,
}

impl Compiled {
    /// `None` where a type is none that can be counted here.
    ///
    /// SAFETY: `state` and `item` belong together and the item's relation is open.
    pub(super) unsafe fn new(
        spec: &Spec,
        state: *mut pg_sys::ParseState,
        item: *mut pg_sys::ParseNamespaceItem,
    ) -> Result<Option<Compiled>> {
        let mut compiled = Compiled { kinds: vec![], sources: vec![], values: vec![] };
        for sql in spec.expressions.iter().chain(&spec.condition) {
            // SAFETY: as promised by the caller; the trees are palloc'ed.
            unsafe {
                let node = condition::value(state, item, sql)?;
                let Some(kind) = Kind::of(pg_sys::exprType(node)) else { return Ok(None) };
                compiled.kinds.push(kind);
                let var = node.cast::<pg_sys::Var>();
                compiled.sources.push(if (*node).type_ == pg_sys::NodeTag::T_Var && (*var).varattno > 0 {
                    Source::Column((*var).varattno as usize - 1)
                } else {
                    Source::Expression(pg_sys::ExecInitExpr(node.cast(), std::ptr::null_mut()))
                });
            }
        }
        Ok(Some(compiled))
    }

    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.kinds.clone()
    }

    pub(super) fn row(&self, row: usize) -> Option<&[Option<Datum>]> {
        let width = self.sources.len();
        self.values.get(row * width..(row + 1) * width)
    }

    /// Computes all expressions for all rows.
    ///
    /// SAFETY: the slots hold rows of the table that the expressions are over.
    pub(super) unsafe fn compute(&mut self, context: *mut pg_sys::ExprContext, slots: &[*mut pg_sys::TupleTableSlot]) {
        let width = self.sources.len();
        self.values.clear();
        self.values.resize(width * slots.len(), None);
        let (sources, values) = (&self.sources, &mut self.values);
        // SAFETY: as ExecEvalExpr does it, in the memory of the per-tuple context, under a guard and in a frame that owns nothing.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                for (row, slot) in values.chunks_exact_mut(width).zip(slots) {
                    (*context).ecxt_scantuple = *slot;
                    for (value, source) in row.iter_mut().zip(sources) {
                        *value = match source {
                            Source::Column(i) => (!*(**slot).tts_isnull.add(*i)).then(|| *(**slot).tts_values.add(*i)),
                            Source::Expression(expression) => {
                                let mut null = false;
                                let found =
                                    ((**expression).evalfunc).map(|evaluate| evaluate(*expression, context, &mut null));
                                found.filter(|_| !null)
                            }
                        };
                    }
                }
            });
            pg_sys::MemoryContextSwitchTo(old);
        }
    }
}
