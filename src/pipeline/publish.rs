//! The publish hop: the outbox's chunks become commits of the semi-processed and processed Delta tables.
//!
//! Promises: the commit of a layer carries `txn(app:layer, last chunk_no)`; before writing, the lake is asked how far it is, so a
//! chunk is never written twice, whatever died between the commit and its note in Postgres. Rows are read in a short
//! transaction and written outside of any.

use std::collections::HashMap;

use arrow::array::{Array, Int64Array};
use arrow::record_batch::RecordBatch;
use serde_json::{Map, json};

use crate::catalog::aggregate::Names;
use crate::catalog::aggregates::{self, Aggregate};
use crate::catalog::layers::{self, Pending};
use crate::catalog::staging::CHUNK_NO;
use crate::convert::to_arrow::Columns;
use crate::lake::delta::{Commit, Table};
use crate::lake::store::Credentials;
use crate::model::aggregate::Plan;
use crate::model::landing::MANIFEST_KEY;
use crate::model::location::Location;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::progress::{self, Phase};
use crate::pg::relation;
use crate::pg::transaction::{self, Mode};
use crate::pg::{rows, runtime, spi};
use crate::pipeline::{access, aggregates as merging, scope};

/// Rows that one commit may hold, unless a single chunk has more.
const MOST_ROWS: i64 = 250_000;

/// Tables that are open, by location, with what they were opened with.
#[derive(Default)]
pub struct Layers(HashMap<String, (Credentials, Table)>);

/// Publishes what waits. True if something was published. A layer that fails is noted with its error and tried again later.
pub fn publish(mode: Mode, pipeline: &Pipeline, open: &mut Layers) -> Result<bool> {
    let waiting = transaction::run(mode, || scope::catalog(|| layers::pending(pipeline.id, MOST_ROWS)))?;
    let mut worked = false;
    if waiting.iter().any(|p| p.due) {
        progress::phase(Phase::Publishing);
    }
    for pending in waiting.into_iter().filter(|p| p.due) {
        match publish_layer(mode, pipeline, &pending, open) {
            Ok(()) => worked = true,
            Err(e) if e.code == Code::Conflict => {
                open.0.remove(&pending.location);
                worked = true;
            }
            Err(e) if e.code.is_cancel() => return Err(e),
            Err(e) => {
                open.0.remove(&pending.location);
                let wait = pipeline.options.backoff.as_millis() as i64;
                transaction::run(mode, || {
                    scope::catalog(|| {
                        layers::record_failed(pipeline.id, &pending.layer, pending.first, pending.last, &e, wait)
                    })
                })?;
            }
        }
    }
    Ok(worked)
}

/// What a layer is made from.
struct Work {
    columns: Columns,
    sql: String,
    relation: String,
    /// Whose changes may be forgotten once they are published.
    aggregate: Option<Aggregate>,
}

fn publish_layer(mode: Mode, pipeline: &Pipeline, pending: &Pending, open: &mut Layers) -> Result<()> {
    let app_id = pipeline.writer(&pending.layer);
    let (location, app) = (pending.location.clone(), app_id.clone());
    let credentials = access::credentials_of(mode, pipeline, &location)?;
    let table = open.0.remove(&location).filter(|(known, _)| *known == credentials).map(|(_, table)| table);
    let shown = credentials.clone();
    let (table, reached) = runtime::wait(async move {
        let table = match table {
            Some(mut table) => {
                table.refresh().await?;
                table
            }
            None => merging::open(&location, &shown).await?.ok_or_else(|| gone(&location))?,
        };
        let reached = table.txn_version(&app).await?;
        Ok((table, reached))
    })?;
    let reached = reached.unwrap_or(0);
    let after = reached.max(pending.first - 1);
    let mut version = None;
    let mut counts = Vec::new();
    let (work, batches) = transaction::run(mode, || {
        let work = describe(pipeline, &pending.layer, after, pending.last)?;
        if reached >= pending.first {
            // Committed before, by a process that died before it could note it: what it held is still here to be counted.
            counts = scope::owner(pipeline, || count_rows(&work.relation, pending.first, pending.last))?;
        }
        let batches = if reached < pending.last {
            scope::owner(pipeline, || rows::batches(&work.sql, &work.columns))?
        } else {
            vec![]
        };
        Ok((work, batches))
    })?;
    let mut table = Some(table);
    if reached < pending.last {
        if counts.is_empty() {
            counts = count_by_chunk(&batches)?;
        }
        let mut info = Map::new();
        let chunks = json!({ "pipeline": pipeline.name, "layer": pending.layer, "from_chunk": after + 1, "to_chunk": pending.last });
        info.insert(MANIFEST_KEY.into(), chunks);
        let last = pending.last;
        if let Some(mut writing) = table.take()
            && !batches.is_empty()
        {
            let (back, written) = runtime::wait(async move {
                let commit = Commit { app_id: &app_id, version: last, operation: "STREAMING UPDATE", info };
                let written = writing.append(batches, commit).await?;
                writing.maintain().await?;
                Ok((writing, written))
            })?;
            table = Some(back);
            version = Some(written as i64);
        }
    }
    transaction::run(mode, || {
        scope::catalog(|| layers::record_done(pipeline.id, &pending.layer, pending.last, version, &counts))?;
        match &work.aggregate {
            Some(aggregate) => scope::owner(pipeline, || merging::forget_read(aggregate)),
            None => Ok(()),
        }
    })?;
    if let Some(table) = table {
        open.0.insert(pending.location.clone(), (credentials, table));
    }
    Ok(())
}

