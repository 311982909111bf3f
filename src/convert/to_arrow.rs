//! Postgres values → Arrow columns, for writing rows to Delta tables.
//!
//! Promise: what is written reads back as the same value. What Delta can't hold (infinite dates, NaN in a decimal, more digits than
//! decimal(38)) is an error that names the column and the value, never another value in its place. One exception, chosen for
//! readers' sake: `numeric` without a precision is written as decimal(38,18), rounded half away from zero past 18 decimals.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, ListArray, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use crate::model::{Code, Error, Result};

/// Days and microseconds between Postgres' epoch (2000-01-01) and Arrow's (1970-01-01).
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// What a numeric without precision is written as.
const FREE_NUMERIC: (u8, i8) = (38, 18);

/// One value on its way.
#[derive(Clone, Copy)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Days since 2000-01-01, as Postgres keeps dates.
    Date(i32),
    /// Microseconds since 2000-01-01, as Postgres keeps timestamps.
    Timestamp(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    List(&'a [Cell<'a>]),
    /// What no column can hold, and why.
    Unfit(&'a str),
}

/// The Arrow type that a column of this Postgres type (as format_type prints it) is written as.
pub fn arrow_type(type_name: &str) -> DataType {
    match type_name {
        "boolean" => DataType::Boolean,
        "smallint" => DataType::Int16,
        "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "real" => DataType::Float32,
        "double precision" => DataType::Float64,
        "date" => DataType::Date32,
        "bytea" => DataType::Binary,
        "numeric" => DataType::Decimal128(FREE_NUMERIC.0, FREE_NUMERIC.1),
        _ => {
            if let Some(element) = type_name.strip_suffix("[]") {
                // Named as Delta's own writers name it.
                DataType::List(Arc::new(Field::new("element", arrow_type(element), true)))
            } else if type_name.starts_with("timestamp") {
                let zone = type_name.ends_with("with time zone").then(|| "UTC".into());
                DataType::Timestamp(TimeUnit::Microsecond, zone)
            } else {
                decimal(type_name).unwrap_or(DataType::Utf8)
            }
        }
    }
}

/// `numeric(p,s)` with a precision and scale that a decimal(38) holds; others are written as text.
fn decimal(type_name: &str) -> Option<DataType> {
    let inner = type_name.strip_prefix("numeric(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',')?;
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?);
    (precision <= 38 && scale >= 0 && scale as u8 <= precision).then_some(DataType::Decimal128(precision, scale))
}

/// The columns of a table to be written.
#[derive(Debug, Clone)]
pub struct Columns {
    schema: SchemaRef,
}

impl Columns {
    /// From names and Postgres type names.
    pub fn new(columns: &[(String, String)]) -> Columns {
        let fields: Vec<Field> =
            columns.iter().map(|(name, type_name)| Field::new(name, arrow_type(type_name), true)).collect();
        Columns { schema: Arc::new(Schema::new(fields)) }
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub fn start(&self, capacity: usize) -> Batch {
        let builders = self.schema.fields().iter().map(|f| Builder::new(f.data_type(), capacity)).collect();
        Batch { schema: self.schema.clone(), builders }
    }
}

/// Rows being gathered.
pub struct Batch {
    schema: SchemaRef,
    builders: Vec<Builder>,
}

impl Batch {
    /// Appends a value to column `i`.
    pub fn push(&mut self, i: usize, cell: Cell<'_>) -> Result<()> {
        let name = self.schema.field(i).name();
        match self.builders.get_mut(i) {
            Some(builder) => builder.push(cell).map_err(|what| {
                Error::new(Code::Unsupported, format!("column \"{name}\" holds a value that Delta Lake can't"))
                    .detail(what)
                    .hint("Cast the column to text or to numeric(p,s), or keep such values out with a WHERE clause.")
            }),
            None => Err(Error::new(Code::Internal, format!("there is no column {i}"))),
        }
    }

    pub fn finish(self) -> Result<RecordBatch> {
        let arrays = self.builders.into_iter().map(Builder::finish).collect();
        RecordBatch::try_new(self.schema, arrays)
            .map_err(|e| Error::new(Code::Internal, format!("rows do not fit: {e}")))
    }
}

enum Builder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Decimal(Decimal128Builder, u8, i8),
    Bytes(BinaryBuilder),
    Text(StringBuilder),
    List { element: FieldRef, items: Box<Builder>, ends: Vec<i32>, valid: Vec<bool> },
}

