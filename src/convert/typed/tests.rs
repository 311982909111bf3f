use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Int32Type, TimeUnit};

use super::*;
use crate::convert::{Element, Row, Target, append_value, asked, encode_batch};
use crate::format::{Format, RawBatch};

const NUMERIC: Kind = Kind::Numeric { precision: None, scale: 0 };
const TEXT: Kind = Kind::Text { max_chars: None };
const INSTANT: Kind = Kind::TimestampTz { utc: false };

/// What goes to COPY; `Err` holds what Postgres is asked about, or why it is not.
fn sent(kind: Kind, array: impl Array + 'static) -> Result<Vec<u8>, String> {
    let batch = RecordBatch::try_from_iter([("c", Arc::new(array) as ArrayRef)]).unwrap();
    let batch = RawBatch::typed(&batch, 1, 0).unwrap();
    let values = batch.values(0).unwrap();
    let mut out = Vec::new();
    match append_value(&kind, &values, 0, &mut out) {
        Field::Value => Ok(out.split_off(4)),
        Field::Undecided => {
            assert!(out.is_empty());
            let target = Target { name: "c".into(), kind, not_null: false };
            Err(match asked(&target, &values, 0) {
                Ok(text) => text.into_owned(),
                Err(reason) => format!("{}: {}", reason.sqlstate, reason.message),
            })
        }
    }
}

fn asks(kind: Kind, array: impl Array + 'static) -> String {
    sent(kind, array).unwrap_err()
}

/// What the text itself would be sent as.
fn as_text(kind: Kind, text: &str) -> Result<Vec<u8>, String> {
    sent(kind, StringArray::from(vec![text]))
}

