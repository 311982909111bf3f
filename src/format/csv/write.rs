//! The way back from a batch to the very bytes that were read.
//!
//! The bytes are kept only where writing the fields again would give others. Both sides of that bargain are the rule of
//! [`write`]: a field is quoted when it holds the delimiter, the quote, CR or LF, or reads like the null string but is not NULL.

use arrow::array::{Array, StringArray};

use super::Dialect;
use crate::format::RawBatch;

/// Appends the bytes of a record whose bytes were not kept, without its line end.
pub fn append_record(batch: &RawBatch, row: usize, dialect: &Dialect, text: &mut Vec<u8>) {
    for (i, column) in batch.fields.columns().iter().enumerate() {
        if i > 0 {
            text.push(dialect.delimiter);
        }
        let value = column.as_any().downcast_ref::<StringArray>().filter(|c| c.is_valid(row)).map(|c| c.value(row));
        write(value, dialect, text);
    }
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
