//! The aggregates of pipelines, as registered.

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::catalog::aggregate::Part;
use crate::model::aggregate::Plan;
use crate::model::{Code, Error, Result};
use crate::pg::spi;

#[derive(Debug, Clone, Deserialize)]
pub struct Aggregate {
    pub id: i32,
    /// Of the view: unlike `id` never again that of another aggregate.
    pub oid: u32,
    pub pipeline: String,
    pub name: String,
    /// Schema and name of the view; the other relations are named after it.
    pub schema: String,
    pub relation: String,
    pub plan: Plan,
    /// True where a layer is made from the changes of each chunk.
    pub publishes_changes: bool,
    /// The chunk from which on every change is told; `None` while nobody is there to read of it.
    pub told_from: Option<i64>,
    pub has_consumer: bool,
    /// The last chunk that it is filled with, where it is not complete yet.
    pub filled: Option<i64>,
    /// Of a keyed pipeline: the rows that it is filled with.
    pub part: Option<Part>,
    pub publish: Option<String>,
    pub options: serde_json::Value,
}

const AGGREGATE: &str =
    "SELECT a.id, c.oid::bigint AS oid, p.name AS pipeline, a.name, n.nspname AS schema, c.relname AS relation, a.plan, a.told_from, a.filled, a.filled_part AS part, a.publish, a.options,
        EXISTS (SELECT FROM millrace.layer l WHERE l.pipeline_id = a.pipeline_id AND l.layer = 'aggregate:' || a.name
                   AND COALESCE(l.options ->> 'publish_mode', 'append') = 'append') AS publishes_changes,
        EXISTS (SELECT FROM millrace.consumer k WHERE k.aggregate_id = a.id AND k.state <> 'dropped') AS has_consumer
   FROM millrace.aggregate a
   JOIN millrace.pipeline p ON p.id = a.pipeline_id
   JOIN pg_catalog.pg_class c ON c.oid = a.view_name
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

pub fn of_pipeline(pipeline_id: i32) -> Result<Vec<Aggregate>> {
    spi::query(&format!("{AGGREGATE} WHERE a.pipeline_id = $1 ORDER BY a.id"), vec![pipeline_id.into()])
}

/// The same under the caller's snapshot.
pub fn read_of_pipeline(pipeline_id: i32) -> Result<Vec<Aggregate>> {
    spi::read(&format!("{AGGREGATE} WHERE a.pipeline_id = $1 ORDER BY a.id"), vec![pipeline_id.into()])
}

/// How many are registered, also those whose view is gone.
pub fn count(pipeline_id: i32) -> Result<i64> {
    let n: Option<i64> = spi::value(
        "SELECT pg_catalog.count(*) FROM millrace.aggregate WHERE pipeline_id = $1",
        vec![pipeline_id.into()],
    )?;
    Ok(n.unwrap_or(0))
}

pub fn exists(pipeline_id: i32, name: &str) -> Result<bool> {
    let found: Option<bool> = spi::value(
        "SELECT EXISTS (SELECT FROM millrace.aggregate WHERE pipeline_id = $1 AND name = $2)",
        vec![pipeline_id.into(), name.into()],
    )?;
    Ok(found == Some(true))
}

pub struct New<'a> {
    pub pipeline_id: i32,
    pub name: &'a str,
    pub query: &'a str,
    pub view: Oid,
    pub state: Oid,
    pub plan: &'a serde_json::Value,
    pub publish: Option<&'a str>,
    pub told_from: Option<i64>,
    pub filled: Option<i64>,
    pub options: &'a serde_json::Value,
}

pub fn insert(new: New<'_>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.aggregate (pipeline_id, name, query, view_name, state_table, plan, publish, told_from, filled, options)
         VALUES ($1, $2, $3, $4::regclass, $5::regclass, $6::jsonb, $7, $8, $9, $10::jsonb)",
        vec![
            new.pipeline_id.into(),
            new.name.into(),
            new.query.into(),
            new.view.into(),
            new.state.into(),
            new.plan.to_string().into(),
            new.publish.into(),
            new.told_from.into(),
            new.filled.into(),
            new.options.to_string().into(),
        ],
    )?;
    Ok(())
}

/// The schema of the extension hll, quoted; `None` where it is not installed.
pub fn schema_of_hll() -> Result<Option<String>> {
    spi::value(
        "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
          WHERE e.extname = 'hll'",
        vec![],
    )
}

