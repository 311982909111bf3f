//! What reading and following tables of other writers promises: the tables of the Delta project where they are at hand, and small ones
//! made here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::log::{LAST_CHECKPOINT, entry_name};
use super::{CHANGE_TYPE, Changes, DataFile, Follower, Table};
use crate::lake::parquet_rows::Limits;
use crate::lake::tests::{location, run};
use crate::model::{Code, Error};

pub(super) const LIMITS: Limits = Limits { batch_rows: 1_000, memory: 64 << 20 };

fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MILLRACE_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join("data/delta").join(name);
    let path = path.canonicalize().ok().filter(|path| path.is_dir());
    if path.is_none() {
        println!("skipped: {name} is not at hand");
    }
    path
}

/// The values of each row, under the names of their columns, as text.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    let row = |row: usize| {
        let fields = schema.fields().iter().zip(batch.columns());
        let values: BTreeMap<String, String> =
            fields.map(|(f, c)| (f.name().clone(), array_value_to_string(c, row).unwrap())).collect();
        format!("{values:?}")
    };
    (0..batch.num_rows()).map(row).collect()
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

pub(super) async fn scanned(table: &Table) -> Vec<String> {
    let batches: Vec<RecordBatch> = table.scan(1_000).await.unwrap().try_collect().await.unwrap();
    sorted(batches.iter().flat_map(texts).collect())
}

fn expected(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let parquet = files.filter(|p| p.extension().is_some_and(|x| x == "parquet"));
    let rows = parquet.flat_map(|path| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        reader.build().unwrap().flat_map(|batch| texts(&batch.unwrap())).collect::<Vec<_>>()
    });
    sorted(rows.collect())
}

pub(super) async fn open(path: &Path) -> Table {
    Table::open(&location(path), &Default::default()).await.unwrap().unwrap()
}

pub(super) async fn follow(path: &Path, next: u64) -> Result<Follower, Error> {
    Follower::open(&location(path), &Default::default(), next).await
}

async fn rows_of(table: &Table, files: &[DataFile]) -> Vec<String> {
    let mut rows = Vec::new();
    for file in files {
        let found = table.rows(file.clone(), 0, LIMITS).await.unwrap();
        let found: Vec<_> = found.map_ok(|rows| texts(&rows.batch)).try_collect().await.unwrap();
        rows.extend(found.into_iter().flatten());
    }
    rows
}

/// The rows of a table after each version, from the changes alone.
pub(super) async fn states(path: &Path) -> Vec<Vec<String>> {
    let mut follower = follow(path, 1).await.unwrap();
    let table = Table::open_at(&location(path), &Default::default(), 0).await.unwrap();
    let mut rows = scanned(&table).await;
    let mut states = vec![rows.clone()];
    while let Some(changes) = follower.next().await.unwrap() {
        let Changes { feed, removed, added, .. } = &changes;
        assert!(feed.is_empty());
        for gone in rows_of(follower.table(), removed).await {
            let place = rows.iter().position(|row| *row == gone).unwrap();
            rows.swap_remove(place);
        }
        rows.extend(rows_of(follower.table(), added).await);
        rows.sort_unstable();
        states.push(rows.clone());
    }
    states
}

#[test]
fn every_table_of_the_delta_project_gives_its_expected_rows() {
    for name in [
        "basic-with-inserts-deletes-checkpoint",
        "basic_partitioned",
        "data-reader-primitives",
        "data-reader-timestamp_ntz",
        "dv-partitioned-with-checkpoint",
        "parquet-decimal-type",
        "snapshot-data3",
        "snapshot-repartitioned",
        "table-with-columnmapping-mode-name",
        "v2-checkpoint-parquet",
    ] {
        let Some(path) = shared(name) else { return };
        let mut wanted = path.join("expected");
        if wanted.join("latest").is_dir() {
            wanted = wanted.join("latest");
        }
        let wanted = expected(&wanted);
        run(async {
            let table = open(&path.join("delta")).await;
            let found = scanned(&table).await;
            assert!(!found.is_empty(), "{name}");
            if !wanted.is_empty() {
                assert!(found == wanted, "{name}: {:?} … {:?}", &found[..1], &wanted[..1]);
            }
            assert_eq!(table.count_rows().await.unwrap(), found.len() as u64, "{name}");
        });
    }
}

#[test]
fn a_table_followed_version_by_version_is_at_each_as_a_reader_finds_it() {
    for name in [
        "basic-with-inserts-deletes-checkpoint",
        "dv-partitioned-with-checkpoint",
        "snapshot-repartitioned",
        "basic_partitioned",
    ] {
        let Some(path) = shared(name) else { return };
        let path = path.join("delta");
        run(async {
            for (version, rows) in states(&path).await.iter().enumerate() {
                let table = Table::open_at(&location(&path), &Default::default(), version as u64).await.unwrap();
                assert_eq!(*rows, scanned(&table).await, "{name} at {version}");
            }
        });
    }
    let Some(path) = shared("cdf-table-with-dv") else { return };
    run(async {
        let counts: Vec<usize> = states(&path).await.iter().map(Vec::len).collect();
        assert_eq!(counts, [10, 8, 10, 6, 8, 9, 10]);
    });
}

