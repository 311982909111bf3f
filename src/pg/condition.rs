//! A condition over one row of a table, read by Postgres' own parser.
//!
//! Promises: what is accepted looks at nothing but that row, and changes nothing: no subquery, aggregate, window or
//! set-returning function, and nothing volatile. What is refused is named. The text that [`analyze`] gives means the same in every session.

use std::ffi::{CStr, CString, c_void};

use pgrx::{PgList, pg_guard, pg_sys};

use crate::model::{Code, Error, Result};
use crate::pg::analyze::deparse::{self, Staging};
use crate::pg::subtransaction;
use crate::pg::versions;

const ONE_ROW: &str = "A condition looks at the columns of one row, with immutable or stable functions: amount > 0.";

/// A condition that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analyzed {
    /// The condition with its names qualified and its literals in fixed form.
    pub sql: String,
    /// The columns that it looks at, in the table's order.
    pub columns: Vec<String>,
}

fn malformed(condition: &str) -> Error {
    Error::new(Code::InvalidParameter, "the condition is no single SQL expression")
        .detail(format!("It is {condition:?}."))
        .hint(ONE_ROW)
}

fn refused(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("{what} is not supported in an expectation"))
        .detail("Each row is judged alone, while it is loaded.")
        .hint(ONE_ROW)
}

/// Runs `f` in a subtransaction with a parse state whose only relation is the table.
fn over<R>(
    table: pg_sys::Oid,
    f: impl FnOnce(*mut pg_sys::ParseState, *mut pg_sys::ParseNamespaceItem) -> Result<R>,
) -> Result<R> {
    subtransaction::run(|| {
        // SAFETY: the relation is open while its columns are looked up; trees live in the current memory context.
        unsafe {
            let state = pg_sys::make_parsestate(std::ptr::null_mut());
            let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
            let item = pg_sys::addRangeTableEntryForRelation(
                state,
                relation,
                pg_sys::AccessShareLock as i32,
                std::ptr::null_mut(),
                false,
                false,
            );
            let result = f(state, item)?;
            pg_sys::free_parsestate(state);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            Ok(result)
        }
    })
}

/// Reads a condition under the caller's own search path.
pub fn analyze(condition: &str, table: pg_sys::Oid) -> Result<Analyzed> {
    let found = over(table, |state, item| {
        // SAFETY: trees are read as the node types that their tags tell.
        unsafe {
            let node = transform(state, item, condition)?;
            refuse_volatile(node)?;
            let columns = columns(node, table)?;
            let sql = deparse::pinned(|| Staging::new(table).condition(node))?;
            Ok(Analyzed { sql, columns })
        }
    });
    found.map_err(in_our_words)
}

/// What a fix may look at besides the columns: the record's fields as an object of texts, the record as text, and its bytes. In the
/// SQL that [`assignments`] gives they are parameters.
pub const RAW: [(&str, &str); 3] = [("_raw", "$2"), ("_record", "$3"), ("_bytes", "$4")];

/// `_raw` and its like, where no column of the table has that name.
#[pg_guard]
unsafe extern "C-unwind" fn raw_parameter(
    _state: *mut pg_sys::ParseState,
    reference: *mut pg_sys::ColumnRef,
    found: *mut pg_sys::Node,
) -> *mut pg_sys::Node {
    // SAFETY: the parser calls this with a column reference, whose fields are strings or a star.
    unsafe {
        let fields = PgList::<pg_sys::Node>::from_pg((*reference).fields);
        let (1, Some(field)) = (fields.len(), fields.head()) else { return std::ptr::null_mut() };
        if !found.is_null() || (*field).type_ != pg_sys::NodeTag::T_String {
            return std::ptr::null_mut();
        }
        let name = CStr::from_ptr((*field.cast::<pg_sys::String>()).sval).to_bytes();
        let Some(place) = RAW.iter().position(|(known, _)| known.as_bytes() == name) else {
            return std::ptr::null_mut();
        };
        let type_oid = [pg_sys::JSONBOID, pg_sys::TEXTOID, pg_sys::BYTEAOID][place];
        let parameter = pg_sys::palloc0(size_of::<pg_sys::Param>()).cast::<pg_sys::Param>();
        (*parameter).xpr.type_ = pg_sys::NodeTag::T_Param;
        (*parameter).paramkind = pg_sys::ParamKind::PARAM_EXTERN;
        (*parameter).paramid = place as i32 + 2;
        (*parameter).paramtype = type_oid;
        (*parameter).paramtypmod = -1;
        (*parameter).paramcollid = pg_sys::get_typcollation(type_oid);
        (*parameter).location = (*reference).location;
        parameter.cast()
    }
}

