//! Published layers and their outbox.

use serde::Deserialize;

use crate::model::publishing::LayerOptions;
use crate::model::{Code, Error, Result};
use crate::pg::spi;

/// The layer of a pipeline's clean rows.
pub const SEMI_PROCESSED: &str = "semi_processed";

/// The layer of an aggregate.
pub fn of_aggregate(name: &str) -> String {
    format!("aggregate:{name}")
}

pub fn insert(pipeline_id: i32, layer: &str, location: &str, from_chunk: i64, options: &LayerOptions) -> Result<()> {
    let options = serde_json::to_string(options).map_err(|e| Error::new(Code::Internal, e.to_string()))?;
    spi::execute(
        "INSERT INTO millrace.layer (pipeline_id, layer, location, from_chunk, options) VALUES ($1, $2, $3, $4, $5::jsonb)",
        vec![pipeline_id.into(), layer.into(), location.into(), from_chunk.into(), options.into()],
    )?;
    Ok(())
}

pub fn delete(pipeline_id: i32, layer: &str) -> Result<()> {
    spi::execute(
        "DELETE FROM millrace.layer WHERE pipeline_id = $1 AND layer = $2",
        vec![pipeline_id.into(), layer.into()],
    )?;
    Ok(())
}

/// Puts a chunk into the outbox of every layer.
pub fn enqueue(pipeline_id: i32, chunk_no: i64) -> Result<u64> {
    spi::execute(
        "INSERT INTO millrace.publication (pipeline_id, layer, chunk_no)
         SELECT pipeline_id, layer, $2 FROM millrace.layer WHERE pipeline_id = $1",
        vec![pipeline_id.into(), chunk_no.into()],
    )
}

/// A published layer.
#[derive(Debug, Clone, Deserialize)]
pub struct Layer {
    pub layer: String,
    pub location: String,
}

pub fn of_pipeline(pipeline_id: i32) -> Result<Vec<Layer>> {
    spi::query(
        "SELECT layer, location FROM millrace.layer WHERE pipeline_id = $1 ORDER BY layer",
        vec![pipeline_id.into()],
    )
}

/// Chunks that wait to be published to one layer.
#[derive(Debug, Clone, Deserialize)]
pub struct Pending {
    pub layer: String,
    pub location: String,
    pub first: i64,
    pub last: i64,
    /// Rows of these chunks.
    pub rows: i64,
    /// How long ago the first of them was sealed.
    pub age_ms: i64,
    /// False while it waits after a failure.
    pub may_be_tried: bool,
    pub options: LayerOptions,
}

/// What waits, a row a layer: its oldest chunk, and as many after it as stay within `most_rows` rows together.
pub fn pending(pipeline_id: i32, most_rows: i64) -> Result<Vec<Pending>> {
    spi::read(
        "SELECT l.layer, l.location, l.options, p.first, p.last, p.rows, p.age_ms, p.may_be_tried
           FROM millrace.layer l
          CROSS JOIN LATERAL (
                SELECT pg_catalog.min(w.chunk_no) AS first,
                       pg_catalog.max(w.chunk_no) FILTER (WHERE w.total <= $2 OR w.total = w.row_count) AS last,
                       COALESCE(pg_catalog.sum(w.row_count), 0)::bigint AS rows,
                       (EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(w.sealed_at)) * 1000)::bigint AS age_ms,
                       COALESCE(pg_catalog.max(w.retry_at), '-infinity') <= pg_catalog.clock_timestamp() AS may_be_tried
                  FROM (SELECT o.chunk_no, o.retry_at, c.row_count, c.sealed_at, pg_catalog.sum(c.row_count) OVER (ORDER BY o.chunk_no) AS total
                          FROM (SELECT chunk_no, retry_at FROM millrace.publication
                                 WHERE pipeline_id = l.pipeline_id AND layer = l.layer AND state = 'pending'
                                 ORDER BY chunk_no LIMIT 1000) AS o
                          JOIN millrace.chunk c ON c.pipeline_id = l.pipeline_id AND c.chunk_no = o.chunk_no) AS w) AS p
          WHERE l.pipeline_id = $1 AND p.first IS NOT NULL
          ORDER BY l.layer",
        vec![pipeline_id.into(), most_rows.into()],
    )
}

