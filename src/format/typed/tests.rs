use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float16Type, Int32Type, IntervalMonthDayNano, Schema, i256,
};

use super::*;
use crate::format::RawBatch;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// 1.5 in 16 bits.
fn half() -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::from_bits(0x3e00)
}

/// Every value of one column, as text.
fn texts(array: ArrayRef) -> Vec<Option<String>> {
    let rows = array.len();
    let batch = RawBatch::typed(&batch(vec![("c", array)]), 1, 0).unwrap();
    (0..rows).map(|row| batch.text(0, row).map(Cow::into_owned)).collect()
}

fn one(array: impl Array + 'static) -> String {
    texts(Arc::new(array)).remove(0).unwrap()
}

#[test]
fn floating_point_reads_as_postgres_prints_it() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-12.5, "-12.5"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (123456789012345.0, "123456789012345"),
        (1e15, "1e+15"),
        (1.2345678901234568e17, "1.2345678901234568e+17"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_eq!(number::double(value), text);
    }
    for (value, text) in
        [(0.1, "0.1"), (123456.0, "123456"), (1234567.0, "1.234567e+06"), (f32::MIN_POSITIVE, "1.1754944e-38")]
    {
        assert_eq!(number::real(value), text);
    }
}

#[test]
fn days_and_instants_are_told_for_every_value_there_is() {
    for (days, text) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (11_016, "2000-02-29"),
        (-719_162, "0001-01-01"),
        (-719_163, "0001-12-31 BC"),
        (2_932_896, "9999-12-31"),
        (2_932_897, "10000-01-01"),
        (i64::from(i32::MAX), "5881580-07-11"),
        (i64::from(i32::MIN), "5877642-06-23 BC"),
    ] {
        assert_eq!(moment::date(days), text);
    }
    assert_eq!(moment::timestamp(-1, false), "1969-12-31 23:59:59.999999");
    assert_eq!(moment::timestamp(1_500_000, true), "1970-01-01 00:00:01.5+00");
    assert_eq!(moment::timestamp(i64::MAX, true), "294247-01-10 04:00:54.775807+00");
    assert_eq!(moment::timestamp(i64::MIN, false), "290309-12-21 19:59:05.224192 BC");
    assert_eq!(moment::timestamp_json(0, true), "1970-01-01T00:00:00+00:00");
}

#[test]
fn every_type_keeps_its_value_in_its_normal_form() {
    assert_eq!(one(Int8Array::from(vec![i8::MIN])), "-128");
    assert_eq!(one(UInt8Array::from(vec![u8::MAX])), "255");
    assert_eq!(one(UInt16Array::from(vec![u16::MAX])), "65535");
    assert_eq!(one(UInt32Array::from(vec![u32::MAX])), "4294967295");
    assert_eq!(one(UInt64Array::from(vec![u64::MAX])), "18446744073709551615");
    assert_eq!(one(Float16Array::from(vec![half()])), "1.5");
    let decimal = |p, s, v| Decimal128Array::from(vec![v]).with_precision_and_scale(p, s).unwrap();
    assert_eq!(one(decimal(38, 10, -12_345_678_901)), "-1.2345678901");
    assert_eq!(one(decimal(38, 38, 5)), format!("0.{}5", "0".repeat(37)));
    assert_eq!(one(decimal(5, -2, -5)), "-500");
    assert_eq!(one(Decimal32Array::from(vec![150]).with_precision_and_scale(5, 2).unwrap()), "1.50");
    assert_eq!(one(Decimal256Array::from(vec![i256::MIN]).with_precision_and_scale(76, 3).unwrap()).len(), 79);
    assert_eq!(one(Decimal256Array::from(vec![i256::from(-7)]).with_precision_and_scale(40, 2).unwrap()), "-0.07");
    assert_eq!(one(Time32SecondArray::from(vec![86_399])), "23:59:59");
    assert_eq!(one(Time64NanosecondArray::from(vec![1_500])), "00:00:00.000002");
    assert_eq!(one(TimestampSecondArray::from(vec![1])), "1970-01-01 00:00:01");
    assert_eq!(
        one(TimestampMillisecondArray::from(vec![-1]).with_timezone("Europe/Berlin")),
        "1969-12-31 23:59:59.999+00"
    );
    for (nanos, text) in [(500, "00:00:00"), (501, "00:00:00.000001"), (1_500, "00:00:00.000002"), (-500, "00:00:00")] {
        assert!(one(TimestampNanosecondArray::from(vec![nanos])).ends_with(text), "{nanos}");
    }
    assert_eq!(one(DurationSecondArray::from(vec![i64::MAX])), "0 mons 0 days 9223372036854775807 secs");
    assert_eq!(one(DurationMicrosecondArray::from(vec![-1])), "0 mons 0 days -0.000001 secs");
    let interval = IntervalMonthDayNano::new(-1, 2, 3_000_000_001);
    assert_eq!(one(IntervalMonthDayNanoArray::from(vec![interval])), "-1 mons 2 days 3.000000001 secs");
    assert_eq!(one(LargeStringArray::from(vec!["é"])), "é");
    assert_eq!(
        one(StringViewArray::from(vec!["a view that is longer than twelve bytes"])),
        "a view that is longer than twelve bytes"
    );
    assert_eq!(one(vec!["x"].into_iter().collect::<DictionaryArray<Int32Type>>()), "x");
    assert_eq!(one(LargeBinaryArray::from(vec![&b"\x00\xff"[..]])), "\\x00ff");
    assert_eq!(texts(Arc::new(NullArray::new(2))), [None, None]);
}

