//! Reading landing files: bytes → records → rows ready for COPY, on the runtime's threads.
//!
//! Never touches Postgres. One bad file does not stop the others: its error is part of the result.

use std::sync::Arc;

use futures::TryStreamExt;

use crate::convert::{Encoded, Kind};
use crate::format::csv::Dialect;
use crate::format::encoding::Encoding;
use crate::format::json::Verbatim;
use crate::format::{Format, RawBatch};
use crate::lake::listing::LandingFile;
use crate::lake::reading;
use crate::model::keyed::Op;
use crate::model::landing::Part;
use crate::model::options::Options;
use crate::model::pipeline::Pipeline;
use crate::model::{Error, Result};
use crate::pg::progress;
use crate::pipeline::beside::ReadAhead;
use crate::pipeline::columns::{Match, StagingColumn, match_header};
use crate::pipeline::open::{Files, From};
use crate::pipeline::rescue;

/// Records that become one batch.
const BATCH_ROWS: usize = 16_384;

/// A file to be read, from where the last chunk left off.
#[derive(Debug, Clone)]
pub struct Planned {
    pub file: LandingFile,
    pub from_byte: u64,
    pub records_done: u64,
}

/// What all files of a pipeline have in common.
#[derive(Clone)]
pub struct Plan {
    pub files: Files,
    pub columns: Arc<Vec<StagingColumn>>,
    pub max_rows: u64,
    pub max_bytes: u64,
    /// Of a Delta table, how many data files a chunk of several versions may hold.
    pub max_files: u32,
    /// Whether this is what the pipeline is seen to be doing; not so while it reads ahead.
    pub shown: bool,
}

impl Plan {
    /// Whether files that were read by the other give what this one would give.
    pub fn reads_like(&self, other: &Plan) -> bool {
        self.files.format == other.files.format
            && self.files.compression == other.files.compression
            && self.columns == other.columns
            && (self.max_rows, self.max_bytes, self.max_files) == (other.max_rows, other.max_bytes, other.max_files)
    }
}

/// How a pipeline's CSV files are written.
pub fn dialect(options: &Options) -> Dialect {
    Dialect {
        header: options.header,
        delimiter: options.delimiter as u8,
        quote: options.quote as u8,
        escape: options.escape.unwrap_or(options.quote) as u8,
        null: options.null.clone(),
        multiline: options.multiline,
        encoding: Encoding::named(&options.encoding),
    }
}

/// How the records of a pipeline's source are written.
pub fn format(pipeline: &Pipeline, columns: &[StagingColumn]) -> Format {
    let json = columns.iter().filter(|c| matches!(c.kind, Kind::Json | Kind::Jsonb)).map(|c| c.column.name.clone());
    format_named(&pipeline.format, &pipeline.options, Verbatim::Named(json.collect()))
}

pub fn format_named(name: &str, options: &Options, verbatim: Verbatim) -> Format {
    match name {
        "json" => Format::Json { verbatim, encoding: Encoding::named(&options.encoding) },
        "parquet" | "delta" => Format::Typed,
        _ => Format::Csv(dialect(options)),
    }
}

/// A batch of records with its rows.
pub struct Piece {
    /// Index of its part.
    pub part: usize,
    pub batch: RawBatch,
    pub encoded: Encoded,
    pub matched: Arc<Match>,
    /// Of a change feed: what each record does. Else all are [`Op::Upsert`].
    pub ops: Option<Vec<Op>>,
}

/// Everything one chunk is made of.
#[derive(Default)]
pub struct Read {
    pub parts: Vec<Part>,
    pub pieces: Vec<Piece>,
    pub bytes: u64,
    /// What of the files is in memory, about.
    pub held: u64,
    pub records: u64,
    /// Files that could not be read, with why.
    pub failed: Vec<(LandingFile, Error)>,
    /// Last-modified of each part's file, in microseconds since 1970.
    pub modified: Vec<Option<i64>>,
    /// Of a keyed pipeline: a row that is there as it is counts as a change all the same.
    pub every_row: bool,
}

