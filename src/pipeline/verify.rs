//! Recounting: does everything that landed stand exactly once where it should?
//!
//! Promises: reads only; all that is read from Postgres is of one snapshot, so that it may run beside live traffic; of the lake only
//! what that snapshot says is there is compared.

use arrow::array::{Array, Int64Array};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::catalog::aggregate as sql;
use crate::catalog::aggregates as registered;
use crate::catalog::staging::CHUNK_NO;
use crate::catalog::{layers, limits};
use crate::lake::delta::Table;
use crate::model::location::Location;
use crate::model::pipeline::{Pipeline, Position};
use crate::model::publishing::{LayerOptions, PublishMode};
use crate::model::{Error, Result};
use crate::pg::{relation, runtime, spi, subtransaction};
use crate::pipeline::{access, aggregates, keyed, land, scope};

/// One thing compared.
pub struct Check {
    pub layer: String,
    pub name: &'static str,
    pub expected: String,
    pub found: String,
    pub ok: bool,
    pub detail: Option<String>,
}

/// What the catalog says of a pipeline, summed.
#[derive(Deserialize)]
struct Sums {
    chunks: i64,
    last: i64,
    rows: i64,
    rejects: i64,
    dropped: i64,
    requeued: i64,
    duplicates: i64,
    /// Rows that a transform made beside the first of a record, less the records that it made none of.
    more: i64,
    file_more: i64,
    file_duplicates: i64,
    file_dropped: i64,
    file_rows: i64,
    file_rejects: i64,
    overlaps: i64,
    /// Records that the chunks' files have, as they were read.
    records: i64,
}

const SUMS: &str = "SELECT
    (SELECT pg_catalog.count(*) FROM millrace.chunk WHERE pipeline_id = $1) AS chunks,
    (SELECT COALESCE(pg_catalog.max(chunk_no), 0) FROM millrace.chunk WHERE pipeline_id = $1) AS last,
    (SELECT COALESCE(pg_catalog.sum(row_count), 0) FROM millrace.chunk WHERE pipeline_id = $1)::bigint AS rows,
    (SELECT COALESCE(pg_catalog.sum(reject_count), 0) FROM millrace.chunk WHERE pipeline_id = $1)::bigint AS rejects,
    (SELECT COALESCE(pg_catalog.sum(dropped_count), 0) FROM millrace.chunk WHERE pipeline_id = $1)::bigint AS dropped,
    (SELECT COALESCE(pg_catalog.sum(requeued_count), 0) FROM millrace.chunk WHERE pipeline_id = $1)::bigint AS requeued,
    (SELECT COALESCE(pg_catalog.sum(duplicate_count), 0) FROM millrace.chunk WHERE pipeline_id = $1)::bigint AS duplicates,
    (SELECT COALESCE(pg_catalog.sum(derived_count - filtered_count), 0) FROM millrace.chunk WHERE pipeline_id = $1)::bigint AS more,
    (SELECT COALESCE(pg_catalog.sum(derived - filtered), 0) FROM millrace.file WHERE pipeline_id = $1)::bigint AS file_more,
    (SELECT COALESCE(pg_catalog.sum(duplicates), 0) FROM millrace.file WHERE pipeline_id = $1)::bigint AS file_duplicates,
    (SELECT COALESCE(pg_catalog.sum(dropped), 0) FROM millrace.file WHERE pipeline_id = $1)::bigint AS file_dropped,
    (SELECT COALESCE(pg_catalog.sum(rows), 0) FROM millrace.file WHERE pipeline_id = $1)::bigint AS file_rows,
    (SELECT COALESCE(pg_catalog.sum(rejects), 0) FROM millrace.file WHERE pipeline_id = $1)::bigint AS file_rejects,
    (SELECT pg_catalog.count(*) FROM (
        SELECT (f ->> 'first_record')::bigint AS first,
               pg_catalog.lag((f ->> 'first_record')::bigint + (f ->> 'records')::bigint)
                   OVER (PARTITION BY f ->> 'path', f ->> 'etag' ORDER BY c.chunk_no) AS due
          FROM millrace.chunk c CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(c.source -> 'files') AS f
         WHERE c.pipeline_id = $1) AS parts
      WHERE first <> COALESCE(due, 1)) AS overlaps,
    (SELECT COALESCE(pg_catalog.sum((f ->> 'records')::bigint), 0)
       FROM millrace.chunk c CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(c.source -> 'files') AS f
      WHERE c.pipeline_id = $1)::bigint AS records";

