//! What joining files promises: the same rows and the same statistics as files written anew, and nothing left where it can't be done.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use deltalake::kernel::Add;
use futures::stream::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parquet::arrow::async_reader::AsyncFileReader;
use serde_json::{Map, Value};

use super::data::Written;
use super::rows::DataFile;
use super::{Commit, Table};
use crate::lake::parquet_file::ParquetFile;
use crate::lake::store::Dir;
use crate::lake::tests::run;

const ROWS: i64 = 8 * 1024;

/// Rows of all kinds of columns; files differ in which of them hold what.
fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let numbers: Vec<i64> = numbers.collect();
    let file = numbers[0] / ROWS;
    let scattered = |n: i64| (n * 7_919).rem_euclid(1_000_003) - 500_000;
    let some = |n: &i64| (n % 5 > 0).then(|| scattered(*n));
    let texts = StringArray::from_iter(numbers.iter().map(|n| some(n).map(|n| format!("{n} é"))));
    let amounts = Decimal128Array::from_iter(numbers.iter().map(|n| some(n).map(i128::from)));
    let place = StructArray::from(vec![
        (Arc::new(Field::new("name", DataType::Utf8, true)), Arc::new(texts.clone()) as ArrayRef),
        (Arc::new(Field::new("n", DataType::Int64, true)), Arc::new(numbers.iter().map(some).collect::<Int64Array>())),
    ]);
    let sometimes: ArrayRef = match file % 2 {
        0 => new_null_array(&DataType::Int64, numbers.len()),
        _ => Arc::new(Int64Array::from(numbers.clone())),
    };
    let columns: [(&str, ArrayRef); 11] = [
        ("n", Arc::new(Int64Array::from(numbers.clone()))),
        ("text", Arc::new(texts)),
        ("amount", Arc::new(amounts.with_precision_and_scale(12, 2).unwrap())),
        ("day", Arc::new(numbers.iter().map(|n| some(n).map(|n| n as i32 / 50)).collect::<Date32Array>())),
        (
            "at",
            Arc::new(
                numbers
                    .iter()
                    .map(|n| some(n).map(|n| n * 77_777_777))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
        ),
        ("flag", Arc::new(numbers.iter().map(|n| Some(*n > 3)).collect::<BooleanArray>())),
        ("x", Arc::new(numbers.iter().map(|n| some(n).map(|n| n as f64 / 3.0)).collect::<Float64Array>())),
        ("sometimes", sometimes),
        ("bytes", Arc::new(BinaryArray::from_iter_values(numbers.iter().map(|n| n.to_le_bytes())))),
        ("place", Arc::new(place)),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(numbers.iter().map(|n| Some([Some(*n), None])))),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

struct Lake {
    store: Arc<InMemory>,
    table: Table,
}

impl Lake {
    async fn new(partition_by: &[&str]) -> Lake {
        let store = Arc::new(InMemory::new());
        let by: Vec<String> = partition_by.iter().map(|name| name.to_string()).collect();
        let dir = Dir::in_store("az://lake/t", store.clone(), "t");
        let table = Table::create_in(dir, rows(0..1).schema(), &by, "", false).await.unwrap();
        Lake { store, table }
    }

    /// With a file of so many rows for each of these numbers.
    async fn of(partition_by: &[&str], files: std::ops::Range<i64>) -> Lake {
        let mut lake = Lake::new(partition_by).await;
        for n in files {
            lake.append(rows(n * ROWS..(n + 1) * ROWS)).await;
        }
        lake
    }

    async fn append(&mut self, batch: RecordBatch) {
        let version = self.table.version() as i64 + 1;
        let commit = Commit { app_id: "app", version, operation: "WRITE", info: Map::new() };
        self.table.append(vec![batch], commit).await.unwrap();
    }

    async fn live(&mut self) -> Vec<Add> {
        let mut adds: Vec<Add> = self.table.read_live().await.unwrap().into_values().collect();
        adds.sort_by_key(|add| add.modification_time);
        adds
    }

    async fn content(&self, written: &Written) -> Vec<RecordBatch> {
        let files = written.adds.iter().map(|add| DataFile::live(add, &self.table.dir).unwrap()).collect();
        self.table.source().batches(files, 1 << 20, 0).try_collect().await.unwrap()
    }

    /// Rows of each row group of a file.
    async fn groups(&self, add: &Add) -> Vec<i64> {
        let mut file = ParquetFile::immutable(&self.table.dir, &add.path, add.size as u64);
        let footer = file.get_metadata(None).await.unwrap();
        footer.row_groups().iter().map(|group| group.num_rows()).collect()
    }

    async fn files(&self) -> usize {
        let found: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        found.iter().filter(|file| file.location.as_ref().ends_with(".parquet")).count()
    }
}

fn stats(add: &Add) -> Value {
    serde_json::from_str(add.stats.as_deref().unwrap()).unwrap()
}

fn one(batches: Vec<RecordBatch>) -> RecordBatch {
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn joined_files_hold_and_say_what_files_written_anew_do() {
    run(async {
        let mut lake = Lake::of(&[], 0..9).await;
        let live = lake.live().await;
        let live: Vec<&Add> = live.iter().collect();
        let joined = lake.table.join(&live).await.unwrap().unwrap();
        let anew = lake.table.rewrite(&live).await.unwrap();
        assert_eq!((joined.rows, joined.adds.len()), (9 * ROWS as u64, 1));
        assert_eq!(lake.groups(&joined.adds[0]).await, [ROWS; 9]);
        assert_eq!(lake.groups(&anew.adds[0]).await, [64 * 1024, ROWS]);
        assert_eq!(one(lake.content(&joined).await), one(lake.content(&anew).await));
        assert_eq!(stats(&joined.adds[0]), stats(&anew.adds[0]));
        let stored = lake
            .store
            .list(None)
            .try_filter(|file| std::future::ready(file.location.as_ref().ends_with(joined.adds[0].path.as_str())));
        let stored: Vec<_> = stored.try_collect().await.unwrap();
        assert_eq!((stored.len(), stored[0].size), (1, joined.bytes));
        // Joined once more with one that is a whole row group and a rest.
        let again = lake.table.join(&[&joined.adds[0], &anew.adds[0]]).await.unwrap().unwrap();
        let twice = [lake.content(&joined).await, lake.content(&anew).await].concat();
        assert_eq!(one(lake.content(&again).await), one(twice));
    });
}

#[test]
fn files_of_a_partition_stay_in_its_directory() {
    run(async {
        let mut lake = Lake::of(&["flag"], 1..3).await;
        let live = lake.live().await;
        let joined = lake.table.join(&live.iter().collect::<Vec<_>>()).await.unwrap().unwrap();
        let (made, of) = (&joined.adds[0], &live[0]);
        let directory = |add: &Add| add.path.rsplit_once('/').unwrap().0.to_owned();
        assert_eq!((directory(made), &made.partition_values), (directory(of), &of.partition_values));
        assert_eq!(one(lake.content(&joined).await).num_rows() as i64, 2 * ROWS);
    });
}

#[test]
fn what_takes_more_than_copying_is_left_alone_and_leaves_nothing() {
    run(async {
        let mut lake = Lake::of(&[], 0..3).await;
        lake.append(rows(0..100)).await;
        let extra: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
        let (schema, mut columns, _) = rows(0..ROWS).into_parts();
        columns.push(extra);
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new("extra", DataType::Int64, true)));
        let wider = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
        lake.append(wider).await;
        let live = lake.live().await;
        let files = lake.files().await;
        let by_rows = |rows: i64| live.iter().filter(move |add| stats(add)["numRecords"] == rows).collect::<Vec<_>>();
        // Too small by far, and none alike behind others that are.
        let few = by_rows(100);
        assert!(lake.table.join(&few).await.unwrap().is_none());
        assert!(lake.table.join(&by_rows(ROWS)).await.unwrap().is_none());
        let silent = Add { stats: None, ..live[0].clone() };
        assert!(lake.table.join(&[&live[1], &silent]).await.unwrap().is_none());
        assert_eq!(lake.files().await, files);
        let upkeep = lake.table.rewrite(&live.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(upkeep.rows as i64, 4 * ROWS + 100);
    });
}

#[test]
fn files_of_other_writers_are_left_alone() {
    run(async {
        let mut lake = Lake::of(&[], 0..1).await;
        let live = lake.live().await;
        let bytes = crate::lake::parquet_writing::file(&rows(ROWS..2 * ROWS)).unwrap();
        lake.table.dir.put("theirs.parquet", bytes.clone()).await.unwrap();
        let theirs = Add { path: "theirs.parquet".into(), size: bytes.len() as i64, ..live[0].clone() };
        assert!(lake.table.join(&[&live[0], &theirs]).await.unwrap().is_none());
        assert_eq!(lake.files().await, 2);
    });
}
