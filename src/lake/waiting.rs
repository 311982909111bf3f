//! Rows that wait to be written: in memory up to a limit, those past it in a file of the local disk that has no name.
//!
//! Promises: rows come out as they went in, once. The file is gone with the value that stands for it, also when the process dies.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Seek};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use futures::stream::{self, BoxStream, StreamExt};

use super::error::io_error;
use crate::model::{Code, Error, Result};

/// Rows being gathered.
pub struct Waiting {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// Bytes that may still go into memory.
    room: usize,
    rows: u64,
    /// Where a file goes that is needed.
    directory: PathBuf,
    file: Option<StreamWriter<BufWriter<File>>>,
}

impl Waiting {
    pub fn new(schema: SchemaRef, memory: u64, directory: &Path) -> Waiting {
        let room = usize::try_from(memory).unwrap_or(usize::MAX);
        Waiting { schema, batches: vec![], room, rows: 0, directory: directory.to_owned(), file: None }
    }

    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let size = batch.get_array_memory_size();
        if self.file.is_none() && size <= self.room {
            self.room -= size;
            self.batches.push(batch);
            return Ok(());
        }
        if self.file.is_none() {
            let file = BufWriter::new(nameless(&self.directory)?);
            self.file = Some(StreamWriter::try_new(file, &self.schema).map_err(|e| broken(&e))?);
        }
        match &mut self.file {
            Some(file) => file.write(&batch).map_err(|e| broken(&e)),
            None => Ok(()),
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The batches in the order in which they came.
    pub fn into_stream(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let first = stream::iter(self.batches.into_iter().map(Ok));
        let Some(writer) = self.file else { return Ok(first.boxed()) };
        let file = writer.into_inner().map_err(|e| broken(&e))?;
        let mut file = file.into_inner().map_err(|e| io_error(e.error(), "write file", "the local disk"))?;
        file.rewind().map_err(|e| io_error(&e, "read file", "the local disk"))?;
        let reader = StreamReader::try_new(BufReader::new(file), None).map_err(|e| broken(&e))?;
        Ok(first.chain(stream::iter(reader.map(|batch| batch.map_err(|e| broken(&e))))).boxed())
    }
}

fn nameless(directory: &Path) -> Result<File> {
    let failed = |e: std::io::Error| io_error(&e, "write file", &directory.display().to_string());
    fs::create_dir_all(directory).map_err(failed)?;
    // The server removes files of this name when it starts, should we die before we have.
    let path = directory.join(format!("pgsql_tmp_millrace_{}", uuid::Uuid::new_v4().simple()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
    fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

fn broken(error: &ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, e) => io_error(e, "keep rows that are to be written", "the local disk"),
        _ => Error::new(Code::Internal, "rows that wait to be written can't be kept").detail(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::tests::run;
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;
    use std::sync::Arc;

    #[test]
    fn rows_come_out_as_they_went_in_whether_or_not_memory_holds_them() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("tmp");
        for memory in [0, 3_000, u64::MAX] {
            let batch = |n: i64| {
                let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(n * 100..(n + 1) * 100));
                RecordBatch::try_from_iter([("n", numbers)]).unwrap()
            };
            let mut waiting = Waiting::new(batch(0).schema(), memory, &directory);
            (0..10).for_each(|n| waiting.push(batch(n)).unwrap());
            assert_eq!(waiting.rows(), 1_000);
            assert!(fs::read_dir(&directory).is_ok_and(|mut d| d.next().is_none()) || memory == u64::MAX);
            let found: Vec<RecordBatch> = run(async { waiting.into_stream().unwrap().try_collect().await.unwrap() });
            let numbers: Vec<i64> =
                found.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            assert_eq!(numbers, (0..1_000).collect::<Vec<i64>>());
        }
    }
}
