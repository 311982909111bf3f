//! A transform, read by Postgres' own parser: one SELECT over the records of a chunk, which it calls `input`.
//!
//! Promises: what is accepted changes nothing and makes each of its rows out of one record, whose number stands beside the row. What is
//! refused is named. The text that [`analyze`] gives means the same in every session and sees the records of a range alone, whatever
//! else it joins or raises.

use std::ffi::{CStr, CString, c_void};

use pgrx::{PgList, pg_guard, pg_sys};

use crate::model::transform::{Made, Transform};
use crate::model::{Code, Error, Result};
use crate::pg::analyze::deparse;
use crate::pg::subtransaction;

/// What the SELECT calls the records.
const INPUT: &CStr = c"input";
const SHAPE: &str = "Write SELECT expression AS column, … FROM input [JOIN lookup ON …] [WHERE …].";
/// Behind the records' own columns and `_chunk_no`.
const ROW_NO: &str = "_row_no";
const OP: &str = "_op";

fn refused(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("{what} is not supported in a transform"))
        .detail("A transform makes each of its rows out of one record, and changes nothing.")
        .hint(SHAPE)
}

fn malformed(message: &str) -> Error {
    Error::new(Code::InvalidParameter, message)
        .detail("A transform is one SELECT over the records of a chunk, which it calls input.")
        .hint(SHAPE)
}

/// Reads a transform under the caller's own search path. `table` holds the records, with `_chunk_no`, `_row_no` and `_op` as its
/// last columns; `qualified` is its name.
pub fn analyze(text: &str, table: pg_sys::Oid, qualified: &str) -> Result<Transform> {
    let source = CString::new(text).map_err(|_| malformed("the transform holds a zero byte"))?;
    subtransaction::run(|| {
        // SAFETY: trees live in the current memory context and are read as the node types that their tags tell.
        unsafe {
            let statement = only_select(&source)?;
            replace_input((*statement).stmt.cast(), qualified)?;
            let mut types = [pg_sys::INT8OID, pg_sys::INT8OID];
            let query = pg_sys::parse_analyze_fixedparams(
                statement,
                source.as_ptr(),
                types.as_mut_ptr(),
                types.len() as i32,
                std::ptr::null_mut(),
            );
            check_clauses(&*query)?;
            check_tree(query.cast(), table)?;
            check_views(query)?;
            let input = place_of_input(query, table)?;
            deparse::pinned(|| {
                let columns = outputs(query, input)?;
                Ok(Transform { sql: deparse::query(query)?, columns })
            })
        }
    })
}

/// The one SELECT that the text holds.
unsafe fn only_select(source: &CStr) -> Result<*mut pg_sys::RawStmt> {
    // SAFETY: what the parser gives.
    unsafe {
        let list = pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let statements = PgList::<pg_sys::RawStmt>::from_pg(list);
        let statement = match (statements.len(), statements.head()) {
            (1, Some(statement)) => statement,
            (0, _) | (_, None) => return Err(malformed("the transform is empty")),
            _ => return Err(refused("more than one statement")),
        };
        let node = (*statement).stmt;
        if (*node).type_ != pg_sys::NodeTag::T_SelectStmt {
            let tag = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(node));
            return Err(refused(&format!("the statement {}", deparse::text(tag)?)));
        }
        let select = &*node.cast::<pg_sys::SelectStmt>();
        if select.op != pg_sys::SetOperation::SETOP_NONE {
            return Err(refused("UNION, INTERSECT or EXCEPT"));
        }
        if !select.intoClause.is_null() {
            return Err(refused("INTO"));
        }
        if !select.lockingClause.is_null() {
            return Err(refused("FOR UPDATE or FOR SHARE"));
        }
        Ok(statement)
    }
}

