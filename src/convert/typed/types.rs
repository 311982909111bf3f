//! The column that a value of each Arrow type is given where nobody declares another. `docs/types.md` shows the table.

use arrow::datatypes::{DataType, Field};

/// A type as in CREATE TABLE, as `format_type` prints it.
pub fn column_type(field: &Field) -> String {
    let extension = field.metadata().get("ARROW:extension:name").map(String::as_str);
    match (field.data_type(), extension) {
        (DataType::FixedSizeBinary(16), Some("arrow.uuid")) => "uuid".into(),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Some("arrow.json")) => "jsonb".into(),
        (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _), _)
        | (DataType::ListView(item) | DataType::LargeListView(item), _) => match column_type(item).as_str() {
            // Arrays of arrays must be rectangular in Postgres, and lists of lists need not.
            nested if nested == "jsonb" || nested.ends_with("[]") => "jsonb".into(),
            item => format!("{item}[]"),
        },
        (data_type, _) => scalar(data_type),
    }
}

fn scalar(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "boolean",
        T::Int8 | T::Int16 | T::UInt8 => "smallint",
        T::Int32 | T::UInt16 => "integer",
        T::Int64 | T::UInt32 => "bigint",
        T::UInt64 => "numeric(20,0)",
        T::Float16 | T::Float32 => "real",
        T::Float64 => "double precision",
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            return format!("numeric({p},{s})");
        }
        T::Date32 | T::Date64 => "date",
        T::Time32(_) | T::Time64(_) => "time without time zone",
        T::Timestamp(_, Some(_)) => "timestamp with time zone",
        T::Timestamp(_, None) => "timestamp without time zone",
        T::Duration(_) | T::Interval(_) => "interval",
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "bytea",
        T::Struct(_) | T::Map(_, _) => "jsonb",
        T::Dictionary(_, values) => return scalar(values),
        T::RunEndEncoded(_, values) => return column_type(values),
        _ => "text",
    }
    .into()
}
