//! Rows of a query as Arrow batches, for writing them to the lake.

use std::ffi::CStr;

use arrow::record_batch::RecordBatch;
use pgrx::{FromDatum, pg_sys};

use crate::convert::to_arrow::{Cell, Columns};
use crate::model::{Code, Error, Result};

/// Rows a batch.
const BATCH: i64 = 8_192;

/// How a column's values leave the server.
#[derive(Clone, Copy)]
enum Way {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Date,
    Timestamp,
    Bytes,
    Text,
    Output(pg_sys::Oid),
}

fn way(type_oid: pg_sys::Oid) -> Way {
    match type_oid {
        pg_sys::BOOLOID => Way::Bool,
        pg_sys::INT2OID => Way::Int2,
        pg_sys::INT4OID => Way::Int4,
        pg_sys::INT8OID => Way::Int8,
        pg_sys::FLOAT4OID => Way::Float4,
        pg_sys::FLOAT8OID => Way::Float8,
        pg_sys::DATEOID => Way::Date,
        pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Way::Timestamp,
        pg_sys::BYTEAOID => Way::Bytes,
        pg_sys::TEXTOID | pg_sys::VARCHAROID => Way::Text,
        other => {
            let (mut output, mut varlena) = (pg_sys::Oid::INVALID, false);
            // SAFETY: out pointers are valid; raises for a type that does not exist.
            unsafe { pg_sys::getTypeOutputInfo(other, &mut output, &mut varlena) };
            Way::Output(output)
        }
    }
}

/// Runs `sql` (with the rights and the snapshot of the caller) and hands its rows over as batches with the schema of `columns`,
/// which names the same columns in the same order.
pub fn each(sql: &str, columns: &Columns, mut take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    let text = std::ffi::CString::new(sql)
        .map_err(|_| Error::new(Code::InvalidParameter, "a statement holds a NUL character"))?;
    // SAFETY: the cursor and its tuples belong to the SPI connection opened here; values are copied before the tuples are freed.
    // An error unwinds; the abort of the (sub)transaction ends the connection.
    unsafe {
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
            return Err(Error::new(Code::Internal, "could not connect to SPI"));
        }
        let portal = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            text.as_ptr(),
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null(),
            true,
            0,
        );
        let mut ways: Vec<Way> = Vec::new();
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH as _);
            let count = pg_sys::SPI_processed as usize;
            if count == 0 {
                break;
            }
            let table = pg_sys::SPI_tuptable;
            let descriptor = (*table).tupdesc;
            if ways.is_empty() {
                ways = (1..=(*descriptor).natts).map(|i| way(pg_sys::SPI_gettypeid(descriptor, i))).collect();
            }
            let mut batch = columns.start(count);
            for row in 0..count {
                let tuple = *(*table).vals.add(row);
                for (i, way) in ways.iter().enumerate() {
                    let mut is_null = false;
                    let datum = pg_sys::SPI_getbinval(tuple, descriptor, i as i32 + 1, &mut is_null);
                    if is_null { batch.push(i, Cell::Null)? } else { push(&mut batch, i, *way, datum)? }
                }
            }
            take(batch.finish()?)?;
            pg_sys::SPI_freetuptable(table);
        }
        pg_sys::SPI_cursor_close(portal);
        pg_sys::SPI_finish();
    }
    Ok(())
}

/// SAFETY: `datum` is a non-NULL value of the type that `way` was made for.
unsafe fn push(batch: &mut crate::convert::to_arrow::Batch, i: usize, way: Way, datum: pg_sys::Datum) -> Result<()> {
    // SAFETY: as promised by the caller; out-of-line values are detoasted into the current context and copied by `push`.
    unsafe {
        match way {
            Way::Bool => batch.push(i, Cell::Bool(datum.value() != 0)),
            Way::Int2 => batch.push(i, Cell::Int(i64::from(datum.value() as i16))),
            Way::Int4 => batch.push(i, Cell::Int(i64::from(datum.value() as i32))),
            Way::Int8 => batch.push(i, Cell::Int(datum.value() as i64)),
            Way::Float4 => batch.push(i, Cell::Float(f64::from(f32::from_bits(datum.value() as u32)))),
            Way::Float8 => batch.push(i, Cell::Float(f64::from_bits(datum.value() as u64))),
            Way::Date => batch.push(i, Cell::Date(datum.value() as i32)),
            Way::Timestamp => batch.push(i, Cell::Timestamp(datum.value() as i64)),
            Way::Bytes => {
                let bytes = Vec::<u8>::from_datum(datum, false).unwrap_or_default();
                batch.push(i, Cell::Bytes(&bytes))
            }
            Way::Text => {
                let text = String::from_datum(datum, false).unwrap_or_default();
                batch.push(i, Cell::Text(&text))
            }
            Way::Output(function) => {
                let text = pg_sys::OidOutputFunctionCall(function, datum);
                let result = batch.push(i, Cell::Text(&CStr::from_ptr(text).to_string_lossy()));
                pg_sys::pfree(text.cast());
                result
            }
        }
    }
}
