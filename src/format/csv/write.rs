//! The way back from a batch to the very bytes that were read.
//!
//! The bytes are kept only where writing the fields again would give others. Both sides of that bargain are the rule of
//! [`write`]: a field is quoted when it holds the delimiter, the quote, CR or LF, or reads like the null string but is not NULL.

use arrow::array::{Array, ArrayRef, AsArray};

use super::Dialect;
use crate::format::RawBatch;

/// Appends the bytes of a record whose bytes were not kept, without its line end.
pub fn append_record(batch: &RawBatch, row: usize, dialect: &Dialect, text: &mut Vec<u8>) {
    let begin = text.len();
    let columns = batch.fields.columns();
    let mut plain = true;
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            text.push(dialect.delimiter);
        }
        let value = value(column, row);
        plain &= value != Some(dialect.null.as_str());
        text.extend_from_slice(value.unwrap_or(&dialect.null).as_bytes());
    }
    // Looked through once, and not a field at a time: hardly a record has a field that is quoted.
    let count = |bytes: &[u8]| usize::from(bytes.iter().map(|b| u8::from(is_special(*b, dialect))).sum::<u8>());
    let found: usize = text[begin..].chunks(u8::MAX.into()).map(count).sum();
    if plain && found == columns.len().saturating_sub(1) && !dialect.null.bytes().any(|b| is_special(b, dialect)) {
        return;
    }
    text.truncate(begin);
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            text.push(dialect.delimiter);
        }
        write(value(column, row), dialect, text);
    }
}

fn value(column: &ArrayRef, row: usize) -> Option<&str> {
    column.as_string_opt::<i32>().filter(|c| c.is_valid(row)).map(|c| c.value(row))
}

/// Whether a field that holds the byte is quoted.
fn is_special(byte: u8, dialect: &Dialect) -> bool {
    byte == dialect.delimiter || byte == dialect.quote || byte == b'\n' || byte == b'\r'
}

/// Writes a field in the canonical way.
fn write(value: Option<&str>, dialect: &Dialect, out: &mut Vec<u8>) {
    let Some(value) = value else {
        out.extend_from_slice(dialect.null.as_bytes());
        return;
    };
    if value != dialect.null && !value.bytes().any(|b| is_special(b, dialect)) {
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