/// Notes that the chunks of a layer up to `last` are in the lake.
pub fn record_done(
    pipeline_id: i32,
    layer: &str,
    last: i64,
    delta_version: Option<i64>,
    rows: &[(i64, i64)],
) -> Result<()> {
    spi::execute(
        "WITH done AS (
         UPDATE millrace.publication p
            SET state = 'done', delta_version = $4, rows = COALESCE(c.rows, 0), error = NULL, retry_at = NULL,
                attempts = p.attempts + 1, published_at = pg_catalog.clock_timestamp()
           FROM millrace.publication q
           LEFT JOIN ROWS FROM (pg_catalog.unnest($5::bigint[]), pg_catalog.unnest($6::bigint[])) AS c (chunk_no, rows)
             ON c.chunk_no = q.chunk_no
          WHERE p.pipeline_id = $1 AND p.layer = $2 AND p.chunk_no <= $3 AND p.state = 'pending'
            AND q.pipeline_id = p.pipeline_id AND q.layer = p.layer AND q.chunk_no = p.chunk_no
         RETURNING p.chunk_no, p.published_at)
         SELECT millrace._note_durations($1, ARRAY['publish:' || $2],
                    pg_catalog.array_agg((1000000 * EXTRACT(epoch FROM d.published_at - c.sealed_at))::bigint))
           FROM done d JOIN millrace.chunk c ON c.pipeline_id = $1 AND c.chunk_no = d.chunk_no",
        vec![
            pipeline_id.into(),
            layer.into(),
            last.into(),
            delta_version.into(),
            rows.iter().map(|r| r.0).collect::<Vec<_>>().into(),
            rows.iter().map(|r| r.1).collect::<Vec<_>>().into(),
        ],
    )?;
    Ok(())
}

/// Notes that publishing failed; it is tried again after a wait.
pub fn record_failed(
    pipeline_id: i32,
    layer: &str,
    first: i64,
    last: i64,
    error: &Error,
    first_wait_ms: i64,
) -> Result<()> {
    spi::execute(
        "UPDATE millrace.publication
            SET attempts = attempts + 1, error = $5,
                retry_at = pg_catalog.clock_timestamp()
                    + LEAST($6 * 2.0 ^ LEAST(attempts, 20), 300000) * interval '1 millisecond'
          WHERE pipeline_id = $1 AND layer = $2 AND chunk_no BETWEEN $3 AND $4 AND state = 'pending'",
        vec![
            pipeline_id.into(),
            layer.into(),
            first.into(),
            last.into(),
            error.to_string().into(),
            first_wait_ms.into(),
        ],
    )?;
    Ok(())
}

/// Puts one chunk into the outbox of one layer.
pub fn enqueue_one(pipeline_id: i32, layer: &str, chunk_no: i64) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.publication (pipeline_id, layer, chunk_no) VALUES ($1, $2, $3)",
        vec![pipeline_id.into(), layer.into(), chunk_no.into()],
    )?;
    Ok(())
}

/// Chunks of a layer that are not published.
#[derive(Debug, Deserialize)]
pub struct Left {
    pub layer: String,
    pub chunks: i64,
    pub error: Option<String>,
}

/// What is left of the outbox, of the layer that has most of it.
pub fn waiting(pipeline_id: i32, layer: Option<&str>) -> Result<Option<Left>> {
    Ok(spi::query(
        "SELECT layer, pg_catalog.count(*) AS chunks, pg_catalog.max(error) AS error FROM millrace.publication
          WHERE pipeline_id = $1 AND state = 'pending' AND layer = COALESCE($2, layer)
          GROUP BY layer ORDER BY 2 DESC LIMIT 1",
        vec![pipeline_id.into(), layer.into()],
    )?
    .pop())
}