/// Reads assignments as in UPDATE … SET: each column with the expression for it, which is held to the rules of a condition.
pub fn assignments(fix: &str, table: pg_sys::Oid) -> Result<Vec<(String, String)>> {
    let text = CString::new(format!("UPDATE t SET {fix}\n")).map_err(|_| no_assignments(fix))?;
    let found = over(table, |state, item| {
        // SAFETY: as in `analyze`.
        unsafe {
            let list = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::raw_parser(
                text.as_ptr(),
                pg_sys::RawParseMode::RAW_PARSE_DEFAULT,
            ));
            let statement = list.head().ok_or_else(|| no_assignments(fix))?;
            if list.len() != 1 || (*(*statement).stmt).type_ != pg_sys::NodeTag::T_UpdateStmt {
                return Err(no_assignments(fix));
            }
            let update = &*(*statement).stmt.cast::<pg_sys::UpdateStmt>();
            if !update.whereClause.is_null() || !update.fromClause.is_null() || versions::has_returning(update) {
                return Err(no_assignments(fix));
            }
            pg_sys::addNSItemToQuery(state, item, false, true, true);
            (*state).p_post_columnref_hook = Some(raw_parameter);
            let mut result = Vec::new();
            for target in PgList::<pg_sys::ResTarget>::from_pg(update.targetList).iter_ptr() {
                let raw = (*target).val;
                if !(*target).indirection.is_null() || (*raw).type_ == pg_sys::NodeTag::T_MultiAssignRef {
                    return Err(no_assignments(fix));
                }
                let node = pg_sys::transformExpr(state, raw, pg_sys::ParseExprKind::EXPR_KIND_COPY_WHERE);
                pg_sys::assign_expr_collations(state, node);
                refuse_volatile(node)?;
                columns(node, table)?;
                let sql = deparse::pinned(|| Staging::new(table).condition(node))?;
                result.push((deparse::text((*target).name)?, sql));
            }
            Ok(result)
        }
    });
    found.map_err(in_our_words)
}

fn no_assignments(fix: &str) -> Error {
    Error::new(Code::InvalidParameter, "fix is no list of assignments")
        .detail(format!("It is {fix:?}."))
        .hint("Write it as in UPDATE … SET: 'amount = abs(amount), fraud = 0'.")
}

/// Folds what is constant, as a load does: an expression that can only fail, such as 1/0, fails here.
pub fn check(sql: &str, table: pg_sys::Oid) -> Result<()> {
    // SAFETY: the state and the item are those of the open table.
    over(table, |state, item| unsafe { prepare(state, item, sql).map(|_| ()) })
}

/// A condition in the form in which COPY takes it.
///
/// SAFETY: `state` and `item` belong together, and the item's relation is open.
pub(super) unsafe fn prepare(
    state: *mut pg_sys::ParseState,
    item: *mut pg_sys::ParseNamespaceItem,
    sql: &str,
) -> Result<*mut pg_sys::Node> {
    // SAFETY: as promised by the caller; each step takes what the one before gives, as COPY … WHERE does it.
    unsafe {
        let node = transform(state, item, sql)?;
        let node = pg_sys::eval_const_expressions(std::ptr::null_mut(), node);
        let qual = pg_sys::canonicalize_qual(node.cast(), false);
        Ok(pg_sys::make_ands_implicit(qual).cast())
    }
}

/// Any expression over a row, ready to be computed.
///
/// SAFETY: as for `prepare`.
pub(super) unsafe fn value(
    state: *mut pg_sys::ParseState,
    item: *mut pg_sys::ParseNamespaceItem,
    sql: &str,
) -> Result<*mut pg_sys::Node> {
    let text = CString::new(sql).map_err(|_| malformed(sql))?;
    // SAFETY: as for `prepare`.
    unsafe {
        let raw = expression(&text, sql)?;
        (*state).p_namespace = std::ptr::null_mut();
        pg_sys::addNSItemToQuery(state, item, false, true, true);
        let node = pg_sys::transformExpr(state, raw, pg_sys::ParseExprKind::EXPR_KIND_COPY_WHERE);
        pg_sys::assign_expr_collations(state, node);
        Ok(pg_sys::expression_planner(node.cast()).cast())
    }
}

