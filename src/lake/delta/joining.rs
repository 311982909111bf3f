//! Small files become one by copying their row groups as they are: no value is decoded or written anew.
//!
//! Promises: the file holds the rows of the others in their order, and its statistics are true of them. Memory holds one row group and the
//! footer. Files that can't be joined so (another writer's, of other columns, of row groups that are too small to be kept) are left
//! to whoever asked; nothing of the attempt stays behind.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, buf::Reader};
use chrono::Utc;
use deltalake::kernel::Add;
use object_store::{ObjectStoreExt, WriteMultipart};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedFileWriter;

use super::data::{self, Written};
use super::rows::DataFile;
use super::{Table, paths, statistics};
use crate::lake::damaged;
use crate::lake::error::{format_error, store_error};
use crate::lake::parquet_file::ParquetFile;
use crate::lake::store::Dir;
use crate::model::Result;

/// Rows of a row group that is worth keeping: smaller ones cost readers more than their values do.
const LEAST_ROWS: u64 = 8 * 1024;

/// Bytes of a row group that is copied in memory.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Parts of a file that are on their way at once.
const PARTS: usize = 4;

impl Table {
    /// The file that these of one partition become; None where it takes more than copying.
    pub(super) async fn join(&self, files: &[&Add]) -> Result<Option<Written>> {
        let Some(first) = files.first() else { return Ok(None) };
        let Some(stats) = statistics::merged(files, self.columns.fields(), self.columns.mode) else { return Ok(None) };
        if stats.rows / (files.len() as u64) < LEAST_ROWS {
            return Ok(None);
        }
        let files = files.iter().map(|add| DataFile::live(add, &self.dir)).collect::<Result<Vec<_>>>()?;
        let Some(name) = data::new_name(&files[0].path) else { return Ok(None) };
        let path = self.dir.path(&name)?;
        let failed = |e: object_store::Error| store_error(&e, "write data files", &self.dir.place_of(&name));
        let upload = self.dir.root().put_multipart(&path).await.map_err(failed)?;
        let mut out = Out { upload: WriteMultipart::new(upload), buffer: Buffer::default(), size: 0 };
        match copy(&self.dir, &files, stats.rows, &mut out).await {
            Ok(true) => {}
            not_done => {
                // What stays behind belongs to no version.
                let _ = out.upload.abort().await;
                return not_done.map(|_| None);
            }
        }
        out.upload.finish().await.map_err(failed)?;
        self.dir.keep(&name).await?;
        let add = Add {
            path: name,
            size: out.size as i64,
            partition_values: first.partition_values.clone(),
            modification_time: Utc::now().timestamp_millis(),
            stats: Some(stats.json),
            ..Default::default()
        };
        Ok(Some(Written { adds: vec![add], rows: stats.rows, bytes: out.size }))
    }
}

/// Where the file goes, and what waits to go there.
struct Out {
    upload: WriteMultipart,
    buffer: Buffer,
    size: u64,
}

impl Out {
    async fn pass_on(&mut self) -> object_store::Result<()> {
        let bytes = std::mem::take(&mut *self.buffer.lock());
        self.size += bytes.len() as u64;
        self.upload.wait_for_capacity(PARTS).await?;
        self.upload.put(bytes.into());
        Ok(())
    }
}

