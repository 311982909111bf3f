//! What a Delta table promises to those who read and write it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::{Map, Value, json};

use super::log::{LAST_CHECKPOINT, entry_name};
use super::{Commit, Follower, Table};
use crate::lake::azurite::Azurite;
use crate::lake::store::Dir;
use crate::lake::tests::{location, run};
use crate::model::{Code, Error, Location};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("Full Name", DataType::Utf8, true)]))
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let names: StringArray = numbers.clone().map(|n| Some(format!("name {n}"))).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(numbers)), Arc::new(names)]).unwrap()
}

fn commit(app_id: &str, version: i64) -> Commit<'_> {
    let info = Map::from_iter([("millrace".to_owned(), json!({ "files": [{ "path": "a.csv", "size": 3 }] }))]);
    Commit { app_id, version, operation: "STREAMING UPDATE", info }
}

fn stream_of(batch: RecordBatch) -> BoxStream<'static, crate::model::Result<RecordBatch>> {
    futures::stream::iter([Ok(batch)]).boxed()
}

async fn create(path: &Path) -> Table {
    Table::create(&location(path), &Default::default(), schema(), &[], "made by a test").await.unwrap()
}

async fn open(path: &Path) -> Table {
    Table::open(&location(path), &Default::default()).await.unwrap().unwrap()
}

async fn open_error(path: &Path) -> Error {
    Table::open(&location(path), &Default::default()).await.err().unwrap()
}

async fn numbers(table: &Table) -> Vec<i64> {
    let batches: Vec<RecordBatch> = table.scan(1000).await.unwrap().try_collect().await.unwrap();
    let mut numbers: Vec<i64> = batches.iter().flat_map(column_n).collect();
    numbers.sort_unstable();
    numbers
}

fn column_n(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

async fn version_numbers(table: &Table, version: u64, batch_rows: usize, skip: u64) -> Vec<i64> {
    let reader = table.read_version(version).await.unwrap();
    let batches: Vec<RecordBatch> = reader.batches(batch_rows, skip).try_collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
    batches.iter().flat_map(column_n).collect()
}

fn data_files(path: &Path) -> usize {
    fs::read_dir(path)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "parquet"))
        .count()
}

/// A table whose log holds the given actions in its next entry.
fn write_entry(path: &Path, version: u64, actions: &[Value]) {
    let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
    fs::create_dir_all(path.join("_delta_log")).unwrap();
    fs::write(path.join(entry_name(version)), text).unwrap();
}

#[test]
fn a_place_with_nothing_has_no_table_and_a_place_with_other_things_is_refused() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        for path in [temp.path().to_owned(), temp.path().join("not there")] {
            assert!(Table::open(&location(&path), &Default::default()).await.unwrap().is_none());
        }
        fs::create_dir(temp.path().join("_delta_log")).unwrap();
        assert!(Table::open(&location(temp.path()), &Default::default()).await.unwrap().is_none());
        fs::write(temp.path().join("holiday.jpg"), "x").unwrap();
        let error = open_error(temp.path()).await;
        assert_eq!(error.code, Code::Mismatch);
        assert!(error.message.contains("something else"), "{error}");
        let pattern = Location::parse(&format!("{}/*", location(temp.path()))).unwrap();
        let error = Table::open(&pattern, &Default::default()).await.err().unwrap();
        assert_eq!(error.code, Code::InvalidParameter);
        let made = Table::create(&location(temp.path()), &Default::default(), schema(), &[], "").await;
        assert_eq!(made.err().unwrap().code, Code::Mismatch);
    });
}

