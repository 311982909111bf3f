//! What stands in columns: values of partitions, types that were widened, mapped names, columns that files have not or have too many.

use arrow::array::{
    Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    StringArray,
};
use arrow::datatypes::Schema;
use serde_json::json;

use super::super::foreign_tests::{ids, with_id};
use super::*;
use crate::lake::tests::{location, run};
use crate::model::Code;

#[test]
fn values_of_partitions_are_read_as_their_types_and_an_empty_text_is_null() {
    run(async {
        // Type, what stands in the log, what it is.
        let cases: &[(&str, &str, &str)] = &[
            ("string", "a/b c=%ü?#&+\"\\", "a/b c=%ü?#&+\"\\"),
            ("string", " ", " "),
            ("string", "__HIVE_DEFAULT_PARTITION", "__HIVE_DEFAULT_PARTITION"),
            ("byte", "-128", "-128"),
            ("short", "32767", "32767"),
            ("integer", "-2147483648", "-2147483648"),
            ("long", "9223372036854775807", "9223372036854775807"),
            ("float", "1.5", "1.5"),
            ("double", "-1.7976931348623157E308", "-1.7976931348623157e308"),
            ("double", "NaN", "NaN"),
            ("double", "Infinity", "inf"),
            ("double", "-Infinity", "-inf"),
            ("decimal(10,2)", "-12345678.90", "-12345678.90"),
            ("decimal(10,2)", "1", "1.00"),
            ("decimal(38,10)", "9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"),
            ("boolean", "true", "true"),
            ("boolean", "false", "false"),
            ("date", "0001-01-01", "0001-01-01"),
            ("date", "9999-12-31", "9999-12-31"),
            ("timestamp", "2024-02-29 12:30:00", "2024-02-29T12:30:00Z"),
            ("timestamp", "2024-02-29 12:30:00.123456", "2024-02-29T12:30:00.123456Z"),
            ("timestamp", "2024-02-29T12:30:00.123456Z", "2024-02-29T12:30:00.123456Z"),
            ("timestamp", "0001-01-01 00:00:00", "0001-01-01T00:00:00Z"),
            ("timestamp", "9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"),
            ("timestamp_ntz", "2024-02-29 12:30:00", "2024-02-29T12:30:00"),
            ("timestamp_ntz", "1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999"),
            ("binary", "\u{1}\u{2}~", "01027e"),
        ];
        for (kind, written, expected) in cases {
            let protocol = if *kind == "timestamp_ntz" { features(&["timestampNtz"], &[]) } else { legacy(1, 2) };
            let fields = [field("n", "long"), field("p", kind)];
            let mut made = Made::new(protocol.clone(), &fields, &["p"], &json!({}));
            let mut state = vec![protocol, metadata(&fields, &json!({}))];
            state[1]["metaData"]["partitionColumns"] = json!(["p"]);
            for (i, value) in [json!(written), json!(null), json!("")].into_iter().enumerate() {
                let mut add = made.numbers(&format!("{i}.parquet"), i as i64..i as i64 + 1);
                add["add"]["partitionValues"] = json!({ "p": value });
                made.commit(std::slice::from_ref(&add));
                state.push(add);
            }
            let wanted =
                [("0", *expected), ("1", ""), ("2", "")].map(|(n, p)| format!("{{\"n\": {n:?}, \"p\": {p:?}}}"));
            assert_eq!(made.rows().await, wanted, "{kind} {written}");
            let name = format!("_delta_log/{:020}.checkpoint.parquet", 3);
            made.put(&name, &checkpoint(&state, Stats::Text));
            assert_eq!(scanned(&open(made.path()).await).await, wanted, "{kind} {written}, from a checkpoint");
        }
    });
}

#[test]
fn a_value_of_a_partition_that_is_none_of_its_type_is_an_error_that_names_the_file() {
    run(async {
        let mut made = Made::new(legacy(1, 2), &[field("n", "long"), field("p", "date")], &["p"], &json!({}));
        let mut add = made.numbers("a.parquet", 0..1);
        add["add"]["partitionValues"] = json!({ "p": "someday" });
        made.commit(&[add]);
        let opened = Table::open(&location(made.path()), &Default::default()).await;
        let error = match opened {
            Ok(table) => table.unwrap().scan(10).await.unwrap().try_collect::<Vec<_>>().await.err().unwrap(),
            Err(error) => error,
        };
        assert!(format!("{error:?}").contains("someday") || format!("{error:?}").contains("\"p\""), "{error:?}");
    });
}

