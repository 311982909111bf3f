//! Reads the rows of data files, as the table's present columns.
//!
//! Promises: batches come file after file and in each file's order; what is skipped is not decoded where whole row groups or files
//! can be left out. One row group's bytes and one batch are in memory. A file that the log names and that is gone is a `Gap`.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType as ArrowType;
use deltalake::kernel::Add;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};

use super::features;
use super::log::{Entry, row_count};
use super::schema::{Columns, cast, new_batch};
use crate::lake::error::{format_error, place_error};
use crate::lake::parquet_file::ParquetFile;
use crate::lake::store::Dir;
use crate::model::{Code, Error, Result};

/// The rows that one version added.
pub struct VersionReader {
    version: u64,
    source: Source,
    files: Vec<Add>,
    removed_files: usize,
}

impl VersionReader {
    pub(super) fn new(version: u64, source: Source, entry: Entry) -> Result<VersionReader> {
        let files: Vec<Add> = entry.adds.into_iter().filter(|add| add.data_change).collect();
        for add in &files {
            source.check(add)?;
        }
        let removed_files = entry.removes.iter().filter(|remove| remove.data_change).count();
        Ok(VersionReader { version, source, files, removed_files })
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many data files the version took out of the table: more than none means that rows were changed or deleted.
    pub fn removed_files(&self) -> usize {
        self.removed_files
    }

    /// Path and size of the files that hold the rows.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.files.iter().map(|add| (add.path.as_str(), size(add)))
    }

    /// The number of rows, where every file's statistics tell it.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(row_count).sum()
    }

    /// The rows after the first `skip_rows`, in batches of at most `batch_rows`.
    pub fn batches(self, batch_rows: usize, skip_rows: u64) -> BoxStream<'static, Result<RecordBatch>> {
        self.source.batches(self.files, batch_rows, skip_rows)
    }
}

fn size(add: &Add) -> u64 {
    u64::try_from(add.size).unwrap_or(0)
}

/// Where data files are and what they are read as.
#[derive(Clone)]
pub(super) struct Source {
    pub dir: Dir,
    pub columns: Arc<Columns>,
}

type FileStream = ParquetRecordBatchStream<ParquetFile>;

struct Reading {
    source: Source,
    files: VecDeque<Add>,
    open: Option<(Add, FileStream)>,
    batch_rows: usize,
    skip: u64,
}

impl Source {
    /// Refuses a file that we could only read wrongly.
    pub fn check(&self, add: &Add) -> Result<()> {
        if add.deletion_vector.is_some() {
            return Err(features::deletion_vector(&add.path, &self.dir.place()));
        }
        if add.path.contains("://") || add.path.starts_with('/') {
            return Err(place_error(Code::Unsupported, "a file of the table lies outside of it", &self.dir.place())
                .hint("Shallow clones are not supported; read a deep copy of the table."));
        }
        Ok(())
    }

    pub fn batches(&self, files: Vec<Add>, batch_rows: usize, skip: u64) -> BoxStream<'static, Result<RecordBatch>> {
        let reading =
            Reading { source: self.clone(), files: files.into(), open: None, batch_rows: batch_rows.max(1), skip };
        stream::try_unfold(reading, |mut reading| async move {
            loop {
                if let Some((add, rows)) = &mut reading.open {
                    match rows.try_next().await {
                        Ok(Some(batch)) => {
                            let batch = reading.source.as_table(&batch, add)?;
                            return Ok(Some((batch, reading)));
                        }
                        Ok(None) => reading.open = None,
                        Err(e) => return Err(reading.source.file_error(&e, &add.path)),
                    }
                }
                let Some(add) = reading.files.pop_front() else { return Ok(None) };
                if row_count(&add).is_some_and(|rows| rows <= reading.skip && reading.skip > 0) {
                    reading.skip -= row_count(&add).unwrap_or(0);
                    continue;
                }
                let (skipped, rows) = reading.source.open(&add, reading.batch_rows, reading.skip).await?;
                reading.skip -= skipped;
                reading.open = rows.map(|rows| (add, rows));
            }
        })
        .boxed()
    }

    /// The number of rows that a file itself tells.
    pub async fn count(&self, add: &Add) -> Result<u64> {
        let builder = self.builder(add).await?;
        Ok(u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0))
    }

    async fn builder(&self, add: &Add) -> Result<ParquetRecordBatchStreamBuilder<ParquetFile>> {
        ParquetFile::immutable(&self.dir, &add.path, size(add)).open().await.map_err(|e| self.file_error(&e, &add.path))
    }

    /// A file after its first `skip` rows, and how many rows that left out; None where nothing of it is left.
    async fn open(&self, add: &Add, batch_rows: usize, skip: u64) -> Result<(u64, Option<FileStream>)> {
        let mut builder = self.builder(add).await?;
        let groups = builder.metadata().row_groups();
        let (mut first, mut left) = (0, skip);
        while let Some(rows) = groups.get(first).map(|group| u64::try_from(group.num_rows()).unwrap_or(0)) {
            if rows > left {
                break;
            }
            left -= rows;
            first += 1;
        }
        if first == groups.len() {
            return Ok((skip - left, None));
        }
        let wanted = (first..groups.len()).collect();
        let roots = (0..builder.schema().fields().len())
            .filter(|i| self.columns.stored.column_with_name(builder.schema().field(*i).name()).is_some())
            .collect::<Vec<_>>();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_row_groups(wanted).with_projection(mask).with_batch_size(batch_rows);
        if left > 0 {
            builder = builder.with_offset(usize::try_from(left).unwrap_or(usize::MAX));
        }
        Ok((skip, Some(builder.build().map_err(|e| self.file_error(&e, &add.path))?)))
    }

    /// A batch of a file with the table's columns: its own, those that its directory tells, and NULL for the rest.
    fn as_table(&self, batch: &RecordBatch, add: &Add) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.stored.fields().len());
        for field in self.columns.stored.fields() {
            let array = if self.columns.partition_by.contains(field.name()) {
                let value = add.partition_values.get(field.name()).cloned().flatten();
                partition_array(value, field.data_type(), rows, field.name())
            } else {
                match batch.column_by_name(field.name()) {
                    Some(array) => cast(array, field.data_type(), field.name()),
                    None => Ok(new_null_array(field.data_type(), rows)),
                }
            };
            arrays.push(array.map_err(|e| self.misfit(e, add))?);
        }
        new_batch(self.columns.schema.clone(), arrays, rows).map_err(|e| self.misfit(e, add))
    }

    fn misfit(&self, error: Error, add: &Add) -> Error {
        let reason = error.detail.unwrap_or_default();
        Error::new(Code::Corrupt, error.message).detail(format!("location: {}: {reason}", self.dir.place_of(&add.path)))
    }

    fn file_error(&self, error: &(dyn std::error::Error + 'static), path: &str) -> Error {
        let place = self.dir.place_of(path);
        let error = format_error(error, "read a data file of the table", &place);
        match error.code {
            Code::NotFound | Code::Gap => place_error(Code::Gap, "a data file of the table is gone", &place).hint(
                "The file was removed before it was read. Restore it, or start the pipeline anew from a later version.",
            ),
            _ => error,
        }
    }
}

/// A column that has the same value in every row; an empty text is NULL, as the protocol says.
fn partition_array(value: Option<String>, data_type: &ArrowType, rows: usize, column: &str) -> Result<ArrayRef> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(new_null_array(data_type, rows)),
        Some(value) => {
            let text: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)));
            cast(&text, data_type, column)
        }
    }
}