fn write_parquet(path: &Path, batch: &RecordBatch, rows_per_page: usize) -> u64 {
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(rows_per_page)
        .set_write_batch_size(rows_per_page)
        .set_dictionary_enabled(false)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    fs::metadata(path).unwrap().len()
}

fn write_entry(table: &Path, version: u64, actions: &[Value]) {
    let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
    fs::create_dir_all(table.join("_delta_log")).unwrap();
    fs::write(table.join(entry_name(version)), text).unwrap();
}

fn metadata(fields: &Value, configuration: &Value) -> Value {
    json!({ "metaData": {
        "id": "one", "format": { "provider": "parquet", "options": {} }, "partitionColumns": [], "createdTime": 0,
        "schemaString": json!({ "type": "struct", "fields": fields }).to_string(), "configuration": configuration,
    }})
}

fn protocol(features: &[&str]) -> Value {
    json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features } })
}

fn add(path: &str, size: u64) -> Value {
    json!({ "add": { "path": path, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true } })
}

pub(super) fn ids(field: &str, kind: Value, id: i64, physical: &str) -> Value {
    let metadata = json!({ "delta.columnMapping.id": id, "delta.columnMapping.physicalName": physical });
    json!({ "name": field, "type": kind, "nullable": true, "metadata": metadata })
}

pub(super) fn with_id(name: &str, data_type: DataType, id: i64) -> Field {
    let metadata = [("PARQUET:field_id".to_owned(), id.to_string())].into();
    Field::new(name, data_type, true).with_metadata(metadata)
}

#[test]
fn renamed_dropped_and_nested_columns_are_found_by_id_and_by_physical_name() {
    run(async {
        for mode in ["id", "name"] {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path();
            let inner = with_id("p-city", DataType::Utf8, 3);
            let place = with_id("p-place", DataType::Struct(vec![inner.clone()].into()), 2);
            let schema = Arc::new(Schema::new(vec![with_id("p-n", DataType::Int64, 1), place]));
            let cities: ArrayRef = Arc::new(StringArray::from(vec!["Bern", "Genf"]));
            let places = StructArray::new(vec![inner].into(), vec![cities], None);
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
            let batch = RecordBatch::try_new(schema, vec![numbers, Arc::new(places)]).unwrap();
            let size = write_parquet(&path.join("a.parquet"), &batch, 100);
            let fields = |n: &str, city: &str, more: bool| {
                let mut inner = vec![ids(city, json!("string"), 3, "p-city")];
                if more {
                    inner.push(ids("zip", json!("long"), 4, "p-zip"));
                }
                let place = json!({ "type": "struct", "fields": inner });
                json!([ids(n, json!("long"), 1, "p-n"), ids("place", place, 2, "p-place")])
            };
            let configuration = json!({ "delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "4" });
            let first = metadata(&fields("n", "city", false), &configuration);
            write_entry(path, 0, &[protocol(&["columnMapping"]), first, add("a.parquet", size)]);
            assert_eq!(scanned(&open(path).await).await[0], r#"{"n": "1", "place": "{city: Bern}"}"#);
            write_entry(path, 1, &[metadata(&fields("number", "town", true), &configuration)]);
            assert_eq!(scanned(&open(path).await).await[1], r#"{"number": "2", "place": "{town: Genf, zip: }"}"#);
            let mut follower = follow(path, 1).await.unwrap();
            assert!(follower.next().await.unwrap().unwrap().has_new_columns);
            assert_eq!(follower.table().schema().field(0).name(), "number");
        }
    });
}

#[test]
fn a_file_from_before_a_column_was_widened_is_read_as_the_column_is_now() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let batch = RecordBatch::try_from_iter_with_nullable([("n", numbers, true)]).unwrap();
        let size = write_parquet(&path.join("a.parquet"), &batch, 100);
        let field = |kind: &str| json!([{ "name": "n", "type": kind, "nullable": true, "metadata": {} }]);
        let configuration = json!({ "delta.enableTypeWidening": "true" });
        let features = protocol(&["typeWidening"]);
        write_entry(path, 0, &[features, metadata(&field("integer"), &configuration), add("a.parquet", size)]);
        for (version, kind, arrow) in [
            (1, "long", DataType::Int64),
            (2, "double", DataType::Float64),
            (3, "decimal(12,2)", DataType::Decimal128(12, 2)),
        ] {
            write_entry(path, version, &[metadata(&field(kind), &configuration)]);
            let table = open(path).await;
            assert_eq!(table.schema().field(0).data_type(), &arrow);
            assert_eq!(scanned(&table).await.len(), 2);
        }
    });
}

#[test]
fn a_feed_says_what_happened_to_each_row() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        let field = json!([{ "name": "n", "type": "long", "nullable": true, "metadata": {} }]);
        let features = json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 4 } });
        write_entry(path, 0, &[features, metadata(&field, &json!({ "delta.enableChangeDataFeed": "true" }))]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let kinds: ArrayRef = Arc::new(StringArray::from(vec!["update_preimage", "update_postimage"]));
        let batch = RecordBatch::try_from_iter([("n", numbers), (CHANGE_TYPE, kinds)]).unwrap();
        fs::create_dir(path.join("_change_data")).unwrap();
        let size = write_parquet(&path.join("_change_data/c.parquet"), &batch, 100);
        let cdc = json!({ "cdc": { "path": "_change_data/c.parquet", "partitionValues": {}, "size": size, "dataChange": false } });
        write_entry(path, 1, &[cdc, add("new.parquet", 9)]);
        let mut follower = follow(path, 1).await.unwrap();
        let changes = follower.next().await.unwrap().unwrap();
        let rows = rows_of(follower.table(), &changes.feed).await;
        assert_eq!(rows[1], r#"{"_change_type": "update_postimage", "n": "2"}"#);
        assert!(changes.only_adds(), "a feed without files that were removed tells of rows that were added");
    });
}

