//! Splits the query in two: what is computed over rows, and what is computed over groups.
//!
//! Each grouping expression and each aggregate in the outputs and in HAVING becomes a column of the groups; what
//! is left around them is computed when the view is read.

use std::ffi::{CString, c_void};

use pgrx::{PgList, pg_guard, pg_sys};

use crate::model::aggregate::{self, GROUPED};
use crate::model::{Code, Error, Result};
use crate::pg::versions;

use super::deparse;
use super::rules::refused;

/// The query's outer half, and the aggregates that were taken out of it.
pub struct Substituted {
    /// Output columns over the groups, in order.
    pub targets: *mut pg_sys::List,
    pub having: *mut pg_sys::Node,
    pub calls: Vec<*mut pg_sys::Aggref>,
    keys: usize,
}

/// Aggregates whose result has digits of its own. Of equal keys or extremes any may be shown.
const EXACT: [&str; 9] =
    ["count", "sum", "avg", "variance", "var_samp", "var_pop", "stddev", "stddev_samp", "stddev_pop"];

struct Walk<'a> {
    keys: &'a [*mut pg_sys::Node],
    calls: Vec<*mut pg_sys::Aggref>,
    ungrouped: Option<*mut pg_sys::Var>,
}

pub unsafe fn substitute(query: *mut pg_sys::Query, keys: &[*mut pg_sys::Node]) -> Result<Substituted> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let mut walk = Walk { keys, calls: Vec::new(), ungrouped: None };
        let mut targets = PgList::<pg_sys::TargetEntry>::new();
        for target in PgList::<pg_sys::TargetEntry>::from_pg((*query).targetList).iter_ptr() {
            if (*target).resjunk {
                continue;
            }
            let copy: *mut pg_sys::TargetEntry = pg_sys::copyObjectImpl(target.cast()).cast();
            (*copy).expr = mutate((*target).expr.cast(), (&raw mut walk).cast()).cast();
            (*copy).ressortgroupref = 0;
            targets.push(copy);
        }
        let having = mutate((*query).havingQual, (&raw mut walk).cast());
        if let Some(var) = walk.ungrouped {
            let table = pg_sys::rt_fetch((*var).varno as pg_sys::Index, (*query).rtable);
            let name = deparse::text(pg_sys::get_attname((*table).relid, (*var).varattno, false))?;
            return Err(
                refused(&format!("the column \"{name}\", neither grouped nor aggregated,")).hint("Add it to GROUP BY.")
            );
        }
        Ok(Substituted { targets: targets.into_pg(), having, calls: walk.calls, keys: keys.len() })
    }
}

impl Substituted {
    /// The query that reads groups instead of rows.
    pub unsafe fn over_groups(&self, query: *mut pg_sys::Query) -> Result<*mut pg_sys::Query> {
        // SAFETY: as promised by the caller (see `analyze`).
        unsafe {
            let outer: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
            let mut tables = PgList::<pg_sys::RangeTblEntry>::new();
            tables.push(self.groups()?);
            (*outer).rtable = tables.into_pg();
            (*outer).targetList = self.targets;
            (*(*outer).jointree).quals = self.having;
            (*outer).havingQual = std::ptr::null_mut();
            (*outer).groupClause = std::ptr::null_mut();
            (*outer).hasAggs = false;
            Ok(outer)
        }
    }

    /// True where each grouping expression is an output column by itself.
    pub unsafe fn keys_shown(&self) -> bool {
        // SAFETY: as promised by the caller (see `analyze`).
        unsafe {
            (1..=self.keys).all(|key| {
                PgList::<pg_sys::TargetEntry>::from_pg(self.targets).iter_ptr().any(|target| {
                    let node: *mut pg_sys::Node = (*target).expr.cast();
                    (*node).type_ == pg_sys::NodeTag::T_Var && (*node.cast::<pg_sys::Var>()).varattno as usize == key
                })
            })
        }
    }