/// Copies all row groups; false where one of the files is not to be copied.
async fn copy(dir: &Dir, files: &[DataFile], rows: u64, out: &mut Out) -> Result<bool> {
    let mut writer: Option<SerializedFileWriter<Buffer>> = None;
    let mut like: Option<Arc<ParquetMetaData>> = None;
    let mut copied = 0;
    for data in files {
        let (below, path) = paths::reach(dir, &data.path);
        let mut file = ParquetFile::immutable(&below, path, data.size);
        let place = file.place();
        let failed = |e: ParquetError| format_error(&e, "copy Parquet file", &place);
        if data.size < 12 {
            return Ok(false);
        }
        let footer = damaged::awaited(&place, async { file.get_metadata(None).await.map_err(failed) }).await?;
        if !is_own(&footer) || is_fine(&footer) || like.as_ref().is_some_and(|like| !are_alike(like, &footer)) {
            return Ok(false);
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            empty => empty.insert(begin(&footer, out.buffer.clone()).map_err(failed)?),
        };
        for group in footer.row_groups() {
            let (from, to) = extent(group);
            if to - from > MOST_BYTES {
                return Ok(false);
            }
            let bytes = file.get_bytes(from..to).await.map_err(failed)?;
            damaged::called(&place, || append(writer, group, &Held { from, bytes }).map_err(failed))?;
            out.pass_on().await.map_err(|e| store_error(&e, "write data files", &dir.place()))?;
            copied += group.num_rows() as u64;
        }
        like.get_or_insert(footer);
    }
    let Some(writer) = writer else { return Ok(false) };
    writer.close().map_err(|e| format_error(&e, "write data files", &dir.place()))?;
    out.pass_on().await.map_err(|e| store_error(&e, "write data files", &dir.place()))?;
    Ok(copied == rows)
}

fn is_own(footer: &ParquetMetaData) -> bool {
    footer.file_metadata().created_by().is_some_and(data::is_own_writer)
}

/// Of many small row groups.
fn is_fine(footer: &ParquetMetaData) -> bool {
    let groups = footer.num_row_groups() as u64;
    groups > 1 && footer.file_metadata().num_rows() as u64 / groups < LEAST_ROWS
}

/// Files of the same columns, which readers are told the same about.
fn are_alike(one: &ParquetMetaData, other: &ParquetMetaData) -> bool {
    let (one, other) = (one.file_metadata(), other.file_metadata());
    one.schema() == other.schema() && one.key_value_metadata() == other.key_value_metadata()
}

fn begin(like: &ParquetMetaData, buffer: Buffer) -> parquet::errors::Result<SerializedFileWriter<Buffer>> {
    let told = like.file_metadata();
    let properties = WriterProperties::builder()
        .set_created_by(data::writer())
        .set_key_value_metadata(told.key_value_metadata().cloned())
        .build();
    SerializedFileWriter::new(buffer, told.schema_descr().root_schema_ptr(), Arc::new(properties))
}

/// Where its columns lie.
fn extent(group: &RowGroupMetaData) -> (u64, u64) {
    let ranges = || group.columns().iter().map(|column| column.byte_range());
    let from = ranges().map(|(from, _)| from).min().unwrap_or(0);
    (from, ranges().map(|(from, length)| from + length).max().unwrap_or(from))
}

fn append(
    writer: &mut SerializedFileWriter<Buffer>,
    group: &RowGroupMetaData,
    held: &Held,
) -> parquet::errors::Result<()> {
    let mut copy = writer.next_row_group()?;
    for column in group.columns() {
        let close = ColumnCloseResult {
            bytes_written: column.compressed_size() as u64,
            rows_written: group.num_rows() as u64,
            metadata: column.clone(),
            bloom_filter: None,
            // Ours have neither: both say where pages lie, which a row group of this size does not need.
            column_index: None,
            offset_index: None,
        };
        copy.append_column(held, close)?;
    }
    copy.close()?;
    Ok(())
}

/// A part of a file.
struct Held {
    from: u64,
    bytes: Bytes,
}

impl Held {
    fn behind(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let at = start.checked_sub(self.from).filter(|at| *at <= self.bytes.len() as u64);
        at.map(|at| self.bytes.slice(at as usize..)).ok_or(ParquetError::EOF("a column begins elsewhere".into()))
    }
}

impl Length for Held {
    fn len(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

impl ChunkReader for Held {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Reader<Bytes>> {
        Ok(self.behind(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.behind(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a column ends early".into()));
        }
        Ok(bytes.slice(..length))
    }
}

/// What the writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
