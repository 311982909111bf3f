//! Sealed chunks.

use serde_json::Value;

use crate::model::Result;
use crate::pg::spi;

pub struct Sealed<'a> {
    pub pipeline_id: i32,
    pub chunk_no: i64,
    pub rows: i64,
    pub rejects: i64,
    pub dropped: i64,
    pub requeued: i64,
    pub bytes: i64,
    pub duration_ms: i64,
    pub source: &'a Value,
}

pub fn seal(chunk: Sealed<'_>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.chunk (pipeline_id, chunk_no, row_count, reject_count, byte_count, sealed_at, duration, source,
                                     dropped_count, requeued_count)
         VALUES ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp(), $6 * interval '1 millisecond', $7::jsonb,
                 $8, $9)",
        vec![
            chunk.pipeline_id.into(),
            chunk.chunk_no.into(),
            chunk.rows.into(),
            chunk.rejects.into(),
            chunk.bytes.into(),
            chunk.duration_ms.into(),
            chunk.source.to_string().into(),
            chunk.dropped.into(),
            chunk.requeued.into(),
        ],
    )?;
    Ok(())
}

/// Tells listeners, at commit, that a chunk is there. Only a hint.
pub fn announce(channel: &str, chunk_no: i64) -> Result<()> {
    spi::execute("SELECT pg_catalog.pg_notify($1, $2)", vec![channel.into(), chunk_no.to_string().into()])?;
    Ok(())
}
