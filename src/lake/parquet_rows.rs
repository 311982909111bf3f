//! The rows of a Parquet file as batches, within a limit of memory.
//!
//! A row group that fits is fetched with as few requests as storage allows. One that does not is read page by page: of each column
//! a window is held, and rows are decoded as the windows move on.
//!
//! Promises: memory holds about as much as is allowed, however large the file and its row groups are. What cannot be read that way, a
//! single page that is too large, is an error that names the column. A damaged file is an error, whatever the library makes of it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::basic::{LogicalType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnDescriptor;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::damaged;
use super::error::format_error;
use super::parquet_file::ParquetFile;
use crate::model::{Code, Error, Result};

/// How Arrow says that sixteen bytes are a UUID.
const EXTENSION: &str = "ARROW:extension:name";
const UUID: &str = "arrow.uuid";

/// Each holds a blocking thread while it waits for storage, and local storage needs such threads itself.
static PAGE_READERS: Semaphore = Semaphore::const_new(2);

/// Bounds of a column's window.
const SMALLEST_WINDOW: u64 = 32 * 1024;
const LARGEST_WINDOW: u64 = 2 * 1024 * 1024;

/// How much may be held and handed out at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub batch_rows: usize,
    pub memory: u64,
}

/// A Parquet file whose footer is read.
pub struct ParquetRows {
    file: ParquetFile,
    place: String,
    metadata: ArrowReaderMetadata,
    /// The schema, where the file says more of what values mean than their types do.
    named: Option<SchemaRef>,
}

impl ParquetRows {
    pub async fn open(file: ParquetFile) -> Result<ParquetRows> {
        let place = file.place();
        file.check_size()?;
        damaged::awaited(&place.clone(), Self::read_footer(file, place)).await
    }

    async fn read_footer(mut file: ParquetFile, place: String) -> Result<ParquetRows> {
        let failed = |e: ParquetError| format_error(&e, "read Parquet file", &place);
        let mut metadata =
            ArrowReaderMetadata::load_async(&mut file, ArrowReaderOptions::new()).await.map_err(failed)?;
        if let Some(schema) = with_microseconds(metadata.schema(), metadata.metadata()) {
            let options = ArrowReaderOptions::new().with_schema(schema);
            metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options).map_err(failed)?;
        }
        let named = with_uuids(metadata.schema(), metadata.metadata());
        Ok(ParquetRows { file, place, metadata, named })
    }

    pub fn schema(&self) -> &SchemaRef {
        self.named.as_ref().unwrap_or(self.metadata.schema())
    }

    pub fn row_count(&self) -> u64 {
        self.metadata.metadata().row_groups().iter().map(group_rows).sum()
    }

    /// The rows from number `from_row` (from 0) on, with the columns of these places in the schema.
    pub fn batches(
        mut self,
        columns: Vec<usize>,
        from_row: u64,
        limits: Limits,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let named = self.named.take();
        let place = self.place.clone();
        let batches = damaged::called(&place, || self.rows_as_stored(columns, from_row, limits))?;
        Ok(match named {
            Some(schema) => batches.map(move |batch| under(&schema, batch?)).boxed(),
            None => batches,
        })
    }

    fn rows_as_stored(
        self,
        columns: Vec<usize>,
        from_row: u64,
        limits: Limits,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let parquet = self.metadata.metadata().clone();
        let (mut first, mut left) = (0, from_row);
        while let Some(rows) = parquet.row_groups().get(first).map(group_rows) {
            if rows > left {
                break;
            }
            left -= rows;
            first += 1;
        }
        let groups: Vec<usize> = (first..parquet.num_row_groups()).collect();
        if groups.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns);
        let wanted = |group: &RowGroupMetaData| -> Vec<(usize, ColumnChunkMetaData)> {
            let leaves = (0..group.num_columns()).filter(|leaf| mask.leaf_included(*leaf));
            leaves.map(|leaf| (leaf, group.column(leaf).clone())).collect()
        };
        let chunks: Vec<Vec<_>> = groups.iter().map(|group| wanted(parquet.row_group(*group))).collect();
        let held = |chunks: &Vec<(usize, ColumnChunkMetaData)>| chunks.iter().map(|(_, c)| compressed(c)).sum::<u64>();
        let largest = chunks.iter().map(held).max().unwrap_or(0);
        let batch_rows = groups
            .iter()
            .zip(&chunks)
            .map(|(group, chunks)| {
                let bytes: u64 = chunks.iter().map(|(_, c)| u64::try_from(c.uncompressed_size()).unwrap_or(0)).sum();
                let row = bytes / group_rows(parquet.row_group(*group)).max(1);
                limits.memory / 8 / row.max(1)
            })
            .min()
            .map_or(limits.batch_rows, |rows| usize::try_from(rows).unwrap_or(usize::MAX).min(limits.batch_rows))
            .max(1);
        let offset = usize::try_from(left).unwrap_or(usize::MAX);
        let place = self.place;
        if largest <= limits.memory / 2 {
            let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(self.file, self.metadata)
                .with_row_groups(groups)
                .with_projection(mask)
                .with_batch_size(batch_rows);
            if offset > 0 {
                builder = builder.with_offset(offset);
            }
            let rows = builder.build().map_err(|e| format_error(&e, "read Parquet file", &place))?;
            let name = place.clone();
            return Ok(damaged::streamed(name, rows.map_err(move |e| format_error(&e, "read Parquet file", &place))));
        }
        let held = Held::new(self.file, chunks.into_iter().flatten().collect(), limits.memory);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(Windows(held.clone()), self.metadata)
            .with_row_groups(groups)
            .with_projection(mask)
            .with_batch_size(batch_rows);
        if offset > 0 {
            builder = builder.with_offset(offset);
        }
        Ok(page_by_page(builder, held, place))
    }
}

