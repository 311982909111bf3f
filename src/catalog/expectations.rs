//! The expectations of pipelines, and what each chunk gave.

use serde::Deserialize;

use crate::model::expectation::{Expectation, OnViolation};
use crate::model::{Code, Error, Result};
use crate::pg::spi;

/// In the order in which they were added, which is the order of their bits in a load.
pub fn of_pipeline(pipeline_id: i32) -> Result<Vec<Expectation>> {
    spi::query(
        "SELECT name, condition, plan, columns, on_violation, null_passes
           FROM millrace.expectation WHERE pipeline_id = $1 ORDER BY id",
        vec![pipeline_id.into()],
    )
}

pub fn insert(pipeline_id: i32, e: &Expectation) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.expectation (pipeline_id, name, condition, plan, columns, on_violation, null_passes)
         VALUES ($1, $2, $3, $4, $5::text[], $6, $7)",
        vec![
            pipeline_id.into(),
            (&e.name).into(),
            (&e.condition).into(),
            (&e.plan).into(),
            e.columns.clone().into(),
            e.on_violation.name().into(),
            e.null_passes.into(),
        ],
    )?;
    Ok(())
}

pub fn update(pipeline_id: i32, e: &Expectation) -> Result<()> {
    spi::execute(
        "UPDATE millrace.expectation SET condition = $3, plan = $4, columns = $5::text[], on_violation = $6, null_passes = $7
          WHERE pipeline_id = $1 AND name = $2",
        vec![
            pipeline_id.into(),
            (&e.name).into(),
            (&e.condition).into(),
            (&e.plan).into(),
            e.columns.clone().into(),
            e.on_violation.name().into(),
            e.null_passes.into(),
        ],
    )?;
    Ok(())
}

pub fn delete(pipeline_id: i32, name: &str) -> Result<u64> {
    spi::execute(
        "DELETE FROM millrace.expectation WHERE pipeline_id = $1 AND name = $2",
        vec![pipeline_id.into(), name.into()],
    )
}

pub fn unknown(pipeline: &str, name: &str) -> Error {
    Error::new(Code::UndefinedObject, format!("expectation \"{name}\" does not exist"))
        .detail(format!("Pipeline \"{pipeline}\" has no expectation of that name."))
        .hint("SELECT expectation FROM millrace.expectations lists them.")
}

/// What one expectation came to in a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    pub name: String,
    pub on_violation: OnViolation,
    pub checked: i64,
    pub violated: i64,
}

pub fn record(pipeline_id: i32, chunk_no: i64, outcomes: &[Outcome]) -> Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    spi::execute(
        "INSERT INTO millrace.expectation_result (pipeline_id, chunk_no, expectation, on_violation, checked, violated)
         SELECT $1, $2, r.* FROM ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]),
                                            pg_catalog.unnest($5::bigint[]), pg_catalog.unnest($6::bigint[])) AS r",
        vec![
            pipeline_id.into(),
            chunk_no.into(),
            outcomes.iter().map(|o| o.name.clone()).collect::<Vec<_>>().into(),
            outcomes.iter().map(|o| o.on_violation.name().to_string()).collect::<Vec<_>>().into(),
            outcomes.iter().map(|o| o.checked).collect::<Vec<_>>().into(),
            outcomes.iter().map(|o| o.violated).collect::<Vec<_>>().into(),
        ],
    )?;
    Ok(())
}
