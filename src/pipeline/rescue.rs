//! What no column takes is kept in `_rescued`: fields that the staging table has no column for, and values that do not fit theirs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::convert::{Encoded, Reason, encode_batch};
use crate::format::{Format, RawBatch, typed};
use crate::model::{Code, Error, Result};
use crate::pipeline::columns::Match;

/// The rows of a batch, with what is rescued of each.
pub fn encode(batch: &RawBatch, matched: &Match, format: &Format) -> Result<Encoded> {
    if matched.rescued.is_none() || matched.extra.is_empty() {
        return Ok(encode_batch(batch, &matched.mapping, &matched.targets, format));
    }
    let rescued: StringArray = (0..batch.rows()).map(|row| object(batch, matched, row, &[])).collect();
    let mut fields: Vec<Arc<Field>> = batch.fields.schema_ref().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("", DataType::Utf8, true)));
    let mut columns: Vec<ArrayRef> = batch.fields.columns().to_vec();
    columns.push(Arc::new(rescued));
    let fields = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Error::new(Code::Internal, e.to_string()))?;
    Ok(encode_batch(&RawBatch { fields, ..batch.clone() }, &matched.mapping, &matched.targets, format))
}

/// The fields of a record that no column takes, `misfits` (indices of targets) included, as a JSON object; `None` where all are NULL.
pub fn object(batch: &RawBatch, matched: &Match, row: usize, misfits: &[usize]) -> Option<String> {
    let own = misfits.iter().filter_map(|t| matched.mapping[*t]);
    let kept: Vec<usize> = matched
        .extra
        .iter()
        .copied()
        .chain(own)
        .filter(|i| batch.fields.columns().get(*i).is_some_and(|column| column.is_valid(row)))
        .collect();
    if kept.is_empty() {
        return None;
    }
    Some(typed::json::record(&batch.fields.project(&kept).ok()?, row))
}

/// The targets whose values did not fit, if a row can do without them: each may be NULL, and nothing else is wrong.
pub fn misfits(matched: &Match, reasons: &[Reason]) -> Option<Vec<usize>> {
    matched.rescued?;
    let target = |reason: &Reason| {
        let t = matched.targets.iter().position(|t| reason.column.as_ref() == Some(&t.name))?;
        let fits = reason.sqlstate.starts_with("22") && !matched.targets[t].not_null && matched.rescued != Some(t);
        (fits && matched.mapping[t].is_some()).then_some(t)
    };
    reasons.iter().map(target).collect()
}