/// Reads files in order until the chunk is full. Files after that are left for the next one.
pub async fn read(plan: Plan, files: Vec<Planned>) -> Result<Read> {
    let mut ahead = ReadAhead::new(Arc::new(plan.clone()), files);
    let mut out = Read::default();
    while let Some((planned, whole)) = ahead.next(&out).await {
        let before = (out.parts.len(), out.pieces.len(), out.bytes, out.records, out.held);
        let result = match whole {
            Some(Ok(whole)) if out.records + whole.records <= plan.max_rows => {
                out.append(whole);
                Ok(())
            }
            // It has more rows than there is room for, or was not read ahead.
            Some(Ok(_)) | None => read_one(&plan, &planned, None, &mut out).await,
            Some(Err(e)) => Err(e),
        };
        if let Err(e) = result {
            out.parts.truncate(before.0);
            out.modified.truncate(before.0);
            out.pieces.truncate(before.1);
            (out.bytes, out.records, out.held) = (before.2, before.3, before.4);
            out.failed.push((planned.file, e));
        }
        if out.records >= plan.max_rows || out.held >= plan.max_bytes {
            break;
        }
    }
    Ok(out)
}

impl Read {
    /// Adds what was read of other files.
    fn append(&mut self, other: Read) {
        let parts = self.parts.len();
        self.pieces.extend(other.pieces.into_iter().map(|piece| Piece { part: piece.part + parts, ..piece }));
        self.parts.extend(other.parts);
        self.modified.extend(other.modified);
        self.bytes += other.bytes;
        self.records += other.records;
        self.held += other.held;
    }
}

/// A small file as a whole.
pub(super) async fn read_whole(plan: &Plan, planned: &Planned) -> Result<Read> {
    let content = match plan.files.format {
        // Read by ranges, from the end.
        Format::Typed => None,
        _ => Some(reading::blocks(&plan.files.directory, &planned.file, 0).await?.try_collect().await?),
    };
    let mut out = Read::default();
    read_one(plan, planned, content, &mut out).await?;
    Ok(out)
}

async fn read_one(plan: &Plan, planned: &Planned, content: Option<Vec<bytes::Bytes>>, out: &mut Read) -> Result<()> {
    let (file, part) = (&planned.file, out.parts.len());
    let from = From { byte: planned.from_byte, records: planned.records_done };
    let mut batches = plan.files.open(file, content, from).await?;
    let mut end_byte = planned.from_byte;
    let mut found: Vec<RawBatch> = Vec::new();
    let mut records = 0;
    // Full. If this was the file's very end as well, the next look finds no more records and closes it.
    let mut full = false;
    // The columns of a file of JSON are known when all its records are, those of others with the first.
    let whole = matches!(plan.files.format, Format::Json { .. });
    let mut matched: Option<Arc<Match>> = None;
    while !full {
        let room = plan.max_rows.saturating_sub(out.records).min(BATCH_ROWS as u64) as usize;
        let Some(batch) = batches.next(room).await? else { break };
        let rows = batch.rows() as u64;
        let read = batch.end_byte - end_byte;
        out.bytes += read;
        out.held += match plan.files.format {
            Format::Typed => batch.fields.get_array_memory_size() as u64,
            _ => read,
        };
        out.records += rows;
        if plan.shown {
            progress::read(rows, read);
        }
        records += rows;
        end_byte = batch.end_byte;
        full = out.records >= plan.max_rows || out.held >= plan.max_bytes;
        if whole {
            found.push(batch);
            continue;
        }
        let matched = matched.get_or_insert_with(|| Arc::new(match_header(batches.header(), &plan.columns)));
        out.pieces.push(piece(plan, part, batch, matched)?);
    }
    if !found.is_empty() {
        let matched = Arc::new(match_header(batches.header(), &plan.columns));
        for batch in found {
            out.pieces.push(piece(plan, part, batch, &matched)?);
        }
    }
    out.parts.push(Part {
        path: file.path.clone(),
        etag: file.etag.clone(),
        size: file.size,
        first_record: planned.records_done + 1,
        records,
        from_byte: planned.from_byte,
        to_byte: end_byte,
        done: !full,
        columns: batches.header().to_vec(),
    });
    if full {
        batches.leave(&plan.files, file, end_byte);
    }
    if plan.shown {
        progress::file_done();
    }
    out.modified.push(Some(file.modified.timestamp_micros()));
    Ok(())
}

fn piece(plan: &Plan, part: usize, batch: RawBatch, matched: &Arc<Match>) -> Result<Piece> {
    let encoded = rescue::encode(&batch, matched, &plan.files.format)?;
    Ok(Piece { part, batch, encoded, matched: matched.clone(), ops: None })
}
