//! Reads the rows of data files as columns of the table.
//!
//! Promises: batches come file after file and in each file's order; what is skipped is not decoded where whole row groups or files
//! can be left out. Rows that a deletion vector takes out are not there. A file that the log names and that is gone is a `Gap`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use deltalake::kernel::{Add, DeletionVectorDescriptor};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use super::deletion;
use super::log::{Entry, row_count};
use super::paths;
use super::schema::{Columns, cast, new_batch};
use crate::lake::error::{format_error, place_error};
use crate::lake::parquet_file::ParquetFile;
use crate::lake::parquet_rows::{Limits, ParquetRows};
use crate::lake::store::Dir;
use crate::model::{Code, Error, Result};

/// The column in which a change data feed says what happened to a row.
pub const CHANGE_TYPE: &str = "_change_type";

/// Bytes that reading our own files may hold: their row groups are small.
const OWN_MEMORY: u64 = 64 * 1024 * 1024;

/// The rows that one version added.
pub struct VersionReader {
    source: Source,
    files: Vec<DataFile>,
}

impl VersionReader {
    pub(super) fn new(source: Source, entry: Entry) -> Result<VersionReader> {
        let adds = entry.adds.iter().filter(|add| add.data_change);
        let files = adds.map(|add| DataFile::live(add, &source.dir)).collect::<Result<_>>()?;
        Ok(VersionReader { source, files })
    }

    /// The rows after the first `skip_rows`, in batches of at most `batch_rows`.
    pub fn batches(self, batch_rows: usize, skip_rows: u64) -> BoxStream<'static, Result<RecordBatch>> {
        self.source.batches(self.files, batch_rows, skip_rows)
    }
}

/// Which rows of a file are meant.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    /// All but those that a vector takes out.
    Live(Option<DeletionVectorDescriptor>),
    /// Those that one vector takes out and the other does not.
    Between { out_of: Option<DeletionVectorDescriptor>, not_of: Option<DeletionVectorDescriptor> },
}

/// A data file of a table, and which of its rows are meant.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Relative to the table; from the top of the store where it begins with a slash.
    pub path: String,
    /// Zero where the log does not tell.
    pub size: u64,
    /// None where the log does not tell.
    pub(super) partition_values: Option<HashMap<String, Option<String>>>,
    /// The number of rows in the file, where the log tells.
    pub(super) records: Option<u64>,
    wanted: Wanted,
}

impl DataFile {
    /// The rows of the table that the file holds.
    pub(super) fn live(add: &Add, dir: &Dir) -> Result<DataFile> {
        DataFile::new(&add.path, add.size, Some(&add.partition_values), row_count(add), dir)
            .map(|file| file.wanting(Wanted::Live(add.deletion_vector.clone())))
    }

    pub(super) fn new(
        path: &str,
        size: i64,
        partition_values: Option<&HashMap<String, Option<String>>>,
        records: Option<u64>,
        dir: &Dir,
    ) -> Result<DataFile> {
        Ok(DataFile {
            path: paths::within(dir, path, "a file of the table")?,
            size: u64::try_from(size).unwrap_or(0),
            partition_values: partition_values.cloned(),
            records,
            wanted: Wanted::Live(None),
        })
    }

    fn wanting(self, wanted: Wanted) -> DataFile {
        DataFile { wanted, ..self }
    }

    pub(super) fn except(self, vector: Option<DeletionVectorDescriptor>) -> DataFile {
        self.wanting(Wanted::Live(vector))
    }

    /// The rows that `out_of` takes out of the file and `not_of` does not.
    pub(super) fn between(
        self,
        out_of: Option<DeletionVectorDescriptor>,
        not_of: Option<DeletionVectorDescriptor>,
    ) -> DataFile {
        self.wanting(Wanted::Between { out_of, not_of })
    }

    /// False where it is known that no row is meant.
    pub(super) fn may_have_rows(&self) -> bool {
        match &self.wanted {
            Wanted::Live(_) => self.records != Some(0),
            Wanted::Between { out_of, not_of } => out_of.is_some() && out_of != not_of,
        }
    }

    /// True where the log tells that the file has no rows from this number on.
    pub fn ends_at(&self, row: u64) -> bool {
        self.records == Some(row)
    }

    /// How many rows are meant, where the log tells.
    pub fn rows(&self) -> Option<u64> {
        let deleted = |vector: &Option<DeletionVectorDescriptor>| {
            vector.as_ref().map_or(0, |vector| u64::try_from(vector.cardinality).unwrap_or(0))
        };
        match &self.wanted {
            Wanted::Live(vector) => self.records.map(|rows| rows.saturating_sub(deleted(vector))),
            Wanted::Between { .. } => None,
        }
    }