#[test]
fn a_table_is_created_once_however_often_and_at_whatever_path() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("raw data/100% ü#1");
        let (one, two) = tokio::join!(create(&path), create(&path));
        assert_eq!((one.version(), one.id()), (0, two.id()));
        assert_eq!(one.description(), Some("made by a test"));
        assert_eq!(one.schema(), schema());
        let other = Table::create(&location(&path), &Default::default(), schema(), &["n".into()], "").await;
        assert_eq!(other.err().unwrap().code, Code::Mismatch);

        let mut table = create(&path).await;
        assert_eq!(table.append(vec![rows(0..5)], commit("app", 1)).await.unwrap(), 1);
        assert_eq!(numbers(&open(&path).await).await, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn appended_rows_carry_the_transaction_and_what_the_caller_said() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        assert_eq!(table.txn_version("app").await.unwrap(), None);
        assert_eq!(table.append(vec![rows(0..3), rows(3..5)], commit("app", 7)).await.unwrap(), 1);
        assert_eq!(table.append(vec![], commit("other", 1)).await.unwrap(), 2);
        for table in [&table, &open(temp.path()).await] {
            assert_eq!(table.version(), 2);
            assert_eq!(table.txn_version("app").await.unwrap(), Some(7));
            assert_eq!(table.txn_version("other").await.unwrap(), Some(1));
            assert_eq!(table.txn_version("nobody").await.unwrap(), None);
            assert_eq!(table.count_rows().await.unwrap(), 5);
            assert_eq!(numbers(table).await, [0, 1, 2, 3, 4]);
            let info = table.commit_info(1).await.unwrap().unwrap();
            assert_eq!(info["millrace"]["files"][0]["path"], "a.csv");
            assert_eq!(info["operation"], "STREAMING UPDATE");
            assert_eq!(info["txn"], json!([{ "appId": "app", "version": 7 }]));
            assert_eq!(table.commit_info(3).await.unwrap(), None);
        }
    });
}

#[test]
fn appending_the_same_transaction_from_two_handles_succeeds_exactly_once() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (create(temp.path()).await, open(temp.path()).await);
        let results = tokio::join!(
            one.append(vec![rows(0..10)], commit("app", 1)),
            two.append(vec![rows(0..10)], commit("app", 1))
        );
        let errors: Vec<Error> = [results.0.err(), results.1.err()].into_iter().flatten().collect();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].code, Code::Conflict);
        assert_eq!(open(temp.path()).await.count_rows().await.unwrap(), 10);
        assert_eq!(data_files(temp.path()), 1, "the loser leaves no file");

        // also where the loser has not looked since, or has and tries all the same
        for _ in 0..2 {
            assert_eq!(two.append(vec![rows(0..10)], commit("app", 1)).await.unwrap_err().code, Code::Conflict);
            two.refresh().await.unwrap();
        }
        assert_eq!(two.append(vec![rows(10..12)], commit("app", 2)).await.unwrap(), 2);
        assert_eq!(one.append(vec![rows(10..12)], commit("app", 2)).await.unwrap_err().code, Code::Conflict);
    });
}

#[test]
fn appends_of_other_applications_do_not_disturb_each_other() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        create(temp.path()).await;
        let writers = (0..4).map(|writer: i64| {
            let path = temp.path().to_owned();
            tokio::spawn(async move {
                let mut table = open(&path).await;
                let app = format!("app {writer}");
                for n in 0..10 {
                    let first = writer * 100 + n;
                    table.append(vec![rows(first..first + 1)], commit(&app, n)).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let table = open(temp.path()).await;
        assert_eq!((table.version(), table.count_rows().await.unwrap()), (40, 40));
    });
}

#[test]
fn a_writer_that_dies_before_its_commit_leaves_nothing_visible() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        table.append(vec![rows(0..3)], commit("app", 1)).await.unwrap();
        let batches = futures::stream::iter([Ok(rows(3..6)), Err(Error::new(Code::Cancelled, "killed"))]);
        let error = table.append_stream(schema(), Box::pin(batches), commit("app", 2)).await.unwrap_err();
        assert_eq!(error.code, Code::Cancelled);
        // what a process leaves that is killed between its data files and its commit
        fs::write(temp.path().join("part-00000-dead-c000.zstd.parquet"), "PAR1 half").unwrap();
        fs::write(temp.path().join("_delta_log/.00000000000000000002.json.dead.tmp"), "{\"add\":").unwrap();
        for mut table in [table, open(temp.path()).await] {
            table.refresh().await.unwrap();
            assert_eq!((table.version(), numbers(&table).await), (1, vec![0, 1, 2]));
            assert_eq!(table.txn_version("app").await.unwrap(), Some(1));
        }
        assert_eq!(open(temp.path()).await.append(vec![rows(3..6)], commit("app", 2)).await.unwrap(), 2);
    });
}

