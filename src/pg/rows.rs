//! Rows of a query as Arrow batches, for writing them to the lake.

use std::ffi::CStr;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use pgrx::{FromDatum, pg_sys};

use crate::convert::to_arrow::{Batch, Cell, Columns};
use crate::model::{Code, Error, Result};

/// Rows a batch.
const BATCH: i64 = 8_192;

/// How a column's values leave the server.
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
    Array { element: pg_sys::Oid, length: i16, by_value: bool, align: std::ffi::c_char, way: Box<Way> },
}

/// A value that is held until the array that it belongs to is complete.
enum Held {
    Plain(Cell<'static>),
    Bytes(Vec<u8>),
    Text(String),
}

impl Held {
    fn cell(&self) -> Cell<'_> {
        match self {
            Held::Plain(cell) => *cell,
            Held::Bytes(bytes) => Cell::Bytes(bytes),
            Held::Text(text) => Cell::Text(text),
        }
    }
}

fn way(type_oid: pg_sys::Oid, to: &DataType) -> Way {
    match type_oid {
        array if matches!(to, DataType::List(_)) => {
            let (mut length, mut by_value, mut align) = (0i16, false, 0);
            // SAFETY: out pointers are valid; both raise or answer for whatever type is asked for.
            let element = unsafe {
                let element = pg_sys::get_element_type(array);
                pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
                element
            };
            Way::Array { element, length, by_value, align, way: Box::new(way(element, &DataType::Null)) }
        }
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
                let schema = columns.schema();
                let types = schema.fields().iter().map(|field| field.data_type());
                ways = (1..).zip(types).map(|(i, to)| way(pg_sys::SPI_gettypeid(descriptor, i), to)).collect();
            }
            let mut batch = columns.start(count);
            for row in 0..count {
                let tuple = *(*table).vals.add(row);
                for (i, way) in ways.iter().enumerate() {
                    let mut is_null = false;
                    let datum = pg_sys::SPI_getbinval(tuple, descriptor, i as i32 + 1, &mut is_null);
                    if is_null { batch.push(i, Cell::Null)? } else { push(&mut batch, i, way, datum)? }
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
unsafe fn push(batch: &mut Batch, i: usize, way: &Way, datum: pg_sys::Datum) -> Result<()> {
    let Way::Array { element, length, by_value, align, way } = way else {
        // SAFETY: as promised by the caller.
        return batch.push(i, unsafe { hold(way, datum) }.cell());
    };
    let mut held = Vec::new();
    // SAFETY: an array of this element type, as promised by the caller; its elements are copied before it is freed.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        if (*array).ndim > 1 {
            return batch.push(i, Cell::Unfit("an array of several dimensions"));
        }
        let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            *element,
            i32::from(*length),
            *by_value,
            *align,
            &mut elements,
            &mut nulls,
            &mut count,
        );
        for k in 0..count as usize {
            held.push(if *nulls.add(k) { Held::Plain(Cell::Null) } else { hold(way, *elements.add(k)) });
        }
        pg_sys::pfree(elements.cast());
        pg_sys::pfree(nulls.cast());
        if array.cast() != datum.cast_mut_ptr::<pg_sys::varlena>() {
            pg_sys::pfree(array.cast());
        }
    }
    let cells: Vec<Cell> = held.iter().map(Held::cell).collect();
    batch.push(i, Cell::List(&cells))
}

/// SAFETY: `datum` is a non-NULL value of the type that `way` was made for, which is no array.
unsafe fn hold(way: &Way, datum: pg_sys::Datum) -> Held {
    // SAFETY: as promised by the caller; out-of-line values are detoasted into the current context and copied.
    unsafe {
        Held::Plain(match way {
            Way::Bool => Cell::Bool(datum.value() != 0),
            Way::Int2 => Cell::Int(i64::from(datum.value() as i16)),
            Way::Int4 => Cell::Int(i64::from(datum.value() as i32)),
            Way::Int8 => Cell::Int(datum.value() as i64),
            Way::Float4 => Cell::Float(f64::from(f32::from_bits(datum.value() as u32))),
            Way::Float8 => Cell::Float(f64::from_bits(datum.value() as u64)),
            Way::Date => Cell::Date(datum.value() as i32),
            Way::Timestamp => Cell::Timestamp(datum.value() as i64),
            Way::Bytes => return Held::Bytes(Vec::<u8>::from_datum(datum, false).unwrap_or_default()),
            Way::Text => return Held::Text(String::from_datum(datum, false).unwrap_or_default()),
            Way::Output(function) => {
                let text = pg_sys::OidOutputFunctionCall(*function, datum);
                let held = Held::Text(CStr::from_ptr(text).to_string_lossy().into_owned());
                pg_sys::pfree(text.cast());
                return held;
            }
            Way::Array { .. } => Cell::Unfit("an array of arrays"),
        })
    }
}
