//! What a layer is made from: its columns, and the rows of the chunks that are due.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, Int64Array};
use arrow::record_batch::RecordBatch;

use crate::catalog::aggregate::Names;
use crate::catalog::aggregates::{self, Aggregate};
use crate::catalog::layers::{self, Pending};
use crate::catalog::pipelines;
use crate::catalog::staging::CHUNK_NO;
use crate::convert::to_arrow::Columns;
use crate::lake::delta::Table;
use crate::lake::store::Credentials;
use crate::lake::waiting::Waiting;
use crate::model::aggregate::Plan;
use crate::model::location::Location;
use crate::model::pipeline::Pipeline;
use crate::model::publishing::{PublishMode, Publishing};
use crate::model::{Code, Error, Result};
use crate::pg::relation;
use crate::pg::{gucs, rows, spi};
use crate::pipeline::{aggregates as merging, scope};

/// Where Postgres keeps its temporary files, as seen from where it runs.
const TEMPORARY: &str = "base/pgsql_tmp";

/// What is to be written.
pub struct Found {
    /// `None` where nothing is: it was committed before, or the chunks change nothing.
    pub rows: Option<Waiting>,
    /// The last chunk that is in the lake already.
    pub after: i64,
    /// The chunk that the table is at with these rows.
    pub last: i64,
    /// Rows of each chunk.
    pub counts: Vec<(i64, i64)>,
    /// Whose changes may be forgotten once they are published.
    pub aggregate: Option<Aggregate>,
}

/// Where a layer's rows are.
struct Origin {
    columns: Vec<(String, String)>,
    relation: String,
    aggregate: Option<Aggregate>,
}

/// What is due of a layer, and where it is.
struct Reader<'a> {
    pipeline: &'a Pipeline,
    pending: &'a Pending,
    publishing: &'a Publishing,
    /// The chunk that the table is at.
    reached: i64,
    origin: Origin,
}

/// Reads what is due, of one snapshot; `reached` is the chunk that the table is at.
pub fn read(pipeline: &Pipeline, pending: &Pending, publishing: &Publishing, reached: i64) -> Result<Found> {
    let origin = origin(pipeline, &pending.layer, publishing.mode)?;
    let after = reached.max(pending.first - 1);
    let aggregate = origin.aggregate.clone();
    let mut found = Found { rows: None, after, last: pending.last, counts: vec![], aggregate };
    let reader = Reader { pipeline, pending, publishing, reached, origin };
    match publishing.mode {
        PublishMode::Append => reader.changes(&mut found),
        PublishMode::Overwrite => reader.state(&mut found),
    }?;
    Ok(found)
}

impl Reader<'_> {
    /// The rows that the chunks have brought.
    fn changes(&self, found: &mut Found) -> Result<()> {
        let (first, last) = (self.pending.first, self.pending.last);
        if self.reached >= first {
            // Committed before, by a process that died before it could note it: what it held is still here to be counted.
            found.counts = scope::owner(self.pipeline, || count_rows(&self.origin.relation, first, last))?;
        }
        if self.reached < last {
            let range = format!("WHERE _chunk_no > {} AND _chunk_no <= {last}", found.after);
            let (rows, counts) = self.select(&range, true)?;
            if found.counts.is_empty() {
                found.counts = counts;
            }
            found.rows = Some(rows).filter(|rows| rows.rows() > 0);
        }
        Ok(())
    }

    /// The state behind the last chunk that there is: the head of the same snapshot.
    fn state(&self, found: &mut Found) -> Result<()> {
        let position = scope::catalog(|| pipelines::position(self.pipeline.id))?;
        let head = position.map_or(self.pending.last, |position| position.head);
        found.last = head.max(self.reached);
        let is_as_it_was = self.pending.rows == 0 && self.pending.last == head && self.reached > 0;
        if self.reached >= head || is_as_it_was {
            return Ok(());
        }
        let (rows, _) = self.select("", false)?;
        found.counts = vec![(head, rows.rows() as i64)];
        found.rows = Some(rows);
        Ok(())
    }

    /// The rows, and how many are of each chunk where they are counted.
    fn select(&self, range: &str, counted: bool) -> Result<(Waiting, Vec<(i64, i64)>)> {
        let columns = &self.origin.columns;
        let names: Vec<String> = columns.iter().map(|c| spi::ident(&c.0)).collect();
        // Those of one partition come together, so that they make one file.
        let order = match self.publishing.partition_by.as_slice() {
            [] => String::new(),
            by => format!("ORDER BY {}", by.iter().map(|name| spi::ident(name)).collect::<Vec<_>>().join(", ")),
        };
        let sql = format!("SELECT {} FROM {} {range} {order}", names.join(", "), self.origin.relation);
        let columns = Columns::new(columns);
        let mut rows = Waiting::new(columns.schema(), gucs::work_mem_bytes() / 4, Path::new(TEMPORARY));
        let mut counts = BTreeMap::new();
        scope::owner(self.pipeline, || {
            rows::each(&sql, &columns, |batch| {
                if counted {
                    count_by_chunk(&batch, &mut counts)?;
                }
                rows.push(batch)
            })
        })?;
        Ok((rows, counts.into_iter().collect()))
    }
}