#[test]
fn a_new_column_appears_in_the_same_commit_and_is_null_before() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        table.append(vec![rows(0..2)], commit("app", 1)).await.unwrap();
        let wide = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int32, false),
            Field::new("new one", DataType::Utf8, false),
        ]));
        let arrays: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![2])), Arc::new(StringArray::from(vec!["x"]))];
        let batch = RecordBatch::try_new(wide, arrays).unwrap();
        assert_eq!(table.append(vec![batch, rows(3..4)], commit("app", 2)).await.unwrap(), 2);
        let log = fs::read_to_string(temp.path().join(entry_name(2))).unwrap();
        assert!(log.contains("\"metaData\"") && log.contains("\"add\"") && log.contains("\"txn\""));
        for table in [&table, &open(temp.path()).await] {
            let names: Vec<String> = table.schema().fields().iter().map(|f| f.name().clone()).collect();
            assert_eq!(names, ["n", "Full Name", "new one"]);
            assert!(table.schema().field(2).is_nullable());
            let reader = table.read_version(1).await.unwrap();
            let batches: Vec<RecordBatch> = reader.batches(100, 0).try_collect().await.unwrap();
            assert_eq!(batches[0].column(2).null_count(), 2);
            let reader = table.read_version(2).await.unwrap();
            let batches: Vec<RecordBatch> = reader.batches(100, 0).try_collect().await.unwrap();
            assert_eq!(batches[0].column(1).null_count(), 1);
            assert_eq!(batches[0].column(2).as_string::<i32>().value(0), "x");
        }
        let text: ArrayRef = Arc::new(StringArray::from(vec!["7"]));
        let wrong = RecordBatch::try_from_iter([("n", text)]).unwrap();
        let error = table.append(vec![wrong], commit("app", 3)).await.unwrap_err();
        assert_eq!(error.code, Code::Mismatch);
        assert!(error.message.contains("\"n\""), "{error}");
    });
}

#[test]
fn many_tables_opened_at_once_do_not_wait_for_each_other_for_ever() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        create(temp.path()).await.append(vec![rows(0..3)], commit("app", 1)).await.unwrap();
        let readers = (0..20).map(|_| {
            let path = temp.path().to_owned();
            tokio::spawn(async move {
                let table = open(&path).await;
                (table.txn_version("app").await.unwrap(), numbers(&table).await)
            })
        });
        let work = futures::future::join_all(readers.collect::<Vec<_>>());
        for found in tokio::time::timeout(Duration::from_secs(60), work).await.unwrap() {
            assert_eq!(found.unwrap(), (Some(1), vec![0, 1, 2]));
        }
    });
}

#[test]
fn a_version_gives_its_rows_in_the_order_written_from_any_row_on() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        table.append(vec![rows(0..10)], commit("app", 1)).await.unwrap();
        // several row groups
        let batches = (0..20).map(|i| rows(i * 10_000..(i + 1) * 10_000)).collect();
        table.append(batches, commit("app", 2)).await.unwrap();
        assert_eq!(table.count_rows().await.unwrap(), 200_010);
        for skip in [0, 1, 65_535, 65_536, 65_537, 131_072, 199_999, 200_000, 300_000] {
            let wanted: Vec<i64> = (skip.min(200_000) as i64..200_000).collect();
            assert_eq!(version_numbers(&table, 2, 7_000, skip).await, wanted, "skipping {skip}");
        }
        assert_eq!(version_numbers(&table, 1, 3, 4).await, [4, 5, 6, 7, 8, 9]);
        assert!(version_numbers(&table, 0, 3, 0).await.is_empty());
    });
}

