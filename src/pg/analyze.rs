//! Takes an aggregate's query apart, with Postgres' own parser, into a [`Plan`].
//!
//! What the plan holds is text that means the same in every session: names are qualified, and whatever would
//! depend on a setting, the clock or chance is refused by name. What can't be kept incrementally is refused
//! by name too, with a hint. Errors that Postgres raises itself (syntax, unknown columns) pass with a hint where they have none; the
//! caller must not go on after them.
//! Nothing is executed, and nothing is written.
//!
//! SAFETY, for every `unsafe fn` of this folder: it is called on the server's thread in a transaction, with trees that Postgres' parser has made
//! (whole, of the node types that their tags tell, in a memory context that outlives the call), and with Oids that are looked up anew, so that one
//! that is gone raises an error or gives NULL. Strings that Postgres gives are copied or shown before the context goes.

mod calls;
pub(in crate::pg) mod deparse;
mod rules;
mod shape;
mod substitute;

use std::ffi::CString;

use pgrx::{PgList, pg_sys};

use crate::model::aggregate::{self, Compare, Expression, Findings, Function, GROUPED, Hll, Output, Plan};
use crate::model::{Code, Error, Result};
use crate::pg::error;

use deparse::Staging;
use substitute::Substituted;

/// A unique index has room for 32 columns, and the tables of distinct values need one besides the keys.
const MOST_KEYS: usize = 31;

const A_QUERY: &str = "An aggregate's query is a SELECT … GROUP BY over the pipeline's staging table alone, which \\d in psql shows: \
    SELECT merchant, count(*) AS transactions FROM staging.transactions GROUP BY merchant.";

/// Reads the query under the caller's own search path. `staging` is the only table it may read; `signed`: its rows may be
/// changed and deleted. With `hll` distinct values are counted by its sketches.
pub fn analyze(query: &str, staging: pg_sys::Oid, signed: bool, hll: Option<Hll>) -> Result<Plan> {
    let source = CString::new(query)
        .map_err(|_| Error::new(Code::InvalidParameter, "the aggregate's query holds a zero byte"))?;
    // SAFETY: we run on the backend's own thread; the trees live in the current memory context, which outlives
    // this call, and are read only as the node types that their tags tell.
    unsafe {
        let parsed = error::catch(|| {
            let statement = shape::only_select(&source)?;
            let none = std::ptr::null_mut();
            Ok(pg_sys::parse_analyze_fixedparams(statement, source.as_ptr(), std::ptr::null(), 0, none))
        })
        .map_err(|e| if e.hint.is_some() { e } else { e.hint(A_QUERY) })?;
        shape::check(parsed, staging)?;
        deparse::pinned(|| {
            substitute::each_call(parsed, |call| calls::order_by_arrival(call, staging))?;
            plan(parsed, staging, signed, hll)
        })
    }
}