    /// True where the expression uses such aggregates only.
    pub unsafe fn shows_sums_alone(&self, node: *mut pg_sys::Node) -> bool {
        // SAFETY: as promised by the caller (see `analyze`).
        unsafe {
            let columns = pg_sys::pull_var_clause(node, 0);
            PgList::<pg_sys::Var>::from_pg(columns).iter_ptr().all(|var| {
                let call = ((*var).varattno as usize).checked_sub(self.keys + 1).and_then(|i| self.calls.get(i));
                let name = call.map(|&call| deparse::text(pg_sys::get_func_name((*call).aggfnoid)));
                matches!(name, Some(Ok(name)) if EXACT.contains(&name.as_str()))
            })
        }
    }

    /// The groups as a table of the query: named like the CTE that will provide them.
    unsafe fn groups(&self) -> Result<*mut pg_sys::RangeTblEntry> {
        // SAFETY: as promised by the caller (see `analyze`).
        unsafe {
            let keys = (0..self.keys).map(aggregate::key_column);
            let values = (0..self.calls.len()).map(aggregate::value_column);
            let mut columns = PgList::<pg_sys::String>::new();
            for name in keys.chain(values) {
                columns.push(pg_sys::makeString(lasting(&name)?));
            }
            let mut table = pgrx::PgBox::<pg_sys::RangeTblEntry>::alloc_node(pg_sys::NodeTag::T_RangeTblEntry);
            table.rtekind = pg_sys::RTEKind::RTE_CTE;
            table.ctename = lasting(GROUPED)?;
            table.eref = pg_sys::makeAlias(table.ctename, columns.into_pg());
            table.inFromCl = true;
            Ok(table.into_pg())
        }
    }
}

struct Visit<'a> {
    each: &'a mut dyn FnMut(*mut pg_sys::Aggref) -> Result<()>,
    outcome: Result<()>,
}

/// Shows each aggregate of the query, which may be changed in place.
pub unsafe fn each_call(
    query: *mut pg_sys::Query,
    mut each: impl FnMut(*mut pg_sys::Aggref) -> Result<()>,
) -> Result<()> {
    let mut visit = Visit { each: &mut each, outcome: Ok(()) };
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let context = (&raw mut visit).cast();
        let _ = visit_calls((*query).targetList.cast(), context) || visit_calls((*query).havingQual, context);
    }
    visit.outcome
}

#[pg_guard]
unsafe extern "C-unwind" fn visit_calls(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: called by a walker with its own nodes and with the context that the walk was begun with.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == pg_sys::NodeTag::T_Aggref {
            let visit = &mut *context.cast::<Visit>();
            visit.outcome = (visit.each)(node.cast());
            return visit.outcome.is_err();
        }
        pg_sys::expression_tree_walker(node, Some(visit_calls), context)
    }
}

/// A copy in the current memory context.
unsafe fn lasting(name: &str) -> Result<*mut std::ffi::c_char> {
    let name = CString::new(name).map_err(|_| Error::new(Code::Internal, "a name holds a zero byte"))?;
    // SAFETY: as promised by the caller (see `analyze`).
    Ok(unsafe { pg_sys::pstrdup(name.as_ptr()) })
}

#[pg_guard]
unsafe extern "C-unwind" fn mutate(node: *mut pg_sys::Node, context: *mut c_void) -> *mut pg_sys::Node {
    // SAFETY: called by a walker with its own nodes and with the context that the walk was begun with.
    unsafe {
        if node.is_null() {
            return node;
        }
        let walk = &mut *context.cast::<Walk>();
        if let Some(i) = walk.keys.iter().position(|&key| pg_sys::equal(node.cast(), key.cast())) {
            return column(i, node);
        }
        match (*node).type_ {
            pg_sys::NodeTag::T_Aggref => {
                let found = walk.calls.iter().position(|&call| pg_sys::equal(node.cast(), call.cast()));
                let i = found.unwrap_or(walk.calls.len());
                if found.is_none() {
                    walk.calls.push(node.cast());
                }
                return column(walk.keys.len() + i, node);
            }
            pg_sys::NodeTag::T_Var => {
                walk.ungrouped.get_or_insert(node.cast());
                return node;
            }
            _ => {}
        }
        versions::mutate_tree(node, mutate, context)
    }
}

/// The column of the groups with this index, of the type that `node` has.
unsafe fn column(index: usize, node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let collation = pg_sys::exprCollation(node);
        pg_sys::makeVar(1, index as i16 + 1, pg_sys::exprType(node), pg_sys::exprTypmod(node), collation, 0).cast()
    }
}