/// Puts the records of a range in place of the name `input`. The OFFSET keeps everything else from being looked at for other records.
unsafe fn replace_input(select: *mut pg_sys::SelectStmt, qualified: &str) -> Result<()> {
    // SAFETY: as for `analyze`; lists are changed in place, by pointers to nodes of the same memory context.
    unsafe {
        let text =
            format!("SELECT FROM (SELECT * FROM {qualified} WHERE {ROW_NO} BETWEEN $1 AND $2 OFFSET 0) AS input");
        let text = CString::new(text).map_err(|_| malformed("the table of records has no usable name"))?;
        let ours = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::raw_parser(
            text.as_ptr(),
            pg_sys::RawParseMode::RAW_PARSE_DEFAULT,
        ));
        let ours = ours.head().ok_or_else(|| malformed("the table of records has no usable name"))?;
        let ours = (*(*ours).stmt.cast::<pg_sys::SelectStmt>()).fromClause;
        let Some(ours) = PgList::<pg_sys::RangeSubselect>::from_pg(ours).head() else {
            return Err(malformed("the table of records has no usable name"));
        };
        let with = (*select).withClause;
        if !with.is_null() {
            for cte in PgList::<pg_sys::CommonTableExpr>::from_pg((*with).ctes).iter_ptr() {
                if CStr::from_ptr((*cte).ctename) == INPUT {
                    return Err(refused("a WITH query named input"));
                }
            }
        }
        let mut found = 0;
        let mut from = PgList::<pg_sys::Node>::from_pg((*select).fromClause);
        for i in 0..from.len() {
            if let Some(item) = from.get_ptr(i)
                && let Some(other) = replaced(item, ours, false, &mut found)?
            {
                from.replace_ptr(i, other);
            }
        }
        match found {
            1 => Ok(()),
            0 => Err(malformed("the transform does not read FROM input")),
            _ => Err(refused("input more than once in FROM")),
        }
    }
}

