//! Columns for a pipeline that declares none: from the first records of some of its files.

use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;

use crate::convert::infer;
use crate::format::RawBatch;
use crate::format::csv::{Dialect, Reader};
use crate::lake::listing::LandingFile;
use crate::lake::reading;
use crate::lake::store::Dir;
use crate::model::options::Options;
use crate::model::{Code, Error, Result};
use crate::pg::runtime;
use crate::pipeline::read;
use crate::pipeline::source::Source;

/// Files looked at, spread over the listing, and records of each.
const SAMPLES: usize = 8;
const RECORDS: usize = 5_000;
const BYTES: usize = 4 * 1024 * 1024;

/// A column list as in CREATE TABLE.
pub fn columns(source: &Source, files: &[LandingFile], options: &Options) -> Result<String> {
    let nothing = || {
        Error::new(Code::InvalidParameter, "columns can't be inferred: there is no file with records yet")
            .detail(format!("Location {}.", source.directory.place()))
            .hint("Give columns => 'name type, …', or create the pipeline when a file is there.")
    };
    let with_content: Vec<&LandingFile> = files.iter().filter(|f| f.size > 0).collect();
    if with_content.is_empty() {
        return Err(nothing());
    }
    if !options.header {
        return Err(Error::new(Code::InvalidParameter, "columns can't be inferred without a header")
            .detail("Option \"header\" is false.")
            .hint("Give columns => 'name type, …' in the order of the fields."));
    }
    let count = with_content.len().min(SAMPLES);
    let step = (with_content.len() - 1) as f64 / (count.max(2) - 1) as f64;
    let sample: Vec<LandingFile> = (0..count).map(|i| with_content[(i as f64 * step) as usize].clone()).collect();
    let (directory, dialect) = (source.directory.clone(), read::dialect(options));
    let batches = runtime::wait(async move {
        let mut batches = Vec::new();
        for file in &sample {
            batches.extend(first_records(&directory, file, &dialect).await?);
        }
        Ok(batches)
    })?;
    let columns = infer::columns(&batches);
    if columns.is_empty() {
        return Err(nothing());
    }
    Ok(infer::column_list(&columns))
}

/// The first rows of the first files, with the names of their headers.
pub fn first_rows(source: &Source, files: &[LandingFile], options: &Options, limit: usize) -> Result<Vec<RecordBatch>> {
    let files: Vec<LandingFile> = files.iter().filter(|f| f.size > 0).take(SAMPLES).cloned().collect();
    let (directory, dialect) = (source.directory.clone(), read::dialect(options));
    runtime::wait(async move {
        let (mut batches, mut rows) = (Vec::new(), 0);
        for file in &files {
            if rows >= limit {
                break;
            }
            if let Some(batch) = first_records(&directory, file, &dialect).await? {
                rows += batch.rows();
                batches.push(batch.fields);
            }
        }
        Ok(batches)
    })
}

async fn first_records(directory: &Dir, file: &LandingFile, dialect: &Dialect) -> Result<Option<RawBatch>> {
    let mut reader = Reader::new(dialect.clone(), None)?;
    let mut stream = reading::blocks(directory, file, 0).await?;
    let mut bytes = 0;
    while let Some(block) = stream.try_next().await? {
        bytes += block.len();
        reader.push(&block);
        if bytes >= BYTES {
            break;
        }
    }
    if bytes < BYTES {
        reader.finish();
    }
    reader.next_batch(RECORDS)
}
