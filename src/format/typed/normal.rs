//! Brings the many types of Arrow down to few, each of which a Delta table can hold.
//!
//! Narrow and unsigned integers become wider ones, dictionaries and views plain values; times of day, intervals, UUIDs and decimals
//! of more than 38 digits become their exact text. Timestamps become microseconds, rounded to the nearest as Postgres does; what is
//! too far away for them makes its record corrupt. A type with no such form is refused by name.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Field, FieldRef, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Schema, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

use super::{Values, json, moment, number};
use crate::model::{Code, Error, Result};

/// The key under which a field says that it has more meaning than its type, and the meanings that matter here.
const EXTENSION: &str = "ARROW:extension:name";
const UUID: &str = "arrow.uuid";

/// The batch in normal types, and the text of the records that can't be had in them.
pub fn normal(batch: &RecordBatch) -> Result<(RecordBatch, StringArray)> {
    let rows = batch.num_rows();
    let mut bad = vec![];
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut arrays = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let array = column(field, array, &mut bad)?;
        fields.push(Field::new(field.name(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let normal = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|e| Error::new(Code::Internal, format!("a batch could not be built: {e}")))?;
    if bad.is_empty() {
        return Ok((normal, StringArray::new_null(rows)));
    }
    bad.sort_unstable();
    let mut corrupt = StringBuilder::new();
    for row in 0..rows {
        corrupt.append_option(bad.binary_search(&row).is_ok().then(|| as_it_was(batch, &normal, row)));
    }
    Ok((normal, corrupt.finish()))
}

/// The record with the numbers of the timestamps that are no timestamps.
fn as_it_was(batch: &RecordBatch, normal: &RecordBatch, row: usize) -> String {
    let mut out = String::from("{");
    for (i, (field, array)) in batch.schema().fields().iter().zip(batch.columns()).enumerate() {
        if i > 0 {
            out.push(',');
        }
        json::string(field.name(), &mut out);
        out.push(':');
        let own = normal.column(i);
        match Values::of(own.as_ref()) {
            Some(values) if own.is_valid(row) => json::write(&values, row, &mut out),
            _ if array.is_valid(row) => {
                let number = cast(array, &DataType::Int64).ok();
                let number = number.as_ref().map(|n| n.as_primitive::<arrow::datatypes::Int64Type>().value(row));
                out.push_str(&number.map_or_else(|| "null".into(), |n| n.to_string()));
            }
            _ => out.push_str("null"),
        }
    }
    out.push('}');
    out
}

/// `bad` takes the rows that have a value which the normal type can't hold; there it is NULL.
fn column(field: &Field, array: &ArrayRef, bad: &mut Vec<usize>) -> Result<ArrayRef> {
    use DataType as T;
    let of_type = |to: &DataType| cast(array, to).map_err(|e| misfit(field, e));
    Ok(match array.data_type() {
        T::Utf8 | T::Boolean | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Date32 | T::Binary => {
            array.clone()
        }
        T::Null | T::LargeUtf8 | T::Utf8View => of_type(&T::Utf8)?,
        T::Int8 | T::UInt8 => of_type(&T::Int16)?,
        T::UInt16 => of_type(&T::Int32)?,
        T::UInt32 => of_type(&T::Int64)?,
        T::UInt64 => of_type(&T::Decimal128(20, 0))?,
        T::Float16 => of_type(&T::Float32)?,
        T::Date64 => of_type(&T::Date32)?,
        T::LargeBinary | T::BinaryView => of_type(&T::Binary)?,
        T::FixedSizeBinary(16) if field.metadata().get(EXTENSION).is_some_and(|name| name == UUID) => {
            let values = array.as_fixed_size_binary();
            strings(values.iter().map(|v| v.map(uuid_text)))
        }
        T::FixedSizeBinary(_) => of_type(&T::Binary)?,
        T::Decimal256(precision, scale) if *precision > 38 || !storable(*precision, *scale) => {
            let values = array.as_primitive::<Decimal256Type>();
            strings(values.iter().map(|v| v.map(|v| shifted(&v.to_string(), *scale))))
        }
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            let values = of_type(&T::Decimal128(*p, *s))?;
            if storable(*p, *s) {
                return Ok(values);
            }
            let values = values.as_primitive::<Decimal128Type>();
            strings(values.iter().map(|v| v.map(|v| number::decimal(v, *s))))
        }
        T::Time32(_) | T::Time64(_) => {
            let nanos = of_type(&T::Time64(TimeUnit::Nanosecond))?;
            let values = nanos.as_primitive::<Time64NanosecondType>();
            strings(values.iter().map(|v| v.map(|nanos| moment::clock(micros_of_nanos(nanos)))))
        }
        T::Timestamp(unit, zone) => {
            let micros = match unit {
                TimeUnit::Second => scaled::<TimestampSecondType>(array, 1_000_000, bad),
                TimeUnit::Millisecond => scaled::<TimestampMillisecondType>(array, 1_000, bad),
                TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().clone(),
                TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().unary(micros_of_nanos),
            };
            Arc::new(micros.with_timezone_opt(zone.is_some().then_some("UTC")))
        }
        T::Duration(unit) => match unit {
            TimeUnit::Second => durations::<DurationSecondType>(array, 1_000_000_000),
            TimeUnit::Millisecond => durations::<DurationMillisecondType>(array, 1_000_000),
            TimeUnit::Microsecond => durations::<DurationMicrosecondType>(array, 1_000),
            TimeUnit::Nanosecond => durations::<DurationNanosecondType>(array, 1),
        },
        T::Interval(unit) => intervals(array, *unit),
        T::Dictionary(_, values) => column(field, &of_type(values)?, bad)?,
        T::RunEndEncoded(_, values) => column(field, &of_type(values.data_type())?, bad)?,
        T::List(item) => list(field, told(field).unwrap_or(item), array)?,
        T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            list(field, told(field).unwrap_or(item), &of_type(&T::List(item.clone()))?)?
        }
        T::Struct(_) => Arc::new(structure(field, array.as_struct())?),
        T::Map(entries, sorted) => {
            let map = array.as_map();
            let inner = structure(field, map.entries())?;
            let entries = Arc::new(Field::new(entries.name(), inner.data_type().clone(), false));
            let made = MapArray::try_new(entries, map.offsets().clone(), inner, map.nulls().cloned(), *sorted);
            Arc::new(made.map_err(|e| misfit(field, e))?)
        }
        T::Union(_, _) => return Err(misfit(field, "there is no such type in Postgres")),
    })
}