/// Rows that were loaded and are there.
pub fn rows(pipeline_id: i32) -> Result<i64> {
    let n: Option<i64> = spi::value(
        "SELECT pg_catalog.sum(c.row_count)::bigint FROM millrace.chunk c JOIN millrace.position p USING (pipeline_id)
          WHERE c.pipeline_id = $1 AND c.chunk_no >= p.kept_from",
        vec![pipeline_id.into()],
    )?;
    Ok(n.unwrap_or(0))
}

/// An aggregate that is not complete, locked; `None`: there is none, or somebody else is at it.
pub fn lock_filling(pipeline_id: i32) -> Result<Option<i32>> {
    spi::value(
        "SELECT id FROM millrace.aggregate WHERE pipeline_id = $1 AND filled IS NOT NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
        vec![pipeline_id.into()],
    )
}

/// Whether one is not complete.
pub fn is_filling(pipeline_id: i32) -> Result<bool> {
    let found: Option<bool> = spi::read_value(
        "SELECT EXISTS (SELECT FROM millrace.aggregate WHERE pipeline_id = $1 AND filled IS NOT NULL)",
        vec![pipeline_id.into()],
    )?;
    Ok(found == Some(true))
}

/// The last of the chunks after one that have about so many rows together.
pub fn chunks_of(pipeline_id: i32, after: i64, rows: i64) -> Result<Option<i64>> {
    spi::value(
        "SELECT pg_catalog.max(chunk_no)
           FROM (SELECT chunk_no, pg_catalog.sum(row_count) OVER (ORDER BY chunk_no) - row_count AS before
                   FROM (SELECT chunk_no, row_count FROM millrace.chunk WHERE pipeline_id = $1 AND chunk_no > $2 ORDER BY chunk_no LIMIT 10000) AS c) AS s
          WHERE before < $3",
        vec![pipeline_id.into(), after.into(), rows.into()],
    )
}

/// Notes with which rows of a keyed pipeline an aggregate is filled, as of a chunk.
pub fn set_part(id: i32, part: &Part, chunk_no: i64) -> Result<()> {
    let part = serde_json::to_value(part).map_err(|e| Error::new(Code::Internal, e.to_string()))?;
    spi::execute(
        "UPDATE millrace.aggregate SET filled = $2, filled_part = $3::jsonb WHERE id = $1",
        vec![id.into(), chunk_no.into(), part.to_string().into()],
    )?;
    Ok(())
}

/// Whether a keyed staging table has more rows than so many. Run as its owner.
pub fn has_more_rows(staging: &str, rows: i64) -> Result<bool> {
    let found: Option<bool> = spi::value(
        &format!("SELECT pg_catalog.count(*) > $1 FROM (SELECT FROM {staging} LIMIT $1 + 1) AS first"),
        vec![rows.into()],
    )?;
    Ok(found == Some(true))
}

/// Notes how far an aggregate is filled; `None`: it is complete.
pub fn set_filled(id: i32, filled: Option<i64>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.aggregate SET filled = $2, filled_part = NULL WHERE id = $1",
        vec![id.into(), filled.into()],
    )?;
    Ok(())
}

/// Notes from which chunk on the changes of an aggregate are told.
pub fn set_told(id: i32, from: Option<i64>) -> Result<()> {
    spi::execute("UPDATE millrace.aggregate SET told_from = $2 WHERE id = $1", vec![id.into(), from.into()])?;
    Ok(())
}

/// The last chunk whose changes nobody needs any more: all consumers have acked it, and it is published. `None`: none is known.
pub fn read_by_all(id: i32) -> Result<Option<i64>> {
    spi::value(
        "SELECT LEAST(
                (SELECT pg_catalog.min(k.acked_through) FROM millrace.consumer k WHERE k.aggregate_id = a.id AND k.state <> 'dropped'),
                CASE WHEN a.publish IS NOT NULL THEN
                    COALESCE((SELECT pg_catalog.min(b.chunk_no) - 1 FROM millrace.publication b
                               WHERE b.pipeline_id = a.pipeline_id AND b.layer = 'aggregate:' || a.name AND b.state = 'pending'),
                             (SELECT s.head FROM millrace.position s WHERE s.pipeline_id = a.pipeline_id)) END)
           FROM millrace.aggregate a WHERE a.id = $1",
        vec![id.into()],
    )
}

pub fn delete(pipeline_id: i32, name: &str) -> Result<u64> {
    spi::execute(
        "DELETE FROM millrace.aggregate WHERE pipeline_id = $1 AND name = $2",
        vec![pipeline_id.into(), name.into()],
    )
}
