//! Columns with types of their own, as Parquet files and Delta tables have them, and what their values read like.
//!
//! Promises: [`normal`] brings the many types of Arrow down to the few of [`Values`] without changing a value; a value's text is
//! exact, says the same in every session, and is what Postgres prints for it (UTC, ISO dates) wherever Postgres has such a type.

pub mod json;
pub mod moment;
mod normal;
pub mod number;

use std::borrow::Cow;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};

pub use normal::normal;

/// The values of one column.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    Text(&'a StringArray),
    Bool(&'a BooleanArray),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Date(&'a Date32Array),
    /// `utc`: an instant, not what some clock on a wall said.
    Timestamp {
        values: &'a TimestampMicrosecondArray,
        utc: bool,
    },
    Bytes(&'a BinaryArray),
    List(&'a ListArray),
    Struct(&'a StructArray),
    Map(&'a MapArray),
}

impl<'a> Values<'a> {
    /// `None` for a type that [`normal`] does not give.
    pub fn of(array: &'a dyn Array) -> Option<Values<'a>> {
        Some(match array.data_type() {
            DataType::Utf8 => Values::Text(array.as_string_opt()?),
            DataType::Boolean => Values::Bool(array.as_boolean_opt()?),
            DataType::Int16 => Values::Int16(array.as_primitive_opt::<Int16Type>()?),
            DataType::Int32 => Values::Int32(array.as_primitive_opt::<Int32Type>()?),
            DataType::Int64 => Values::Int64(array.as_primitive_opt::<Int64Type>()?),
            DataType::Float32 => Values::Float32(array.as_primitive_opt::<Float32Type>()?),
            DataType::Float64 => Values::Float64(array.as_primitive_opt::<Float64Type>()?),
            DataType::Decimal128(_, _) => Values::Decimal(array.as_primitive_opt::<Decimal128Type>()?),
            DataType::Date32 => Values::Date(array.as_primitive_opt::<Date32Type>()?),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp { values: array.as_primitive_opt::<TimestampMicrosecondType>()?, utc: zone.is_some() }
            }
            DataType::Binary => Values::Bytes(array.as_binary_opt()?),
            DataType::List(_) => Values::List(array.as_list_opt()?),
            DataType::Struct(_) => Values::Struct(array.as_struct_opt()?),
            DataType::Map(_, _) => Values::Map(array.as_map_opt()?),
            _ => return None,
        })
    }

    fn array(&self) -> &'a dyn Array {
        match *self {
            Values::Text(v) => v,
            Values::Bool(v) => v,
            Values::Int16(v) => v,
            Values::Int32(v) => v,
            Values::Int64(v) => v,
            Values::Float32(v) => v,
            Values::Float64(v) => v,
            Values::Decimal(v) => v,
            Values::Date(v) => v,
            Values::Timestamp { values, .. } => values,
            Values::Bytes(v) => v,
            Values::List(v) => v,
            Values::Struct(v) => v,
            Values::Map(v) => v,
        }
    }

    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.array().is_valid(row)
    }

    /// About as many bytes as the values have.
    pub fn size(&self) -> usize {
        match self {
            Values::Text(v) => v.value_data().len(),
            Values::Bytes(v) => v.value_data().len(),
            other => other.array().get_buffer_memory_size(),
        }
    }

    pub fn is_nested(&self) -> bool {
        matches!(self, Values::List(_) | Values::Struct(_) | Values::Map(_))
    }

    /// What a value that is not NULL reads like; bytes as `\x…`, nested values as JSON.
    pub fn text(&self, row: usize) -> Cow<'a, str> {
        Cow::Owned(match *self {
            Values::Text(v) => return Cow::Borrowed(v.value(row)),
            Values::Bool(v) => return Cow::Borrowed(if v.value(row) { "true" } else { "false" }),
            Values::Int16(v) => v.value(row).to_string(),
            Values::Int32(v) => v.value(row).to_string(),
            Values::Int64(v) => v.value(row).to_string(),
            Values::Float32(v) => number::real(v.value(row)),
            Values::Float64(v) => number::double(v.value(row)),
            Values::Decimal(v) => number::decimal(v.value(row), v.scale()),
            Values::Date(v) => moment::date(i64::from(v.value(row))),
            Values::Timestamp { values, utc } => moment::timestamp(values.value(row), utc),
            Values::Bytes(v) => hex(v.value(row)),
            Values::List(_) | Values::Struct(_) | Values::Map(_) => {
                let mut text = String::new();
                json::write(self, row, &mut text);
                text
            }
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests;