/// Recounts everything; one row a check.
pub fn verify(pipeline: &Pipeline, position: &Position) -> Result<Vec<Check>> {
    let sums = scope::catalog(|| spi::read::<Sums>(SUMS, vec![pipeline.id.into()]))?.pop();
    let Some(sums) = sums else { return Ok(vec![]) };
    // A reject that was brought back stays in the books of the chunk that it was landed in.
    let landed = sums.rows - sums.more + sums.duplicates - sums.requeued;
    let mut checks = vec![
        count("chunks", "chunk_no without gap", position.head, sums.chunks, None),
        count("chunks", "last chunk is the head", position.head, sums.last, None),
        count(
            "files",
            "rows by file = rows by chunk",
            landed,
            sums.file_rows - sums.file_more + sums.file_duplicates,
            None,
        ),
        count(
            "files",
            "records = loaded, rejected, dropped and filtered",
            sums.records,
            landed + sums.rejects + sums.dropped,
            None,
        ),
        count("files", "rejects by file = rejects by chunk", sums.rejects, sums.file_rejects, None),
        count("files", "dropped rows by file = dropped rows by chunk", sums.dropped, sums.file_dropped, None),
        count("files", "records taken twice or left out", 0, sums.overlaps, None),
    ];
    let kept_from = scope::catalog(|| limits::kept_from(pipeline.id))?;
    checks.extend(staging(pipeline, sums.requeued, kept_from)?);
    checks.extend(keyed::verify(pipeline, kept_from)?);
    checks.extend(kept_aggregates(pipeline, kept_from)?);
    if let Some(raw) = &pipeline.raw {
        checks.extend(attempt("raw", "readable", || {
            raw_layer(raw, pipeline, position, landed + sums.rejects + sums.dropped)
        })?);
    }
    for layer in published(pipeline)? {
        let name = layer.layer.clone();
        checks.extend(attempt(&name, "readable", || published_layer(pipeline, &layer))?);
    }
    Ok(checks)
}

pub fn count(layer: &str, name: &'static str, expected: i64, found: i64, detail: Option<String>) -> Check {
    let ok = expected == found;
    Check { layer: layer.into(), name, expected: expected.to_string(), found: found.to_string(), ok, detail }
}

/// A layer that can't be read is a failed check, not the end of the report; a cancel is.
fn attempt(layer: &str, name: &'static str, f: impl FnOnce() -> Result<Vec<Check>>) -> Result<Vec<Check>> {
    subtransaction::run(f).or_else(|e: Error| {
        if e.code.is_cancel() {
            return Err(e);
        }
        Ok(vec![Check {
            layer: layer.into(),
            name,
            expected: "yes".into(),
            found: "no".into(),
            ok: false,
            detail: Some(e.to_string()),
        }])
    })
}

#[derive(Deserialize)]
struct Difference {
    chunks: i64,
    first: Option<i64>,
    found: i64,
    expected: i64,
}

/// Rows of `table` by chunk against what the chunks say.
fn by_chunk(
    pipeline: &Pipeline,
    table: &str,
    chunk_column: &str,
    counted: &str,
    kept_from: i64,
) -> Result<Option<Difference>> {
    let found: Vec<Counted> = scope::owner(pipeline, || {
        spi::read(
            &format!(
                "SELECT {chunk_column} AS chunk_no, pg_catalog.count(*) AS n FROM {table} GROUP BY {chunk_column}"
            ),
            vec![],
        )
    })?;
    let numbers: Vec<i64> = found.iter().map(|c| c.chunk_no).collect();
    let counts: Vec<i64> = found.iter().map(|c| c.n).collect();
    scope::catalog(|| {
        Ok(spi::read(
            &format!(
                "SELECT pg_catalog.count(*) FILTER (WHERE expected <> found) AS chunks,
                        pg_catalog.min(chunk_no) FILTER (WHERE expected <> found) AS first,
                        COALESCE(pg_catalog.sum(found), 0)::bigint AS found, COALESCE(pg_catalog.sum(expected), 0)::bigint AS expected
                   FROM (SELECT chunk_no,
                                -- What retention has removed went whole; what dead letters need of it stayed whole.
                                CASE WHEN chunk_no < $4 AND t.n IS NULL THEN 0 ELSE COALESCE(c.{counted}, 0) END AS expected, COALESCE(t.n, 0) AS found
                           FROM (SELECT chunk_no, {counted} FROM millrace.chunk WHERE pipeline_id = $1) AS c
                           FULL JOIN ROWS FROM (pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::bigint[])) AS t (chunk_no, n)
                          USING (chunk_no)) AS compared"
            ),
            vec![pipeline.id.into(), numbers.into(), counts.into(), kept_from.into()],
        )?
        .pop())
    })
}

