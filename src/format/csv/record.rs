//! A batch of records, and the way back from it to the very bytes that were read.
//!
//! The bytes are kept only where writing the fields again would give others. Both sides of that bargain are the rule of
//! [`write`]: a field is quoted when it holds the delimiter, the quote, CR or LF, or reads like the null string but is not NULL.

use std::borrow::Cow;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};

use super::Dialect;

/// Consecutive records of one file.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// All text, one column per name in the file's header, in its order. All NULL where the record is corrupt.
    pub fields: RecordBatch,
    /// The record's text where it is malformed, else NULL. Lossy where the bytes are not UTF-8.
    pub corrupt: StringArray,
    /// The record's bytes without its line end where they can't be had from the other columns, else NULL.
    pub raw: BinaryArray,
    /// The number of the first row's record in the file. Counts from 1; the header is not counted, nor are empty lines.
    pub first_record: u64,
    /// Where in the (decompressed) file the batch ends: reading can go on there with [`super::Reader::resume`].
    pub end_byte: u64,
}

impl RawBatch {
    /// A field's text; `None` where it is NULL.
    pub fn text(&self, column: usize, row: usize) -> Option<&str> {
        let values = self.fields.columns().get(column)?.as_string_opt::<i32>()?;
        values.is_valid(row).then(|| values.value(row))
    }

    pub fn rows(&self) -> usize {
        self.fields.num_rows()
    }
}

/// The exact bytes of a record, without its line end.
pub fn record_text<'a>(batch: &'a RawBatch, row: usize, dialect: &Dialect) -> Cow<'a, [u8]> {
    if batch.raw.is_valid(row) {
        return Cow::Borrowed(batch.raw.value(row));
    }
    if batch.corrupt.is_valid(row) {
        return Cow::Borrowed(batch.corrupt.value(row).as_bytes());
    }
    let mut text = Vec::new();
    for (i, column) in batch.fields.columns().iter().enumerate() {
        if i > 0 {
            text.push(dialect.delimiter);
        }
        let value = column.as_any().downcast_ref::<StringArray>().filter(|c| c.is_valid(row)).map(|c| c.value(row));
        write(value, dialect, &mut text);
    }
    Cow::Owned(text)
}

/// Writes a field in the canonical way.
fn write(value: Option<&str>, dialect: &Dialect, out: &mut Vec<u8>) {
    let Some(value) = value else {
        out.extend_from_slice(dialect.null.as_bytes());
        return;
    };
    let special = |b: u8| b == dialect.delimiter || b == dialect.quote || matches!(b, b'\n' | b'\r');
    if value != dialect.null && !value.bytes().any(special) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(dialect.quote);
    for byte in value.bytes() {
        if byte == dialect.quote || byte == dialect.escape {
            out.push(dialect.escape);
        }
        out.push(byte);
    }
    out.push(dialect.quote);
}