#[test]
fn a_missing_version_or_data_file_is_a_gap() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        table.append(vec![rows(0..10)], commit("app", 1)).await.unwrap();
        assert_eq!(table.read_version(2).await.err().unwrap().code, Code::Gap);
        let file = table.data_files().await.unwrap().remove(0).path;
        fs::remove_file(temp.path().join(file)).unwrap();
        let reader = table.read_version(1).await.unwrap();
        let error = reader.batches(10, 0).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.code, Code::Gap);
        assert!(!error.is_temporary());
        fs::remove_file(temp.path().join(entry_name(1))).unwrap();
        assert_eq!(table.read_version(1).await.err().unwrap().code, Code::Gap);
    });
}

#[test]
fn refresh_sees_what_another_handle_committed() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut writer = create(temp.path()).await;
        let mut reader = open(temp.path()).await;
        reader.refresh().await.unwrap();
        for n in 1..=150 {
            writer.append(vec![rows(n..n + 1)], commit("app", n)).await.unwrap();
            if n == 1 {
                reader.refresh().await.unwrap();
                assert_eq!((reader.version(), reader.txn_version("app").await.unwrap()), (1, Some(1)));
                assert_eq!(version_numbers(&reader, 1, 10, 0).await, [1]);
            }
        }
        reader.refresh().await.unwrap();
        assert_eq!((reader.version(), reader.txn_version("app").await.unwrap()), (150, Some(150)));
    });
}

#[test]
fn overwriting_replaces_all_rows_in_one_version() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        let mut other = open(temp.path()).await;
        table.append(vec![rows(0..3)], commit("app", 1)).await.unwrap();
        table.append(vec![rows(3..6)], commit("app", 2)).await.unwrap();
        for (version, range) in [(3, 10..12), (4, 20..23), (5, 0..0)] {
            let wanted: Vec<i64> = range.clone().collect();
            assert_eq!(
                table.overwrite(schema(), stream_of(rows(range)), commit("app", version)).await.unwrap(),
                version as u64
            );
            let fresh = open(temp.path()).await;
            for table in [&table, &fresh] {
                assert_eq!(numbers(table).await, wanted);
                assert_eq!(table.count_rows().await.unwrap(), wanted.len() as u64);
            }
            let mut follower = Follower::open(fresh.location(), &Default::default(), version as u64).await.unwrap();
            assert!(!follower.next().await.unwrap().unwrap().only_adds());
        }
        let error = other.overwrite(schema(), stream_of(rows(0..1)), commit("else", 1)).await.unwrap_err();
        assert_eq!(error.code, Code::Conflict, "rows that it has not seen must not be lost unseen");
    });
}

#[test]
fn partitioned_rows_come_back_with_their_partition() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let by = ["Full Name".to_owned()];
        let place = location(temp.path());
        let mut table = Table::create(&place, &Default::default(), schema(), &by, "").await.unwrap();
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a b/ü"), None, Some("c"), Some("a b/ü")]));
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![1, 2, 3, 4])), names]).unwrap();
        table.append(vec![batch], commit("app", 1)).await.unwrap();
        assert_eq!(data_files(temp.path()), 0);
        let batches: Vec<RecordBatch> = open(temp.path()).await.scan(10).await.unwrap().try_collect().await.unwrap();
        let mut found: Vec<(i64, Option<String>)> = Vec::new();
        for batch in &batches {
            let names = batch.column(1).as_string::<i32>();
            found.extend(column_n(batch).iter().zip(names).map(|(n, name)| (*n, name.map(str::to_owned))));
        }
        found.sort();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(found, [(1, name("a b/ü")), (2, None), (3, name("c")), (4, name("a b/ü"))]);
    });
}

#[test]
fn a_checkpoint_every_hundred_versions_keeps_everything() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        for n in 1..=205 {
            table.append(vec![rows(n..n + 1)], commit("app", n)).await.unwrap();
            table.upkeep(100, Duration::ZERO).await.unwrap();
        }
        let log = temp.path().join("_delta_log");
        let checkpoints = fs::read_dir(&log)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("checkpoint.parquet"));
        assert_eq!(checkpoints.count(), 2);
        assert!(temp.path().join(LAST_CHECKPOINT).exists());
        // what is before the checkpoint may be cleaned up
        let last = open(temp.path()).await.checkpoint.unwrap();
        for version in 0..last {
            fs::remove_file(temp.path().join(entry_name(version))).unwrap();
        }
        let mut table = open(temp.path()).await;
        // Twice small files were compacted, by a version of its own.
        assert_eq!((table.version(), table.txn_version("app").await.unwrap()), (207, Some(205)));
        assert_eq!(numbers(&table).await, (1..=205).collect::<Vec<i64>>());
        table.append(vec![rows(206..207)], commit("app", 206)).await.unwrap();
        assert_eq!(table.read_version(5).await.err().unwrap().code, Code::Gap);
    });
}

