//! The land hop: what was read becomes one commit of the raw Delta layer, with its manifest; and back again after a crash.
//!
//! Promise: the commit carries `txn(app, seq)` and the list of files, so that the lake itself says what has landed. Two processes
//! that land at once conflict; one of them plans again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use serde_json::{Map, Value};

use crate::format::{Format, RawBatch, typed};
use crate::lake::delta::{Commit, Prepared, REWRITE, Table};
use crate::model::landing::{MANIFEST_KEY, Manifest, Part};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pipeline::columns::match_header;
use crate::pipeline::read::{Piece, Plan, Read};
use crate::pipeline::rescue;

pub const LAYER: &str = "raw";
/// Records that are read back at a time.
const BATCH_ROWS: usize = 16_384;
const CORRUPT: &str = "_corrupt_record";
const RAW: &str = "_raw";
const FILE: &str = "_file";
const ROW: &str = "_row";

/// The columns that every raw layer has beside those of the files.
fn own_fields() -> Vec<Field> {
    vec![
        Field::new(CORRUPT, DataType::Utf8, true),
        Field::new(RAW, DataType::Binary, true),
        Field::new(FILE, DataType::Utf8, true),
        Field::new(ROW, DataType::Int64, true),
    ]
}

/// The schema that a raw layer begins with: columns of files are added as they come.
pub fn first_schema() -> SchemaRef {
    Arc::new(Schema::new(own_fields()))
}

/// Checks that a table can be this pipeline's raw layer.
pub fn check_schema(schema: &Schema) -> std::result::Result<(), String> {
    for field in own_fields() {
        match schema.field_with_name(field.name()) {
            Ok(found) if found.data_type() == field.data_type() => {}
            Ok(found) => return Err(format!("Its column {} is {}.", field.name(), found.data_type())),
            Err(_) => return Err(format!("It has no column {}.", field.name())),
        }
    }
    Ok(())
}

/// Writes what was read, without making it part of the layer yet.
pub async fn prepare(table: &Table, read: &Read) -> Result<Prepared> {
    let batches =
        read.pieces.iter().map(|piece| raw_batch(&piece.batch, &read.parts[piece.part])).collect::<Result<_>>()?;
    table.prepare(batches).await
}

/// Makes what was read and prepared one commit; gives its version.
pub async fn land(
    table: &mut Table,
    pipeline: &Pipeline,
    read: &Read,
    prepared: Prepared,
    seq: i64,
    generation: u32,
) -> Result<u64> {
    let manifest = Manifest { pipeline: pipeline.name.clone(), seq, files: read.parts.clone(), generation };
    let manifest = serde_json::to_value(&manifest).map_err(|e| Error::new(Code::Internal, e.to_string()))?;
    let mut info = Map::new();
    info.insert(MANIFEST_KEY.into(), manifest);
    let app_id = pipeline.writer(LAYER);
    let commit = Commit { app_id: &app_id, version: seq, operation: "STREAMING UPDATE", info };
    table.append_prepared(prepared, commit).await
}

fn raw_batch(batch: &RawBatch, part: &Part) -> Result<RecordBatch> {
    let rows = batch.rows();
    let mut fields: Vec<Field> = batch.fields.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.extend(own_fields());
    let mut columns: Vec<ArrayRef> = batch.fields.columns().to_vec();
    columns.push(Arc::new(batch.corrupt.clone()));
    columns.push(Arc::new(batch.raw.clone()));
    columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&part.path, rows))));
    columns.push(Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|i| batch.first_record as i64 + i))));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| Error::new(Code::Internal, e.to_string()))
}

/// What a commit says of itself, if it is one of this pipeline's landings.
pub fn manifest_of(info: Option<Map<String, Value>>, pipeline: &Pipeline) -> Result<Option<Manifest>> {
    let Some(value) = info.and_then(|mut i| i.remove(MANIFEST_KEY)) else { return Ok(None) };
    let manifest: Manifest = match serde_json::from_value(value) {
        Ok(m) => m,
        Err(_) => return Ok(None),
    };
    Ok((manifest.pipeline == pipeline.name).then_some(manifest))
}

