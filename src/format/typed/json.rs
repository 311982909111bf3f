//! Values as JSON: numbers with every digit, what JSON has no word for as text.
//!
//! NaN and infinities are strings, and so are dates, instants (ISO) and bytes (`\x…`), all as Postgres writes them into JSON.

use std::fmt::Write;

use arrow::array::{Array, RecordBatch};

use super::{Values, moment, number};

/// A row as an object.
pub fn record(fields: &RecordBatch, row: usize) -> String {
    let mut out = String::from("{");
    for (i, (field, array)) in fields.schema().fields().iter().zip(fields.columns()).enumerate() {
        if i > 0 {
            out.push(',');
        }
        string(field.name(), &mut out);
        out.push(':');
        write_nullable(array.as_ref(), row, &mut out);
    }
    out.push('}');
    out
}

/// A value that is not NULL.
pub fn write(values: &Values<'_>, row: usize, out: &mut String) {
    match *values {
        Values::Text(v) => string(v.value(row), out),
        Values::Float32(v) => float(f64::from(v.value(row)), number::real(v.value(row)), out),
        Values::Float64(v) => float(v.value(row), number::double(v.value(row)), out),
        Values::Timestamp { values, utc } => string(&moment::timestamp_json(values.value(row), utc), out),
        Values::Bool(_) | Values::Int16(_) | Values::Int32(_) | Values::Int64(_) | Values::Decimal(_) => {
            out.push_str(&values.text(row));
        }
        Values::Date(_) | Values::Bytes(_) => string(&values.text(row), out),
        Values::List(v) => {
            let items = v.value(row);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write_nullable(items.as_ref(), i, out);
            }
            out.push(']');
        }
        Values::Struct(v) => {
            out.push('{');
            for (i, (field, array)) in v.fields().iter().zip(v.columns()).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(field.name(), out);
                out.push(':');
                write_nullable(array.as_ref(), row, out);
            }
            out.push('}');
        }
        Values::Map(v) => {
            let entries = v.value(row);
            let (Some(keys), values) = (Values::of(entries.column(0).as_ref()), entries.column(1)) else {
                out.push_str("null");
                return;
            };
            out.push('{');
            for i in 0..entries.len() {
                if i > 0 {
                    out.push(',');
                }
                string(&keys.text(i), out);
                out.push(':');
                write_nullable(values.as_ref(), i, out);
            }
            out.push('}');
        }
    }
}

fn write_nullable(array: &dyn Array, row: usize, out: &mut String) {
    match Values::of(array).filter(|_| array.is_valid(row)) {
        Some(values) => write(&values, row, out),
        None => out.push_str("null"),
    }
}

fn float(value: f64, text: String, out: &mut String) {
    if value.is_finite() { out.push_str(&text) } else { string(&text, out) }
}

/// A JSON string.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