impl Builder {
    fn new(data_type: &DataType, n: usize) -> Builder {
        match data_type {
            DataType::Boolean => Builder::Bool(BooleanBuilder::with_capacity(n)),
            DataType::Int16 => Builder::Int16(Int16Builder::with_capacity(n)),
            DataType::Int32 => Builder::Int32(Int32Builder::with_capacity(n)),
            DataType::Int64 => Builder::Int64(Int64Builder::with_capacity(n)),
            DataType::Float32 => Builder::Float32(Float32Builder::with_capacity(n)),
            DataType::Float64 => Builder::Float64(Float64Builder::with_capacity(n)),
            DataType::Date32 => Builder::Date(Date32Builder::with_capacity(n)),
            DataType::Timestamp(_, zone) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(n).with_timezone_opt(zone.clone()))
            }
            DataType::Decimal128(p, s) => Builder::Decimal(
                Decimal128Builder::with_capacity(n).with_data_type(DataType::Decimal128(*p, *s)),
                *p,
                *s,
            ),
            DataType::Binary => Builder::Bytes(BinaryBuilder::with_capacity(n, n * 16)),
            DataType::List(element) => Builder::List {
                element: element.clone(),
                items: Box::new(Builder::new(element.data_type(), n)),
                ends: vec![0],
                valid: Vec::with_capacity(n),
            },
            _ => Builder::Text(StringBuilder::with_capacity(n, n * 16)),
        }
    }

    fn push(&mut self, cell: Cell<'_>) -> Result<(), String> {
        match (self, cell) {
            (Builder::Bool(b), Cell::Bool(v)) => b.append_value(v),
            (Builder::Bool(b), Cell::Null) => b.append_null(),
            (Builder::Int16(b), Cell::Int(v)) => b.append_value(v as i16),
            (Builder::Int16(b), Cell::Null) => b.append_null(),
            (Builder::Int32(b), Cell::Int(v)) => b.append_value(v as i32),
            (Builder::Int32(b), Cell::Null) => b.append_null(),
            (Builder::Int64(b), Cell::Int(v)) => b.append_value(v),
            (Builder::Int64(b), Cell::Null) => b.append_null(),
            (Builder::Float32(b), Cell::Float(v)) => b.append_value(v as f32),
            (Builder::Float32(b), Cell::Null) => b.append_null(),
            (Builder::Float64(b), Cell::Float(v)) => b.append_value(v),
            (Builder::Float64(b), Cell::Null) => b.append_null(),
            (Builder::Date(b), Cell::Date(v)) => b.append_value(date(v)?),
            (Builder::Date(b), Cell::Null) => b.append_null(),
            (Builder::Timestamp(b), Cell::Timestamp(v)) => b.append_value(timestamp(v)?),
            (Builder::Timestamp(b), Cell::Null) => b.append_null(),
            (Builder::Decimal(b, p, s), Cell::Text(v)) => b.append_value(unscaled(v, *p, *s)?),
            (Builder::Decimal(b, _, _), Cell::Null) => b.append_null(),
            (Builder::Bytes(b), Cell::Bytes(v)) => b.append_value(v),
            (Builder::Bytes(b), Cell::Null) => b.append_null(),
            (Builder::Text(b), Cell::Text(v)) => b.append_value(v),
            (Builder::Text(b), Cell::Null) => b.append_null(),
            (Builder::List { items, ends, valid, .. }, Cell::List(cells)) => {
                let end = ends.last().copied().unwrap_or(0);
                let count = i32::try_from(cells.len()).ok().and_then(|count| end.checked_add(count));
                ends.push(count.ok_or("more elements than a batch can hold")?);
                valid.push(true);
                cells.iter().try_for_each(|cell| items.push(*cell))?;
            }
            (Builder::List { ends, valid, .. }, Cell::Null) => {
                ends.push(ends.last().copied().unwrap_or(0));
                valid.push(false);
            }
            (_, Cell::Unfit(why)) => return Err(why.into()),
            _ => return Err("the value's type is not the column's".into()),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Builder::Bool(mut b) => Arc::new(b.finish()),
            Builder::Int16(mut b) => Arc::new(b.finish()),
            Builder::Int32(mut b) => Arc::new(b.finish()),
            Builder::Int64(mut b) => Arc::new(b.finish()),
            Builder::Float32(mut b) => Arc::new(b.finish()),
            Builder::Float64(mut b) => Arc::new(b.finish()),
            Builder::Date(mut b) => Arc::new(b.finish()),
            Builder::Timestamp(mut b) => Arc::new(b.finish()),
            Builder::Decimal(mut b, _, _) => Arc::new(b.finish()),
            Builder::Bytes(mut b) => Arc::new(b.finish()),
            Builder::Text(mut b) => Arc::new(b.finish()),
            Builder::List { element, items, ends, valid } => {
                let ends = OffsetBuffer::new(ends.into());
                Arc::new(ListArray::new(element, ends, items.finish(), Some(NullBuffer::from(valid))))
            }
        }
    }
}

