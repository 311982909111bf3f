//! What an expression may use.
//!
//! Expressions over rows are computed once, by whoever loads the chunk, so they must give the same in every
//! session at any time. Expressions over groups are computed when the view is read, as the query itself would
//! be, so they may depend on the reader's settings, but not on chance or the clock.

use std::ffi::c_void;

use pgrx::{PgList, pg_guard, pg_sys};

use crate::model::{Code, Error, Result};

use super::deparse;

const FIXED_ZONE: &str = "Fix what it depends on, for instance with AT TIME ZONE 'UTC' before date_trunc, extract or a \
                          cast to date, with date_bin, or with || instead of concat.";
const NO_CLOCK: &str = "Filter by time when reading the view, or group by a column of the staging table.";

/// The one error for everything that is not supported; the construct is its subject.
pub fn refused(construct: &str) -> Error {
    Error::new(Code::Unsupported, format!("{construct} is not supported in an incremental aggregate"))
}

#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Row,
    Group,
}

struct Walk {
    scope: Scope,
    refused: Option<Error>,
}

struct Functions {
    scope: Scope,
    found: Option<(pg_sys::Oid, Trouble)>,
}

#[derive(Clone, Copy)]
enum Trouble {
    Volatile,
    Clock,
    Settings,
}

pub unsafe fn check_row_expression(node: *mut pg_sys::Node) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { check(node, Scope::Row) }
}

pub unsafe fn check_group_expression(node: *mut pg_sys::Node) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { check(node, Scope::Group) }
}

unsafe fn check(node: *mut pg_sys::Node, scope: Scope) -> Result<()> {
    let mut walk = Walk { scope, refused: None };
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { check_node(node, (&raw mut walk).cast()) };
    match walk.refused {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_node(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: called by a walker with its own nodes and with the context that the walk was begun with.
    unsafe {
        if node.is_null() {
            return false;
        }
        let walk = context.cast::<Walk>();
        if let Err(error) = judge(node, (*walk).scope) {
            (*walk).refused = Some(error);
            return true;
        }
        pg_sys::expression_tree_walker(node, Some(check_node), context)
    }
}

unsafe fn judge(node: *mut pg_sys::Node, scope: Scope) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Var => return judge_column(node.cast(), scope),
            pg_sys::NodeTag::T_GroupingFunc => {
                return Err(refused("GROUPING()").hint("Leave it out: there is one grouping only."));
            }
            pg_sys::NodeTag::T_SQLValueFunction => {
                let name = deparse::text(pg_sys::deparse_expression(node, std::ptr::null_mut(), false, false))?;
                return Err(refused(&name).hint(NO_CLOCK));
            }
            pg_sys::NodeTag::T_List => return Ok(()),
            _ => {}
        }
        let mut functions = Functions { scope, found: None };
        pg_sys::check_functions_in_node(node, Some(check_function), (&raw mut functions).cast());
        let Some((function, trouble)) = functions.found else { return Ok(()) };
        let name = operation(node, function)?;
        Err(match trouble {
            Trouble::Volatile => refused(&format!("{name}, which is volatile,"))
                .detail("It may give another result each time it is called.")
                .hint("Compute it before the rows are loaded, or when reading the view."),
            Trouble::Clock => refused(&format!("{name}, which reads the clock,")).hint(NO_CLOCK),
            Trouble::Settings => refused(&format!("{name}, which depends on settings of the session,"))
                .detail("The time zone or format of whoever loads a chunk may not be the reader's.")
                .hint(FIXED_ZONE),
        })
    }
}

