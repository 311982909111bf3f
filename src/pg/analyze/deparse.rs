//! Turns analysed trees back into text that means the same in every session.
//!
//! All of it is called within [`pinned`], which fixes the settings that decide how names and literals are shown.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

use crate::model::aggregate::Expression;
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
        Staging { context: unsafe { pg_sys::deparse_context_for(c"staging".as_ptr(), relation) } }
    }

    /// An expression that stands for itself, with every cast written out so that its type can't change.
    pub unsafe fn expression(&self, node: *mut pg_sys::Node) -> Result<Expression> {
        unsafe {
            let sql = text(pg_sys::deparse_expression(node, self.context, false, true))?;
            let type_oid = pg_sys::exprType(node);
            let collation_oid = pg_sys::exprCollation(node);
            let collation = collation(type_oid, collation_oid, &sql)?;
            let bytewise = is_plain_text(type_oid) && pg_sys::get_collation_isdeterministic(collation_oid);
            Ok(Expression { type_name: type_name(type_oid, pg_sys::exprTypmod(node))?, sql, collation, bytewise })
        }
    }

    pub unsafe fn condition(&self, node: *mut pg_sys::Node) -> Result<String> {
        unsafe { text(pg_sys::deparse_expression(node, self.context, false, false)) }
    }
}

/// A whole query. It is copied first, because showing a query may change it.
pub unsafe fn query(query: *mut pg_sys::Query) -> Result<String> {
    unsafe {
        let copy: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
        Ok(text(pg_sys::pg_get_querydef(copy, false))?.trim().to_owned())
    }
}

pub unsafe fn type_name(type_oid: pg_sys::Oid, typmod: i32) -> Result<String> {
    unsafe { text(pg_sys::format_type_with_typemod(type_oid, typmod)) }
}

/// Other types with collations may have an equality that depends on them.
unsafe fn is_plain_text(type_oid: pg_sys::Oid) -> bool {
    let base = unsafe { pg_sys::getBaseType(type_oid) };
    matches!(base, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID)
}

/// The collation of a type that has one; `of` says whose it is.
pub unsafe fn collation(type_oid: pg_sys::Oid, collation: pg_sys::Oid, of: &str) -> Result<Option<String>> {
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
    let bytes: CString = unsafe { CStr::from_ptr(string) }.to_owned();
    bytes.into_string().map_err(|_| {
        Error::new(Code::Unsupported, "an aggregate's query must be plain UTF-8 in the database's encoding")
            .hint("Use a database with encoding UTF8.")
    })
}
