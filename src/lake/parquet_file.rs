//! A Parquet file in the lake, read by ranges.
//!
//! Promises: a landing file's every range is of the version that the listing saw, else the error is `Changed`. The footer is read
//! with one request for most files. Errors come out of the Parquet library as they went in (see [`super::error::format_error`]).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::error::{format_error, place_error};
use super::listing::LandingFile;
use super::store::Dir;
use crate::model::{Code, Result};

/// Bytes from the end that are read at first: most footers are smaller.
const FOOTER: usize = 64 * 1024;

/// One Parquet file; cheap to clone, as each reader of a part of it needs its own.
#[derive(Clone)]
pub struct ParquetFile {
    dir: Dir,
    path: String,
    size: u64,
    etag: Option<String>,
}

impl ParquetFile {
    /// A file that must stay what the listing saw.
    pub fn landing(dir: &Dir, file: &LandingFile) -> ParquetFile {
        ParquetFile { dir: dir.clone(), path: file.path.clone(), size: file.size, etag: Some(file.etag.clone()) }
    }

    /// A file that nobody ever changes.
    pub(crate) fn immutable(dir: &Dir, path: &str, size: u64) -> ParquetFile {
        ParquetFile { dir: dir.clone(), path: path.to_owned(), size, etag: None }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The location as text for messages.
    pub fn place(&self) -> String {
        self.dir.place_of(&self.path)
    }

    /// Refuses what is too short to have a footer.
    pub(super) fn check_size(&self) -> Result<()> {
        if self.size < 12 {
            return Err(place_error(Code::Corrupt, "file is too short for a Parquet file", &self.place()));
        }
        Ok(())
    }

    /// Reads the footer, and is ready to read rows.
    pub async fn open(self) -> Result<ParquetRecordBatchStreamBuilder<ParquetFile>> {
        self.check_size()?;
        let place = self.place();
        ParquetRecordBatchStreamBuilder::new(self).await.map_err(|e| format_error(&e, "read Parquet file", &place))
    }
}

fn external(error: crate::model::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ParquetFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { Ok(self.get_byte_ranges(vec![range]).await?.pop().unwrap_or_default()) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { self.dir.read_ranges(&self.path, ranges, self.etag.as_deref()).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader =
                ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER)).with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
