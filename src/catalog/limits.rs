//! What consumers mean for their pipeline: how far it may run ahead, and what of its past may go.

use serde::Deserialize;

use crate::model::Result;
use crate::model::options::Options;
use crate::model::retention::Keep;
use crate::pg::spi;

/// Why the pipeline should not load now, by what the catalog knows.
pub fn throttled_by(pipeline_id: i32, options: &Options) -> Result<Option<String>> {
    let limit = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    spi::value(
        "SELECT millrace._throttled_by($1, $2, $3, $4, $5)",
        vec![
            pipeline_id.into(),
            limit(options.max_lag_chunks).into(),
            limit(options.max_lag_bytes).into(),
            limit(options.max_outbox_chunks).into(),
            limit(options.max_rows_per_second).into(),
        ],
    )
}

/// What is shown as the reason now.
pub fn shown(pipeline_id: i32) -> Result<Option<String>> {
    spi::read_value("SELECT throttled_by FROM millrace.position WHERE pipeline_id = $1", vec![pipeline_id.into()])
}

/// Shows a reason, and since when there is one.
pub fn show(pipeline_id: i32, reason: Option<&str>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.position
            SET throttled_by = $2, throttled_since = CASE WHEN $2 IS NOT NULL THEN COALESCE(throttled_since, pg_catalog.clock_timestamp()) END
          WHERE pipeline_id = $1",
        vec![pipeline_id.into(), reason.into()],
    )?;
    Ok(())
}

#[derive(Debug, Deserialize)]
pub struct Plan {
    /// Partitions that end at or before this chunk go; `None`: nothing goes now.
    pub through: Option<i64>,
    /// Chunks before it that are still needed.
    pub pinned: Option<Vec<i64>>,
}

/// What may go, where `bounds` are the last chunks of the partitions. Consumers that are past `longest` expire.
pub fn plan_retention(pipeline_id: i32, keep: Keep, longest: Keep, bounds: &[i64]) -> Result<Option<Plan>> {
    let ((kind, amount), (longest_kind, most)) = (keep.parts(), longest.parts());
    Ok(spi::query(
        "SELECT through, pinned FROM millrace._plan_retention($1, $2, $3, $4, $5, $6)",
        vec![pipeline_id.into(), kind.into(), amount.into(), longest_kind.into(), most.into(), bounds.to_vec().into()],
    )?
    .pop())
}

/// Up to which of `bounds`, the last chunks of the partitions of rejects, rejects may go.
pub fn plan_rejects_retention(pipeline_id: i32, keep: Keep, bounds: &[i64]) -> Result<Option<i64>> {
    let (kind, amount) = keep.parts();
    spi::value(
        "SELECT millrace._plan_rejects_retention($1, $2, $3, $4)",
        vec![pipeline_id.into(), kind.into(), amount.into(), bounds.to_vec().into()],
    )
}

/// The first chunk whose rejects are all there, where they have a retention of their own.
pub fn rejects_kept_from(pipeline_id: i32) -> Result<i64> {
    let found: Option<i64> = spi::read_value(
        "SELECT rejects_kept_from FROM millrace.position WHERE pipeline_id = $1",
        vec![pipeline_id.into()],
    )?;
    Ok(found.unwrap_or(1))
}

pub fn set_rejects_kept_from(pipeline_id: i32, chunk_no: i64) -> Result<()> {
    spi::execute(
        "UPDATE millrace.position SET rejects_kept_from = GREATEST(rejects_kept_from, $2) WHERE pipeline_id = $1",
        vec![pipeline_id.into(), chunk_no.into()],
    )?;
    Ok(())
}

/// The first chunk whose rows are all there.
pub fn kept_from(pipeline_id: i32) -> Result<i64> {
    let found: Option<i64> =
        spi::read_value("SELECT kept_from FROM millrace.position WHERE pipeline_id = $1", vec![pipeline_id.into()])?;
    Ok(found.unwrap_or(1))
}

pub fn set_kept_from(pipeline_id: i32, chunk_no: i64) -> Result<()> {
    spi::execute(
        "UPDATE millrace.position SET kept_from = GREATEST(kept_from, $2) WHERE pipeline_id = $1",
        vec![pipeline_id.into(), chunk_no.into()],
    )?;
    Ok(())
}
