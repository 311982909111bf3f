//! A column list as in CREATE TABLE, checked by Postgres' own parser: columns and their constraints, and nothing else.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::{is_a, pg_sys::NodeTag};

use crate::model::{Code, Error, Result};
use crate::pg::subtransaction;

/// A declared column: its name, and its type as Postgres prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    pub type_name: String,
}

fn malformed(columns: &str, detail: String) -> Error {
    Error::new(Code::InvalidParameter, "columns can't be understood")
        .detail(format!("{detail} columns is {columns:?}."))
        .hint("Write them as in CREATE TABLE: 'customer text, amount numeric(12,2) NOT NULL'.")
}

/// Parses `columns`; refuses anything that is more than a list of columns.
pub fn parse(columns: &str) -> Result<Vec<Declared>> {
    let text = CString::new(format!("CREATE TABLE t ({columns}\n)"))
        .map_err(|_| malformed(columns, "It holds NUL.".into()))?;
    let declared = subtransaction::run(|| {
        // SAFETY: the tree is palloc'ed by the parser and read at once; every node is checked before it is cast.
        unsafe {
            let trees = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
            let one = (!trees.is_null() && (*trees).length == 1).then(|| (*trees).elements);
            let Some(first) = one else { return Ok(None) };
            let statement = (*(*first).ptr_value.cast::<pg_sys::RawStmt>()).stmt;
            if !is_a(statement, NodeTag::T_CreateStmt) {
                return Ok(None);
            }
            let create = statement.cast::<pg_sys::CreateStmt>();
            let plain = (*create).inhRelations.is_null()
                && (*create).partspec.is_null()
                && (*create).ofTypename.is_null()
                && (*create).options.is_null()
                && (*create).tablespacename.is_null();
            if !plain || (*create).tableElts.is_null() {
                return Ok(None);
            }
            let list = (*create).tableElts;
            let mut declared = Vec::new();
            for i in 0..(*list).length as usize {
                let node = (*(*list).elements.add(i)).ptr_value.cast::<pg_sys::Node>();
                if !is_a(node, NodeTag::T_ColumnDef) {
                    return Ok(None);
                }
                let column = node.cast::<pg_sys::ColumnDef>();
                declared.push(Declared {
                    name: CStr::from_ptr((*column).colname).to_string_lossy().into_owned(),
                    type_name: type_name((*column).typeName),
                });
            }
            Ok(Some(declared))
        }
    });
    let declared = match declared {
        Ok(Some(declared)) => declared,
        Ok(None) => return Err(malformed(columns, "It is not a list of columns alone.".into())),
        Err(e) => return Err(malformed(columns, format!("{}.", e.message))),
    };
    if let Some(ours) = declared.iter().find(|c| matches!(c.name.as_str(), "_chunk_no" | "_row_no")) {
        return Err(malformed(columns, format!("Column {} is added by pg_millrace itself.", ours.name)));
    }
    Ok(declared)
}

/// The type as Postgres prints it. Raises for one that does not exist.
///
/// SAFETY: `name` is a TypeName node of a parse tree that is still allocated.
unsafe fn type_name(name: *mut pg_sys::TypeName) -> String {
    // SAFETY: as promised by the caller; format_type_with_typemod answers a palloc'ed string.
    unsafe {
        let (mut oid, mut modifier) = (pg_sys::Oid::INVALID, -1);
        pg_sys::typenameTypeIdAndMod(std::ptr::null_mut(), name, &mut oid, &mut modifier);
        CStr::from_ptr(pg_sys::format_type_with_typemod(oid, modifier)).to_string_lossy().into_owned()
    }
}
