//! Simulated events with types, for Parquet files: the records of the CSV file of the same plan. Of a broken one, what is not there or
//! is no number is NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};

use crate::convert::{Field, Kind, encode_field};
use crate::format::csv::{Dialect, Reader};
use crate::model::{Code, Error, Result};

/// Microseconds between Arrow's epoch and that of Postgres.
const EPOCH: i64 = 10_957 * 86_400_000_000;

/// The rows of a CSV file.
pub fn rows(csv: &[u8]) -> Result<RecordBatch> {
    let mut reader = Reader::new(Dialect::default(), None)?;
    reader.push(csv);
    reader.finish();
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch(usize::MAX)? {
        batches.push(typed(&batch.fields)?);
    }
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        let names = reader.header().unwrap_or_default().iter();
        let empty = names.map(|name| (name.clone(), typed_column(name, &StringArray::new_null(0))));
        return RecordBatch::try_from_iter_with_nullable(empty.map(|(n, a)| (n, a, true))).map_err(internal);
    };
    arrow::compute::concat_batches(&schema, &batches).map_err(internal)
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::new(Code::Internal, format!("simulated rows could not be built: {e}"))
}

fn typed(fields: &RecordBatch) -> Result<RecordBatch> {
    let schema = fields.schema();
    let columns = schema.fields().iter().zip(fields.columns()).filter_map(|(field, column)| {
        let texts = column.as_string_opt::<i32>()?;
        Some((field.name().clone(), typed_column(field.name(), texts), true))
    });
    RecordBatch::try_from_iter_with_nullable(columns).map_err(internal)
}

fn typed_column(name: &str, texts: &StringArray) -> ArrayRef {
    let whole = |text: &str| number(&Kind::Int8, text);
    match name {
        "event_time" => {
            let micros = |text| number(&Kind::TimestampTz { utc: true }, text).map(|micros| micros + EPOCH);
            let times: TimestampMicrosecondArray = texts.iter().map(|text| text.and_then(micros)).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        "amount" | "price" => {
            let cents = |text: &str| whole(&text.replacen('.', "", 1)).map(i128::from);
            let cents: Decimal128Array = texts.iter().map(|text| text.and_then(cents)).collect();
            // Cents of amounts far below a billion.
            cents.with_precision_and_scale(12, 2).map_or_else(|_| Arc::new(texts.clone()) as ArrayRef, |c| Arc::new(c))
        }
        "step" | "fraud" | "product_id" | "user_id" => {
            Arc::new(texts.iter().map(|text| text.and_then(whole)).collect::<Int64Array>())
        }
        _ => Arc::new(texts.clone()),
    }
}

/// What the casts of text make of it, if they are sure.
fn number(kind: &Kind, text: &str) -> Option<i64> {
    let mut bytes = Vec::new();
    let known = encode_field(kind, text, &mut bytes) == Field::Value;
    known.then(|| bytes.try_into().ok().map(i64::from_be_bytes)).flatten()
}
