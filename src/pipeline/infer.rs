//! Columns for a pipeline that declares none: from the first records of some of its files.

use crate::convert::infer;
use crate::format::RawBatch;
use crate::format::json::Verbatim;
use crate::lake::listing::LandingFile;
use crate::model::options::Options;
use crate::model::{Code, Error, Result};
use crate::pg::runtime;
use crate::pipeline::open::{Files, From};
use crate::pipeline::source::Source;
use crate::pipeline::{detect, read};

/// Files looked at, spread over the listing, and records of each.
const SAMPLES: usize = 8;
const RECORDS: usize = 5_000;
const BYTES: u64 = 4 * 1024 * 1024;

/// A column list as in CREATE TABLE.
pub fn columns(source: &Source, files: &[LandingFile], format: &str, options: &Options) -> Result<String> {
    let nothing = || {
        Error::new(Code::InvalidParameter, "columns can't be inferred: there is no file with records yet")
            .detail(format!("Location {}.", source.directory.place()))
            .hint("Give columns => 'name type, …', or create the pipeline when a file is there.")
    };
    let with_content: Vec<&LandingFile> = files.iter().filter(|f| f.size > 0).collect();
    if with_content.is_empty() {
        return Err(nothing());
    }
    if format == "csv" && !options.header {
        return Err(Error::new(Code::InvalidParameter, "columns can't be inferred without a header")
            .detail("Option \"header\" is false.")
            .hint("Give columns => 'name type, …' in the order of the fields."));
    }
    let count = with_content.len().min(SAMPLES);
    let step = (with_content.len() - 1) as f64 / (count.max(2) - 1) as f64;
    let sample: Vec<LandingFile> = (0..count).map(|i| with_content[(i as f64 * step) as usize].clone()).collect();
    let reading = detect::files(source, format, options);
    if format == "parquet" {
        let schemas = runtime::wait(async move {
            let mut schemas = Vec::new();
            for file in &sample {
                schemas.push(reading.schema(file).await?);
            }
            Ok(schemas)
        })?;
        return Ok(infer::column_list(&infer::typed_columns(&schemas)));
    }
    let batches = runtime::wait(async move {
        let mut batches = Vec::new();
        for file in &sample {
            batches.extend(first_records(&reading, file).await?);
        }
        Ok(batches)
    })?;
    let columns = if format == "json" { infer::json_columns(&batches) } else { infer::columns(&batches) };
    if columns.is_empty() {
        return Err(nothing());
    }
    Ok(infer::column_list(&columns))
}

/// The first rows of the first files, with the names of their headers.
pub fn first_rows(
    source: &Source,
    files: &[LandingFile],
    format: &str,
    options: &Options,
    limit: usize,
) -> Result<Vec<RawBatch>> {
    let files: Vec<LandingFile> = files.iter().filter(|f| f.size > 0).take(SAMPLES).cloned().collect();
    let mut reading = detect::files(source, format, options);
    reading.format = read::format_named(format, options, Verbatim::None);
    runtime::wait(async move {
        let (mut batches, mut rows) = (Vec::new(), 0);
        for file in &files {
            if rows >= limit {
                break;
            }
            for batch in first_records(&reading, file).await? {
                rows += batch.rows();
                batches.push(batch);
            }
        }
        Ok(batches)
    })
}

async fn first_records(files: &Files, file: &LandingFile) -> Result<Vec<RawBatch>> {
    let mut batches = files.open(file, None, From::default()).await?;
    let (mut found, mut records, mut bytes) = (Vec::new(), 0, 0);
    while records < RECORDS
        && bytes < BYTES
        && let Some(batch) = batches.next(RECORDS - records).await?
    {
        records += batch.rows();
        bytes = batch.end_byte;
        found.push(batch);
    }
    Ok(found)
}