    /// Which rows to take of the file.
    async fn mask(&self, dir: &Dir) -> Result<Mask> {
        Ok(match &self.wanted {
            Wanted::Live(None) => Mask::All,
            Wanted::Live(Some(vector)) => Mask::Except(deletion::read(dir, vector, &self.path).await?),
            Wanted::Between { out_of: None, .. } => Mask::Only(RoaringTreemap::new()),
            Wanted::Between { out_of: Some(vector), not_of } => {
                let mut rows = deletion::read(dir, vector, &self.path).await?;
                if let Some(vector) = not_of {
                    rows -= deletion::read(dir, vector, &self.path).await?;
                }
                Mask::Only(rows)
            }
        })
    }
}

enum Mask {
    All,
    Except(RoaringTreemap),
    Only(RoaringTreemap),
}

impl Mask {
    /// The rows to take of `count` from number `first` on; None for all of them.
    fn of(&self, first: u64, count: u64) -> Option<BooleanArray> {
        let (rows, taken) = match self {
            Mask::All => return None,
            Mask::Except(rows) => (rows, false),
            Mask::Only(rows) => (rows, true),
        };
        let mut picked = vec![!taken; usize::try_from(count).unwrap_or(0)];
        let mut marked = rows.iter();
        marked.advance_to(first);
        for row in marked.take_while(|row| *row < first + count) {
            picked[(row - first) as usize] = taken;
        }
        picked.contains(&false).then(|| BooleanArray::from(picked))
    }
}

/// Consecutive rows of one file, without those that are not meant.
pub struct Rows {
    pub batch: RecordBatch,
    /// The rows' numbers in the file, from 0, where some between them are left out.
    numbers: Option<Vec<u64>>,
    first: u64,
    /// The number of the first row behind these, taken or not.
    pub next_row: u64,
}

impl Rows {
    /// The rows that `wanted` marks.
    pub fn only(self, wanted: &BooleanArray) -> Result<Rows> {
        let number = |i: usize| match &self.numbers {
            Some(numbers) => numbers.get(i).copied().unwrap_or(self.next_row),
            None => self.first + i as u64,
        };
        let numbers = wanted.values().set_indices().map(number).collect();
        let batch = filter_record_batch(&self.batch, wanted).map_err(|e| format_error(&e, "pick rows", ""))?;
        Ok(Rows { batch, numbers: Some(numbers), ..self })
    }

    /// The first `count` of the rows alone.
    pub fn first(mut self, count: usize) -> Rows {
        if count < self.batch.num_rows() {
            self.next_row = match &self.numbers {
                Some(numbers) => numbers.get(count).copied().unwrap_or(self.next_row),
                None => self.first + count as u64,
            };
            self.batch = self.batch.slice(0, count);
        }
        self
    }
}

/// Where data files are and what they are read as.
#[derive(Clone)]
pub(super) struct Source {
    pub dir: Dir,
    pub columns: Arc<Columns>,
}

struct Reading {
    source: Source,
    files: VecDeque<DataFile>,
    open: Option<BoxStream<'static, Result<Rows>>>,
    limits: Limits,
    skip: u64,
}

impl Source {
    /// The rows of these files after the first `skip`.
    pub fn batches(
        &self,
        files: Vec<DataFile>,
        batch_rows: usize,
        skip: u64,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let limits = Limits { batch_rows: batch_rows.max(1), memory: OWN_MEMORY };
        let reading = Reading { source: self.clone(), files: files.into(), open: None, limits, skip };
        stream::try_unfold(reading, |mut reading| async move {
            loop {
                if let Some(rows) = &mut reading.open {
                    let Some(rows) = rows.try_next().await? else {
                        reading.open = None;
                        continue;
                    };
                    let here = rows.batch.num_rows() as u64;
                    let skipped = here.min(reading.skip);
                    reading.skip -= skipped;
                    if skipped < here {
                        let batch = rows.batch.slice(skipped as usize, (here - skipped) as usize);
                        return Ok(Some((batch, reading)));
                    }
                    continue;
                }
                let Some(file) = reading.files.pop_front() else { return Ok(None) };
                match file.rows() {
                    Some(rows) if reading.skip > 0 && rows <= reading.skip => reading.skip -= rows,
                    // Where no row is left out, rows are skipped without being decoded.
                    Some(_) if file.wanted == Wanted::Live(None) => {
                        let from = std::mem::take(&mut reading.skip);
                        reading.open = Some(reading.source.rows(file, from, reading.limits).await?);
                    }
                    _ => reading.open = Some(reading.source.rows(file, 0, reading.limits).await?),
                }
            }
        })
        .boxed()
    }

    /// The number of rows that are meant, from the file itself.
    pub async fn count(&self, file: &DataFile) -> Result<u64> {
        let mask = file.mask(&self.dir).await?;
        let rows = self.open(file).await?.row_count();
        Ok(match mask {
            Mask::All => rows,
            Mask::Except(deleted) => rows.saturating_sub(deleted.len()),
            Mask::Only(meant) => meant.len(),
        })
    }