fn group_rows(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

fn compressed(chunk: &ColumnChunkMetaData) -> u64 {
    chunk.byte_range().1
}

/// Reads on a blocking thread, which is one batch ahead and ends when nobody wants more.
fn page_by_page(
    builder: ParquetRecordBatchReaderBuilder<Windows>,
    held: Arc<Held>,
    place: String,
) -> BoxStream<'static, Result<RecordBatch>> {
    let (sender, receiver) = mpsc::channel(1);
    let started = async move {
        let permit = PAGE_READERS.acquire().await;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // The library turns what storage said into text; it is kept beside.
            let failed = |e: &(dyn std::error::Error + 'static)| {
                let cause = held.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
                cause.unwrap_or_else(|| format_error(e, "read Parquet file", &place))
            };
            let mut reader = match damaged::called(&place, || builder.build().map_err(|e| failed(&e))) {
                Ok(reader) => reader,
                Err(e) => {
                    let _ = sender.blocking_send(Err(e));
                    return;
                }
            };
            while let Some(next) =
                damaged::called(&place, || reader.next().transpose().map_err(|e| failed(&e))).transpose()
            {
                let is_last = next.is_err();
                if sender.blocking_send(next).is_err() || is_last {
                    return;
                }
            }
        });
        receiver
    };
    stream::once(started)
        .flat_map(|receiver| {
            stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|next| (next, receiver)) })
        })
        .boxed()
}

/// A file of which every wanted column has a window in memory.
struct Windows(Arc<Held>);

struct Held {
    file: ParquetFile,
    runtime: Handle,
    /// With their places among the columns, by where they begin.
    chunks: Vec<(usize, ColumnChunkMetaData)>,
    window: u64,
    largest_page: u64,
    /// By column: one moves through its row groups in their order.
    windows: Mutex<HashMap<usize, (u64, Bytes)>>,
    failed: Mutex<Option<Error>>,
}

impl Held {
    fn new(file: ParquetFile, mut chunks: Vec<(usize, ColumnChunkMetaData)>, memory: u64) -> Arc<Held> {
        chunks.sort_by_key(|(_, chunk)| chunk.byte_range().0);
        let columns = chunks.iter().map(|(leaf, _)| leaf).collect::<HashSet<_>>().len();
        Arc::new(Held {
            file,
            runtime: Handle::current(),
            chunks,
            window: (memory / 4 / columns.max(1) as u64).clamp(SMALLEST_WINDOW, LARGEST_WINDOW),
            largest_page: memory / 2,
            windows: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    /// Bytes from `start` on, as many as asked for and perhaps more.
    fn from(&self, start: u64, length: u64) -> parquet::errors::Result<Bytes> {
        let behind = self.chunks.partition_point(|(_, chunk)| chunk.byte_range().0 <= start);
        let Some((column, chunk)) = behind.checked_sub(1).and_then(|i| self.chunks.get(i)) else {
            return Err(ParquetError::General("a page lies outside of its column".into()));
        };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, bytes)) = windows.get(column)
            && let Some(skip) = start.checked_sub(*from)
            && skip + length <= bytes.len() as u64
        {
            return Ok(bytes.slice(usize::try_from(skip)?..));
        }
        self.check_page(chunk, length).map_err(|e| self.fail(e))?;
        let (from, size) = chunk.byte_range();
        let end = (start + length.max(self.window)).min(from.saturating_add(size)).max(start + length);
        windows.remove(column);
        let mut file = self.file.clone();
        let fetched = self.runtime.block_on(file.get_bytes(start..end));
        let bytes = fetched.map_err(|e| self.fail(format_error(&e, "read Parquet file", &self.file.place())))?;
        windows.insert(*column, (start, bytes.clone()));
        Ok(bytes)
    }

    /// What a page needs when it is unpacked is not known before; its column's ratio tells about how much.
    fn check_page(&self, chunk: &ColumnChunkMetaData, length: u64) -> Result<()> {
        let whole = u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX);
        let ratio = whole as f64 / compressed(chunk).max(1) as f64;
        let needed = (length as f64 * ratio.max(1.0)) as u64;
        if length == 1 || needed <= self.largest_page {
            return Ok(());
        }
        let column = chunk.column_path().string();
        Err(Error::new(Code::Limit, format!("a page of column \"{column}\" is too large to be streamed"))
            .detail(format!(
                "location: {}: it needs about {needed} bytes, {} are allowed",
                self.file.place(),
                self.largest_page
            ))
            .hint("Raise millrace.work_mem, or write the file with smaller pages."))
    }

