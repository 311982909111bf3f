//! Tables that are made here action by action, as the Delta protocol lets other writers make them and few of them do.

mod checkpoints;
mod files;
mod values;

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use roaring::RoaringTreemap;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Table;
use super::foreign_tests::{open, scanned, states};
use super::log::entry_name;

/// A table that grows by a commit at a time.
struct Made {
    dir: TempDir,
    next: u64,
}

impl Made {
    /// With these columns, as the log has them, divided by some of them.
    fn new(protocol: Value, fields: &[Value], partition_by: &[&str], configuration: &Value) -> Made {
        let mut made = Made { dir: tempfile::tempdir().unwrap(), next: 0 };
        let mut metadata = metadata(fields, configuration);
        metadata["metaData"]["partitionColumns"] = json!(partition_by);
        made.commit(&[protocol, metadata]);
        made
    }

    /// With a column n and nothing else of note.
    fn plain() -> Made {
        Made::new(legacy(1, 2), &[field("n", "long")], &[], &json!({}))
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> u64 {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        bytes.len() as u64
    }

    fn commit(&mut self, actions: &[Value]) {
        self.put(&entry_name(self.next), lines(actions).as_bytes());
        self.next += 1;
    }

    /// Puts a data file; gives the action that adds it.
    fn file(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> Value {
        let columns = columns.into_iter().map(|(name, values)| (name, values, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let size = self.put(name, &parquet(&batch));
        let stats = json!({ "numRecords": batch.num_rows() }).to_string();
        json!({ "add": { "path": name, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true, "stats": stats } })
    }

    /// The same with values of column n alone.
    fn numbers(&self, name: &str, numbers: std::ops::Range<i64>) -> Value {
        self.file(name, vec![("n", Arc::new(Int64Array::from_iter_values(numbers)))])
    }

    /// The rows, once it is certain that every way to them gives the same: the newest version, its count, and each version's changes.
    async fn rows(&self) -> Vec<String> {
        let table = open(self.path()).await;
        let rows = scanned(&table).await;
        assert_eq!(table.count_rows().await.unwrap(), rows.len() as u64);
        assert_eq!(states(self.path()).await.pop().unwrap(), rows, "what the changes come to");
        rows
    }

    /// Column n of the newest version.
    async fn n(&self) -> Vec<i64> {
        n_of(&scanned(&open(self.path()).await).await)
    }
}

fn n_of(rows: &[String]) -> Vec<i64> {
    let number = |row: &String| row.split("\"n\": \"").nth(1)?.split('"').next()?.parse().ok();
    let mut numbers: Vec<i64> = rows.iter().map(|row| number(row).unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn lines(actions: &[Value]) -> String {
    actions.iter().map(|action| format!("{action}\n")).collect()
}

fn legacy(reader: i64, writer: i64) -> Value {
    json!({ "protocol": { "minReaderVersion": reader, "minWriterVersion": writer } })
}

fn features(reader: &[&str], writer: &[&str]) -> Value {
    let writer: Vec<&&str> = reader.iter().chain(writer).collect();
    json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer } })
}

/// Of a table with features of writers alone.
fn writer_features(features: &[&str]) -> Value {
    json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features } })
}

fn metadata(fields: &[Value], configuration: &Value) -> Value {
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    json!({ "metaData": { "id": "made", "format": { "provider": "parquet", "options": {} }, "partitionColumns": [],
        "createdTime": 0, "schemaString": schema, "configuration": configuration } })
}

fn field(name: &str, kind: &str) -> Value {
    json!({ "name": name, "type": kind, "nullable": true, "metadata": {} })
}