unsafe fn plan(parsed: *mut pg_sys::Query, table: pg_sys::Oid, signed: bool, hll: Option<Hll>) -> Result<Plan> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let mut query = deparse::query(parsed)?;
        let staging = Staging::new(table);
        let key_nodes = group_keys(parsed)?;
        let quals = (*(*parsed).jointree).quals;
        rules::check_row_expression(quals)?;
        let mut keys = Vec::new();
        for &node in &key_nodes {
            rules::check_row_expression(node)?;
            keys.push(key(node, &staging)?);
        }

        let outside = substitute::substitute(parsed, &key_nodes)?;
        let mut calls = Vec::new();
        for &aggref in &outside.calls {
            calls.push(calls::call(aggref, &staging, hll.as_ref())?);
        }
        let is_sketched = calls.iter().any(|call| matches!(call.function, Function::Sketch(_)));
        if hll.is_some() && !is_sketched {
            return Err(Error::new(
                Code::InvalidParameter,
                "option \"approx\" is for count(DISTINCT …), and the query has none",
            )
            .detail("Nothing else is approximated.")
            .hint("Leave it out."));
        }
        rules::check_group_expression(outside.targets.cast())?;
        rules::check_group_expression(outside.having)?;

        let condition = if quals.is_null() { None } else { Some(staging.condition(quals)?) };
        let outputs = outputs(&outside)?;
        let body = deparse::query(outside.over_groups(parsed)?)?;
        if let Some(hll) = &hll {
            let mut columns = Vec::new();
            for (i, key) in keys.iter().enumerate() {
                columns.push(format!("{} AS {}", key.sql, aggregate::key_column(i)));
            }
            for (i, (call, &aggref)) in calls.iter().zip(&outside.calls).enumerate() {
                let value = match (&call.function, &call.filter) {
                    (Function::Sketch(value), Some(filter)) => {
                        hll.count(&format!("{} FILTER (WHERE {filter})", hll.of_values(&value.sql)))
                    }
                    (Function::Sketch(value), None) => hll.count(&hll.of_values(&value.sql)),
                    _ => staging.condition(aggref.cast())?,
                };
                columns.push(format!("{value} AS {}", aggregate::value_column(i)));
            }
            let places: Vec<String> = (1..=keys.len()).map(|place| place.to_string()).collect();
            let condition = condition.as_ref().map(|sql| format!(" WHERE {sql}")).unwrap_or_default();
            let group_by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", places.join(", ")) };
            let from = shape::relation_name(table)?;
            query =
                format!("WITH {GROUPED} AS (SELECT {} FROM {from}{condition}{group_by}) {body}", columns.join(", "));
        }

        Ok(Plan::assemble(Findings {
            signed,
            keys,
            condition,
            outputs,
            body,
            having: !outside.having.is_null(),
            query,
            keys_shown: outside.keys_shown(),
            hll,
            calls,
        }))
    }
}

unsafe fn group_keys(parsed: *mut pg_sys::Query) -> Result<Vec<*mut pg_sys::Node>> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let clauses = PgList::<pg_sys::SortGroupClause>::from_pg((*parsed).groupClause);
        if clauses.len() > MOST_KEYS {
            return Err(Error::new(
                Code::Limit,
                format!("an aggregate can have at most {MOST_KEYS} grouping expressions, not {}", clauses.len()),
            ));
        }
        Ok(clauses.iter_ptr().map(|c| pg_sys::get_sortgroupclause_expr(c, (*parsed).targetList)).collect())
    }
}

unsafe fn key(node: *mut pg_sys::Node, staging: &Staging) -> Result<Expression> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let expression = staging.expression(node)?;
        let type_oid = pg_sys::exprType(node);
        rules::check_storable(type_oid, &format!("the grouping expression {}", expression.sql))?;
        rules::check_ordered(type_oid, &format!("grouping by {}", expression.sql))?;
        Ok(expression)
    }
}

/// The view's columns, named as Postgres names them.
unsafe fn outputs(outside: &Substituted) -> Result<Vec<Output>> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let mut outputs: Vec<Output> = Vec::new();
        for target in PgList::<pg_sys::TargetEntry>::from_pg(outside.targets).iter_ptr() {
            let node: *mut pg_sys::Node = (*target).expr.cast();
            let name = deparse::text((*target).resname)?;
            let (type_oid, typmod) = (pg_sys::exprType(node), pg_sys::exprTypmod(node));
            rules::check_storable(type_oid, &format!("the output column \"{name}\""))?;
            if outputs.iter().any(|o| o.name == name) {
                return Err(Error::new(
                    Code::DuplicateObject,
                    format!("the aggregate's query has two output columns named \"{name}\""),
                )
                .hint("Give each output column a name of its own with AS."));
            }
            if name == "_chunk_no" || name == "_op" {
                let message = format!("an aggregate can't have a column named \"{name}\"");
                return Err(Error::new(Code::InvalidParameter, message)
                    .detail("Its changes carry a column of that name.")
                    .hint("Give the output column another name with AS."));
            }
            let compare = if !rules::has_equality(type_oid) {
                Compare::Text
            } else if outside.shows_sums_alone(node) {
                Compare::ValueAndText
            } else {
                Compare::Value
            };
            outputs.push(Output { name, type_name: deparse::type_name(type_oid, typmod)?, compare });
        }
        if outputs.is_empty() {
            return Err(rules::refused("a query without output columns").hint("Name what the view shall show."));
        }
        Ok(outputs)
    }
}