#[test]
fn a_table_that_needs_what_we_do_not_do_is_refused_by_name() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        create(&temp.path().join("model")).await;
        let text = fs::read_to_string(temp.path().join("model").join(entry_name(0))).unwrap();
        let metadata: Value =
            serde_json::from_str(text.lines().find(|line| line.contains("metaData")).unwrap()).unwrap();
        let with = |property: &str, value: &str| {
            let mut metadata = metadata.clone();
            metadata["metaData"]["configuration"][property] = value.into();
            metadata
        };
        let protocol = |reader: &[&str], writer: &[&str]| json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer } });
        let mut mapped = with("delta.columnMapping.mode", "name");
        let names = json!({ "delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1" });
        let field = json!({ "name": "n", "type": "long", "nullable": true, "metadata": names });
        mapped["metaData"]["schemaString"] = json!({ "type": "struct", "fields": [field] }).to_string().into();
        // Some writers name the feature of tables that have no such column.
        let mut variant = metadata.clone();
        let column = json!({ "name": "v", "type": "variant", "nullable": true, "metadata": {} });
        variant["metaData"]["schemaString"] = json!({ "type": "struct", "fields": [column] }).to_string().into();
        let table: Vec<(&str, Value, Value)> = vec![
            (
                "catalogManaged",
                protocol(&["catalogManaged"], &["catalogManaged", "inCommitTimestamp"]),
                metadata.clone(),
            ),
            ("telepathy", protocol(&["telepathy"], &["telepathy"]), metadata.clone()),
            ("variantType", protocol(&["variantType"], &["variantType"]), variant),
            (
                "column mapping",
                protocol(&["columnMapping"], &["columnMapping"]),
                with("delta.columnMapping.mode", "telepathy"),
            ),
        ];
        for (name, protocol, metadata) in table {
            let path = temp.path().join(name);
            write_entry(&path, 0, &[protocol, metadata]);
            let error = open_error(&path).await;
            assert_eq!(error.code, Code::Unsupported, "{error:?}");
            assert!(format!("{error:?}").contains(name), "{error:?}");
            assert!(error.hint.is_some());
        }
        // may be read, must not be written
        let table: Vec<(&str, Value, Value)> = vec![
            ("rowTracking", protocol(&[], &["rowTracking", "domainMetadata"]), metadata.clone()),
            ("delta.constraints.c", protocol(&[], &["checkConstraints"]), with("delta.constraints.c", "n > 0")),
            ("columnMapping", protocol(&["columnMapping"], &["columnMapping"]), mapped),
        ];
        for (name, protocol, metadata) in table {
            let path = temp.path().join(name);
            write_entry(&path, 0, &[protocol, metadata]);
            let error = open(&path).await.append(vec![rows(0..1)], commit("app", 1)).await.unwrap_err();
            assert_eq!(error.code, Code::Unsupported, "{error:?}");
            assert!(error.message.contains(name), "{error:?}");
        }
        // a file with a deletion vector
        let path = temp.path().join("model");
        let mut model = open(&path).await;
        model.append(vec![rows(0..3)], commit("app", 1)).await.unwrap();
        let text = fs::read_to_string(path.join(entry_name(1))).unwrap();
        let mut add: Value =
            serde_json::from_str(text.lines().find(|line| line.starts_with("{\"add\"")).unwrap()).unwrap();
        add["add"]["deletionVector"] = json!({ "storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 1 });
        let remove = json!({ "remove": { "path": add["add"]["path"], "dataChange": true, "deletionTimestamp": 1 } });
        write_entry(&path, 2, &[remove, add]);
        let mut model = open(&path).await;
        let error = model.overwrite(schema(), stream_of(rows(0..1)), commit("app", 2)).await.unwrap_err();
        assert_eq!(error.code, Code::Unsupported);
        assert!(error.message.contains("deletionVectors"), "{error:?}");
    });
}