#[derive(Deserialize)]
struct Counted {
    chunk_no: i64,
    n: i64,
}

fn staging(pipeline: &Pipeline, requeued: i64, kept_from: i64) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let rejects_from = scope::catalog(|| limits::rejects_kept_from(pipeline.id))?;
    for (layer, oid, column, counted) in [
        match pipeline.changes {
            Some(changes) => ("changes", changes, CHUNK_NO, "row_count"),
            None => ("staging", pipeline.staging, CHUNK_NO, "row_count"),
        },
        ("rejects", pipeline.rejects, "chunk_no", "reject_count"),
    ] {
        let Some(table) = relation::by_oid(Oid::from(oid))? else {
            let detail = Some("the table is gone".to_string());
            checks.push(Check {
                layer: layer.into(),
                name: "rows",
                expected: "a table".into(),
                found: "none".into(),
                ok: false,
                detail,
            });
            continue;
        };
        let kept_from = match layer {
            "rejects" if pipeline.options.rejects_retention.is_some() => rejects_from,
            "rejects" => kept_from.max(rejects_from),
            _ => kept_from,
        };
        if layer == "rejects" && kept_from == 1 {
            let again: Option<i64> = scope::owner(pipeline, || {
                let brought_back =
                    format!("SELECT pg_catalog.count(*) FROM {} WHERE status = 'requeued'", table.qualified());
                spi::read_value(&brought_back, vec![])
            })?;
            checks.push(count(layer, "requeued rejects = requeued rows by chunk", requeued, again.unwrap_or(0), None));
        }
        if let Some(d) = by_chunk(pipeline, &table.qualified(), column, counted, kept_from)? {
            let detail = d.first.map(|c| format!("first in chunk {c}"));
            checks.push(count(layer, "rows", d.expected, d.found, None));
            checks.push(count(layer, "chunks that differ", 0, d.chunks, detail));
        }
    }
    Ok(checks)
}

#[derive(Deserialize)]
struct Compared {
    expected: i64,
    found: i64,
    differing: i64,
}

fn kept_aggregates(pipeline: &Pipeline, kept_from: i64) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for aggregate in scope::catalog(|| registered::read_of_pipeline(pipeline.id))? {
        let layer = layers::of_aggregate(&aggregate.name);
        // The staging table of a keyed pipeline is the present state, whatever became of what changed it.
        if kept_from > 1 && !pipeline.is_keyed() {
            let detail = Some(format!("it covers rows of chunks before {kept_from}, which retention has removed"));
            checks.push(Check {
                layer,
                name: "recompute",
                expected: "not possible".into(),
                found: "not possible".into(),
                ok: true,
                detail,
            });
            continue;
        }
        checks.extend(attempt(&layer, "computable", || {
            let statement = sql::check_statement(&aggregate.plan, &aggregates::names(&aggregate)?);
            let compared: Vec<Compared> = scope::owner(pipeline, || spi::read(&statement, vec![]))?;
            let Some(c) = compared.first() else { return Ok(vec![]) };
            Ok(vec![
                count(&layer, "groups", c.expected, c.found, None),
                count(&layer, "groups that differ from a recompute", 0, c.differing, None),
            ])
        })?);
    }
    Ok(checks)
}

fn raw_layer(raw: &str, pipeline: &Pipeline, position: &Position, records: i64) -> Result<Vec<Check>> {
    let elsewhere: Option<i64> = scope::catalog(|| {
        spi::read_value(
            "SELECT (SELECT COALESCE(pg_catalog.sum(records), 0) FROM millrace.held_back WHERE pipeline_id = $1 AND raw_version <= $2)::bigint
                  - (SELECT COALESCE(pg_catalog.sum((f ->> 'records')::bigint), 0)
                       FROM millrace.chunk c CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(c.source -> 'files') AS f
                      WHERE c.pipeline_id = $1 AND (c.source ->> 'raw_version')::bigint > $2)::bigint",
            vec![pipeline.id.into(), position.raw_version.into()],
        )
    })?;
    // What of the layer is held back and not loaded, less what is loaded of a version that is not done with.
    let records = records + elsewhere.unwrap_or(0);
    let location = Location::parse(raw)?;
    let app_id = pipeline.writer(land::LAYER);
    let version = position.raw_version.max(0) as u64;
    let credentials = access::credentials(pipeline.owner, &location)?;
    let (rows, txn) = runtime::wait(async move {
        let table = Table::open_at(&location, &credentials, version).await?;
        Ok((table.count_rows().await?, table.txn_version(&app_id).await?))
    })?;
    Ok(vec![
        count("raw", "records", records, rows as i64, Some(format!("as of version {version}"))),
        count("raw", "landings", position.land_seq, txn.unwrap_or(0), None),
    ])
}

