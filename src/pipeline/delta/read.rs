//! Reading data files: rows of one version, as many as a chunk may hold, and how far that is.
//!
//! Never touches Postgres. Memory holds one chunk, and of a file what its reader is allowed.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use futures::TryStreamExt;

use super::{Manner, Role, Source, Step, Work};
use crate::format::{Format, RawBatch};
use crate::lake::delta::{CHANGE_TYPE, Rows, Table};
use crate::lake::parquet_rows::Limits;
use crate::model::keyed::Op;
use crate::model::landing::Part;
use crate::model::offset::Offset;
use crate::model::{Code, Error, Result};
use crate::pg::progress;
use crate::pipeline::columns::{Match, match_header};
use crate::pipeline::read::{Piece, Plan, Read};
use crate::pipeline::rescue;

/// Records that become one batch.
const BATCH_ROWS: usize = 16_384;

/// The rows from the offset on, and the offset behind them. Versions that only added rows follow each other until the chunk is full.
pub async fn read(
    source: &mut Source,
    offset: &Offset,
    plan: &Plan,
    memory: u64,
    manner: &Manner,
) -> Result<(Read, Offset)> {
    let mut reader = Reader { plan, memory, out: Read::default(), matched: None };
    let mut at = offset.clone();
    for versions in 1.. {
        let work = source.work.as_ref().ok_or_else(|| Error::new(Code::Internal, "no version is ready to be read"))?;
        let is_done = reader.version(source.table()?, work, &mut at).await?;
        let goes_on = is_done && work.shares && versions < plan.max_files && !reader.is_full();
        if is_done && at.sweep.is_none() {
            at = at.next_version(&at.table);
        }
        if !goes_on {
            break;
        }
        // Why the next version can't be had is said when it is its turn; what was read until here is loaded.
        let ready = source.prepare_within(&mut at, manner).await.unwrap_or(false);
        if !ready || !source.work.as_ref().is_some_and(|work| work.shares) {
            break;
        }
    }
    reader.out.every_row = at.sweep.is_some();
    Ok((reader.out, at))
}

struct Reader<'a> {
    plan: &'a Plan,
    memory: u64,
    out: Read,
    matched: Option<(Vec<String>, Arc<Match>)>,
}

impl Reader<'_> {
    fn is_full(&self) -> bool {
        let has = |n: usize, most: u32| u32::try_from(n).unwrap_or(u32::MAX) >= most;
        self.out.records >= self.plan.max_rows
            || self.out.bytes >= self.plan.max_bytes
            || has(self.out.parts.len(), self.plan.max_files)
    }

    /// Takes rows of one version; false where some are left.
    async fn version(&mut self, table: &Table, work: &Work, at: &mut Offset) -> Result<bool> {
        while let Some(step) = work.steps.get(usize::try_from(at.files).unwrap_or(usize::MAX)) {
            if !self.file(table, work, step, at).await? {
                return Ok(false);
            }
            if self.plan.shown {
                progress::file_done();
            }
            *at = Offset { files: at.files + 1, row: 0, records: 0, ..at.clone() };
            if self.is_full() {
                break;
            }
        }
        Ok(at.files >= work.steps.len() as u64)
    }

    /// Takes rows of one file; false where some are left.
    async fn file(&mut self, table: &Table, work: &Work, step: &Step, at: &mut Offset) -> Result<bool> {
        let (first_row, first_record) = (at.row, at.records);
        let mut rows =
            table.rows(step.file.clone(), at.row, Limits { batch_rows: BATCH_ROWS, memory: self.memory }).await?;
        let mut columns = Vec::new();
        let mut done = true;
        while let Some(next) = rows.try_next().await? {
            let room = self.plan.max_rows.saturating_sub(self.out.records);
            let bytes = next.batch.get_array_memory_size() as u64;
            // What is not meant is left out before the rest is cut off: cut off are only rows that a full chunk leaves for the next.
            let next = of_role(next, step.role)?.first(usize::try_from(room).unwrap_or(usize::MAX));
            at.row = next.next_row;
            let batch = next.batch;
            if batch.num_rows() == 0 {
                continue;
            }
            let batch = under_known_names(batch, table, &names_of(at))?;
            columns = batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect();
            let count = batch.num_rows() as u64;
            self.push(&batch, &columns, step.role, at)?;
            at.records += count;
            self.out.bytes += bytes;
            self.out.records += count;
            if self.plan.shown {
                progress::read(count, bytes);
            }
            if self.is_full() {
                // Where that was the very end of a file of which the log does not tell, the next look finds no more rows.
                done = step.file.ends_at(at.row);
                break;
            }
        }
        self.out.parts.push(Part {
            path: step.file.path.clone(),
            etag: label(work, step.role, at),
            size: step.file.size,
            first_record: first_record + 1,
            records: at.records - first_record,
            from_byte: first_row,
            to_byte: at.row,
            done,
            columns,
        });
        self.out.modified.push(None);
        Ok(done)
    }

    fn push(&mut self, batch: &RecordBatch, columns: &[String], role: Role, at: &Offset) -> Result<()> {
        let batch = RawBatch::typed(batch, at.records + 1, at.row)?;
        let ops = match role {
            Role::Added | Role::FeedAfter => None,
            Role::Removed | Role::FeedBefore => Some(vec![Op::Delete; batch.rows()]),
        };
        let matched = match &self.matched {
            Some((names, matched)) if names == columns => matched.clone(),
            _ => {
                let matched = Arc::new(match_header(columns, &self.plan.columns));
                self.matched = Some((columns.to_vec(), matched.clone()));
                matched
            }
        };
        let encoded = rescue::encode(&batch, &matched, &Format::Typed)?;
        self.out.pieces.push(Piece { part: self.out.parts.len(), batch, encoded, matched, ops });
        Ok(())
    }
}