/// The life of a table in the directory that `dir` gives anew each time.
async fn lives_in(dir: impl Fn() -> Dir) {
    assert!(Table::open_in(dir()).await.unwrap().is_none());
    let mut one = Table::create_in(dir(), schema(), &[], "", false).await.unwrap();
    let mut two = Table::create_in(dir(), schema(), &[], "", false).await.unwrap();
    assert_eq!(one.id(), two.id());
    one.append(vec![rows(0..5)], commit("app", 1)).await.unwrap();
    assert_eq!(two.append(vec![rows(0..5)], commit("app", 1)).await.unwrap_err().code, Code::Conflict);
    two.append(vec![rows(5..6)], commit("app", 2)).await.unwrap();
    for n in 3..=100 {
        two.append(vec![], commit("app", n)).await.unwrap();
    }
    two.upkeep(100, Duration::ZERO).await.unwrap();
    two.append(vec![rows(6..7)], commit("app", 101)).await.unwrap();
    let mut fresh = Table::open_in(dir()).await.unwrap().unwrap();
    assert_eq!((fresh.checkpoint, fresh.version()), (Some(100), 101));
    assert_eq!(fresh.txn_version("app").await.unwrap(), Some(101));
    assert_eq!(numbers(&fresh).await, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(version_numbers(&fresh, 1, 10, 2).await, [2, 3, 4]);
    fresh.overwrite(schema(), stream_of(rows(7..8)), commit("app", 102)).await.unwrap();
    one.refresh().await.unwrap();
    assert_eq!((one.version(), numbers(&one).await), (102, vec![7]));
}

#[test]
fn a_table_in_an_object_store_behaves_like_one_on_disk() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    run(async {
        lives_in(|| Dir::in_store("https://a.blob.core.windows.net/c/some dir/raw", store.clone(), "some dir/raw"))
            .await;
        let other = Dir::in_store("az://c/some dir", store.clone(), "some dir");
        assert_eq!(Table::open_in(other).await.err().unwrap().code, Code::Mismatch);
    });
    let azurite = Azurite::start(&["lake"]);
    let credentials =
        [("account_key".to_owned(), azurite.key()), ("endpoint".to_owned(), azurite.endpoint())].into_iter().collect();
    let location = Location::parse("abfss://lake@devstoreaccount1.dfs.core.windows.net/some dir/raw").unwrap();
    run(lives_in(|| Dir::at(&location, &credentials).unwrap()));
}

#[test]
fn a_broken_log_entry_is_named_and_a_removed_table_is_not_written_on() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        fs::write(temp.path().join(entry_name(1)), "{\"add\": {").unwrap();
        let error = table.refresh().await.unwrap_err();
        assert_eq!(error.code, Code::Corrupt);
        assert!(error.detail.unwrap().contains("00000000000000000001.json"));

        fs::remove_dir_all(temp.path().join("_delta_log")).unwrap();
        let error = table.append(vec![rows(0..1)], commit("app", 1)).await.unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert!(!temp.path().join("_delta_log").exists());
    });
}

#[test]
fn a_writer_that_was_not_told_of_its_commit_learns_of_it_from_the_transaction() {
    run(async {
        let temp = tempfile::tempdir().unwrap();
        let mut table = create(temp.path()).await;
        // the answer is lost: to this handle the commit never happened
        open(temp.path()).await.append(vec![rows(0..1)], commit("app", 1)).await.unwrap();
        let error = table.append(vec![rows(0..1)], commit("app", 1)).await.unwrap_err();
        assert!(error.code == Code::Conflict && error.is_temporary());
        table.refresh().await.unwrap();
        assert_eq!(table.txn_version("app").await.unwrap(), Some(1));
        assert_eq!(numbers(&table).await, [0]);
    });
}