#[test]
fn several_partition_columns_stand_before_between_and_behind_the_others_and_may_be_in_the_files_too() {
    run(async {
        let fields = [field("day", "date"), field("n", "long"), field("at", "timestamp"), field("m", "long")];
        let mut made = Made::new(legacy(1, 2), &fields, &["at", "day"], &json!({}));
        let longs = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) };
        let path = "day=2024-01-01/at=2024-01-01%252000%253A00%253A00/a%20b.parquet";
        let mut add = made
            .file("day=2024-01-01/at=2024-01-01%2000%3A00%3A00/a b.parquet", vec![("m", longs(2)), ("n", longs(1))]);
        add["add"]["path"] = json!(path);
        add["add"]["partitionValues"] = json!({ "day": "2024-01-01", "at": "2024-01-01 00:00:00" });
        made.commit(&[add]);
        // Written with the column as well, and with another value: the log decides.
        let days: ArrayRef = Arc::new(Date32Array::from(vec![0]));
        let mut add = made.file("b.parquet", vec![("day", days), ("n", longs(3)), ("m", longs(4))]);
        add["add"]["partitionValues"] = json!({ "day": null, "at": null });
        made.commit(&[add]);
        assert_eq!(
            made.rows().await,
            [
                r#"{"at": "", "day": "", "m": "4", "n": "3"}"#,
                r#"{"at": "2024-01-01T00:00:00Z", "day": "2024-01-01", "m": "2", "n": "1"}"#
            ]
        );
        let gone = json!({ "remove": { "path": path, "dataChange": true, "deletionTimestamp": 0, "partitionValues": { "day": "2024-01-01", "at": "2024-01-01 00:00:00" } } });
        made.commit(&[gone]);
        assert_eq!(made.rows().await.len(), 1);
    });
}

#[test]
fn partition_columns_of_a_mapped_table_go_by_their_physical_names() {
    run(async {
        for mode in ["id", "name"] {
            let fields = [ids("number", json!("long"), 1, "col-1"), ids("kind of", json!("string"), 2, "col-2")];
            let configuration = json!({ "delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "2" });
            // By versions alone, and by features.
            for protocol in [legacy(2, 5), features(&["columnMapping"], &[])] {
                let mut made = Made::new(protocol, &fields, &["kind of"], &configuration);
                let schema = Arc::new(Schema::new(vec![with_id("col-1", DataType::Int64, 1)]));
                let numbers: ArrayRef = Arc::new(Int64Array::from(vec![5]));
                let bytes = parquet(&RecordBatch::try_new(schema, vec![numbers]).unwrap());
                let size = made.put("xy/a.parquet", &bytes);
                made.commit(&[json!({ "add": { "path": "xy/a.parquet", "partitionValues": { "col-2": "x" }, "size": size, "modificationTime": 0, "dataChange": true } })]);
                assert_eq!(made.rows().await, [r#"{"kind of": "x", "number": "5"}"#], "{mode}");
            }
        }
    });
}

#[test]
fn every_widening_of_the_protocol_is_read_as_the_type_is_now() {
    run(async {
        let bytes: ArrayRef = Arc::new(Int8Array::from(vec![Some(-7), None]));
        let shorts: ArrayRef = Arc::new(Int16Array::from(vec![Some(-7), None]));
        let integers: ArrayRef = Arc::new(Int32Array::from(vec![Some(-7), None]));
        let longs: ArrayRef = Arc::new(Int64Array::from(vec![Some(-7), None]));
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.5), None]));
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(-1), None]));
        let decimals = Decimal128Array::from(vec![Some(-75), None]).with_precision_and_scale(5, 1).unwrap();
        let decimals: ArrayRef = Arc::new(decimals);
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.25), None]));
        for (from, values, to, expected) in [
            ("byte", &bytes, "short", "-7"),
            ("byte", &bytes, "integer", "-7"),
            ("byte", &bytes, "long", "-7"),
            ("byte", &bytes, "double", "-7.0"),
            ("byte", &bytes, "decimal(12,2)", "-7.00"),
            ("short", &shorts, "integer", "-7"),
            ("short", &shorts, "long", "-7"),
            ("short", &shorts, "double", "-7.0"),
            ("short", &shorts, "decimal(12,2)", "-7.00"),
            ("integer", &integers, "long", "-7"),
            ("integer", &integers, "double", "-7.0"),
            ("integer", &integers, "decimal(12,2)", "-7.00"),
            ("long", &longs, "decimal(22,2)", "-7.00"),
            ("float", &floats, "double", "0.5"),
            ("decimal(5,1)", &decimals, "decimal(9,1)", "-7.5"),
            ("decimal(5,1)", &decimals, "decimal(38,10)", "-7.5000000000"),
            ("date", &dates, "timestamp_ntz", "1969-12-31T00:00:00"),
            ("double", &doubles, "double", "0.25"),
        ] {
            for feature in ["typeWidening", "typeWidening-preview"] {
                let protocol = features(&[feature, "timestampNtz"], &[]);
                let property = json!({ "delta.enableTypeWidening": "true" });
                let mut made = Made::new(protocol, &[field("v", from)], &[], &property);
                let add = made.file("a.parquet", vec![("v", values.clone())]);
                made.commit(&[add]);
                let mut widened = field("v", to);
                widened["metadata"] = json!({ "delta.typeChanges": [{ "fromType": from, "toType": to }] });
                made.commit(&[metadata(&[widened], &property)]);
                let rows = scanned(&open(made.path()).await).await;
                assert_eq!(rows, ["{\"v\": \"\"}".to_owned(), format!("{{\"v\": {expected:?}}}")], "{from} to {to}");
            }
        }
    });
}

