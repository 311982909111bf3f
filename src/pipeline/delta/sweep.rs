//! The end of reading a keyed table anew: what did not come again is gone.
//!
//! Promises: rows are taken out of staging as any deleted ones are, as changes of bounded chunks.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pgrx::pg_sys::Oid;

use super::Source;
use crate::catalog::staging;
use crate::convert::encode_batch;
use crate::format::{Format, RawBatch};
use crate::model::keyed::Op;
use crate::model::landing::Part;
use crate::model::offset::Offset;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::relation;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::columns::match_header;
use crate::pipeline::read::{Piece, Plan, Read};
use crate::pipeline::scope;

/// Rows that are looked up at a time.
const ROWS: u64 = 50_000;

/// What stands in place of a file: these rows come from none.
pub const NO_FILE: &str = "(rows that are gone)";

/// True where the whole table has been read anew and what is left of before is still in staging.
pub fn is_due(source: &Source, offset: &Offset) -> bool {
    let files = source.work.as_ref().map_or(0, |work| work.steps.len() as u64);
    offset.sweep.is_some() && offset.snapshot && offset.files >= files
}

/// The next of those rows as deletes, and the offset behind them: the next version's once there are none.
pub fn sweep(mode: Mode, pipeline: &Pipeline, offset: &Offset, plan: &Plan) -> Result<(Read, Offset)> {
    let before = offset.sweep.unwrap_or(0);
    let names: Vec<String> = plan.columns.iter().map(|c| c.column.name.clone()).collect();
    let rows = transaction::run(mode, || {
        scope::owner(pipeline, || {
            let table = relation::by_oid(Oid::from(pipeline.staging))?
                .ok_or_else(|| Error::new(Code::WrongState, "the staging table is gone"))?;
            staging::rows_up_to(&table, &names, before, plan.max_rows.min(ROWS))
        })
    })?;
    let mut read = Read::default();
    if rows.is_empty() {
        return Ok((read, offset.next_version(&offset.table)));
    }
    let matched = Arc::new(match_header(&names, &plan.columns));
    let column = |i: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row.get(i).cloned().flatten()).collect::<StringArray>())
    };
    let columns = names.iter().enumerate().map(|(i, name)| (name, column(i), true));
    let texts = RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|e| Error::new(Code::Internal, format!("rows of staging could not be gathered: {e}")))?;
    let batch = RawBatch::typed(&texts, offset.records + 1, 0)?;
    let encoded = encode_batch(&batch, &matched.mapping, &matched.targets, &Format::Typed);
    let next = Offset { records: offset.records + rows.len() as u64, ..offset.clone() };
    read.bytes = texts.get_array_memory_size() as u64;
    read.pieces.push(Piece { part: 0, batch, encoded, matched, ops: Some(vec![Op::Delete; rows.len()]) });
    read.parts.push(Part {
        path: NO_FILE.into(),
        etag: format!("v{} whole {}", offset.version, offset.generation + 1),
        size: 0,
        first_record: offset.records + 1,
        records: next.records - offset.records,
        from_byte: 0,
        to_byte: 0,
        done: true,
        columns: names,
    });
    read.modified.push(None);
    read.records = next.records - offset.records;
    Ok((read, next))
}
