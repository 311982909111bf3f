//! Turns analysed trees back into text that means the same in every session.
//!
//! All of it is called within [`pinned`], which fixes the settings that decide how names and literals are shown.

use std::ffi::{CStr, CString, c_char};

use pgrx::{PgList, pg_sys};

use crate::model::aggregate::{Expression, Hash};
use crate::model::{Code, Error, Result};

use super::rules;

/// Names outside pg_catalog come out qualified, and literals in a form that reads back alike everywhere.
const SETTINGS: [(&CStr, &CStr); 6] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"DateStyle", c"ISO, YMD"),
    (c"IntervalStyle", c"postgres"),
    (c"TimeZone", c"UTC"),
    (c"extra_float_digits", c"1"),
    (c"bytea_output", c"hex"),
];

/// Runs `work` under fixed settings. If Postgres raises an error inside, the end of the transaction restores them.
pub unsafe fn pinned<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        for (name, value) in SETTINGS {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let outcome = work();
        pg_sys::AtEOXact_GUC(true, level);
        outcome
    }
}

/// The staging table as the place where the columns of an expression are looked up.
pub struct Staging {
    context: *mut pg_sys::List,
}

impl Staging {
    pub unsafe fn new(relation: pg_sys::Oid) -> Staging {
        // The name is shown nowhere: columns of a single table come out bare.
        // SAFETY: as promised by the caller (see `analyze`).
        Staging { context: unsafe { pg_sys::deparse_context_for(c"staging".as_ptr(), relation) } }
    }

    /// An expression that stands for itself, with every cast written out so that its type can't change.
    pub unsafe fn expression(&self, node: *mut pg_sys::Node) -> Result<Expression> {
        // SAFETY: as promised by the caller (see `analyze`).
        unsafe {
            let sql = text(pg_sys::deparse_expression(node, self.context, false, true))?;
            let type_oid = pg_sys::exprType(node);
            let collation_oid = pg_sys::exprCollation(node);
            let collation = collation(type_oid, collation_oid, &sql)?;
            let type_name = type_name(type_oid, pg_sys::exprTypmod(node))?;
            let (equal, hash) = equality(type_oid)?;
            let unbounded = pg_sys::get_typlen(type_oid) < 0;
            Ok(Expression { sql, type_name, collation, equal, hash, unbounded })
        }
    }

    pub unsafe fn condition(&self, node: *mut pg_sys::Node) -> Result<String> {
        // SAFETY: as promised by the caller (see `analyze`).
        unsafe { text(pg_sys::deparse_expression(node, self.context, false, false)) }
    }
}

/// A whole query. It is copied first, because showing a query may change it.
pub unsafe fn query(query: *mut pg_sys::Query) -> Result<String> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let copy: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
        Ok(text(pg_sys::pg_get_querydef(copy, false))?.trim().to_owned())
    }
}

pub unsafe fn type_name(type_oid: pg_sys::Oid, typmod: i32) -> Result<String> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe { text(pg_sys::format_type_with_typemod(type_oid, typmod)) }
}

/// How GROUP BY tells values of a type apart.
unsafe fn equality(type_oid: pg_sys::Oid) -> Result<(Option<String>, Hash)> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let flags = pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_HASH_EXTENDED_PROC;
        let entry = &*pg_sys::lookup_type_cache(type_oid, flags as i32);
        let equal = if entry.eq_opr == pg_sys::InvalidOid { None } else { Some(operator(entry.eq_opr)?) };
        if entry.hash_extended_proc == pg_sys::InvalidOid {
            return Ok((equal, Hash::None));
        }
        let mut arguments = std::ptr::null_mut();
        let mut count = 0;
        pg_sys::get_func_signature(entry.hash_extended_proc, &mut arguments, &mut count);
        let taken = if count == 2 { *arguments } else { pg_sys::InvalidOid };
        let base = pg_sys::getBaseType(type_oid);
        let is_taken = taken == base
            || (taken == pg_sys::TEXTOID && base == pg_sys::VARCHAROID)
            || matches!(
                taken,
                pg_sys::ANYARRAYOID
                    | pg_sys::ANYENUMOID
                    | pg_sys::ANYRANGEOID
                    | pg_sys::ANYMULTIRANGEOID
                    | pg_sys::RECORDOID
            );
        // A date is hashed by the function for integers, which SQL would not call with a date.
        let hash = if is_taken { Hash::Function(function(entry.hash_extended_proc)?) } else { Hash::Row };
        Ok((equal, hash))
    }
}

unsafe fn operator(operator: pg_sys::Oid) -> Result<String> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let (mut names, mut arguments) = (std::ptr::null_mut(), std::ptr::null_mut());
        pg_sys::format_operator_parts(operator, &mut names, &mut arguments, false);
        let names = PgList::<c_char>::from_pg(names);
        let (Some(schema), Some(name)) = (names.get_ptr(0), names.get_ptr(1)) else {
            return Err(Error::new(Code::Internal, "an operator has no name"));
        };
        Ok(format!("OPERATOR({}.{})", text(pg_sys::quote_identifier(schema))?, text(name)?))
    }
}

unsafe fn function(function: pg_sys::Oid) -> Result<String> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_func_namespace(function));
        let name = pg_sys::get_func_name(function);
        if schema.is_null() || name.is_null() {
            return Err(Error::new(Code::Internal, "a function has no name"));
        }
        text(pg_sys::quote_qualified_identifier(schema, name))
    }
}

/// The collation of a type that has one; `of` says whose it is.
pub unsafe fn collation(type_oid: pg_sys::Oid, collation: pg_sys::Oid, of: &str) -> Result<Option<String>> {
    // SAFETY: as promised by the caller (see `analyze`).
    unsafe {
        if !pg_sys::type_is_collatable(type_oid) {
            return Ok(None);
        }
        if collation == pg_sys::InvalidOid {
            return Err(rules::refused(&format!("{of}, whose collation is not determined,"))
                .hint("Say which one with COLLATE."));
        }
        text(pg_sys::generate_collation_name(collation)).map(Some)
    }
}

/// A string that Postgres made, as ours.
pub unsafe fn text(string: *const c_char) -> Result<String> {
    if string.is_null() {
        return Err(Error::new(Code::Internal, "Postgres gave no text for a part of the aggregate's query"));
    }
    // SAFETY: as promised by the caller (see `analyze`).
    let bytes: CString = unsafe { CStr::from_ptr(string) }.to_owned();
    bytes.into_string().map_err(|_| {
        Error::new(Code::Unsupported, "an aggregate's query must be plain UTF-8 in the database's encoding")
            .hint("Use a database with encoding UTF8.")
    })
}