fn origin(pipeline: &Pipeline, layer: &str, mode: PublishMode) -> Result<Origin> {
    if layer == layers::SEMI_PROCESSED {
        let table = source_of(pipeline, mode);
        let columns = scope::owner(pipeline, || semi_processed_columns(pipeline, mode))?;
        let table = scope::owner(pipeline, || relation::by_oid(table))?
            .ok_or_else(|| Error::new(Code::WrongState, "the pipeline's staging table is gone"))?;
        return Ok(Origin { columns, relation: table.qualified(), aggregate: None });
    }
    let kept = scope::catalog(|| aggregates::of_pipeline(pipeline.id))?;
    let aggregate = kept.into_iter().find(|a| layers::of_aggregate(&a.name) == layer);
    let aggregate =
        aggregate.ok_or_else(|| Error::new(Code::WrongState, format!("layer \"{layer}\" has no aggregate")))?;
    let names: Names = merging::names(&aggregate)?;
    let relation = match mode {
        PublishMode::Overwrite => names.view(),
        PublishMode::Append => names
            .changes()
            .ok_or_else(|| Error::new(Code::Internal, "a published aggregate has no table of changes"))?,
    };
    Ok(Origin { columns: aggregate_columns(&aggregate.plan, mode), relation, aggregate: Some(aggregate) })
}

/// The relation that a semi-processed layer is made from: that whose rows of a chunk are the chunk (staging, or what a keyed pipeline
/// has changed there), or the one that holds the state.
fn source_of(pipeline: &Pipeline, mode: PublishMode) -> pgrx::pg_sys::Oid {
    let table = match mode {
        PublishMode::Append => pipeline.changes.unwrap_or(pipeline.staging),
        PublishMode::Overwrite => pipeline.staging,
    };
    pgrx::pg_sys::Oid::from(table)
}

/// Columns of the semi-processed layer: the staging table's, ours included, and `_op` where changes of a keyed pipeline are appended.
pub fn semi_processed_columns(pipeline: &Pipeline, mode: PublishMode) -> Result<Vec<(String, String)>> {
    let columns = relation::columns(source_of(pipeline, mode))?;
    Ok(columns.into_iter().map(|c| (c.name, c.type_name)).collect())
}

/// Columns of a published aggregate: the view's; where changes are appended, behind the chunk that each row is the state after and,
/// where groups can go, whether this one did.
pub fn aggregate_columns(plan: &Plan, mode: PublishMode) -> Vec<(String, String)> {
    let mut ours = Vec::new();
    if mode == PublishMode::Append {
        ours.push((CHUNK_NO.to_string(), "bigint".to_string()));
        if plan.signed {
            ours.push(("_op".to_string(), "text".to_string()));
        }
    }
    ours.into_iter().chain(plan.outputs.iter().map(|o| (o.name.clone(), o.type_name.clone()))).collect()
}

/// Makes the table of a layer, or checks that what is there can take the rows.
pub async fn prepare(
    location: &Location,
    credentials: &Credentials,
    columns: Vec<(String, String)>,
    partition_by: &[String],
) -> Result<()> {
    let schema = Columns::new(&columns).schema();
    // Opens the one that is there, if it is partitioned the same way.
    let table = Table::create(location, credentials, schema.clone(), partition_by, "written by pg_millrace").await?;
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

fn count_by_chunk(batch: &RecordBatch, counts: &mut BTreeMap<i64, i64>) -> Result<()> {
    let column = batch.column_by_name(CHUNK_NO).and_then(|c| c.as_any().downcast_ref::<Int64Array>());
    let column = column.ok_or_else(|| Error::new(Code::Internal, format!("rows without {CHUNK_NO}")))?;
    for i in 0..column.len() {
        *counts.entry(column.value(i)).or_default() += 1;
    }
    Ok(())
}
