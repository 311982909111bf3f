//! From spans, row by row, to Arrow arrays, column by column: the one place where field bytes are copied.
//!
//! Expects spans that lie in `bytes` and cut no character in two; Arrow checks both once more, so a slip would be an error, never
//! a broken string.

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use std::sync::Arc;

use super::Dialect;
use super::split::{Form, Span};
use crate::model::{Code, Error, Result};

/// Most fields are short: copying a fixed number of bytes and keeping some of them is faster than a call to copy a few.
const SHORT: usize = 32;

/// Column `column` of the rows in `spans`, which holds `columns` of them a row.
pub(super) fn column(
    bytes: &[u8],
    spans: &[Span],
    columns: usize,
    column: usize,
    dialect: &Dialect,
) -> Result<ArrayRef> {
    let rows = spans.len() / columns;
    let of_column = || spans[column..].iter().step_by(columns);
    let size: usize = of_column().map(|span| span.len as usize).sum();
    let mut values = vec![0u8; size + SHORT];
    let mut offsets: Vec<i32> = Vec::with_capacity(rows + 1);
    offsets.push(0);
    let null = dialect.null.as_bytes();
    let mut filled = 0;
    let mut nulls = 0;
    for span in of_column() {
        let start = span.start as usize;
        let is_null = is_null(span, bytes, null);
        nulls += usize::from(is_null);
        let len = if is_null { 0 } else { span.len as usize };
        if span.form == Form::Escaped {
            filled += unescape(&bytes[start..start + len], &mut values[filled..filled + len], dialect);
        } else {
            let short = if len <= SHORT { bytes.get(start..start + SHORT) } else { None };
            match (short, values.get_mut(filled..filled + SHORT)) {
                (Some(from), Some(to)) => to.copy_from_slice(from),
                _ => values[filled..filled + len].copy_from_slice(&bytes[start..start + len]),
            }
            filled += len;
        }
        offsets.push(filled as i32);
    }
    values.truncate(filled);
    let nulls = (nulls > 0).then(|| {
        NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| !is_null(&spans[row * columns + column], bytes, null)))
    });
    let array = StringArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(values), nulls)
        .map_err(|e| Error::new(Code::Internal, format!("a CSV column could not be built: {e}")))?;
    Ok(Arc::new(array))
}

#[inline]
fn is_null(span: &Span, bytes: &[u8], null: &[u8]) -> bool {
    if null.is_empty() {
        // Without a branch, for empty and full fields come in no order that a processor could foresee.
        return (span.len == 0) & (span.form != Form::Quoted);
    }
    match span.form {
        Form::Plain => span.len as usize == null.len() && &bytes[span.start as usize..][..null.len()] == null,
        Form::Quoted | Form::Escaped => false,
        Form::Missing => true,
    }
}

/// Quoted content without its escapes.
pub(super) fn unescaped(from: &[u8], dialect: &Dialect) -> Vec<u8> {
    let mut text = vec![0; from.len()];
    let length = unescape(from, &mut text, dialect);
    text.truncate(length);
    text
}

/// Copies quoted content without its escapes; gives the length.
fn unescape(from: &[u8], to: &mut [u8], dialect: &Dialect) -> usize {
    let mut written = 0;
    let mut i = 0;
    while let Some(&byte) = from.get(i) {
        let escaped =
            from.get(i + 1).filter(|&&b| byte == dialect.escape && (b == dialect.quote || b == dialect.escape));
        to[written] = *escaped.unwrap_or(&byte);
        written += 1;
        i += if escaped.is_some() { 2 } else { 1 };
    }
    written
}
