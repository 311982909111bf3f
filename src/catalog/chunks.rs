//! Sealed chunks.

use serde_json::Value;

use crate::model::Result;
use crate::pg::{spi, waiters};

pub struct Sealed<'a> {
    pub pipeline_id: i32,
    pub chunk_no: i64,
    pub rows: i64,
    pub rejects: i64,
    pub dropped: i64,
    pub requeued: i64,
    pub duplicates: i64,
    pub filtered: i64,
    pub derived: i64,
    /// 0, or the number of the re-reading that brought it.
    pub generation: u32,
    pub bytes: i64,
    pub duration_ms: i64,
    pub source: &'a Value,
    /// Milliseconds by what they were spent on.
    pub timings: &'a Value,
}

pub fn seal(chunk: Sealed<'_>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.chunk (pipeline_id, chunk_no, row_count, reject_count, byte_count, sealed_at, duration, source,
                                     dropped_count, requeued_count, timings, rows_total, rejects_total, bytes_total, duplicate_count,
                                     generation, filtered_count, derived_count)
         SELECT $1, $2, $3, $4, $5, pg_catalog.clock_timestamp(), $6 * interval '1 millisecond', $7::jsonb,
                $8, $9, $10::jsonb, coalesce(last.rows_total, 0) + $3, coalesce(last.rejects_total, 0) + $4, coalesce(last.bytes_total, 0) + $5,
                $11, $12, $13, $14
           FROM (SELECT) AS one
           LEFT JOIN millrace.chunk last ON last.pipeline_id = $1 AND last.chunk_no = $2 - 1",
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
            chunk.timings.to_string().into(),
            chunk.duplicates.into(),
            i64::from(chunk.generation).into(),
            chunk.filtered.into(),
            chunk.derived.into(),
        ],
    )?;
    note_durations(chunk.pipeline_id, chunk.duration_ms as f64, chunk.timings)
}

/// Adds what a chunk has taken to the histograms of its hops.
fn note_durations(pipeline_id: i32, whole: f64, timings: &Value) -> Result<()> {
    let parts = [("end_to_end", "lag"), ("read", "reading"), ("land", "landing"), ("load", "loading")];
    let took = parts.into_iter().filter_map(|(hop, timing)| Some((hop, timings.get(timing)?.as_f64()?)));
    let all = std::iter::once(("chunk", whole)).chain(took);
    let (hops, micros): (Vec<String>, Vec<i64>) = all.map(|(hop, ms)| (hop.to_string(), (ms * 1_000.0) as i64)).unzip();
    spi::execute("SELECT millrace._note_durations($1, $2, $3)", vec![pipeline_id.into(), hops.into(), micros.into()])?;
    Ok(())
}

/// Tells listeners and waiting consumers, at commit, that a chunk is there. Only a hint.
pub fn announce(channel: &str, chunk_no: i64) -> Result<()> {
    waiters::wake_at_commit();
    spi::execute("SELECT pg_catalog.pg_notify($1, $2)", vec![channel.into(), chunk_no.to_string().into()])?;
    Ok(())
}
