//! Casts: text and typed values to what COPY BINARY takes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};

use crate::convert::{Field, Kind, append_value, encode_field};
use crate::format::typed::Values;

/// A text that was cast here, for a comparison with what Postgres makes of it.
pub struct Cast {
    /// The type as Postgres names it.
    pub sql: &'static str,
    pub text: String,
    pub bytes: Vec<u8>,
}

const KINDS: &[(Kind, &str, Option<usize>)] = &[
    (Kind::Bool, "boolean", Some(1)),
    (Kind::Int2, "smallint", Some(2)),
    (Kind::Int4, "integer", Some(4)),
    (Kind::Int8, "bigint", Some(8)),
    (Kind::Float4, "real", Some(4)),
    (Kind::Float8, "double precision", Some(8)),
    (Kind::Numeric { precision: None, scale: 0 }, "numeric", None),
    (Kind::Numeric { precision: Some(12), scale: 2 }, "numeric(12,2)", None),
    (Kind::Text { max_chars: None }, "text", None),
    (Kind::Text { max_chars: Some(5) }, "varchar(5)", None),
    (Kind::Bpchar { len: Some(4) }, "char(4)", None),
    (Kind::Date, "date", Some(4)),
    (Kind::Timestamp, "timestamp", Some(8)),
    (Kind::TimestampTz { utc: true }, "timestamptz", Some(8)),
    (Kind::Time, "time", Some(8)),
    (Kind::Uuid, "uuid", Some(16)),
    (Kind::Json, "json", None),
    (Kind::Jsonb, "jsonb", None),
    (Kind::Bytea, "bytea", None),
];

/// A byte says the type; the others are the text, and typed values.
pub fn encoding(data: &[u8]) -> Option<Cast> {
    let (first, rest) = data.split_first()?;
    let (kind, sql, length) = KINDS[usize::from(*first) % KINDS.len()];
    typed(&kind, rest, usize::from(*first) / KINDS.len());
    let text = String::from_utf8_lossy(rest).replace('\0', "");
    let mut bytes = b"before".to_vec();
    if encode_field(&kind, &text, &mut bytes) == Field::Undecided {
        return None;
    }
    let bytes = bytes.strip_prefix(b"before").unwrap().to_vec();
    assert!(length.is_none_or(|length| bytes.len() == length), "{sql} {text:?} has {} bytes", bytes.len());
    assert!(bytes.len() <= 4 * text.len() + 64, "{sql} grew to {}", bytes.len());
    Some(Cast { sql, text, bytes })
}

/// Values of every type that a file may hold.
fn typed(kind: &Kind, data: &[u8], which: usize) {
    let mut eight = [0; 16];
    let known = data.len().min(16);
    eight[..known].copy_from_slice(&data[..known]);
    let number = i128::from_le_bytes(eight);
    let array: ArrayRef = match which {
        0 => Arc::new(StringArray::from(vec![String::from_utf8_lossy(data).replace('\0', "")])),
        1 => Arc::new(BooleanArray::from(vec![number & 1 == 1])),
        2 => Arc::new(Int16Array::from(vec![number as i16])),
        3 => Arc::new(Int32Array::from(vec![number as i32])),
        4 => Arc::new(Int64Array::from(vec![number as i64])),
        5 => Arc::new(Float32Array::from(vec![f32::from_bits(number as u32)])),
        6 => Arc::new(Float64Array::from(vec![f64::from_bits(number as u64)])),
        7 => {
            let scale = data.last().map_or(0, |byte| (byte % 39) as i8);
            let values = Decimal128Array::from(vec![number % 10_i128.pow(38)]).with_precision_and_scale(38, scale);
            Arc::new(values.unwrap())
        }
        8 => Arc::new(Date32Array::from(vec![number as i32])),
        9 => Arc::new(TimestampMicrosecondArray::from(vec![number as i64])),
        10 => Arc::new(TimestampMicrosecondArray::from(vec![number as i64]).with_timezone("UTC")),
        _ => Arc::new(BinaryArray::from(vec![data])),
    };
    let values = Values::of(array.as_ref()).unwrap();
    let _ = values.text(0);
    let mut bytes = b"before".to_vec();
    let field = append_value(kind, &values, 0, &mut bytes);
    let bytes = bytes.strip_prefix(b"before").unwrap();
    match field {
        Field::Undecided => assert!(bytes.is_empty()),
        Field::Value => {
            let length = i32::from_be_bytes(bytes[..4].try_into().unwrap());
            assert_eq!(length as usize, bytes.len() - 4);
        }
    }
}
