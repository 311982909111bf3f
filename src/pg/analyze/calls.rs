//! The aggregate functions that can be kept incrementally, and why the others can't.

use pgrx::{PgList, pg_sys};

use crate::model::Result;
use crate::model::aggregate::{Call, Digits, Function};

use super::deparse::{self, Staging};
use super::rules::{self, refused};

const KNOWN: &str = "Use count, sum, avg, min, max or count(DISTINCT …), each with or without FILTER.";

pub unsafe fn call(aggref: *mut pg_sys::Aggref, staging: &Staging) -> Result<Call> {
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
        if !matches!(name.as_str(), "count" | "sum" | "avg" | "min" | "max") {
            return Err(refused(&format!("the aggregate {signature}")).hint(KNOWN));
        }
        if !call.aggorder.is_null() {
            return Err(
                refused(&format!("ORDER BY inside {name}")).hint("Leave it out: the result does not depend on it.")
            );
        }
        rules::check_row_expression(call.args.cast())?;
        rules::check_row_expression(call.aggfilter.cast())?;
        let filter = if call.aggfilter.is_null() { None } else { Some(staging.condition(call.aggfilter.cast())?) };

        let distinct = !call.aggdistinct.is_null();
        let Some(node) = argument(call) else {
            return Ok(count(Function::CountRows, filter));
        };
        let expression = staging.expression(node)?;
        match name.as_str() {
            "count" if distinct => {
                let what = format!("count(DISTINCT {})", expression.sql);
                rules::check_storable(pg_sys::exprType(node), &what)?;
                rules::check_ordered(pg_sys::exprType(node), &what)?;
                Ok(count(Function::CountDistinct(expression), filter))
            }
            "count" => Ok(count(Function::Count(expression), filter)),
            "sum" | "avg" if distinct => Err(refused(&format!("{name}(DISTINCT …)"))
                .hint("Use count(DISTINCT …), or aggregate when reading a view grouped by the value.")),
            "sum" => sum(|digits| Function::Sum(expression, digits), call, node, &signature, filter),
            "avg" => sum(|digits| Function::Avg(expression, digits), call, node, &signature, filter),
            "min" => smallest_or_greatest(Function::Min(expression), call, &signature, filter),
            _ => smallest_or_greatest(Function::Max(expression), call, &signature, filter),
        }
    }
}

unsafe fn argument(call: &pg_sys::Aggref) -> Option<*mut pg_sys::Node> {
    let target = PgList::<pg_sys::TargetEntry>::from_pg;
    unsafe { target(call.args).head().map(|t| (*t).expr.cast()) }
}

fn count(function: Function, filter: Option<String>) -> Call {
    Call { function, filter, kept_type: "bigint".to_owned(), kept_collation: None }
}

/// Sums that are exact, so that adding up chunk by chunk gives what adding up at once would.
unsafe fn sum(
    function: impl FnOnce(Digits) -> Function,
    call: &pg_sys::Aggref,
    argument: *mut pg_sys::Node,
    signature: &str,
    filter: Option<String>,
) -> Result<Call> {
    unsafe {
        let argument_type = PgList::<pg_sys::Oid>::from_pg(call.aggargtypes).get_oid(0).unwrap_or(pg_sys::InvalidOid);
        let kept_type = match argument_type {
            pg_sys::INT2OID | pg_sys::INT4OID => "bigint",
            pg_sys::INT8OID | pg_sys::NUMERICOID => "numeric",
            pg_sys::FLOAT4OID | pg_sys::FLOAT8OID => {
                return Err(refused(signature)
                    .detail("A sum of floats depends on the order of addition, so it would not equal a recomputation.")
                    .hint("Cast the argument to numeric."));
            }
            pg_sys::MONEYOID => return Err(refused(signature).hint("Cast the argument to numeric.")),
            pg_sys::INTERVALOID => {
                return Err(refused(signature).hint("Aggregate extract(epoch FROM …), which is numeric."));
            }
            _ => return Err(refused(signature).hint(KNOWN)),
        };
        let digits = match argument_type {
            pg_sys::NUMERICOID if pg_sys::exprTypmod(argument) >= 0 => Digits::Fixed,
            pg_sys::NUMERICOID => Digits::Varying,
            _ => Digits::Whole,
        };
        Ok(Call { function: function(digits), filter, kept_type: kept_type.to_owned(), kept_collation: None })
    }
}

/// Any type whose order min and max share with LEAST and GREATEST.
unsafe fn smallest_or_greatest(
    function: Function,
    call: &pg_sys::Aggref,
    signature: &str,
    filter: Option<String>,
) -> Result<Call> {
    unsafe {
        rules::check_storable(call.aggtype, signature)?;
        rules::check_ordered(call.aggtype, signature)?;
        let collation = deparse::collation(call.aggtype, call.inputcollid, signature)?;
        let kept_type = deparse::type_name(call.aggtype, -1)?;
        Ok(Call { function, filter, kept_type, kept_collation: collation })
    }
}
