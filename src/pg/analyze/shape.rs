//! The clauses that an aggregate's query may have: one SELECT over the staging table, WHERE, GROUP BY, HAVING.

use std::ffi::CStr;

use pgrx::{PgList, pg_sys};

use crate::model::{Code, Error, Result};

use super::deparse;
use super::rules::refused;

const ONE_SELECT: &str = "Give one SELECT … FROM the staging table … GROUP BY ….";
const WHEN_READING: &str = "Leave it out here and use it when reading the view.";
const WITHOUT: &str = "Read the staging table directly; put conditions into WHERE or FILTER.";

/// The one SELECT that the text holds.
pub unsafe fn only_select(source: &CStr) -> Result<*mut pg_sys::RawStmt> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let list = pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let statements = PgList::<pg_sys::RawStmt>::from_pg(list);
        let statement = match (statements.len(), statements.head()) {
            (1, Some(statement)) => statement,
            (0, _) | (_, None) => {
                return Err(Error::new(Code::InvalidParameter, "the aggregate's query is empty").hint(ONE_SELECT));
            }
            _ => return Err(refused("more than one statement").hint(ONE_SELECT)),
        };
        let node = (*statement).stmt;
        if (*node).type_ != pg_sys::NodeTag::T_SelectStmt {
            let tag = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(node));
            return Err(refused(&format!("the statement {}", deparse::text(tag)?)).hint(ONE_SELECT));
        }
        check_clauses(node.cast())?;
        Ok(statement)
    }
}

/// What the parse analysis would hide or stumble over.
unsafe fn check_clauses(select: *mut pg_sys::SelectStmt) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let select = &*select;
        if select.op != pg_sys::SetOperation::SETOP_NONE {
            let name = match select.op {
                pg_sys::SetOperation::SETOP_UNION => "UNION",
                pg_sys::SetOperation::SETOP_INTERSECT => "INTERSECT",
                _ => "EXCEPT",
            };
            return Err(refused(name).hint("Make an aggregate of each part, and combine their views."));
        }
        if !select.valuesLists.is_null() {
            return Err(refused("VALUES").hint(ONE_SELECT));
        }
        if !select.withClause.is_null() {
            return Err(refused("WITH").hint(WITHOUT));
        }
        if !select.intoClause.is_null() {
            return Err(refused("INTO").hint("Leave it out: the result is a view."));
        }
        if !select.lockingClause.is_null() {
            return Err(refused("FOR UPDATE or FOR SHARE").hint("Leave it out."));
        }
        if select.fromClause.is_null() {
            return Err(refused("a query without FROM").hint(ONE_SELECT));
        }
        for target in PgList::<pg_sys::ResTarget>::from_pg(select.targetList).iter_ptr() {
            if is_star((*target).val) {
                return Err(refused("SELECT *").hint("Name the grouping expressions and aggregates one by one."));
            }
        }
        Ok(())
    }
}

unsafe fn is_star(node: *mut pg_sys::Node) -> bool {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_ColumnRef {
            return false;
        }
        let fields = PgList::<pg_sys::Node>::from_pg((*node.cast::<pg_sys::ColumnRef>()).fields);
        fields.tail().is_some_and(|field| (*field).type_ == pg_sys::NodeTag::T_A_Star)
    }
}

/// The analysed query: the staging table alone, and no clause that can't be kept.
pub unsafe fn check(query: *mut pg_sys::Query, staging: pg_sys::Oid) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let query = &*query;
        check_tables(query, staging)?;
        if query.hasSubLinks {
            return Err(refused("a subquery").hint(WITHOUT));
        }
        if query.groupClause.is_null() && query.groupingSets.is_null() && !query.hasAggs {
            return Err(
                refused("a query without aggregates").hint("Use an aggregate such as count(*), or add GROUP BY.")
            );
        }
        if !query.groupingSets.is_null() {
            return Err(refused("GROUPING SETS, ROLLUP or CUBE").hint("Make an aggregate of each grouping."));
        }
        if query.hasWindowFuncs || !query.windowClause.is_null() {
            return Err(refused("a window function").hint("Use it over the view, when reading."));
        }
        if query.hasTargetSRFs {
            return Err(refused("a set-returning function").hint("Use it over the view, when reading."));
        }
        if query.hasDistinctOn {
            return Err(refused("DISTINCT ON").hint(WHEN_READING));
        }
        if !query.distinctClause.is_null() {
            return Err(refused("DISTINCT").hint("Use GROUP BY, or DISTINCT when reading the view."));
        }
        if !query.limitCount.is_null() || !query.limitOffset.is_null() {
            return Err(refused("LIMIT or OFFSET").hint(WHEN_READING));
        }
        if !query.sortClause.is_null() {
            return Err(refused("ORDER BY").hint("Leave it out here and order when reading the view."));
        }
        Ok(())
    }
}

unsafe fn check_tables(query: &pg_sys::Query, staging: pg_sys::Oid) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let tables = PgList::<pg_sys::RangeTblEntry>::from_pg(query.rtable);
        for table in tables.iter_ptr() {
            let name = match (*table).rtekind {
                pg_sys::RTEKind::RTE_RELATION => continue,
                pg_sys::RTEKind::RTE_JOIN => break,
                pg_sys::RTEKind::RTE_SUBQUERY => "a subquery in FROM",
                pg_sys::RTEKind::RTE_FUNCTION | pg_sys::RTEKind::RTE_TABLEFUNC => "a function in FROM",
                pg_sys::RTEKind::RTE_VALUES => "VALUES",
                _ => "anything but a table in FROM",
            };
            return Err(refused(name).hint(WITHOUT));
        }
        if tables.len() != 1 {
            return Err(
                refused("a join").hint("Join its view when reading; or take what the other table has into the rows: transform => 'SELECT … FROM input JOIN …'.")
            );
        }
        let Some(table) = tables.head() else { return Ok(()) };
        if (*table).relid != staging {
            return Err(Error::new(
                Code::Mismatch,
                format!(
                    "an aggregate of this pipeline reads {}, not {}",
                    relation_name(staging)?,
                    relation_name((*table).relid)?
                ),
            )
            .detail("Only rows that the pipeline loads can be followed.")
            .hint(
                "Name the pipeline's staging table in FROM, or create the aggregate on the other table's pipeline.",
            ));
        }
        if !(*table).inh {
            return Err(refused("ONLY").hint("Leave it out."));
        }
        if !(*table).tablesample.is_null() {
            return Err(refused("TABLESAMPLE").hint("Leave it out."));
        }
        // The parser holds a lock on the table until the transaction ends.
        let relation = pg_sys::relation_open(staging, pg_sys::NoLock as pg_sys::LOCKMODE);
        let row_security = (*(*relation).rd_rel).relrowsecurity;
        pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        if row_security {
            return Err(refused("a table with row-level security")
                .detail(format!("Row-level security is on for {}.", relation_name(staging)?))
                .hint("Switch it off for the staging table, and grant on the aggregate's view instead."));
        }
        Ok(())
    }
}

/// The table as the query means it, qualified.
pub unsafe fn relation_name(relation: pg_sys::Oid) -> Result<String> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        let name = pg_sys::get_rel_name(relation);
        if schema.is_null() || name.is_null() {
            return Err(Error::new(Code::UndefinedObject, "the pipeline's staging table does not exist"));
        }
        deparse::text(pg_sys::quote_qualified_identifier(schema, name))
    }
}
