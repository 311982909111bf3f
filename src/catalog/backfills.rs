//! Backfills: what was asked for, and how far they are.

use serde::Deserialize;

use crate::model::offset::Offset;
use crate::model::{Error, Result};
use crate::pg::spi;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Location,
    Versions,
    Chunks,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Location => "location",
            Kind::Versions => "versions",
            Kind::Chunks => "chunks",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Backfill {
    pub generation: i32,
    pub kind: Kind,
    pub location: Option<String>,
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub through: Option<i64>,
    pub rate: Option<i64>,
    pub state: String,
    pub source_offset: Option<Offset>,
    pub error: Option<String>,
    pub sqlstate: Option<String>,
    /// False while it waits after a failure.
    pub due: bool,
}

const BACKFILL: &str =
    "SELECT generation, kind, location, first, last, through, rate, state, source_offset, error, sqlstate,
        (retry_at IS NULL OR retry_at <= pg_catalog.clock_timestamp()) AS due
   FROM millrace.backfill";

pub fn of(pipeline_id: i32, generation: i32) -> Result<Option<Backfill>> {
    let statement = format!("{BACKFILL} WHERE pipeline_id = $1 AND generation = $2");
    Ok(spi::read(&statement, vec![pipeline_id.into(), generation.into()])?.pop())
}

/// The one that is running; the position is locked, so that none begins meanwhile.
pub fn running(pipeline_id: i32) -> Result<Option<Backfill>> {
    let statement = format!("{BACKFILL} WHERE pipeline_id = $1 AND state = 'running' FOR UPDATE");
    Ok(spi::query(&statement, vec![pipeline_id.into()])?.pop())
}

/// What is asked for.
pub struct New<'a> {
    pub kind: Kind,
    pub location: Option<&'a str>,
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub through: Option<i64>,
    pub rate: Option<i64>,
    pub source_offset: Option<&'a Offset>,
}

/// The number that the next re-reading of the pipeline's source has.
pub fn new_generation(pipeline_id: i32) -> Result<i32> {
    let generation: Option<i32> = spi::value("SELECT millrace._new_generation($1)", vec![pipeline_id.into()])?;
    Ok(generation.unwrap_or(1))
}

pub fn insert(pipeline_id: i32, generation: i32, new: &New<'_>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.backfill (pipeline_id, generation, kind, location, first, last, through, rate, source_offset)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb)",
        vec![
            pipeline_id.into(),
            generation.into(),
            new.kind.name().into(),
            new.location.into(),
            new.first.into(),
            new.last.into(),
            new.through.into(),
            new.rate.into(),
            new.source_offset.map(json).into(),
        ],
    )?;
    Ok(())
}

pub fn set_rate(pipeline_id: i32, generation: i32, rate: Option<i64>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.backfill SET rate = $3, retry_at = NULL WHERE pipeline_id = $1 AND generation = $2",
        vec![pipeline_id.into(), generation.into(), rate.into()],
    )?;
    Ok(())
}

/// Notes what one step of it has brought, in the transaction that brought it.
pub fn advance(pipeline_id: i32, generation: i32, chunks: i64, rows: i64, offset: Option<&Offset>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.backfill
            SET chunks_done = chunks_done + $3, rows_done = rows_done + $4, source_offset = COALESCE($5::jsonb, source_offset),
                attempts = 0, error = NULL, sqlstate = NULL, retry_at = NULL
          WHERE pipeline_id = $1 AND generation = $2",
        vec![pipeline_id.into(), generation.into(), chunks.into(), rows.into(), offset.map(json).into()],
    )?;
    Ok(())
}