/// What stands in place of an item of FROM. `nullable`: a join may give rows without it.
unsafe fn replaced(
    item: *mut pg_sys::Node,
    ours: *mut pg_sys::RangeSubselect,
    nullable: bool,
    found: &mut i32,
) -> Result<Option<*mut pg_sys::Node>> {
    // SAFETY: each node is read as what its tag says.
    unsafe {
        match (*item).type_ {
            pg_sys::NodeTag::T_RangeVar => {
                let name = &*item.cast::<pg_sys::RangeVar>();
                if !name.schemaname.is_null() || CStr::from_ptr(name.relname) != INPUT {
                    return Ok(None);
                }
                if nullable {
                    return Err(refused("a join that gives rows without a record of input").hint(
                        "Put input on the side of the join all of whose rows are kept: FROM input LEFT JOIN lookup.",
                    ));
                }
                *found += 1;
                if !name.alias.is_null() {
                    (*ours).alias = name.alias;
                }
                Ok(Some(ours.cast()))
            }
            pg_sys::NodeTag::T_JoinExpr => {
                let join = &mut *item.cast::<pg_sys::JoinExpr>();
                let (left, right) = match join.jointype {
                    pg_sys::JoinType::JOIN_LEFT => (nullable, true),
                    pg_sys::JoinType::JOIN_RIGHT => (true, nullable),
                    pg_sys::JoinType::JOIN_FULL => (true, true),
                    _ => (nullable, nullable),
                };
                if let Some(other) = replaced(join.larg, ours, left, found)? {
                    join.larg = other;
                }
                if let Some(other) = replaced(join.rarg, ours, right, found)? {
                    join.rarg = other;
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

/// Clauses that would make a row out of several records, or depend on which others are there.
fn check_clauses(query: &pg_sys::Query) -> Result<()> {
    let clauses = [
        (!query.groupClause.is_null() || !query.groupingSets.is_null(), "GROUP BY"),
        (query.hasAggs || !query.havingQual.is_null(), "an aggregate over the records"),
        (query.hasWindowFuncs || !query.windowClause.is_null(), "a window function over the records"),
        (!query.distinctClause.is_null(), "DISTINCT"),
        (!query.limitCount.is_null() || !query.limitOffset.is_null(), "LIMIT or OFFSET"),
        (!query.sortClause.is_null(), "ORDER BY"),
        (query.hasModifyingCTE, "a WITH query that changes data"),
    ];
    match clauses.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, name)) => Err(refused(name)),
        None => Ok(()),
    }
}

/// What a walk over a tree is looking for, and has found.
struct Found {
    input: pg_sys::Oid,
    /// How often the table of records is read.
    reads: u32,
    volatile: pg_sys::Oid,
    temporary: pg_sys::Oid,
    changes: bool,
}

/// Nothing volatile, nothing that changes data or takes locks, no table that only one session sees; the records are read once.
unsafe fn check_tree(node: *mut pg_sys::Node, input: pg_sys::Oid) -> Result<()> {
    // SAFETY: the walk reads the tree, and `found` outlives it.
    unsafe {
        let found = walk(node, input);
        if found.reads > 1 {
            return Err(refused("reading the table of records beside input"));
        }
        judge(&found)
    }
}

/// The same for what stands behind the names of views.
unsafe fn check_views(query: *mut pg_sys::Query) -> Result<()> {
    // SAFETY: the rewriter changes what it is given, which is a copy.
    unsafe {
        let copy: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
        for rewritten in PgList::<pg_sys::Node>::from_pg(pg_sys::QueryRewrite(copy)).iter_ptr() {
            judge(&walk(rewritten, pg_sys::InvalidOid))?;
        }
        Ok(())
    }
}

unsafe fn walk(node: *mut pg_sys::Node, input: pg_sys::Oid) -> Found {
    let none = pg_sys::InvalidOid;
    let mut found = Found { input, reads: 0, volatile: none, temporary: none, changes: false };
    // SAFETY: `found` outlives the walk, which reads the tree and changes nothing.
    unsafe {
        look(node, (&raw mut found).cast());
    }
    found
}

unsafe fn judge(found: &Found) -> Result<()> {
    // SAFETY: look-ups by Oid.
    unsafe {
        if found.changes {
            return Err(refused("a query that changes data or locks rows"));
        }
        if found.volatile != pg_sys::InvalidOid {
            let name = deparse::text(pg_sys::format_procedure(found.volatile))?;
            return Err(refused(&format!("the function {name}, which is volatile,")));
        }
        if found.temporary != pg_sys::InvalidOid {
            let name = deparse::text(pg_sys::get_rel_name(found.temporary))?;
            return Err(refused(&format!("the temporary table {name}")));
        }
        Ok(())
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn look(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: called by the walkers with their own nodes and with the `Found` that `walk` gave.
    unsafe {
        if node.is_null() {
            return false;
        }
        let found = &mut *context.cast::<Found>();
        match (*node).type_ {
            pg_sys::NodeTag::T_Query => {
                let query = &*node.cast::<pg_sys::Query>();
                found.changes |= query.commandType != pg_sys::CmdType::CMD_SELECT || !query.rowMarks.is_null();
                let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as i32;
                return pg_sys::query_tree_walker(node.cast(), Some(look), context, flags);
            }
            pg_sys::NodeTag::T_RangeTblEntry => {
                let entry = &*node.cast::<pg_sys::RangeTblEntry>();
                if entry.rtekind == pg_sys::RTEKind::RTE_RELATION {
                    found.reads += u32::from(entry.relid == found.input);
                    if pg_sys::get_rel_persistence(entry.relid) as u8 == pg_sys::RELPERSISTENCE_TEMP {
                        found.temporary = entry.relid;
                    }
                }
                return false;
            }
            pg_sys::NodeTag::T_NextValueExpr => found.changes = true,
            _ => {}
        }
        pg_sys::check_functions_in_node(node, Some(is_volatile), context)
            || pg_sys::expression_tree_walker(node, Some(look), context)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_volatile(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: as for `look`.
    unsafe {
        let volatile = pg_sys::func_volatile(function) as u8 == pg_sys::PROVOLATILE_VOLATILE;
        if volatile {
            (*context.cast::<Found>()).volatile = function;
        }
        volatile
    }
}

/// The place of the records in the query's range table, from 1.
unsafe fn place_of_input(query: *mut pg_sys::Query, input: pg_sys::Oid) -> Result<i32> {
    // SAFETY: as for `analyze`.
    unsafe {
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable);
        for (i, table) in tables.iter_ptr().enumerate() {
            if (*table).rtekind != pg_sys::RTEKind::RTE_SUBQUERY {
                continue;
            }
            let within = PgList::<pg_sys::RangeTblEntry>::from_pg((*(*table).subquery).rtable);
            if within.len() == 1 && within.head().is_some_and(|first| (*first).relid == input) {
                return Ok(i as i32 + 1);
            }
        }
        Err(malformed("the transform does not read FROM input"))
    }
}

/// The user's columns; `_row_no` and `_op` of the record stand behind them afterwards.
unsafe fn outputs(query: *mut pg_sys::Query, input: i32) -> Result<Vec<Made>> {
    // SAFETY: as for `analyze`; target entries are made in the query's own memory context.
    unsafe {
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable);
        let records =
            tables.get_ptr(input as usize - 1).ok_or_else(|| malformed("the transform does not read FROM input"))?;
        let names = PgList::<pg_sys::TargetEntry>::from_pg((*(*records).subquery).targetList);
        let behind = names.len().saturating_sub(3);
        let mut kept = PgList::<pg_sys::TargetEntry>::new();
        let mut columns: Vec<Made> = Vec::new();
        for target in PgList::<pg_sys::TargetEntry>::from_pg((*query).targetList).iter_ptr() {
            let node: *mut pg_sys::Node = (*target).expr.cast();
            let name = deparse::text((*target).resname)?;
            if name == ROW_NO || name == OP || name == "_chunk_no" {
                if is_ours(node, input, behind) {
                    continue;
                }
                return Err(Error::new(
                    Code::InvalidParameter,
                    format!("a transform can't make a column named \"{name}\""),
                )
                .detail("Every row has a column of that name.")
                .hint("Give the column another name with AS."));
            }
            if columns.iter().any(|c| c.name == name) {
                return Err(Error::new(
                    Code::DuplicateObject,
                    format!("the transform makes two columns named \"{name}\""),
                )
                .detail("Columns go into those of the staging table by name.")
                .hint("Give each column a name of its own with AS."));
            }
            let type_oid = pg_sys::exprType(node);
            if pg_sys::get_typtype(type_oid) as u8 == pg_sys::TYPTYPE_PSEUDO {
                return Err(Error::new(
                    Code::Unsupported,
                    format!("column \"{name}\" of the transform has no type of its own"),
                )
                .detail(format!("Its type is {}.", deparse::type_name(type_oid, -1)?))
                .hint("Cast it: (…)::text, or to_jsonb(…) for a whole row."));
            }
            let collation = pg_sys::exprCollation(node);
            let own = pg_sys::get_typcollation(type_oid);
            let collation = match collation != own && collation != pg_sys::InvalidOid {
                true => Some(deparse::text(pg_sys::generate_collation_name(collation))?),
                false => None,
            };
            let type_name = deparse::type_name(type_oid, pg_sys::exprTypmod(node))?;
            columns.push(Made { name, type_name, type_oid: type_oid.to_u32(), collation });
            (*target).resno = columns.len() as i16;
            kept.push(target);
        }
        if columns.is_empty() {
            return Err(malformed("the transform makes no column"));
        }
        for (i, name) in [(1, c"_row_no"), (2, c"_op")] {
            let Some(source) = names.get_ptr(behind + i) else { break };
            let node: *mut pg_sys::Node = (*source).expr.cast();
            let var = pg_sys::makeVar(
                input,
                (behind + i + 1) as i16,
                pg_sys::exprType(node),
                pg_sys::exprTypmod(node),
                pg_sys::exprCollation(node),
                0,
            );
            let place = (kept.len() + 1) as i16;
            kept.push(pg_sys::makeTargetEntry(var.cast(), place, pg_sys::pstrdup(name.as_ptr()), false));
        }
        (*query).targetList = kept.into_pg();
        Ok(columns)
    }
}

/// True for what `*` says of our own columns.
unsafe fn is_ours(node: *mut pg_sys::Node, input: i32, behind: usize) -> bool {
    // SAFETY: a node of an analysed query.
    unsafe {
        (*node).type_ == pg_sys::NodeTag::T_Var && {
            let var = &*node.cast::<pg_sys::Var>();
            var.varno == input && usize::try_from(var.varattno).is_ok_and(|number| number > behind)
        }
    }
}