fn names_of(at: &Offset) -> Vec<(String, String)> {
    at.renamed.iter().map(|(stored, name)| (stored.clone(), name.clone())).collect()
}

/// Which reading of a file this is: a file may come again, with other rows of it deleted or as a whole.
fn label(work: &Work, role: Role, at: &Offset) -> String {
    let version = work.version;
    match (work.snapshot, role) {
        (true, _) if at.generation > 0 => format!("v{version} whole {}", at.generation + 1),
        (true, _) => format!("v{version} whole"),
        (false, Role::Removed | Role::FeedBefore) => format!("v{version} removed"),
        (false, _) => format!("v{version}"),
    }
}

/// Of a feed's rows those that are meant, without what the feed says of them.
fn of_role(rows: Rows, role: Role) -> Result<Rows> {
    let wanted: &[&str] = match role {
        Role::Added | Role::Removed => return Ok(rows),
        Role::FeedBefore => &["delete", "update_preimage"],
        Role::FeedAfter => &["insert", "update_postimage"],
    };
    let broken =
        |why: String| Error::new(Code::Corrupt, "the change data feed of the Delta table can't be read").detail(why);
    let place = rows.batch.schema_ref().index_of(CHANGE_TYPE).map_err(|e| broken(e.to_string()))?;
    let kinds = rows.batch.column(place).as_string_opt::<i32>();
    let kinds = kinds.ok_or_else(|| broken("its kinds are no text".into()))?;
    let meant: BooleanArray = kinds.iter().map(|kind| Some(kind.is_some_and(|kind| wanted.contains(&kind)))).collect();
    let mut meant = rows.only(&meant)?;
    meant.batch.remove_column(place);
    Ok(meant)
}

/// Columns that were renamed in the table, under the names that staging has for them; a name that another column has now is that one's.
fn under_known_names(batch: RecordBatch, table: &Table, renamed: &[(String, String)]) -> Result<RecordBatch> {
    if renamed.is_empty() {
        return Ok(batch);
    }
    let stored = table.stored_names();
    let schema = batch.schema();
    let known = |name: &String| {
        let (stored, _) = stored.iter().find(|(_, now)| now == name)?;
        let (_, first) = renamed.iter().find(|(s, _)| s == stored)?;
        schema.field_with_name(first).is_err().then_some(first)
    };
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match known(field.name()) {
            Some(first) => field.as_ref().clone().with_name(first),
            None => field.as_ref().clone(),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), batch.columns().to_vec(), &options)
        .map_err(|e| Error::new(Code::Internal, format!("columns could not be renamed: {e}")))
}
