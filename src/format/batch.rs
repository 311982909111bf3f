//! A batch of records: what reading gives, whatever the format.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::typed::{self, Values};
use crate::model::{Code, Error, Result};

/// Consecutive records of one file.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// One column per name in the file, in its order: text, or what [`typed::normal`] gives. Of no meaning where the record is corrupt.
    pub fields: RecordBatch,
    /// The record's text where it is malformed, else NULL. Lossy where the bytes are not UTF-8.
    pub corrupt: StringArray,
    /// The record's bytes without its line end where they can't be had from the other columns, else NULL.
    pub raw: BinaryArray,
    /// The number of the first row's record in the file. Counts from 1; the header is not counted, nor are empty lines.
    pub first_record: u64,
    /// Where in the (decompressed) file the batch ends, so that reading can go on there; for formats that are read by rows, a
    /// measure of how far that is.
    pub end_byte: u64,
}

impl RawBatch {
    /// Rows of a format that has types of its own.
    pub fn typed(fields: &RecordBatch, first_record: u64, end_byte: u64) -> Result<RawBatch> {
        let (fields, corrupt) = typed::normal(fields)?;
        let raw = BinaryArray::new_null(fields.num_rows());
        Ok(RawBatch { fields, corrupt, raw, first_record, end_byte })
    }

    /// One record of text fields.
    pub fn of_texts(names: &[String], texts: Vec<Option<String>>) -> Result<RawBatch> {
        let schema = Schema::new(names.iter().map(|n| Field::new(n, DataType::Utf8, true)).collect::<Vec<_>>());
        let arrays = texts.into_iter().map(|t| Arc::new(StringArray::from(vec![t])) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let fields = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
            .map_err(|e| Error::new(Code::Internal, format!("a record could not be built: {e}")))?;
        let (corrupt, raw) = (StringArray::new_null(1), BinaryArray::new_null(1));
        Ok(RawBatch { fields, corrupt, raw, first_record: 1, end_byte: 0 })
    }

    /// A column's values; `None` where there is no such column.
    pub fn values(&self, column: usize) -> Option<Values<'_>> {
        self.fields.columns().get(column).and_then(|array| Values::of(array.as_ref()))
    }

    /// A field as people read it; `None` where it is NULL.
    pub fn text(&self, column: usize, row: usize) -> Option<Cow<'_, str>> {
        self.values(column).filter(|values| values.is_valid(row)).map(|values| values.text(row))
    }

    pub fn rows(&self) -> usize {
        self.fields.num_rows()
    }

    /// The record's bytes where they were kept.
    pub(super) fn kept(&self, row: usize) -> Option<&[u8]> {
        if self.raw.is_valid(row) {
            return Some(self.raw.value(row));
        }
        self.corrupt.is_valid(row).then(|| self.corrupt.value(row).as_bytes())
    }
}