unsafe fn judge_column(var: *mut pg_sys::Var, scope: Scope) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        match (*var).varattno {
            0 => Err(refused("a whole row as a value").hint("Name its columns.")),
            // Over groups the columns are keys and aggregates, which are all ordinary.
            number if number < 0 && scope == Scope::Row => {
                let name = pg_sys::SystemAttributeDefinition(number);
                let name = deparse::text((*name).attname.data.as_ptr())?;
                Err(refused(&format!("the system column {name}")).hint("Use the staging table's own columns."))
            }
            _ => Ok(()),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_function(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: called by a walker with its own nodes and with the context that the walk was begun with.
    unsafe {
        let functions = context.cast::<Functions>();
        let trouble = match pg_sys::func_volatile(function) as u8 {
            pg_sys::PROVOLATILE_IMMUTABLE => None,
            pg_sys::PROVOLATILE_VOLATILE => Some(Trouble::Volatile),
            _ if is_builtin(function, "now", 0)
                || is_builtin(function, "transaction_timestamp", 0)
                || is_builtin(function, "statement_timestamp", 0)
                || is_builtin(function, "age", 1) =>
            {
                Some(Trouble::Clock)
            }
            _ if (*functions).scope == Scope::Group => None,
            // Marked stable, yet the zone is an argument: date_trunc('day', t, 'UTC').
            _ if is_builtin(function, "date_trunc", 3) => None,
            _ => Some(Trouble::Settings),
        };
        (*functions).found = trouble.map(|t| (function, t));
        trouble.is_some()
    }
}

unsafe fn is_builtin(function: pg_sys::Oid, name: &str, arguments: i32) -> bool {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        is_in_catalog(function)
            && pg_sys::get_func_nargs(function) == arguments
            && deparse::text(pg_sys::get_func_name(function)).is_ok_and(|n| n == name)
    }
}

pub unsafe fn is_in_catalog(function: pg_sys::Oid) -> bool {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { pg_sys::get_func_namespace(function).to_u32() == pg_sys::PG_CATALOG_NAMESPACE }
}

/// What the user wrote: an operator or a cast rather than the function behind it.
unsafe fn operation(node: *mut pg_sys::Node, function: pg_sys::Oid) -> Result<String> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let cast = |from: *mut pg_sys::Node| -> Result<String> {
            let from = deparse::type_name(pg_sys::exprType(from), -1)?;
            let to = deparse::type_name(pg_sys::exprType(node), -1)?;
            Ok(format!("the cast from {from} to {to}"))
        };
        match (*node).type_ {
            pg_sys::NodeTag::T_OpExpr => {
                let operator = pg_sys::format_operator((*node.cast::<pg_sys::OpExpr>()).opno);
                Ok(format!("the operator {}", deparse::text(operator)?))
            }
            pg_sys::NodeTag::T_CoerceViaIO => cast((*node.cast::<pg_sys::CoerceViaIO>()).arg.cast()),
            pg_sys::NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                let arguments = PgList::<pg_sys::Node>::from_pg(call.args);
                let is_cast = matches!(
                    call.funcformat,
                    pg_sys::CoercionForm::COERCE_EXPLICIT_CAST | pg_sys::CoercionForm::COERCE_IMPLICIT_CAST
                );
                match arguments.head() {
                    Some(from) if is_cast => cast(from),
                    _ => Ok(format!("the function {}", deparse::text(pg_sys::format_procedure(function))?)),
                }
            }
            _ => Ok(format!("the function {}", deparse::text(pg_sys::format_procedure(function))?)),
        }
    }
}

/// A type that a column can have.
pub unsafe fn check_storable(type_oid: pg_sys::Oid, what: &str) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        if pg_sys::get_typtype(type_oid) as u8 != pg_sys::TYPTYPE_PSEUDO {
            return Ok(());
        }
        let name = deparse::type_name(type_oid, -1)?;
        Err(refused(&format!("{what} of the pseudo-type {name}")).hint("Use its parts one by one."))
    }
}

/// A type whose values a unique index can tell apart.
pub unsafe fn check_ordered(type_oid: pg_sys::Oid, what: &str) -> Result<()> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let entry = pg_sys::lookup_type_cache(type_oid, pg_sys::TYPECACHE_CMP_PROC as i32);
        if (*entry).cmp_proc != pg_sys::InvalidOid {
            return Ok(());
        }
        let name = deparse::type_name(type_oid, -1)?;
        Err(refused(what)
            .detail(format!("The type {name} has no default btree operator class."))
            .hint("Cast it to a type with an order, such as text."))
    }
}

pub unsafe fn has_equality(type_oid: pg_sys::Oid) -> bool {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { (*pg_sys::lookup_type_cache(type_oid, pg_sys::TYPECACHE_EQ_OPR as i32)).eq_opr != pg_sys::InvalidOid }
}