#[test]
fn a_column_that_files_lack_is_null_and_one_that_the_table_lacks_is_left_out() {
    run(async {
        let mut made = Made::new(legacy(1, 2), &[field("n", "long"), field("later", "string")], &[], &json!({}));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let file =
            made.file("a.parquet", vec![("dropped", texts), ("_row-id-col-7b", numbers.clone()), ("n", numbers)]);
        made.commit(&[file]);
        assert_eq!(made.rows().await, [r#"{"later": "", "n": "1"}"#]);
        // A file of which no column is left still has its rows.
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let file = made.file("b.parquet", vec![("dropped", texts)]);
        made.commit(&[file]);
        assert_eq!(made.rows().await.len(), 3);
    });
}

#[test]
fn columns_of_type_void_are_null_wherever_they_stand() {
    run(async {
        let nested = json!({ "name": "s", "nullable": true, "metadata": {}, "type": { "type": "struct", "fields": [field("v", "void"), field("k", "long")] } });
        let mut made =
            Made::new(legacy(1, 2), &[field("n", "long"), field("nothing", "void"), nested], &[], &json!({}));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let file = made.file("a.parquet", vec![("n", numbers)]);
        made.commit(&[file]);
        assert_eq!(made.rows().await, [r#"{"n": "1", "nothing": "", "s": ""}"#]);
    });
}

#[test]
fn nested_values_of_every_kind_are_read_whole() {
    run(async {
        let text =
            r#"{"n": 1, "list": [1, null], "map": {"a": 1.5}, "deep": [{"x": [["y"]], "at": "2024-01-01T00:00:00"}]}"#;
        let list = json!({ "type": "array", "elementType": "long", "containsNull": true });
        let map = json!({ "type": "map", "keyType": "string", "valueType": "double", "valueContainsNull": true });
        let x = json!({ "type": "array", "containsNull": true, "elementType": { "type": "array", "elementType": "string", "containsNull": true } });
        let inner = json!({ "type": "struct", "fields": [
            { "name": "x", "type": x, "nullable": true, "metadata": {} }, field("at", "timestamp_ntz")] });
        let deep = json!({ "type": "array", "elementType": inner, "containsNull": true });
        let of = |name: &str, kind: &Value| json!({ "name": name, "type": kind, "nullable": true, "metadata": {} });
        let fields = [field("n", "long"), of("list", &list), of("map", &map), of("deep", &deep)];
        let mut made = Made::new(features(&["timestampNtz"], &[]), &fields, &[], &json!({}));
        let schema = open(made.path()).await.schema();
        let batch = arrow::json::ReaderBuilder::new(schema).build(Cursor::new(text)).unwrap().next().unwrap().unwrap();
        let size = made.put("a.parquet", &parquet(&batch));
        made.commit(&[json!({ "add": { "path": "a.parquet", "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true } })]);
        assert_eq!(
            made.rows().await,
            [r#"{"deep": "[{x: [[y]], at: 2024-01-01T00:00:00}]", "list": "[1, ]", "map": "{a: 1.5}", "n": "1"}"#]
        );
    });
}

#[test]
fn a_type_that_is_not_known_is_refused_by_name() {
    run(async {
        for (kind, feature) in
            [("variant", "variantType"), ("geometry(OGC:CRS84)", "geospatial"), ("telepathy", "columnMapping")]
        {
            let made = Made::new(features(&[feature], &[]), &[field("n", "long"), field("odd", kind)], &[], &json!({}));
            let error = Table::open(&location(made.path()), &Default::default()).await.err().unwrap();
            assert!(format!("{error:?}").contains(kind) || format!("{error:?}").contains(feature), "{kind}: {error:?}");
            assert!(error.code == Code::Unsupported && error.hint.is_some(), "{kind}: {error:?}");
        }
    });
}