fn remove(path: &str) -> Value {
    json!({ "remove": { "path": path, "dataChange": true, "deletionTimestamp": 0, "extendedFileMetadata": true, "partitionValues": {} } })
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// How many statistics a checkpoint has of its files.
#[derive(Clone, Copy, PartialEq)]
enum Stats {
    Text,
    /// `stats_parsed` and `partitionValues_parsed` alone.
    Columns,
}

/// Actions as a checkpoint has them in a Parquet file.
fn checkpoint(actions: &[Value], stats: Stats) -> Vec<u8> {
    let mut reader = arrow::json::ReaderBuilder::new(actions_schema(stats)).build(Cursor::new(lines(actions))).unwrap();
    parquet(&reader.next().unwrap().unwrap())
}

fn actions_schema(stats: Stats) -> SchemaRef {
    use DataType::{Boolean, Int32, Int64, Utf8};
    let of = |name: &str, kind: DataType| Field::new(name, kind, true);
    let group = |name: &str, fields: Vec<Field>| of(name, DataType::Struct(Fields::from(fields)));
    let map =
        |name: &str| Field::new_map(name, "key_value", Field::new("key", Utf8, false), of("value", Utf8), false, true);
    let list = |name: &str| Field::new_list(name, of("element", Utf8), true);
    let vector = || {
        let text = ["storageType", "pathOrInlineDv"].map(|name| of(name, Utf8));
        let rest = [of("offset", Int32), of("sizeInBytes", Int32), of("cardinality", Int64)];
        group("deletionVector", text.into_iter().chain(rest).collect())
    };
    let mut add = vec![
        of("path", Utf8),
        map("partitionValues"),
        of("size", Int64),
        of("modificationTime", Int64),
        of("dataChange", Boolean),
        map("tags"),
        vector(),
        of("baseRowId", Int64),
        of("defaultRowCommitVersion", Int64),
    ];
    match stats {
        Stats::Text => add.push(of("stats", Utf8)),
        Stats::Columns => {
            let bounds = |name: &str| group(name, vec![of("n", Int64)]);
            let parsed = vec![of("numRecords", Int64), bounds("minValues"), bounds("maxValues"), bounds("nullCount")];
            add.push(group("stats_parsed", parsed));
            add.push(group("partitionValues_parsed", vec![of("p", Utf8)]));
        }
    }
    Arc::new(Schema::new(vec![
        group("txn", vec![of("appId", Utf8), of("version", Int64), of("lastUpdated", Int64)]),
        group("add", add),
        group(
            "remove",
            vec![
                of("path", Utf8),
                of("deletionTimestamp", Int64),
                of("dataChange", Boolean),
                map("partitionValues"),
                of("size", Int64),
                vector(),
            ],
        ),
        group(
            "metaData",
            vec![
                of("id", Utf8),
                of("name", Utf8),
                of("description", Utf8),
                group("format", vec![of("provider", Utf8), map("options")]),
                of("schemaString", Utf8),
                list("partitionColumns"),
                map("configuration"),
                of("createdTime", Int64),
            ],
        ),
        group(
            "protocol",
            vec![
                of("minReaderVersion", Int32),
                of("minWriterVersion", Int32),
                list("readerFeatures"),
                list("writerFeatures"),
            ],
        ),
        group("domainMetadata", vec![of("domain", Utf8), of("configuration", Utf8), of("removed", Boolean)]),
        group("sidecar", vec![of("path", Utf8), of("sizeInBytes", Int64), of("modificationTime", Int64), map("tags")]),
        group("checkpointMetadata", vec![of("version", Int64), map("tags")]),
    ]))
}

/// A deletion vector as it stands in a file, behind its length, or in the log.
fn vector_bytes(rows: &[u64]) -> Vec<u8> {
    let mut bytes = 1_681_511_377u32.to_le_bytes().to_vec();
    RoaringTreemap::from_iter(rows.iter().copied()).serialize_into(&mut bytes).unwrap();
    bytes
}

/// A file of deletion vectors; gives where each begins.
fn vector_file(vectors: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = vec![1];
    let mut begin = Vec::new();
    for vector in vectors {
        begin.push(bytes.len());
        bytes.extend((vector.len() as u32).to_be_bytes());
        bytes.extend(*vector);
        bytes.extend(checksum(vector).to_be_bytes());
    }
    (bytes, begin)
}

fn checksum(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, fold)
}

/// Four bytes as five characters.
fn base85(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    let five = |four: &[u8]| {
        let number = u32::from_be_bytes(four.try_into().unwrap());
        [4u32, 3, 2, 1, 0].map(|power| char::from(DIGITS[(number / 85u32.pow(power) % 85) as usize]))
    };
    padded.chunks(4).flat_map(five).collect()
}