    /// The rows that are meant from row number `from_row` of the file on.
    pub async fn rows(
        &self,
        file: DataFile,
        from_row: u64,
        limits: Limits,
    ) -> Result<BoxStream<'static, Result<Rows>>> {
        let mask = file.mask(&self.dir).await?;
        if matches!(&mask, Mask::Only(rows) if rows.range_cardinality(from_row..) == 0) {
            return Ok(stream::empty().boxed());
        }
        let parquet = self.open(&file).await?;
        let in_file = parquet.schema().fields().clone();
        let mut wanted: Vec<usize> = self.columns.stored_places(&in_file).into_iter().flatten().collect();
        wanted.extend(in_file.iter().position(|field| field.name() == CHANGE_TYPE));
        let batches = parquet.batches(wanted, from_row, limits).map_err(|e| self.file_error(e, &file.path))?;
        let source = self.clone();
        let numbered = stream::try_unfold((batches, from_row), |(mut batches, at)| async move {
            let next: Option<RecordBatch> = batches.try_next().await?;
            Ok(next.map(|batch| {
                let behind = at + batch.num_rows() as u64;
                ((batch, at), (batches, behind))
            }))
        });
        let failed = (self.clone(), file.path.clone());
        let rows = numbered.map_err(move |e| failed.0.file_error(e, &failed.1)).map(move |next| {
            let (batch, first) = next?;
            let next_row = first + batch.num_rows() as u64;
            let picked = mask.of(first, batch.num_rows() as u64);
            let (batch, numbers) = match picked {
                None => (batch, None),
                Some(picked) => {
                    let numbers = picked.values().set_indices().map(|i| first + i as u64).collect();
                    (
                        filter_record_batch(&batch, &picked)
                            .map_err(|e| source.misfit(format_error(&e, "leave out deleted rows", ""), &file))?,
                        Some(numbers),
                    )
                }
            };
            let batch = source.as_table(&batch, &file)?;
            Ok(Rows { batch, numbers, first, next_row })
        });
        Ok(rows.try_filter(|rows| std::future::ready(rows.batch.num_rows() > 0)).boxed())
    }

    async fn open(&self, file: &DataFile) -> Result<ParquetRows> {
        let opened = async {
            let (dir, path) = paths::reach(&self.dir, &file.path);
            let size = match file.size {
                0 => dir.size_of(path).await?,
                size => size,
            };
            ParquetRows::open(ParquetFile::immutable(&dir, path, size)).await
        };
        opened.await.map_err(|e| self.file_error(e, &file.path))
    }

    /// A batch of a file with the table's columns: its own, those that the log tells, and NULL for the rest.
    fn as_table(&self, batch: &RecordBatch, file: &DataFile) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = &self.columns;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.schema.fields().len() + 1);
        let places = columns.stored_places(batch.schema_ref().fields());
        for ((field, place), arrow) in columns.fields().iter().zip(places).zip(columns.schema.fields()) {
            let array = if columns.partition_by.contains(field.name()) {
                let values = file.partition_values.as_ref().ok_or_else(|| self.no_partition(file))?;
                let value = values.get(columns.mode.physical_name(field)).cloned().flatten();
                partition_array(value, arrow.data_type(), rows, arrow.name())
            } else {
                match place {
                    Some(i) => {
                        columns.mode.read_as(batch.column(i), field.data_type(), arrow.data_type(), arrow.name())
                    }
                    None => Ok(new_null_array(arrow.data_type(), rows)),
                }
            };
            arrays.push(array.map_err(|e| self.misfit(e, file))?);
        }
        let mut schema = columns.schema.clone();
        if let Some(change) = batch.column_by_name(CHANGE_TYPE) {
            let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
            fields.push(Arc::new(Field::new(CHANGE_TYPE, ArrowType::Utf8, true)));
            schema = Arc::new(Schema::new(fields));
            arrays.push(cast(change, &ArrowType::Utf8, CHANGE_TYPE).map_err(|e| self.misfit(e, file))?);
        }
        new_batch(schema, arrays, rows).map_err(|e| self.misfit(e, file))
    }

    /// Old writers leave out what a removed file held; its rows can't be told then.
    fn no_partition(&self, file: &DataFile) -> Error {
        let message = "the log does not tell the partition of a file that was removed";
        place_error(Code::Unsupported, message, &paths::place_of(&self.dir, &file.path))
            .hint("Begin anew behind that version with CALL millrace.resnapshot(…).")
    }

    fn misfit(&self, error: Error, file: &DataFile) -> Error {
        let reason = error.detail.unwrap_or_default();
        let place = paths::place_of(&self.dir, &file.path);
        Error::new(Code::Corrupt, error.message).detail(format!("location: {place}: {reason}"))
    }

    fn file_error(&self, error: Error, path: &str) -> Error {
        match error.code {
            Code::NotFound => {
                place_error(Code::Gap, "a data file of the table is gone", &paths::place_of(&self.dir, path))
                    .hint("It was removed before it was read, by VACUUM mostly.")
            }
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