unsafe fn transform(
    state: *mut pg_sys::ParseState,
    item: *mut pg_sys::ParseNamespaceItem,
    condition: &str,
) -> Result<*mut pg_sys::Node> {
    let text = CString::new(condition).map_err(|_| malformed(condition))?;
    // SAFETY: as for `prepare`; the text lives across the parse, and the trees point into palloc'ed copies.
    unsafe {
        let raw = expression(&text, condition)?;
        (*state).p_namespace = std::ptr::null_mut();
        pg_sys::addNSItemToQuery(state, item, false, true, true);
        let node = pg_sys::transformExpr(state, raw, pg_sys::ParseExprKind::EXPR_KIND_COPY_WHERE);
        let node = pg_sys::coerce_to_boolean(state, node, c"an expectation".as_ptr());
        pg_sys::assign_expr_collations(state, node);
        Ok(node)
    }
}

/// The one expression that the text holds, and nothing behind it.
unsafe fn expression(text: &CStr, condition: &str) -> Result<*mut pg_sys::Node> {
    // SAFETY: every node is read as what its tag, or the grammar, says it is.
    unsafe {
        let list = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_PLPGSQL_EXPR);
        let statements = PgList::<pg_sys::RawStmt>::from_pg(list);
        let statement = statements.head().ok_or_else(|| malformed(condition))?;
        if statements.len() != 1 || (*(*statement).stmt).type_ != pg_sys::NodeTag::T_SelectStmt {
            return Err(malformed(condition));
        }
        let select = &*(*statement).stmt.cast::<pg_sys::SelectStmt>();
        let bare = select.distinctClause.is_null()
            && select.fromClause.is_null()
            && select.whereClause.is_null()
            && select.groupClause.is_null()
            && select.havingClause.is_null()
            && select.windowClause.is_null()
            && select.sortClause.is_null()
            && select.limitOffset.is_null()
            && select.limitCount.is_null()
            && select.lockingClause.is_null();
        let targets = PgList::<pg_sys::ResTarget>::from_pg(select.targetList);
        match targets.head() {
            Some(target) if bare && targets.len() == 1 && (*target).name.is_null() => Ok((*target).val),
            _ => Err(malformed(condition)),
        }
    }
}

unsafe fn columns(node: *mut pg_sys::Node, table: pg_sys::Oid) -> Result<Vec<String>> {
    // SAFETY: an analysed expression over one relation holds Vars alone where flags of pull_var_clause are 0.
    unsafe {
        let mut numbers = Vec::new();
        for var in PgList::<pg_sys::Var>::from_pg(pg_sys::pull_var_clause(node, 0)).iter_ptr() {
            match (*var).varattno {
                0 => return Err(refused("a whole row as a value")),
                number if number < 0 => return Err(refused("a system column")),
                number => numbers.push(number),
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|n| deparse::text(pg_sys::get_attname(table, n, false))).collect()
    }
}

unsafe fn refuse_volatile(node: *mut pg_sys::Node) -> Result<()> {
    let mut found = pg_sys::InvalidOid;
    // SAFETY: `found` outlives the walk, which reads the tree and changes nothing.
    unsafe {
        find_volatile(node, (&raw mut found).cast());
        if found == pg_sys::InvalidOid {
            return Ok(());
        }
        let name = deparse::text(pg_sys::format_procedure(found))?;
        Err(refused(&format!("the function {name}, which is volatile,")))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn find_volatile(node: *mut pg_sys::Node, found: *mut c_void) -> bool {
    // SAFETY: called by the walker with its own nodes and with what it was given.
    unsafe {
        if node.is_null() {
            return false;
        }
        pg_sys::check_functions_in_node(node, Some(is_volatile), found)
            || pg_sys::expression_tree_walker(node, Some(find_volatile), found)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_volatile(function: pg_sys::Oid, found: *mut c_void) -> bool {
    // SAFETY: `found` is the Oid that `refuse_volatile` gave.
    unsafe {
        let volatile = pg_sys::func_volatile(function) as u8 == pg_sys::PROVOLATILE_VOLATILE;
        if volatile {
            *found.cast::<pg_sys::Oid>() = function;
        }
        volatile
    }
}

/// Postgres speaks of COPY, which is how we load; users speak of expectations.
fn in_our_words(mut e: Error) -> Error {
    if e.message.contains("COPY FROM WHERE condition") {
        e.code = Code::Unsupported;
        e.message = e.message.replace("COPY FROM WHERE conditions", "an expectation");
        e.message = e.message.replace("COPY FROM WHERE condition", "an expectation");
        e.detail = Some("Each row is judged alone, while it is loaded.".into());
    }
    if e.hint.is_none() {
        e.hint = Some(ONE_ROW.into());
    }
    e
}
