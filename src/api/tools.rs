//! Functions that look and try out: verify, simulate, lineage.

use pgrx::JsonB;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::{answer, json};
use crate::catalog::pipelines;
use crate::model::{Code, Error};
use crate::pg::error::required;
use crate::pipeline::{define, scope, simulate as simulating, verify as verifying};

type CheckRow = (String, String, String, String, bool, Option<String>);

// pgrx resolves the columns from the signature as written: no alias can stand in for it.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn verify(
    pipeline: Option<&str>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(layer, String),
            name!(check_name, String),
            name!(expected, String),
            name!(found, String),
            name!(ok, bool),
            name!(detail, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let rows: Vec<CheckRow> = answer((|| {
        let name = required(pipeline, "pipeline")?;
        let pipeline = scope::catalog(|| pipelines::by_name(name))?;
        define::require_owner(&pipeline, "verify")?;
        let position = scope::catalog(|| pipelines::position(pipeline.id))?
            .ok_or_else(|| Error::new(Code::Internal, "the pipeline has no position"))?;
        let checks = verifying::verify(&pipeline, &position)?;
        Ok(checks.into_iter().map(|c| (c.layer, c.name.to_string(), c.expected, c.found, c.ok, c.detail)).collect())
    })())?;
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn simulate(
    kind: Option<&str>,
    location: Option<&str>,
    rows_per_file: Option<i64>,
    files: Option<i64>,
    seed: Option<i64>,
    format: Option<&str>,
    options: Option<JsonB>,
) -> Result<TableIterator<'static, (name!(file, String), name!(rows, i64), name!(bytes, i64))>, ErrorReport> {
    let written = answer((|| {
        let options = json(options);
        simulating::simulate(simulating::Wanted {
            kind: required(kind, "kind")?,
            location: required(location, "location")?,
            rows_per_file: required(rows_per_file, "rows_per_file")?,
            files: required(files, "files")?,
            seed: required(seed, "seed")?,
            format: required(format, "format")?,
            options: &options,
        })
    })())?;
    Ok(TableIterator::new(written))
}
