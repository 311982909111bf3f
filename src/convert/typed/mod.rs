//! From columns with types of their own to what COPY BINARY reads.
//!
//! The measure is the same as for text: a value goes over as Postgres' input function would read its text ([`Values::text`]). Where the
//! two types are of one kind the text is left out, and the bits are the same. There are three exceptions, for a type says more than
//! a text does: bytes into text columns are UTF-8, lists into array columns become array literals, and whatever goes into json and
//! jsonb is JSON.

mod array;
mod decimal;
mod moment;
mod number;
mod types;

use std::borrow::Cow;

use super::kind::{Field, Kind, encode_field};
use crate::format::typed::{Values, json};

pub use types::column_type;

/// Why a value can't even be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: &'static str,
    pub message: String,
}

/// Appends the binary form of a value that is not NULL, without its length.
pub(super) fn encode(kind: &Kind, values: &Values<'_>, row: usize, out: &mut Vec<u8>) -> Field {
    let known = match *values {
        Values::Text(v) => return encode_field(kind, v.value(row), out),
        Values::Bool(v) if *kind == Kind::Bool => {
            out.push(u8::from(v.value(row)));
            true
        }
        Values::Int16(v) => number::int(kind, i64::from(v.value(row)), out),
        Values::Int32(v) => number::int(kind, i64::from(v.value(row)), out),
        Values::Int64(v) => number::int(kind, v.value(row), out),
        Values::Float32(v) => number::real(kind, v.value(row), out),
        Values::Float64(v) => number::double(kind, v.value(row), out),
        Values::Decimal(v) => decimal::encode(kind, v.value(row), v.scale(), out),
        Values::Date(v) => moment::date(kind, v.value(row), out),
        Values::Timestamp { values, utc } => moment::timestamp(kind, values.value(row), utc, out),
        Values::Bytes(v) => bytes(kind, v.value(row), out),
        Values::List(v) => match *kind {
            // What is no flat list of such elements goes as a literal, whose reader says what is wrong.
            Kind::Array(Some((element, oid))) => array::binary(v, row, element, oid, out),
            _ => false,
        },
        _ => false,
    };
    if known {
        return Field::Value;
    }
    match text_of(kind, values, row) {
        Ok(text) if !text.contains('\0') => encode_field(kind, &text, out),
        _ => Field::Undecided,
    }
}

fn bytes(kind: &Kind, value: &[u8], out: &mut Vec<u8>) -> bool {
    let same = *kind == Kind::Bytea || (*kind == Kind::Uuid && value.len() == 16);
    if same {
        out.extend_from_slice(value);
    }
    same
}

/// What the type's input function is to read for a value that is not NULL.
pub fn text_of<'a>(kind: &Kind, values: &Values<'a>, row: usize) -> Result<Cow<'a, str>, Refusal> {
    Ok(match (*values, kind) {
        (Values::Text(v), Kind::Array(_)) if v.value(row).starts_with('[') => {
            array::of_json(v.value(row)).map_or(Cow::Borrowed(v.value(row)), Cow::Owned)
        }
        (Values::Text(v), _) => Cow::Borrowed(v.value(row)),
        (_, Kind::Json | Kind::Jsonb) => {
            let mut text = String::new();
            json::write(values, row, &mut text);
            Cow::Owned(text)
        }
        (Values::List(v), Kind::Array(_)) => Cow::Owned(array::literal(v, row)),
        (Values::Bytes(v), kind) if *kind != Kind::Bytea => match std::str::from_utf8(v.value(row)) {
            Ok(text) => Cow::Borrowed(text),
            Err(e) => {
                let at = e.valid_up_to() + 1;
                let message = format!("invalid byte sequence for encoding \"UTF8\" at byte {at}");
                return Err(Refusal { sqlstate: "22021", message });
            }
        },
        (Values::Decimal(v), Kind::Int2 | Kind::Int4 | Kind::Int8) => {
            Cow::Owned(decimal::without_zeros(v.value(row), v.scale()))
        }
        _ => values.text(row),
    })
}

#[cfg(test)]
mod tests;