/// What is said of a list's items beside their type.
fn told(field: &Field) -> Option<&FieldRef> {
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

fn misfit(field: &Field, why: impl std::fmt::Display) -> Error {
    Error::new(Code::Unsupported, format!("column \"{}\" has values that can't be read", field.name()))
        .detail(format!("Its type is {}: {why}.", field.data_type()))
        .hint("Have the producer write another type, or leave the column out of the file.")
}

/// A cast that is exact or an error.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() })
}

/// True for what Delta calls a decimal.
fn storable(precision: u8, scale: i8) -> bool {
    u8::try_from(scale).is_ok_and(|scale| scale <= precision)
}

fn strings(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn uuid_text(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// An integer's digits with the point moved `scale` places to the left.
fn shifted(digits: &str, scale: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let Ok(scale) = usize::try_from(scale) else {
        let zeros = if digits == "0" { 0 } else { usize::from(scale.unsigned_abs()) };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// To the nearest, and to the even one of two that are equally near.
fn micros_of_nanos(nanos: i64) -> i64 {
    let (micros, rest) = (nanos.div_euclid(1_000), nanos.rem_euclid(1_000));
    micros + i64::from(rest > 500 || (rest == 500 && micros % 2 != 0))
}

fn scaled<T: ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    by: i64,
    bad: &mut Vec<usize>,
) -> TimestampMicrosecondArray {
    let values = array.as_primitive::<T>();
    let mut micros = |row: usize, value: i64| {
        let micros = value.checked_mul(by);
        if micros.is_none() {
            bad.push(row);
        }
        micros
    };
    values.iter().enumerate().map(|(row, value)| value.and_then(|value| micros(row, value))).collect()
}

fn durations<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, nanos: i128) -> ArrayRef {
    strings(array.as_primitive::<T>().iter().map(|v| v.map(|v| interval(0, 0, i128::from(v) * nanos))))
}

fn intervals(array: &ArrayRef, unit: IntervalUnit) -> ArrayRef {
    match unit {
        IntervalUnit::YearMonth => {
            let values = array.as_primitive::<IntervalYearMonthType>();
            strings(values.iter().map(|v| v.map(|months| interval(months, 0, 0))))
        }
        IntervalUnit::DayTime => {
            let values = array.as_primitive::<IntervalDayTimeType>();
            strings(values.iter().map(|v| v.map(|v| interval(0, v.days, i128::from(v.milliseconds) * 1_000_000))))
        }
        IntervalUnit::MonthDayNano => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            strings(values.iter().map(|v| v.map(|v| interval(v.months, v.days, i128::from(v.nanoseconds)))))
        }
    }
}

/// As Postgres reads an interval, whatever IntervalStyle is set.
fn interval(months: i32, days: i32, nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let mut text = format!("{months} mons {days} days {sign}{seconds}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    text + " secs"
}

fn list(field: &Field, item: &FieldRef, array: &ArrayRef) -> Result<ArrayRef> {
    let list: &ListArray = array.as_list();
    let values = inner(field, item, list.values())?;
    let item = Arc::new(Field::new(item.name(), values.data_type().clone(), true));
    let made = ListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned());
    Ok(Arc::new(made.map_err(|e| misfit(field, e))?))
}

fn structure(field: &Field, array: &StructArray) -> Result<StructArray> {
    let mut fields = Vec::with_capacity(array.num_columns());
    let mut arrays = Vec::with_capacity(array.num_columns());
    for (own, values) in array.fields().iter().zip(array.columns()) {
        let values = inner(field, own, values)?;
        fields.push(Field::new(own.name(), values.data_type().clone(), own.is_nullable()));
        arrays.push(values);
    }
    let made = StructArray::try_new_with_length(fields.into(), arrays, array.nulls().cloned(), array.len());
    made.map_err(|e| misfit(field, e))
}

/// Values within values: there is no row of theirs that could be called corrupt.
fn inner(field: &Field, own: &Field, array: &ArrayRef) -> Result<ArrayRef> {
    let mut bad = vec![];
    let array = column(own, array, &mut bad)?;
    if bad.is_empty() { Ok(array) } else { Err(misfit(field, "a timestamp is out of range")) }
}
