//! Which columns of a file go into which columns of the staging table, and how each is read.

use std::collections::BTreeMap;

use pgrx::pg_sys;

use crate::convert::{Element, Kind, Target, schema};
use crate::pg::relation::Column;

/// A staging column with the way its text is read.
#[derive(Debug, Clone, PartialEq)]
pub struct StagingColumn {
    pub column: Column,
    pub kind: Kind,
}

/// The staging table's columns, as the reading threads need them.
pub fn staging_columns(columns: Vec<Column>, settings: &BTreeMap<String, String>) -> Vec<StagingColumn> {
    let utc = settings.get("TimeZone").is_some_and(|z| matches!(z.as_str(), "UTC" | "Etc/UTC" | "GMT"));
    columns.into_iter().map(|column| StagingColumn { kind: kind(&column, utc), column }).collect()
}

fn kind(column: &Column, utc: bool) -> Kind {
    if column.element_oid == 0 {
        return kind_of(column.base_oid, column.typmod, utc);
    }
    // Those of the catalogs are no arrays like others; a domain has checks of its own.
    let plain = ![0, u32::from(pg_sys::INT2VECTOROID), u32::from(pg_sys::OIDVECTOROID)].contains(&column.base_oid);
    let element = plain.then(|| Element::of(kind_of(column.element_oid, column.typmod, utc))).flatten();
    Kind::Array(element.map(|element| (element, column.element_oid)))
}

fn kind_of(base_oid: u32, typmod: i32, utc: bool) -> Kind {
    // A typmod carries VARHDRSZ (4) on top of what was declared.
    let declared = (typmod >= 4).then(|| (typmod - 4) as u32);
    match pg_sys::Oid::from(base_oid) {
        pg_sys::BOOLOID => Kind::Bool,
        pg_sys::INT2OID => Kind::Int2,
        pg_sys::INT4OID => Kind::Int4,
        pg_sys::INT8OID => Kind::Int8,
        pg_sys::FLOAT4OID => Kind::Float4,
        pg_sys::FLOAT8OID => Kind::Float8,
        pg_sys::NUMERICOID => match declared {
            // Precision above the scale's 11 bits, the scale in two's complement (utils/adt/numeric.c, make_numeric_typmod).
            Some(t) => Kind::Numeric { precision: Some((t >> 16) as u16), scale: (((t & 0x7ff) ^ 1024) as i16) - 1024 },
            None => Kind::Numeric { precision: None, scale: 0 },
        },
        pg_sys::TEXTOID => Kind::Text { max_chars: None },
        pg_sys::VARCHAROID => Kind::Text { max_chars: declared },
        pg_sys::BPCHAROID => Kind::Bpchar { len: declared },
        pg_sys::DATEOID => Kind::Date,
        pg_sys::TIMESTAMPOID if typmod < 0 => Kind::Timestamp,
        pg_sys::TIMESTAMPTZOID if typmod < 0 => Kind::TimestampTz { utc },
        pg_sys::TIMEOID if typmod < 0 => Kind::Time,
        pg_sys::UUIDOID => Kind::Uuid,
        pg_sys::JSONOID => Kind::Json,
        pg_sys::JSONBOID => Kind::Jsonb,
        pg_sys::BYTEAOID => Kind::Bytea,
        _ => Kind::Other,
    }
}

/// How the records of a file with one header become rows.
#[derive(Debug, Clone)]
pub struct Match {
    /// Staging columns that COPY is told to fill, by index. A column that the file lacks is left to its DEFAULT if it has one.
    pub filled: Vec<usize>,
    pub targets: Vec<Target>,
    /// For each target, the file's column.
    pub mapping: Vec<Option<usize>>,
    /// Columns of the file that no target takes.
    pub extra: Vec<usize>,
    /// The target that takes what nothing else does.
    pub rescued: Option<usize>,
}

/// The column of a staging table that holds, as a JSON object, fields which no column of their own takes.
pub const RESCUED: &str = "_rescued";

pub fn match_header(header: &[String], columns: &[StagingColumn]) -> Match {
    let all: Vec<Target> = columns
        .iter()
        .map(|c| Target { name: c.column.name.clone(), kind: c.kind, not_null: c.column.not_null })
        .collect();
    let names: Vec<&str> = columns.iter().map(|c| c.column.name.as_str()).collect();
    let matched = schema::match_columns(header, &names);
    let mut result = Match { filled: vec![], targets: vec![], mapping: vec![], extra: matched.extra, rescued: None };
    for (i, (target, source)) in all.into_iter().zip(matched.mapping).enumerate() {
        // A file's own column of that name would be taken for ours.
        let rescued = target.name == RESCUED && target.kind == Kind::Jsonb;
        if rescued {
            result.extra.extend(source);
            result.rescued = Some(result.targets.len());
        }
        // Behind the file's own: see rescue::encode.
        let source = if rescued { Some(header.len()) } else { source };
        if source.is_some() || !columns[i].column.has_default {
            result.filled.push(i);
            result.targets.push(target);
            result.mapping.push(source);
        }
    }
    result
}