fn date(days: i32) -> Result<i32, String> {
    match days {
        i32::MAX | i32::MIN => Err("an infinite date".into()),
        days => days.checked_add(EPOCH_DAYS).ok_or_else(|| "a date out of range".into()),
    }
}

fn timestamp(micros: i64) -> Result<i64, String> {
    match micros {
        i64::MAX | i64::MIN => Err("an infinite timestamp".into()),
        micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| "a timestamp out of range".into()),
    }
}

/// The unscaled integer of a decimal(p,s) for a number as numeric_out prints it.
fn unscaled(text: &str, precision: u8, scale: i8) -> Result<i128, String> {
    let refuse = || format!("{} does not fit decimal({precision},{scale})", text.chars().take(80).collect::<String>());
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(refuse());
    }
    let scale = scale as usize;
    let mut value: i128 = 0;
    let mut append = |digit: u8| -> Option<()> {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        Some(())
    };
    let kept = fraction.bytes().chain(std::iter::repeat(b'0')).take(scale);
    for digit in whole.bytes().chain(kept) {
        append(digit).ok_or_else(refuse)?;
    }
    if fraction.as_bytes().get(scale).is_some_and(|next| *next >= b'5') {
        value = value.checked_add(1).ok_or_else(refuse)?;
    }
    if value >= 10i128.pow(u32::from(precision)) {
        return Err(refuse());
    }
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_keeps_its_digits() {
        assert_eq!(unscaled("3117720.121", 38, 18), Ok(3_117_720_121_000_000_000_000_000));
        assert_eq!(unscaled("-0.5", 4, 2), Ok(-50));
        assert_eq!(unscaled("12", 4, 2), Ok(1200));
    }

    #[test]
    fn past_the_scale_it_rounds_half_away_from_zero() {
        assert_eq!(unscaled("1.005", 4, 2), Ok(101));
        assert_eq!(unscaled("-1.005", 4, 2), Ok(-101));
        assert_eq!(unscaled("1.0049", 4, 2), Ok(100));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_named() {
        for text in ["NaN", "Infinity", "-Infinity", "100", "99.995"] {
            assert!(unscaled(text, 4, 2).unwrap_err().contains(text), "{text}");
        }
        assert!(date(i32::MAX).is_err());
        assert!(timestamp(i64::MIN).is_err());
    }

    #[test]
    fn an_array_is_a_list_of_its_elements() {
        let columns = Columns::new(&[("a".into(), "numeric(4,1)[]".into())]);
        let mut batch = columns.start(4);
        let one = [Cell::Text("1.5"), Cell::Null];
        for cell in [Cell::List(&one), Cell::Null, Cell::List(&[]), Cell::List(&one[..1])] {
            batch.push(0, cell).unwrap();
        }
        let found = batch.finish().unwrap();
        let shown: Vec<String> =
            (0..4).map(|i| arrow::util::display::array_value_to_string(found.column(0), i).unwrap()).collect();
        assert_eq!(shown, ["[1.5, ]", "", "[]", "[1.5]"]);
        let error = columns.start(1).push(0, Cell::List(&[Cell::Text("NaN")])).unwrap_err();
        assert!(error.message.contains("\"a\""), "{error}");
        assert!(columns.start(1).push(0, Cell::Unfit("an array of several dimensions")).is_err());
    }

    #[test]
    fn types_map_by_their_printed_name() {
        assert_eq!(arrow_type("numeric(12,2)"), DataType::Decimal128(12, 2));
        assert_eq!(arrow_type("numeric(100,2)"), DataType::Utf8);
        assert_eq!(arrow_type("timestamp without time zone"), DataType::Timestamp(TimeUnit::Microsecond, None));
        assert_eq!(
            arrow_type("timestamp(3) with time zone"),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        );
        assert_eq!(arrow_type("character varying(10)"), DataType::Utf8);
    }
}