/// Ends it; true if it was running.
pub fn end(pipeline_id: i32, generation: i32, state: &str, error: Option<&Error>) -> Result<bool> {
    let ended = spi::execute(
        "UPDATE millrace.backfill
            SET state = $3, error = $4, sqlstate = $5, retry_at = NULL, finished_at = pg_catalog.clock_timestamp()
          WHERE pipeline_id = $1 AND generation = $2 AND state = 'running'",
        vec![
            pipeline_id.into(),
            generation.into(),
            state.into(),
            error.map(Error::to_string).into(),
            error.map(sqlstate).into(),
        ],
    )?;
    if ended > 0 {
        spi::execute(
            "DELETE FROM millrace.backfill_cursor WHERE pipeline_id = $1 AND generation = $2",
            vec![pipeline_id.into(), generation.into()],
        )?;
    }
    Ok(ended > 0)
}

/// Notes a failure that may pass.
pub fn retry_later(pipeline_id: i32, generation: i32, error: &Error, first_wait_ms: i64) -> Result<()> {
    spi::execute(
        "UPDATE millrace.backfill
            SET attempts = attempts + 1, error = $3, sqlstate = $4,
                retry_at = pg_catalog.clock_timestamp() + LEAST($5 * 2.0 ^ LEAST(attempts, 20), 300000) * interval '1 millisecond'
          WHERE pipeline_id = $1 AND generation = $2 AND state = 'running'",
        vec![
            pipeline_id.into(),
            generation.into(),
            error.to_string().into(),
            sqlstate(error).into(),
            first_wait_ms.into(),
        ],
    )?;
    Ok(())
}

fn sqlstate(error: &Error) -> String {
    String::from_utf8_lossy(&error.code.sqlstate()).into_owned()
}

fn json(offset: &Offset) -> String {
    serde_json::to_value(offset).unwrap_or_default().to_string()
}

/// Notes who is to get chunks from this one on again; gives the number of cursors.
pub fn begin_handing_out(
    pipeline_id: i32,
    generation: i32,
    from: i64,
    consumers: Option<Vec<Option<String>>>,
) -> Result<i64> {
    let all = consumers.is_none();
    let found: Option<i64> = spi::value(
        "SELECT millrace._begin_handing_out($1, $2, $3, CASE WHEN NOT $5 THEN $4::text[] END)",
        vec![pipeline_id.into(), generation.into(), from.into(), consumers.unwrap_or_default().into(), all.into()],
    )?;
    Ok(found.unwrap_or(0))
}

/// Hands out about so many rows again; gives how many those were, `None` once nothing is left.
pub fn hand_out_again(pipeline_id: i32, generation: i32, most: i64) -> Result<Option<i64>> {
    spi::value("SELECT millrace._hand_out_again($1, $2, $3)", vec![pipeline_id.into(), generation.into(), most.into()])
}

/// The versions in a range that need not be read: those that chunks hold rows of, and those that a snapshot was taken at or after.
pub fn versions_loaded(pipeline_id: i32, first: i64, last: i64) -> Result<Vec<i64>> {
    let versions: Option<Vec<i64>> = spi::value(
        "WITH read AS (
             SELECT DISTINCT (c.source -> 'delta' ->> 'version')::bigint AS version, (c.source -> 'delta' ->> 'to_version')::bigint AS to_version,
                    (c.source -> 'delta' ->> 'snapshot')::boolean AS whole
               FROM millrace.chunk c WHERE c.pipeline_id = $1 AND c.source ? 'delta'
         )
         SELECT pg_catalog.array_agg(v) FROM pg_catalog.generate_series($2, $3) AS v
          WHERE EXISTS (SELECT FROM read WHERE v BETWEEN version AND coalesce(to_version, version) OR whole AND version >= v)",
        vec![pipeline_id.into(), first.into(), last.into()],
    )?;
    Ok(versions.unwrap_or_default())
}

/// True where another process is at work on the pipeline.
pub fn is_worked_elsewhere(pipeline_id: i32) -> Result<bool> {
    let found: Option<bool> = spi::read_value(
        "SELECT EXISTS (SELECT FROM millrace.current_work() w WHERE w.pipeline_id = $1 AND w.pid <> pg_catalog.pg_backend_pid())",
        vec![pipeline_id.into()],
    )?;
    Ok(found == Some(true))
}