fn gone(location: &str) -> Error {
    Error::new(Code::Gap, "the published table is gone")
        .detail(format!("Location {location}."))
        .hint("Restore it, or take the layer off the pipeline.")
}

fn describe(pipeline: &Pipeline, layer: &str, after: i64, last: i64) -> Result<Work> {
    let range = format!("WHERE _chunk_no > {after} AND _chunk_no <= {last}");
    if layer == layers::SEMI_PROCESSED {
        let columns = scope::owner(pipeline, || semi_processed_columns(pipeline))?;
        let names: Vec<String> = columns.iter().map(|c| spi::ident(&c.0)).collect();
        let staging = scope::owner(pipeline, || relation::by_oid(stream(pipeline)))?
            .ok_or_else(|| Error::new(Code::WrongState, "the pipeline's staging table is gone"))?;
        let sql = format!("SELECT {} FROM {} {range}", names.join(", "), staging.qualified());
        return Ok(Work { columns: Columns::new(&columns), sql, relation: staging.qualified(), aggregate: None });
    }
    let kept = scope::catalog(|| aggregates::of_pipeline(pipeline.id))?;
    let aggregate = kept.into_iter().find(|a| layers::of_aggregate(&a.name) == layer);
    let aggregate =
        aggregate.ok_or_else(|| Error::new(Code::WrongState, format!("layer \"{layer}\" has no aggregate")))?;
    let changes = changes_table(&aggregate)?;
    let columns = aggregate_columns(&aggregate.plan);
    let names: Vec<String> = columns.iter().map(|c| spi::ident(&c.0)).collect();
    let sql = format!("SELECT {} FROM {changes} {range}", names.join(", "));
    Ok(Work { columns: Columns::new(&columns), sql, relation: changes, aggregate: Some(aggregate) })
}

fn changes_table(aggregate: &Aggregate) -> Result<String> {
    let names: Names = merging::names(aggregate)?;
    names.changes().ok_or_else(|| Error::new(Code::Internal, "a published aggregate has no table of changes"))
}

/// The relation whose rows of a chunk are the chunk: staging, or what a keyed pipeline has changed there.
fn stream(pipeline: &Pipeline) -> pgrx::pg_sys::Oid {
    pgrx::pg_sys::Oid::from(pipeline.changes.unwrap_or(pipeline.staging))
}

/// Columns of the semi-processed layer: the staging table's, ours included, and `_op` where the pipeline is keyed.
pub fn semi_processed_columns(pipeline: &Pipeline) -> Result<Vec<(String, String)>> {
    let columns = relation::columns(stream(pipeline))?;
    Ok(columns.into_iter().map(|c| (c.name, c.type_name)).collect())
}

/// Columns of a published aggregate: the view's, behind the chunk that each row is the state after and, where groups can go,
/// whether this one did.
pub fn aggregate_columns(plan: &Plan) -> Vec<(String, String)> {
    let mut ours = vec![(CHUNK_NO.to_string(), "bigint".to_string())];
    if plan.signed {
        ours.push(("_op".to_string(), "text".to_string()));
    }
    ours.into_iter().chain(plan.outputs.iter().map(|o| (o.name.clone(), o.type_name.clone()))).collect()
}

/// Makes the table of a layer, or checks that what is there can take the rows.
pub async fn prepare(location: &Location, credentials: &Credentials, columns: Vec<(String, String)>) -> Result<()> {
    let schema = Columns::new(&columns).schema();
    let Some(table) = Table::open(location, credentials).await? else {
        Table::create(location, credentials, schema, &[], "written by pg_millrace").await?;
        return Ok(());
    };
    let found = table.schema();
    for field in schema.fields() {
        let fits = found.field_with_name(field.name()).is_ok_and(|f| f.data_type() == field.data_type());
        if !fits {
            return Err(Error::new(Code::Mismatch, "the location holds a Delta table with other columns")
                .detail(format!(
                    "Location {}: column \"{}\" should be {}.",
                    location.display(),
                    field.name(),
                    field.data_type()
                ))
                .hint("Name an empty location, or a table with the same columns."));
        }
    }
    Ok(())
}

/// Rows of each chunk of a range.
fn count_rows(relation: &str, first: i64, last: i64) -> Result<Vec<(i64, i64)>> {
    #[derive(serde::Deserialize)]
    struct Count {
        chunk_no: i64,
        n: i64,
    }
    let counts: Vec<Count> = spi::query(
        &format!(
            "SELECT _chunk_no AS chunk_no, pg_catalog.count(*) AS n FROM {relation}
              WHERE _chunk_no >= $1 AND _chunk_no <= $2 GROUP BY _chunk_no"
        ),
        vec![first.into(), last.into()],
    )?;
    Ok(counts.into_iter().map(|c| (c.chunk_no, c.n)).collect())
}

fn count_by_chunk(batches: &[RecordBatch]) -> Result<Vec<(i64, i64)>> {
    let mut counts: std::collections::BTreeMap<i64, i64> = std::collections::BTreeMap::new();
    for batch in batches {
        let column = batch.column_by_name(CHUNK_NO).and_then(|c| c.as_any().downcast_ref::<Int64Array>().cloned());
        let column = column.ok_or_else(|| Error::new(Code::Internal, format!("rows without {CHUNK_NO}")))?;
        for i in 0..column.len() {
            *counts.entry(column.value(i)).or_default() += 1;
        }
    }
    Ok(counts.into_iter().collect())
}
