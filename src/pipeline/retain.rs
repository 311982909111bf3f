//! Retention: partitions of the past are dropped once they are older than `retention` and nobody needs them.
//!
//! Promises: rows go by whole partitions and are never deleted; what consumers, open leases, dead letters and the outbox need stays,
//! consumers within `max_retention`; chunks that dead letters need get a partition of their own, so that they hold back no other.
//! A reader of the tables is not waited for long: what does not work now is tried again.

use pgrx::pg_sys::Oid;
use serde_json::json;

use crate::catalog::staging::{self, Partition};
use crate::catalog::{events, keyed, limits, pipelines};
use crate::model::pipeline::Pipeline;
use crate::model::retention::Keep;
use crate::model::{Code, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::spi;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::scope;

/// Drops what can go; gives the last chunk that went.
pub fn retain(mode: Mode, pipeline: &Pipeline) -> Result<Option<i64>> {
    if let Some(keep) = pipeline.options.rejects_retention {
        rejects(mode, pipeline, keep)?;
    }
    let (Some(keep), Some(longest)) = (pipeline.options.retention, pipeline.options.longest_retention()) else {
        return Ok(None);
    };
    let done = transaction::run(mode, || {
        spi::execute_once("SET LOCAL lock_timeout = '500ms'")?;
        // Nobody seals a chunk, creates a consumer or seeks until what they would have met is gone.
        scope::catalog(|| pipelines::lock_position(pipeline.id))?;
        let tables = scope::owner(pipeline, || tables(pipeline))?;
        let Some(bounds) = scope::owner(pipeline, || {
            let main = tables.iter().find(|t| t.oid == main_table(pipeline));
            main.map(staging::partitions).transpose()
        })?
        else {
            return Ok(None);
        };
        let mut bounds: Vec<i64> = bounds.iter().map(|p| p.next - 1).collect();
        bounds.dedup();
        let plan = scope::catalog(|| limits::plan_retention(pipeline.id, keep, longest, &bounds))?;
        let Some((through, pinned)) = plan.and_then(|p| Some((p.through?, p.pinned.unwrap_or_default()))) else {
            return Ok(None);
        };
        let mut dropped = 0;
        scope::owner(pipeline, || {
            for table in &tables {
                for partition in staging::partitions(table)?.iter().filter(|p| p.next - 1 <= through) {
                    dropped += u64::from(drop_partition(table, partition, &pinned)?);
                }
            }
            if let Some(deleted) = pipeline.deleted.filter(|_| dropped > 0) {
                let deleted = relation::by_oid(Oid::from(deleted))?;
                deleted.map_or(Ok(()), |deleted| keyed::forget_deleted(&deleted, through))?;
            }
            Ok(())
        })?;
        if dropped == 0 {
            return Ok(None);
        }
        scope::catalog(|| {
            limits::set_kept_from(pipeline.id, through + 1)?;
            let detail = json!({ "through": through, "partitions": dropped, "pinned": pinned });
            events::record(&pipeline.name, "retention", None, Some("partitions were dropped"), Some(&detail))
        })?;
        Ok(Some(through))
    });
    match done {
        // A reader is in the way (55P03).
        Err(e) if e.code == Code::Postgres(*b"55P03") => Ok(None),
        done => done,
    }
}

/// Drops rejects that have a retention of their own.
fn rejects(mode: Mode, pipeline: &Pipeline, keep: Keep) -> Result<()> {
    let done = transaction::run(mode, || {
        spi::execute_once("SET LOCAL lock_timeout = '500ms'")?;
        scope::catalog(|| pipelines::lock_position(pipeline.id))?;
        let Some(table) = relation::by_oid(Oid::from(pipeline.rejects))? else { return Ok(()) };
        let partitions = scope::owner(pipeline, || staging::partitions(&table))?;
        let bounds: Vec<i64> = partitions.iter().map(|p| p.next - 1).collect();
        let Some(through) = scope::catalog(|| limits::plan_rejects_retention(pipeline.id, keep, &bounds))? else {
            return Ok(());
        };
        scope::owner(pipeline, || {
            for partition in partitions.iter().filter(|p| p.next - 1 <= through) {
                drop_partition(&table, partition, &[])?;
            }
            Ok(())
        })?;
        scope::catalog(|| {
            limits::set_rejects_kept_from(pipeline.id, through + 1)?;
            let detail = json!({ "through": through });
            events::record(&pipeline.name, "rejects_retention", None, Some("rejects were dropped"), Some(&detail))
        })
    });
    match done {
        Err(e) if e.code == Code::Postgres(*b"55P03") => Ok(()),
        done => done,
    }
}

/// The table that consumers of clean rows read.
fn main_table(pipeline: &Pipeline) -> u32 {
    pipeline.changes.unwrap_or(pipeline.staging)
}

/// The partitioned tables of a pipeline.
fn tables(pipeline: &Pipeline) -> Result<Vec<Relation>> {
    let mut found = Vec::new();
    let beside = [pipeline.changes, pipeline.replaced].into_iter().flatten();
    let rejects = pipeline.options.rejects_retention.is_none().then_some(pipeline.rejects);
    for oid in beside.chain([pipeline.staging]).chain(rejects) {
        found.extend(relation::by_oid(Oid::from(oid))?.filter(|table| table.kind == "p"));
    }
    Ok(found)
}

/// Drops one partition, but for its pinned chunks; false if it holds one of those alone.
fn drop_partition(table: &Relation, partition: &Partition, pinned: &[i64]) -> Result<bool> {
    let keep: Vec<i64> = pinned.iter().copied().filter(|n| (partition.first..partition.next).contains(n)).collect();
    if !keep.is_empty() && partition.next - partition.first == 1 {
        return Ok(false);
    }
    let Some(old) = relation::by_oid(Oid::from(partition.oid))? else { return Ok(false) };
    spi::execute_once(&format!("ALTER TABLE {} DETACH PARTITION {}", table.qualified(), old.qualified()))?;
    for chunk_no in keep {
        staging::make_partition(table, &format!("_kept{chunk_no}"), chunk_no, chunk_no + 1, Some(&old))?;
    }
    spi::execute_once(&format!("DROP TABLE {}", old.qualified()))?;
    Ok(true)
}
