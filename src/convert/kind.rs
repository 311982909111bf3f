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
    /// An array: of elements that are cast here, with their type's number in Postgres, or of any others, whose literal is left to Postgres.
    Array(Option<(Element, u32)>),
    /// Any other: left to Postgres.
    Other,
}

/// What the elements of an array are, where they are cast here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric { precision: Option<u16>, scale: i16 },
    Text,
    Date,
    Timestamp,
    TimestampTz { utc: bool },
    Time,
    Uuid,
    Bytea,
}

impl Element {
    pub fn of(kind: Kind) -> Option<Element> {
        Some(match kind {
            Kind::Bool => Element::Bool,
            Kind::Int2 => Element::Int2,
            Kind::Int4 => Element::Int4,
            Kind::Int8 => Element::Int8,
            Kind::Float4 => Element::Float4,
            Kind::Float8 => Element::Float8,
            Kind::Numeric { precision, scale } => Element::Numeric { precision, scale },
            Kind::Text { max_chars: None } => Element::Text,
            Kind::Date => Element::Date,
            Kind::Timestamp => Element::Timestamp,
            Kind::TimestampTz { utc } => Element::TimestampTz { utc },
            Kind::Time => Element::Time,
            Kind::Uuid => Element::Uuid,
            Kind::Bytea => Element::Bytea,
            _ => return None,
        })
    }

    pub fn kind(self) -> Kind {
        match self {
            Element::Bool => Kind::Bool,
            Element::Int2 => Kind::Int2,
            Element::Int4 => Kind::Int4,
            Element::Int8 => Kind::Int8,
            Element::Float4 => Kind::Float4,
            Element::Float8 => Kind::Float8,
            Element::Numeric { precision, scale } => Kind::Numeric { precision, scale },
            Element::Text => Kind::Text { max_chars: None },
            Element::Date => Kind::Date,
            Element::Timestamp => Kind::Timestamp,
            Element::TimestampTz { utc } => Kind::TimestampTz { utc },
            Element::Time => Kind::Time,
            Element::Uuid => Kind::Uuid,
            Element::Bytea => Kind::Bytea,
        }
    }
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
        Kind::Array(_) | Kind::Other => false,
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