    fn fail(&self, error: Error) -> ParquetError {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        ParquetError::External(Box::new(error))
    }
}

impl Length for Windows {
    fn len(&self) -> u64 {
        self.0.file.size()
    }
}

impl ChunkReader for Windows {
    type T = At;

    fn get_read(&self, start: u64) -> parquet::errors::Result<At> {
        Ok(At { held: self.0.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.0.from(start, length as u64)?.slice(..length))
    }
}

/// A place in the file: where a page's header is read.
struct At {
    held: Arc<Held>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.at >= self.held.file.size() {
            return Ok(0);
        }
        let bytes = self.held.from(self.at, 1).map_err(io::Error::other)?;
        let count = out.len().min(bytes.len());
        out[..count].copy_from_slice(&bytes[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

/// Old timestamps of twelve bytes are days and nanoseconds: as nanoseconds alone those of most years would not fit. None where the file
/// has no such column.
fn with_microseconds(schema: &Schema, metadata: &ParquetMetaData) -> Option<SchemaRef> {
    with_leaves(
        schema,
        metadata,
        |column| column.physical_type() == Physical::INT96,
        |field| field.with_data_type(DataType::Timestamp(TimeUnit::Microsecond, None)),
    )
}

/// Sixteen bytes that the file calls a UUID, whether its writer knew of Arrow or not. None where the file has no such column.
fn with_uuids(schema: &Schema, metadata: &ParquetMetaData) -> Option<SchemaRef> {
    with_leaves(
        schema,
        metadata,
        |column| column.logical_type_ref() == Some(&LogicalType::Uuid),
        |field| {
            let mut named = field.metadata().clone();
            named.insert(EXTENSION.into(), UUID.into());
            field.with_metadata(named)
        },
    )
}

/// The schema with another field for each of the file's columns that `is_meant`; None where none is.
fn with_leaves(
    schema: &Schema,
    metadata: &ParquetMetaData,
    is_meant: impl Fn(&ColumnDescriptor) -> bool,
    change: impl Fn(Field) -> Field,
) -> Option<SchemaRef> {
    let columns = metadata.file_metadata().schema_descr().columns();
    if !columns.iter().any(|column| is_meant(column)) {
        return None;
    }
    let mut leaves = columns.iter().map(|column| is_meant(column));
    let fields: Vec<Arc<Field>> = schema.fields().iter().map(|field| leaf(field, &mut leaves, &change)).collect();
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn leaf(field: &Arc<Field>, leaves: &mut impl Iterator<Item = bool>, change: &impl Fn(Field) -> Field) -> Arc<Field> {
    let mut inner = |field: &Arc<Field>| leaf(field, leaves, change);
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        _ if leaves.next() == Some(true) => return Arc::new(change(field.as_ref().clone())),
        _ => return field.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The same rows under the fields of this schema, which say more of what they mean.
fn under(schema: &Schema, batch: RecordBatch) -> Result<RecordBatch> {
    let told =
        |field: &Arc<Field>| schema.field_with_name(field.name()).cloned().map_or_else(|_| field.clone(), Arc::new);
    let fields: Vec<Arc<Field>> = batch.schema_ref().fields().iter().map(told).collect();
    batch
        .with_schema(Arc::new(Schema::new(fields)))
        .map_err(|e| Error::new(Code::Internal, format!("columns of a Parquet file can't be named: {e}")))
}
