//! Looking before pulling: what lies at a location, which columns it has, and its first rows.
//!
//! Promises: reads with the caller's rights and credentials, keeps nothing, and reads no more than it needs.

use arrow::datatypes::Field;
use futures::TryStreamExt;
use serde_json::Value;

use crate::convert::typed::column_type;
use crate::format::RawBatch;
use crate::lake::delta::Table;
use crate::lake::listing::LandingFile;
use crate::model::location::Location;
use crate::model::options::Options;
use crate::model::{Code, Error, Result};
use crate::pg::{columns_parser, runtime, user};
use crate::pipeline::source::Source;
use crate::pipeline::{access, detect, infer};

/// Most rows that a look may show: they are held in memory.
const MOST_ROWS: i64 = 10_000;

/// A column of what lies at a location.
pub struct Column {
    pub name: String,
    pub type_name: String,
    pub format: &'static str,
    /// Of a Delta table.
    pub version: Option<i64>,
}

/// The files at a location, as a pipeline would see them: those that hold the rows of a Delta table, or all that are no hidden ones.
pub fn list(location: &str, recursive: bool) -> Result<Vec<LandingFile>> {
    match delta(location)? {
        Some(table) => runtime::wait(async move { table.listing().await }),
        None => open(location)?.list(recursive),
    }
}

/// The columns at a location: those of a Delta table, or those that the files there have or seem to have.
pub fn describe(location: &str, options: &Value) -> Result<Vec<Column>> {
    let options = Options::parse(options)?;
    if let Some(table) = delta(location)? {
        let version = i64::try_from(table.version()).ok();
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            type_name: column_type(field),
            format: "delta",
            version,
        });
        return Ok(columns.collect());
    }
    let source = open(location)?;
    let files = source.list(options.recursive)?;
    let format = detect::format(None, &source, &files, &options)?;
    let declared = columns_parser::parse(&infer::columns(&source, &files, format, &options)?)?;
    Ok(declared.into_iter().map(|d| Column { name: d.name, type_name: d.type_name, format, version: None }).collect())
}

/// The first rows at a location, every value as text.
pub fn peek(location: &str, limit: i64, options: &Value) -> Result<Vec<Value>> {
    let options = Options::parse(options)?;
    if !(0..=MOST_ROWS).contains(&limit) {
        return Err(Error::new(Code::InvalidParameter, format!("limit_rows must be from 0 to {MOST_ROWS}"))
            .detail(format!("It is {limit}."))
            .hint("Create a pipeline to load more."));
    }
    let limit = usize::try_from(limit).unwrap_or(0);
    let batches = match delta(location)? {
        Some(table) => runtime::wait(async move {
            let mut rows = table.scan(limit.max(1)).await?;
            let (mut batches, mut found) = (Vec::new(), 0);
            while found < limit
                && let Some(batch) = rows.try_next().await?
            {
                found += batch.num_rows();
                batches.push(RawBatch::typed(&batch, 1, 0)?);
            }
            Ok(batches)
        })?,
        None => {
            let source = open(location)?;
            let files = source.list(options.recursive)?;
            let format = detect::format(None, &source, &files, &options)?;
            infer::first_rows(&source, &files, format, &options, limit)?
        }
    };
    let mut rows = Vec::new();
    for batch in &batches {
        rows.extend(as_json(batch, limit - rows.len()));
    }
    Ok(rows)
}

fn open(location: &str) -> Result<Source> {
    let role = user::current().to_u32();
    access::require_readable(role, location)?;
    Source::open(location, access::credentials(role, &Location::parse(location)?)?)
}

/// The Delta table at a location, if that is what lies there.
fn delta(location: &str) -> Result<Option<Table>> {
    let role = user::current().to_u32();
    access::require_readable(role, location)?;
    let location = Location::parse(location)?;
    if location.split_glob().1.is_some() {
        return Ok(None);
    }
    let credentials = access::credentials(role, &location)?;
    match runtime::wait(async move { Table::open(&location, &credentials).await }) {
        // Something else, or the path of a file.
        Err(e) if e.code == Code::Mismatch => Ok(None),
        other => other,
    }
}

fn as_json(batch: &RawBatch, limit: usize) -> Vec<Value> {
    let schema = batch.fields.schema();
    let row = |row: usize| {
        let field = |(i, field): (usize, &std::sync::Arc<Field>)| {
            let text = batch.text(i, row).map(|text| Value::String(text.replace('\0', "\u{fffd}")));
            (field.name().replace('\0', "\u{fffd}"), text.unwrap_or(Value::Null))
        };
        Value::Object(schema.fields().iter().enumerate().map(field).collect())
    };
    (0..batch.rows().min(limit)).map(row).collect()
}
