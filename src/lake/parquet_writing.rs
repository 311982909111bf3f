//! Rows as the bytes of one Parquet file, for files that fit in memory.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::error::format_error;
use crate::model::Result;

/// A file with these rows.
pub fn file(batch: &RecordBatch) -> Result<Bytes> {
    let failed = |e| format_error(&e, "write Parquet file", "memory");
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    Ok(writer.into_inner().map_err(failed)?.into())
}
