//! What is kept for each aggregate function, and why some can't be kept.

use pgrx::{PgList, pg_sys};

use crate::model::Result;
use crate::model::aggregate::{Call, Digits, Expression, Function, Hll, Spread};

use super::deparse::{self, Staging};
use super::rules::{self, refused};

const KNOWN: &str =
    "Use one of Postgres' own aggregates such as count, sum, avg, min, max, bool_and, stddev or string_agg.";

/// `hll`: distinct values are counted by its sketches.
pub unsafe fn call(aggref: *mut pg_sys::Aggref, staging: &Staging, hll: Option<&Hll>) -> Result<Call> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let call = &*aggref;
        let signature = deparse::text(pg_sys::format_procedure(call.aggfnoid))?;
        let name = deparse::text(pg_sys::get_func_name(call.aggfnoid))?;
        if !rules::is_in_catalog(call.aggfnoid) {
            return Err(refused(&format!("the user-defined aggregate {signature}")).hint(KNOWN));
        }
        if call.aggkind as u8 != b'n' {
            return Err(refused(&format!("the ordered-set aggregate {name}")).hint(KNOWN));
        }
        rules::check_row_expression(call.args.cast())?;
        rules::check_row_expression(call.aggfilter.cast())?;
        let filter = if call.aggfilter.is_null() { None } else { Some(staging.condition(call.aggfilter.cast())?) };

        let distinct = !call.aggdistinct.is_null();
        let Some(node) = argument(call) else {
            return Ok(count(Function::CountRows, filter));
        };
        let expression = || staging.expression(node);
        let number = number(call, node);
        match name.as_str() {
            "count" if distinct => {
                let expression = expression()?;
                let what = format!("count(DISTINCT {})", expression.sql);
                rules::check_storable(pg_sys::exprType(node), &what)?;
                rules::check_ordered(pg_sys::exprType(node), &what)?;
                let Some(hll) = hll else { return Ok(count(Function::CountDistinct(expression), filter)) };
                let Some(hashed) = hll.hashed(&expression) else {
                    return Err(refused(&format!("{what} by sketch"))
                        .detail("A sketch takes the hash of a value, and its type has none.")
                        .hint("Leave option \"approx\" out."));
                };
                let hashed = Expression { sql: hashed, ..expression };
                Ok(Call {
                    function: Function::Sketch(hashed),
                    filter,
                    kept_type: hll.type_name(),
                    kept_collation: None,
                })
            }
            "count" => Ok(count(Function::Count(expression()?), filter)),
            "min" => smallest_or_greatest(Function::Min(expression()?), call, &signature, filter),
            "max" => smallest_or_greatest(Function::Max(expression()?), call, &signature, filter),
            "bool_and" | "every" => Ok(plain(Function::All(expression()?), "boolean", filter)),
            "bool_or" => Ok(plain(Function::Any(expression()?), "boolean", filter)),
            _ if distinct => again(aggref, staging, &signature),
            _ => match (name.as_str(), number) {
                ("sum", Some((kept, digits))) => Ok(plain(Function::Sum(expression()?, digits), kept, filter)),
                ("avg", Some((kept, digits))) => Ok(plain(Function::Avg(expression()?, digits), kept, filter)),
                (name, Some((_, digits))) if spread(name).is_some() => {
                    let Some(spread) = spread(name) else { return again(aggref, staging, &signature) };
                    let mut value = expression()?;
                    value.sql = format!("({})::numeric", value.sql);
                    let square = Expression { sql: format!("({0} * {0})", value.sql), ..value.clone() };
                    Ok(plain(Function::Spread(value, square, digits, spread), "numeric", filter))
                }
                _ => again(aggref, staging, &signature),
            },
        }
    }
}

fn spread(name: &str) -> Option<Spread> {
    match name {
        "variance" | "var_samp" => Some(Spread { sample: true, root: false }),
        "stddev" | "stddev_samp" => Some(Spread { sample: true, root: true }),
        "var_pop" => Some(Spread { sample: false, root: false }),
        "stddev_pop" => Some(Spread { sample: false, root: true }),
        _ => None,
    }
}