#[test]
fn an_empty_value_is_not_null() {
    assert_eq!(texts(Arc::new(StringArray::from(vec![Some(""), None]))), [Some(String::new()), None]);
    assert_eq!(texts(Arc::new(BinaryArray::from(vec![Some(&b""[..]), None]))), [Some("\\x".into()), None]);
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![]), None, Some(vec![None, Some(1)])]);
    assert_eq!(texts(Arc::new(lists)), [Some("[]".into()), None, Some("[null,1]".into())]);
}

#[test]
fn a_uuid_reads_as_one_only_where_it_is_called_one() {
    let bytes = FixedSizeBinaryArray::try_from_iter([[0x72u8; 16]].into_iter()).unwrap();
    assert_eq!(one(bytes.clone()), format!("\\x{}", "72".repeat(16)));
    let metadata = HashMap::from([("ARROW:extension:name".to_string(), "arrow.uuid".to_string())]);
    let field = Field::new("u", DataType::FixedSizeBinary(16), true).with_metadata(metadata);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(bytes)]).unwrap();
    let batch = RawBatch::typed(&batch, 1, 0).unwrap();
    assert_eq!(batch.text(0, 0).unwrap(), "72727272-7272-7272-7272-727272727272");
}

#[test]
fn nested_values_read_as_json_with_every_digit() {
    let amounts =
        Decimal128Array::from(vec![Some(123_456_789_012_345_678_901), None]).with_precision_and_scale(38, 2).unwrap();
    let floats = Float64Array::from(vec![f64::NAN, 1e20]);
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_000]).with_timezone("UTC"));
    let inner = StructArray::from(vec![
        (Arc::new(Field::new("amount", amounts.data_type().clone(), true)), Arc::new(amounts) as ArrayRef),
        (Arc::new(Field::new("say \"x\"\n", DataType::Float64, true)), Arc::new(floats) as ArrayRef),
        (Arc::new(Field::new("at", times.data_type().clone(), true)), times),
    ]);
    assert_eq!(
        texts(Arc::new(inner)),
        [
            Some(
                r#"{"amount":1234567890123456789.01,"say \"x\"\n":"NaN","at":"1970-01-01T00:00:00.000001+00:00"}"#
                    .into()
            ),
            Some(r#"{"amount":null,"say \"x\"\n":1e+20,"at":"1970-01-01T00:00:00.000002+00:00"}"#.into()),
        ]
    );
    let mut map = MapBuilder::new(None, Int32Builder::new(), BinaryBuilder::new());
    map.keys().append_value(7);
    map.values().append_value(b"\x01");
    map.append(true).unwrap();
    assert_eq!(one(map.finish()), r#"{"7":"\\x01"}"#);
}

#[test]
fn lists_are_found_whatever_part_of_their_values_they_show() {
    let values = StringViewArray::from(vec!["a", "b", "c"]);
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    let lists = LargeListArray::new(item, OffsetBuffer::new(vec![0i64, 1, 3].into()), Arc::new(values), None);
    assert_eq!(one(lists.slice(1, 1)), r#"["b","c"]"#);
}

#[test]
fn a_timestamp_beyond_64_bits_of_microseconds_costs_its_record_and_no_other() {
    let far = TimestampMillisecondArray::from(vec![Some(1), Some(i64::MAX), None]);
    let batch =
        RawBatch::typed(&batch(vec![("id", Arc::new(Int8Array::from(vec![1, 2, 3]))), ("at", Arc::new(far))]), 1, 0)
            .unwrap();
    let corrupt: Vec<_> = batch.corrupt.iter().collect();
    assert_eq!(corrupt, [None, Some(r#"{"id":2,"at":9223372036854775807}"#), None]);
}

#[test]
fn a_type_with_no_counterpart_is_refused_by_name() {
    let ids = vec![0i8].into();
    let fields = arrow::datatypes::UnionFields::try_new([0], [Field::new("i", DataType::Int32, false)]).unwrap();
    let union = UnionArray::try_new(fields, ids, None, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
    let error = RawBatch::typed(&batch(vec![("either", Arc::new(union))]), 1, 0).unwrap_err();
    assert!(error.message.contains("\"either\"") && error.hint.is_some(), "{error}");
}
