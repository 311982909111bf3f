//! Functions that look at a location before anything is pulled from it.

use pgrx::JsonB;
use pgrx::iter::{SetOfIterator, TableIterator};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::{answer, json};
use crate::pg::error::required;
use crate::pipeline::look;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn list(
    location: Option<&str>,
    recursive: Option<bool>,
) -> Result<
    TableIterator<
        'static,
        (name!(path, String), name!(size, i64), name!(etag, Option<String>), name!(modified, TimestampWithTimeZone)),
    >,
    ErrorReport,
> {
    let files = answer((|| look::list(required(location, "location")?, required(recursive, "recursive")?))())?;
    Ok(TableIterator::new(files.into_iter().map(|file| {
        let seconds = file.modified.timestamp_micros() as f64 / 1e6;
        (
            file.path,
            i64::try_from(file.size).unwrap_or(i64::MAX),
            Some(file.etag).filter(|e| !e.is_empty()),
            to_timestamp(seconds),
        )
    })))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn describe(
    location: Option<&str>,
    options: Option<JsonB>,
) -> Result<
    TableIterator<
        'static,
        (name!(column_name, String), name!(data_type, String), name!(format, String), name!(version, Option<i64>)),
    >,
    ErrorReport,
> {
    let columns = answer((|| look::describe(required(location, "location")?, &json(options)))())?;
    Ok(TableIterator::new(columns.into_iter().map(|c| (c.name, c.type_name, c.format.to_string(), c.version))))
}

#[pg_extern(sql = false)]
fn peek(
    location: Option<&str>,
    limit_rows: Option<i64>,
    options: Option<JsonB>,
) -> Result<SetOfIterator<'static, JsonB>, ErrorReport> {
    let rows = answer((|| {
        look::peek(required(location, "location")?, required(limit_rows, "limit_rows")?, &json(options))
    })())?;
    Ok(SetOfIterator::new(rows.into_iter().map(JsonB)))
}