fn decimal(unscaled: i128, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(vec![unscaled]).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn integers_fill_every_kind_of_number_and_text() {
    for value in [0, 1, -1, 12_345, i64::from(i16::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
        for kind in
            [Kind::Int8, Kind::Float8, Kind::Float4, NUMERIC, TEXT, Kind::Numeric { precision: Some(30), scale: 2 }]
        {
            assert_eq!(
                sent(kind, Int64Array::from(vec![value])),
                as_text(kind, &value.to_string()),
                "{kind:?} {value}"
            );
        }
    }
    assert_eq!(asks(Kind::Int2, Int64Array::from(vec![32_768])), "32768");
    assert_eq!(asks(Kind::Int8, UInt64Array::from(vec![u64::MAX])), u64::MAX.to_string());
    assert_eq!(asks(Kind::Numeric { precision: Some(3), scale: 0 }, Int32Array::from(vec![1000])), "1000");
    assert_eq!(sent(Kind::Bool, Int32Array::from(vec![1])), Ok(vec![1]));
    assert_eq!(asks(Kind::Bool, Int32Array::from(vec![2])), "2");
}

#[test]
fn floating_point_keeps_its_bits_and_fits_integers_only_when_whole() {
    for value in [0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, f64::MAX] {
        let bits = sent(Kind::Float8, Float64Array::from(vec![value])).unwrap();
        assert_eq!(f64::from_be_bytes(bits.try_into().unwrap()).to_bits(), value.to_bits());
    }
    assert_eq!(sent(Kind::Int4, Float64Array::from(vec![3.0])), as_text(Kind::Int4, "3"));
    assert_eq!(sent(Kind::Int8, Float64Array::from(vec![1e18])), as_text(Kind::Int8, "1000000000000000000"));
    assert_eq!(asks(Kind::Int4, Float64Array::from(vec![3.5])), "3.5");
    assert_eq!(asks(Kind::Int4, Float64Array::from(vec![f64::NAN])), "NaN");
    assert_eq!(asks(Kind::Int8, Float64Array::from(vec![9_223_372_036_854_775_808.0])), "9.223372036854776e+18");
    assert_eq!(asks(Kind::Float4, Float64Array::from(vec![1e39])), "1e+39");
    assert_eq!(asks(Kind::Float4, Float64Array::from(vec![1e-50])), "1e-50");
    assert_eq!(sent(Kind::Float4, Float64Array::from(vec![f64::INFINITY])), Ok(f32::INFINITY.to_be_bytes().to_vec()));
    assert_eq!(sent(NUMERIC, Float32Array::from(vec![0.1])), as_text(NUMERIC, "0.1"));
    assert_eq!(asks(NUMERIC, Float64Array::from(vec![f64::NAN])), "NaN");
    assert_eq!(sent(TEXT, Float64Array::from(vec![-0.0])), Ok(b"-0".to_vec()));
}

#[test]
fn decimals_keep_every_digit() {
    for (unscaled, scale, text) in [
        (0, 0, "0"),
        (0, 4, "0.0000"),
        (-5, 3, "-0.005"),
        (123_456, 2, "1234.56"),
        (99_999_999_999_999_999_999_999_999_999_999_999_999, 38, "0.99999999999999999999999999999999999999"),
        (-99_999_999_999_999_999_999_999_999_999_999_999_999, 0, "-99999999999999999999999999999999999999"),
    ] {
        for kind in [NUMERIC, TEXT, Kind::Float8, Kind::Numeric { precision: Some(40), scale: 1 }] {
            assert_eq!(sent(kind, decimal(unscaled, 38, scale)), as_text(kind, text), "{text}");
        }
    }
    assert_eq!(asks(Kind::Numeric { precision: Some(4), scale: 2 }, decimal(12_345, 5, 2)), "123.45");
    assert_eq!(sent(Kind::Int4, decimal(300, 5, 2)), as_text(Kind::Int4, "3"));
    assert_eq!(asks(Kind::Int4, decimal(350, 5, 2)), "3.50");
}

#[test]
fn days_and_instants_within_postgres_calendar_are_sent_and_others_asked_about() {
    for (days, text) in [(0, "1970-01-01"), (-719_162, "0001-01-01"), (2_932_896, "9999-12-31")] {
        for kind in [Kind::Date, Kind::Timestamp, Kind::TimestampTz { utc: true }] {
            assert_eq!(sent(kind, Date32Array::from(vec![days])), as_text(kind, text), "{text}");
        }
    }
    assert_eq!(asks(Kind::Date, Date32Array::from(vec![i32::MAX])), "5881580-07-11");
    assert_eq!(asks(Kind::Date, Date32Array::from(vec![i32::MIN])), "5877642-06-23 BC");
    assert_eq!(asks(INSTANT, Date32Array::from(vec![0])), "1970-01-01");

    let micros = |value, zone: Option<&str>| {
        TimestampMicrosecondArray::from(vec![value]).with_timezone_opt(zone.map(|z| z.to_string()))
    };
    assert_eq!(sent(INSTANT, micros(-1, Some("Asia/Tokyo"))), as_text(INSTANT, "1969-12-31 23:59:59.999999Z"));
    assert_eq!(sent(Kind::Timestamp, micros(1, None)), as_text(Kind::Timestamp, "1970-01-01 00:00:00.000001"));
    assert_eq!(sent(Kind::Timestamp, micros(1, Some("UTC"))), as_text(Kind::Timestamp, "1970-01-01 00:00:00.000001"));
    assert_eq!(sent(Kind::Date, micros(-1, None)), as_text(Kind::Date, "1969-12-31"));
    // Without a zone it is an instant only in a session's zone.
    assert_eq!(asks(INSTANT, micros(0, None)), "1970-01-01 00:00:00");
    assert_eq!(sent(Kind::TimestampTz { utc: true }, micros(0, None)), as_text(INSTANT, "1970-01-01 00:00:00Z"));
    assert_eq!(asks(Kind::Timestamp, micros(i64::MIN, None)), "290309-12-21 19:59:05.224192 BC");
    // The last microsecond of all is a time like any other, not infinity.
    assert!(sent(Kind::Timestamp, micros(i64::MAX, None)).is_ok());
    assert_eq!(sent(Kind::Time, Time64MicrosecondArray::from(vec![1])), as_text(Kind::Time, "00:00:00.000001"));
}

#[test]
fn bytes_are_themselves_or_text_in_utf8() {
    let bytes = |value: &'static [u8]| BinaryArray::from(vec![value]);
    assert_eq!(sent(Kind::Bytea, bytes(b"\x00\xff\\")), Ok(b"\x00\xff\\".to_vec()));
    assert_eq!(sent(Kind::Bytea, bytes(b"")), Ok(vec![]));
    assert_eq!(sent(Kind::Uuid, bytes(b"0123456789abcdef")), Ok(b"0123456789abcdef".to_vec()));
    assert_eq!(sent(TEXT, bytes("é".as_bytes())), Ok("é".as_bytes().to_vec()));
    assert_eq!(sent(Kind::Int4, bytes(b"12")), as_text(Kind::Int4, "12"));
    assert!(asks(TEXT, bytes(b"a\xff")).starts_with("22021: invalid byte sequence for encoding \"UTF8\" at byte 2"));
    assert_eq!(asks(TEXT, bytes(b"a\0")), "a\0");
}

#[test]
fn lists_fill_arrays_and_everything_nested_is_json() {
    let list = || ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None])]);
    assert_eq!(asks(Kind::Array(None), list()), "{\"1\",NULL}");
    let bytes = |words: &[i32]| Ok(words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>());
    let array = |element| Kind::Array(Some((element, 7)));
    // dimensions, whether there are NULLs, the type, length, lower bound; then each with its length
    assert_eq!(sent(array(Element::Int4), list()), bytes(&[1, 1, 7, 2, 1, 4, 1, -1]));
    assert_eq!(sent(array(Element::Int8), list()), bytes(&[1, 1, 7, 2, 1, 8, 0, 1, -1]));
    let empty = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(Vec::<Option<i32>>::new())]);
    assert_eq!(sent(array(Element::Int4), empty), bytes(&[0, 0, 7]));
    let large = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1 << 20)])]);
    assert_eq!(asks(array(Element::Int2), large), "{\"1048576\"}", "Postgres says what is wrong with it");
    assert_eq!(sent(Kind::Jsonb, list()), as_text(Kind::Jsonb, "[1,null]"));
    assert_eq!(sent(TEXT, list()), Ok(b"[1,null]".to_vec()));
    let mut words = ListBuilder::new(StringBuilder::new());
    words.append_value([Some("a\"b\\c"), Some(""), Some("NULL")]);
    assert_eq!(asks(Kind::Array(None), words.finish()), r#"{"a\"b\\c","","NULL"}"#);
    assert_eq!(
        asks(Kind::Array(None), StringArray::from(vec![r#"[1.10, "x", null, [true]]"#])),
        r#"{"1.10","x",NULL,{"true"}}"#
    );
    assert_eq!(asks(Kind::Array(None), StringArray::from(vec!["[1:2]={1,2}"])), "[1:2]={1,2}");
}

#[test]
fn what_goes_into_json_is_json() {
    assert_eq!(sent(Kind::Jsonb, Int32Array::from(vec![7])), as_text(Kind::Jsonb, "7"));
    assert_eq!(sent(Kind::Json, Date32Array::from(vec![0])), Ok(b"\"1970-01-01\"".to_vec()));
    assert_eq!(sent(Kind::Json, Float64Array::from(vec![f64::NAN])), Ok(b"\"NaN\"".to_vec()));
    // A text is taken for JSON that somebody wrote.
    assert_eq!(sent(Kind::Jsonb, StringArray::from(vec!["{\"a\":1}"])), as_text(Kind::Jsonb, "{\"a\":1}"));
    assert_eq!(asks(Kind::Jsonb, StringArray::from(vec!["plain"])), "plain");
}

#[test]
fn a_row_of_typed_columns_is_ready_undecided_or_rejected_like_one_of_text() {
    let batch = RecordBatch::try_from_iter([
        ("i", Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40), None, Some(4)])) as ArrayRef),
        ("t", Arc::new(StringArray::from(vec![Some(""), Some("x"), Some("y"), Some("a\0b")])) as ArrayRef),
    ])
    .unwrap();
    let batch = RawBatch::typed(&batch, 1, 0).unwrap();
    let target = |name: &str, kind, not_null| Target { name: name.into(), kind, not_null };
    let targets = [target("i", Kind::Int4, true), target("t", TEXT, false)];
    let encoded = encode_batch(&batch, &[Some(0), Some(1)], &targets, &Format::Typed);
    assert_eq!(encoded.rows[0], Row::Ready { start: 0, end: 12 });
    assert_eq!(encoded.buf, b"\0\0\0\x04\0\0\0\x01\0\0\0\0");
    assert_eq!(encoded.rows[1], Row::Undecided);
    assert!(matches!(&encoded.rows[2], Row::Rejected(r) if r[0].sqlstate == "23502"));
    assert!(matches!(&encoded.rows[3], Row::Rejected(r) if r[0].sqlstate == "22021"));
    assert_eq!(&*Format::Typed.record(&batch, 3), br#"{"i":4,"t":"a\u0000b"}"#);
}

#[test]
fn every_type_has_a_column_type() {
    let of = |t: DataType| column_type(&arrow::datatypes::Field::new("c", t, true));
    let list = |t| DataType::new_list(t, true);
    for (data_type, expected) in [
        (DataType::UInt64, "numeric(20,0)"),
        (DataType::Decimal128(38, 10), "numeric(38,10)"),
        (DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), "timestamp with time zone"),
        (DataType::Timestamp(TimeUnit::Second, None), "timestamp without time zone"),
        (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), "text"),
        (list(DataType::Int32), "integer[]"),
        (list(list(DataType::Int32)), "jsonb"),
        (DataType::FixedSizeBinary(16), "bytea"),
        (DataType::Duration(TimeUnit::Second), "interval"),
        (DataType::Null, "text"),
    ] {
        assert_eq!(of(data_type), expected);
    }
}