#[test]
fn a_version_that_was_cleaned_up_and_a_table_that_was_put_back_are_gaps() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        let field = json!([{ "name": "n", "type": "long", "nullable": true, "metadata": {} }]);
        let features = json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } });
        write_entry(path, 0, &[features, metadata(&field, &json!({}))]);
        for version in 1..6 {
            write_entry(path, version, &[json!({ "commitInfo": { "timestamp": version } })]);
        }
        let mut follower = follow(path, 3).await.unwrap();
        assert_eq!(follower.next().await.unwrap().unwrap().version, 3);
        assert_eq!(follow(path, 7).await.err().unwrap().code, Code::Gap);
        assert!(follow(path, 6).await.unwrap().next().await.unwrap().is_none());
        // somebody cleans up behind a checkpoint while we are at 3
        fs::remove_file(path.join(entry_name(4))).unwrap();
        fs::write(path.join(LAST_CHECKPOINT), r#"{"version":5,"size":1}"#).unwrap();
        let error = loop {
            if let Err(error) = follower.next().await {
                break error;
            }
        };
        assert_eq!(error.code, Code::Gap);
        assert!(error.message.contains("version 4"), "{error}");
    });
}

#[test]
fn rows_go_on_from_where_a_reader_stopped() {
    let Some(path) = shared("dv-partitioned-with-checkpoint") else { return };
    run(async {
        let table = open(&path.join("delta")).await;
        let mut rows = Vec::new();
        for file in table.data_files().await.unwrap() {
            let mut from = 0;
            loop {
                let mut found = table.rows(file.clone(), from, LIMITS).await.unwrap();
                let Some(next) = found.try_next().await.unwrap() else { break };
                let next = next.first(1);
                rows.extend(texts(&next.batch));
                from = next.next_row;
            }
        }
        assert_eq!(sorted(rows), scanned(&table).await);
    });
}

#[test]
fn a_row_group_that_is_larger_than_the_memory_allowed_is_streamed() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        let count = 200_000;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("{:0>60}", n * 7919))));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("name", names)]).unwrap();
        let size = write_parquet(&path.join("a.parquet"), &batch, 500);
        let field = json!([
            { "name": "n", "type": "long", "nullable": true, "metadata": {} },
            { "name": "name", "type": "string", "nullable": true, "metadata": {} }
        ]);
        let features = json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } });
        write_entry(path, 0, &[features, metadata(&field, &json!({})), add("a.parquet", size)]);
        let table = open(path).await;
        let file = table.data_files().await.unwrap().remove(0);
        let limits = Limits { batch_rows: 10_000, memory: size / 8 };
        for from in [0u64, 123_456, 199_999] {
            let batches: Vec<_> = table.rows(file.clone(), from, limits).await.unwrap().try_collect().await.unwrap();
            assert!(batches.iter().all(|rows| rows.batch.get_array_memory_size() as u64 <= limits.memory));
            let rows: Vec<String> = batches.iter().flat_map(|rows| texts(&rows.batch)).collect();
            let names = from..count as u64;
            assert_eq!(
                rows,
                names
                    .map(|n| format!(
                        "{:?}",
                        BTreeMap::from([("n", n.to_string()), ("name", format!("{:0>60}", n * 7919))])
                    ))
                    .collect::<Vec<_>>()
            );
        }
        // a page that is larger than that cannot be read in parts
        let limits = Limits { batch_rows: 10_000, memory: 40_000 };
        let error = table.rows(file, 0, limits).await.unwrap().try_collect::<Vec<_>>().await.err().unwrap();
        assert_eq!(error.code, Code::Limit);
        assert!(error.message.contains("\"name\""), "{error}");
    });
}