#[derive(Deserialize)]
struct Published {
    layer: String,
    location: String,
    from_chunk: i64,
    options: LayerOptions,
    /// The last chunk that is noted as published; everything up to it is.
    done: i64,
}

fn published(pipeline: &Pipeline) -> Result<Vec<Published>> {
    scope::catalog(|| {
        spi::read(
            "SELECT l.layer, l.location, l.from_chunk, l.options,
                    COALESCE((SELECT pg_catalog.max(chunk_no) FROM millrace.publication p
                               WHERE p.pipeline_id = l.pipeline_id AND p.layer = l.layer AND p.state = 'done'), 0) AS done
               FROM millrace.layer l WHERE l.pipeline_id = $1 ORDER BY l.layer",
            vec![pipeline.id.into()],
        )
    })
}

fn published_layer(pipeline: &Pipeline, layer: &Published) -> Result<Vec<Check>> {
    let mode = match layer.layer == layers::SEMI_PROCESSED {
        true => pipeline.options.publish_mode,
        false => layer.options.publish_mode,
    };
    if mode == PublishMode::Overwrite {
        return published_state(pipeline, layer);
    }
    let expected: Option<i64> = scope::catalog(|| {
        spi::read_value(
            "SELECT COALESCE(pg_catalog.sum(rows), 0)::bigint FROM millrace.publication
              WHERE pipeline_id = $1 AND layer = $2 AND state = 'done'",
            vec![pipeline.id.into(), layer.layer.as_str().into()],
        )
    })?;
    let mut expected = expected.unwrap_or(0);
    if layer.layer == layers::SEMI_PROCESSED {
        let rows: Option<i64> = scope::catalog(|| {
            spi::read_value(
                "SELECT COALESCE(pg_catalog.sum(row_count), 0)::bigint FROM millrace.chunk
                  WHERE pipeline_id = $1 AND chunk_no > $2 AND chunk_no <= $3",
                vec![pipeline.id.into(), layer.from_chunk.into(), layer.done.into()],
            )
        })?;
        expected = rows.unwrap_or(0);
    }
    let (location, done) = (Location::parse(&layer.location)?, layer.done);
    let credentials = access::credentials(pipeline.owner, &location)?;
    let rows = runtime::wait(async move {
        let Some(table) = Table::open(&location, &credentials).await? else {
            return Err(Error::new(crate::model::Code::Gap, "the published table is gone"));
        };
        let mut stream = table.scan(8_192).await?;
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await? {
            rows += rows_up_to(&batch, done);
        }
        Ok(rows)
    })?;
    Ok(vec![count(&layer.layer, "published rows", expected, rows, Some(format!("up to chunk {}", layer.done)))])
}

/// A table that is overwritten holds the rows of one state: that of the last chunk that is in it.
fn published_state(pipeline: &Pipeline, layer: &Published) -> Result<Vec<Check>> {
    let expected: Option<i64> = scope::catalog(|| {
        spi::read_value(
            "SELECT rows FROM millrace.publication
              WHERE pipeline_id = $1 AND layer = $2 AND state = 'done' ORDER BY chunk_no DESC LIMIT 1",
            vec![pipeline.id.into(), layer.layer.as_str().into()],
        )
    })?;
    let (location, app) = (Location::parse(&layer.location)?, pipeline.writer(&layer.layer));
    let credentials = access::credentials(pipeline.owner, &location)?;
    let (rows, reached) = runtime::wait(async move {
        let Some(table) = Table::open(&location, &credentials).await? else {
            return Err(Error::new(crate::model::Code::Gap, "the published table is gone"));
        };
        Ok((table.count_rows().await? as i64, table.txn_version(&app).await?.unwrap_or(0)))
    })?;
    // Chunks without rows make no version.
    let ahead = reached > layer.done;
    let (expected, found) = if ahead { (0, 0) } else { (expected.unwrap_or(0), rows) };
    let detail = match ahead {
        true => format!("not compared: the table is at chunk {reached} by now"),
        false => format!("the state behind chunk {reached}"),
    };
    Ok(vec![count(&layer.layer, "published rows", expected, found, Some(detail))])
}

fn rows_up_to(batch: &RecordBatch, chunk_no: i64) -> i64 {
    let column = batch.column_by_name(CHUNK_NO).and_then(|c| c.as_any().downcast_ref::<Int64Array>().cloned());
    column.map_or(0, |c| c.iter().flatten().filter(|n| *n <= chunk_no).count() as i64)
}