/// Aggregates whose result depends on the order of their rows; those of floats do too, because floats are rounded as they are added.
const ORDERED: [&str; 7] =
    ["array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "xmlagg"];

/// Gives such aggregates an order to the last row, that of arrival, so that every computation gives the same.
pub unsafe fn order_by_arrival(aggref: *mut pg_sys::Aggref, staging: pg_sys::Oid) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let call = &mut *aggref;
        let name = deparse::text(pg_sys::get_func_name(call.aggfnoid))?;
        let is_float = |t: pg_sys::Oid| matches!(t, pg_sys::FLOAT4OID | pg_sys::FLOAT8OID);
        let floats = PgList::<pg_sys::Oid>::from_pg(call.aggargtypes).iter_oid().any(is_float);
        let sums = !matches!(name.as_str(), "count" | "min" | "max");
        if !call.aggdistinct.is_null() || !(ORDERED.contains(&name.as_str()) || floats && sums) {
            return Ok(());
        }
        let mut arguments = PgList::<pg_sys::TargetEntry>::from_pg(call.args);
        let mut order = PgList::<pg_sys::SortGroupClause>::from_pg(call.aggorder);
        let mut reference = arguments.iter_ptr().map(|t| (*t).ressortgroupref).max().unwrap_or(0);
        for column in [c"_chunk_no", c"_row_no"] {
            let number = pg_sys::get_attnum(staging, column.as_ptr());
            if number == 0 {
                continue;
            }
            reference += 1;
            let var = pg_sys::makeVar(1, number, pg_sys::INT8OID, -1, pg_sys::InvalidOid, 0);
            let position = arguments.len() as i16 + 1;
            let target = pg_sys::makeTargetEntry(var.cast(), position, std::ptr::null_mut(), true);
            (*target).ressortgroupref = reference;
            arguments.push(target);
            let types = &*pg_sys::lookup_type_cache(
                pg_sys::INT8OID,
                (pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_LT_OPR) as i32,
            );
            let mut clause = pgrx::PgBox::<pg_sys::SortGroupClause>::alloc_node(pg_sys::NodeTag::T_SortGroupClause);
            clause.tleSortGroupRef = reference;
            clause.eqop = types.eq_opr;
            clause.sortop = types.lt_opr;
            clause.hashable = true;
            order.push(clause.into_pg());
        }
        call.args = arguments.into_pg();
        call.aggorder = order.into_pg();
        Ok(())
    }
}

/// An aggregate that is computed from the rows of a group whenever one of them changes.
unsafe fn again(aggref: *mut pg_sys::Aggref, staging: &Staging, signature: &str) -> Result<Call> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let call = &*aggref;
        rules::check_storable(call.aggtype, signature)?;
        Ok(Call {
            function: Function::Again(staging.condition(aggref.cast())?),
            filter: None,
            kept_type: deparse::type_name(call.aggtype, -1)?,
            kept_collation: deparse::collation(call.aggtype, call.aggcollid, signature)?,
        })
    }
}

unsafe fn argument(call: &pg_sys::Aggref) -> Option<*mut pg_sys::Node> {
    let target = PgList::<pg_sys::TargetEntry>::from_pg;
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { target(call.args).head().map(|t| (*t).expr.cast()) }
}

fn count(function: Function, filter: Option<String>) -> Call {
    Call { function, filter, kept_type: "bigint".to_owned(), kept_collation: None }
}

fn plain(function: Function, kept_type: &str, filter: Option<String>) -> Call {
    Call { function, filter, kept_type: kept_type.to_owned(), kept_collation: None }
}

/// What a sum is kept as where it is exact, so that adding up chunk by chunk gives what adding up at once would.
unsafe fn number(call: &pg_sys::Aggref, argument: *mut pg_sys::Node) -> Option<(&'static str, Digits)> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        match PgList::<pg_sys::Oid>::from_pg(call.aggargtypes).get_oid(0)? {
            pg_sys::INT2OID | pg_sys::INT4OID => Some(("bigint", Digits::Whole)),
            pg_sys::INT8OID => Some(("numeric", Digits::Whole)),
            pg_sys::NUMERICOID if pg_sys::exprTypmod(argument) >= 0 => Some(("numeric", Digits::Fixed)),
            pg_sys::NUMERICOID => Some(("numeric", Digits::Varying)),
            _ => None,
        }
    }
}

/// Any type whose order min and max share with LEAST and GREATEST.
unsafe fn smallest_or_greatest(
    function: Function,
    call: &pg_sys::Aggref,
    signature: &str,
    filter: Option<String>,
) -> Result<Call> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        rules::check_storable(call.aggtype, signature)?;
        rules::check_ordered(call.aggtype, signature)?;
        let collation = deparse::collation(call.aggtype, call.inputcollid, signature)?;
        let kept_type = deparse::type_name(call.aggtype, -1)?;
        Ok(Call { function, filter, kept_type, kept_collation: collation })
    }
}