/// True for a commit that has changed no row, ours or another writer's.
pub fn is_upkeep(info: &Option<Map<String, Value>>) -> bool {
    let operation = info.as_ref().and_then(|info| info.get("operation")).and_then(Value::as_str);
    operation.is_some_and(|operation| operation == REWRITE)
}

/// Reads a landing back from the lake.
pub async fn read_back(table: &Table, version: u64, manifest: Manifest, plan: Plan) -> Result<Read> {
    let mut out = Read { modified: vec![None; manifest.files.len()], ..Read::default() };
    let mut stream = table.read_version(version).await?.batches(BATCH_ROWS, 0);
    let mut part = 0;
    let mut taken = 0u64;
    while let Some(batch) = stream.try_next().await? {
        let mut offset = 0;
        while offset < batch.num_rows() {
            while manifest.files.get(part).is_some_and(|p| taken == p.records) {
                part += 1;
                taken = 0;
            }
            let Some(this) = manifest.files.get(part) else {
                return Err(broken(version, "it holds more rows than its manifest says"));
            };
            let rows = (batch.num_rows() - offset).min((this.records - taken) as usize);
            let slice = batch.slice(offset, rows);
            let typed = plan.files.format == Format::Typed;
            let raw = from_raw(&slice, this, typed, this.first_record + taken, version)?;
            let matched = Arc::new(match_header(&this.columns, &plan.columns));
            let encoded = rescue::encode(&raw, &matched, &plan.files.format)?;
            out.pieces.push(Piece { part, batch: raw, encoded, matched, ops: None });
            out.records += rows as u64;
            taken += rows as u64;
            offset += rows;
        }
    }
    let expected: u64 = manifest.files.iter().map(|p| p.records).sum();
    if out.records != expected {
        return Err(broken(version, "it holds fewer rows than its manifest says"));
    }
    out.bytes = manifest.files.iter().map(|p| p.to_byte - p.from_byte).sum();
    out.parts = manifest.files;
    Ok(out)
}

fn broken(version: u64, what: &str) -> Error {
    Error::new(Code::Corrupt, format!("version {version} of the raw layer can't be loaded: {what}"))
        .hint("Somebody else changed the raw layer. Compare it with its manifest in the commit info.")
}

fn from_raw(batch: &RecordBatch, part: &Part, typed: bool, first_record: u64, version: u64) -> Result<RawBatch> {
    let text = |name: &str| -> Result<StringArray> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(StringArray::new_null(batch.num_rows()));
        };
        let column = arrow::compute::cast(column, &DataType::Utf8).map_err(|e| broken(version, &e.to_string()))?;
        let column = column.as_any().downcast_ref::<StringArray>().cloned();
        column.ok_or_else(|| broken(version, &format!("column {name} is no text")))
    };
    let files = text(FILE)?;
    if !files.is_empty() && files.value(0) != part.path {
        return Err(broken(version, "its rows are not in the order of its manifest"));
    }
    let raw = match batch.column_by_name(RAW) {
        Some(column) => {
            let column =
                arrow::compute::cast(column, &DataType::Binary).map_err(|e| broken(version, &e.to_string()))?;
            column
                .as_any()
                .downcast_ref::<BinaryArray>()
                .cloned()
                .ok_or_else(|| broken(version, "column _raw is not binary"))?
        }
        None => BinaryArray::new_null(batch.num_rows()),
    };
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for name in &part.columns {
        let column: ArrayRef = match batch.column_by_name(name) {
            Some(column) if typed => column.clone(),
            _ => Arc::new(text(name)?),
        };
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    let fields =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| broken(version, &e.to_string()))?;
    // What was stored comes back in other forms of the same types.
    let fields = if typed { typed::normal(&fields)?.0 } else { fields };
    Ok(RawBatch { fields, corrupt: text(CORRUPT)?, raw, first_record, end_byte: part.to_byte })
}
