//! The types that are cast here, and the way from a type to its cast.

use super::{boolean, bytea, datetime, float, int, json, numeric, text, uuid};

/// What a column's type means for its cast. Modifiers that the binary input function applies by itself, such as `timestamp(3)`,
/// need no mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Without a precision the scale means nothing, and the value keeps the scale that it is written with.
    Numeric {
        precision: Option<u16>,
        scale: i16,
    },
    /// `text` and `varchar`.
    Text {
        max_chars: Option<u32>,
    },
    /// `char(n)`, padded with blanks.
    Bpchar {
        len: Option<u32>,
    },
    Date,
    Timestamp,
    /// `utc`: the session's time zone is UTC, so that a value without zone is known too.
    TimestampTz {
        utc: bool,
    },
    Time,
    Uuid,
    Json,
    Jsonb,
    Bytea,
    /// An array of any type: its literal is left to Postgres.
    Array,
    /// Any other: left to Postgres.
    Other,
}

/// A column to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub kind: Kind,
    pub not_null: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The value's bytes were appended.
    Value,
    /// Postgres must say. What was appended, if anything, has no meaning.
    Undecided,
}

/// Appends the binary form of `text` as COPY wants it, without its length. The text holds no NUL byte: [`super::encode_batch`] has
/// refused it by then. The database is encoded in UTF-8.
#[inline]
pub fn encode_field(kind: &Kind, text: &str, out: &mut Vec<u8>) -> Field {
    let bytes = text.as_bytes();
    let known = match *kind {
        Kind::Bool => put(boolean::parse(bytes).map(|v| [u8::from(v)]), out),
        Kind::Int2 => put(int::parse(bytes).and_then(|v| i16::try_from(v).ok()).map(i16::to_be_bytes), out),
        Kind::Int4 => put(int::parse(bytes).and_then(|v| i32::try_from(v).ok()).map(i32::to_be_bytes), out),
        Kind::Int8 => put(int::parse(bytes).map(i64::to_be_bytes), out),
        Kind::Float4 => put(float::parse4(text).map(f32::to_be_bytes), out),
        Kind::Float8 => put(float::parse8(text).map(f64::to_be_bytes), out),
        Kind::Numeric { precision, scale } => numeric::encode(bytes, precision.map(|p| (p, scale)), out),
        Kind::Text { max_chars } => text::varying(text, max_chars, out),
        Kind::Bpchar { len } => text::padded(text, len, out),
        Kind::Date => put(datetime::date(bytes).map(i32::to_be_bytes), out),
        Kind::Timestamp => put(datetime::timestamp(bytes).map(i64::to_be_bytes), out),
        Kind::TimestampTz { utc } => put(datetime::timestamptz(bytes, utc).map(i64::to_be_bytes), out),
        Kind::Time => put(datetime::time(bytes).map(i64::to_be_bytes), out),
        Kind::Uuid => put(uuid::parse(bytes), out),
        Kind::Json => json::json(text, out),
        Kind::Jsonb => json::jsonb(text, out),
        Kind::Bytea => bytea::encode(bytes, out),
        Kind::Array | Kind::Other => false,
    };
    if known { Field::Value } else { Field::Undecided }
}

#[inline]
fn put<const N: usize>(value: Option<[u8; N]>, out: &mut Vec<u8>) -> bool {
    if let Some(bytes) = &value {
        out.extend_from_slice(bytes);
    }
    value.is_some()
}

/// Takes away the white space that most input functions of Postgres pass over.
#[inline]
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    let blank = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    while let [first, rest @ ..] = text
        && blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blank(*last)
    {
        text = rest;
    }
    text
}
