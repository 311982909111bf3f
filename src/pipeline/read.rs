//! Reading landing files: bytes → records → rows ready for COPY, on the runtime's threads.
//!
//! Never touches Postgres. One bad file does not stop the others: its error is part of the result.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use crate::convert::{Encoded, encode_batch};
use crate::format::csv::{Dialect, Reader};
use crate::format::{Format, RawBatch};
use crate::lake::listing::LandingFile;
use crate::lake::reading;
use crate::lake::store::Dir;
use crate::model::landing::Part;
use crate::model::options::Options;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::progress;
use crate::pipeline::columns::{Match, StagingColumn, match_header};

/// Records that become one batch.
const BATCH_ROWS: usize = 16_384;
/// Files at most this large are fetched ahead, several at once.
const SMALL: u64 = 4 * 1024 * 1024;
const FETCHES: usize = 4;

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
    pub directory: Dir,
    pub format: Format,
    pub columns: Arc<Vec<StagingColumn>>,
    pub max_rows: u64,
    pub max_bytes: u64,
    /// Whether this is what the pipeline is seen to be doing; not so while it reads ahead.
    pub shown: bool,
}

impl Plan {
    /// Whether files that were read by the other give what this one would give.
    pub fn reads_like(&self, other: &Plan) -> bool {
        self.format == other.format
            && self.columns == other.columns
            && (self.max_rows, self.max_bytes) == (other.max_rows, other.max_bytes)
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
    }
}

/// How the records of a pipeline's source are written.
pub fn format(pipeline: &Pipeline) -> Format {
    Format::Csv(dialect(&pipeline.options))
}

/// A batch of records with its rows.
pub struct Piece {
    /// Index of its part.
    pub part: usize,
    pub batch: RawBatch,
    pub encoded: Encoded,
    pub matched: Arc<Match>,
}

/// Everything one chunk is made of.
#[derive(Default)]
pub struct Read {
    pub parts: Vec<Part>,
    pub pieces: Vec<Piece>,
    pub bytes: u64,
    pub records: u64,
    /// Files that could not be read, with why.
    pub failed: Vec<(LandingFile, Error)>,
    /// Last-modified of each part's file, in microseconds since 1970.
    pub modified: Vec<Option<i64>>,
}

enum Content {
    Whole(Vec<bytes::Bytes>),
    Stream,
}

/// Reads files in order until the chunk is full. Files after that are left for the next one.
pub async fn read(plan: Plan, files: Vec<Planned>) -> Result<Read> {
    let directory = plan.directory.clone();
    let mut fetched = futures::stream::iter(files)
        .map(move |planned| {
            let directory = directory.clone();
            async move {
                let content = if planned.file.size <= SMALL && planned.from_byte == 0 {
                    match reading::blocks(&directory, &planned.file, 0).await {
                        Ok(stream) => stream.try_collect().await.map(Content::Whole),
                        Err(e) => Err(e),
                    }
                } else {
                    Ok(Content::Stream)
                };
                (planned, content)
            }
        })
        .buffered(FETCHES);
    let mut out = Read::default();
    while let Some((planned, content)) = fetched.next().await {
        let before = (out.parts.len(), out.pieces.len(), out.bytes, out.records);
        let result = match content {
            Ok(content) => read_one(&plan, &planned, content, &mut out).await,
            Err(e) => Err(e),
        };
        if let Err(e) = result {
            out.parts.truncate(before.0);
            out.modified.truncate(before.0);
            out.pieces.truncate(before.1);
            (out.bytes, out.records) = (before.2, before.3);
            out.failed.push((planned.file, e));
        }
        if out.records >= plan.max_rows || out.bytes >= plan.max_bytes {
            break;
        }
    }
    Ok(out)
}

async fn read_one(plan: &Plan, planned: &Planned, content: Content, out: &mut Read) -> Result<()> {
    let mut reader = FileReader::open(plan, planned, out.parts.len()).await?;
    let mut full = false;
    match content {
        Content::Whole(blocks) => {
            for block in blocks {
                full = reader.take(&block, plan, out)?;
                if full {
                    break;
                }
            }
        }
        Content::Stream => {
            let mut stream = reading::blocks(&plan.directory, &planned.file, planned.from_byte).await?;
            while let Some(block) = stream.try_next().await? {
                full = reader.take(&block, plan, out)?;
                if full {
                    break;
                }
            }
        }
    }
    if !full {
        reader.reader.finish();
        full = reader.drain(plan, out)?;
    }
    let file = &planned.file;
    out.parts.push(Part {
        path: file.path.clone(),
        etag: file.etag.clone(),
        size: file.size,
        first_record: planned.records_done + 1,
        records: reader.records,
        from_byte: planned.from_byte,
        to_byte: reader.end_byte,
        done: !full,
        columns: reader.reader.header().map(<[String]>::to_vec).unwrap_or_default(),
    });
    if plan.shown {
        progress::file_done();
    }
    out.modified.push(Some(file.modified.timestamp_micros()));
    Ok(())
}

struct FileReader {
    reader: Reader,
    matched: Option<Arc<Match>>,
    part: usize,
    records: u64,
    end_byte: u64,
}

impl FileReader {
    async fn open(plan: &Plan, planned: &Planned, part: usize) -> Result<FileReader> {
        let Format::Csv(dialect) = &plan.format else {
            return Err(Error::new(Code::Internal, "landing files of this format can't be read"));
        };
        let named: Option<Vec<String>> =
            (!dialect.header).then(|| plan.columns.iter().map(|c| c.column.name.clone()).collect());
        let mut reader = Reader::new(dialect.clone(), named.clone())?;
        if planned.from_byte > 0 {
            let header = match named {
                Some(names) => names,
                None => header_of(reader, plan, planned).await?,
            };
            reader = Reader::resume(dialect.clone(), header, planned.from_byte, planned.records_done + 1)?;
        }
        Ok(FileReader { reader, matched: None, part, records: 0, end_byte: planned.from_byte })
    }

    fn take(&mut self, block: &[u8], plan: &Plan, out: &mut Read) -> Result<bool> {
        self.reader.push(block);
        self.drain(plan, out)
    }

    /// Takes the batches that are complete; true when the chunk is full.
    fn drain(&mut self, plan: &Plan, out: &mut Read) -> Result<bool> {
        loop {
            let room = plan.max_rows.saturating_sub(out.records).min(BATCH_ROWS as u64) as usize;
            let Some(batch) = self.reader.next_batch(room)? else { return Ok(false) };
            let matched = self
                .matched
                .get_or_insert_with(|| Arc::new(match_header(self.reader.header().unwrap_or_default(), &plan.columns)));
            let rows = batch.rows() as u64;
            out.bytes += batch.end_byte - self.end_byte;
            out.records += rows;
            if plan.shown {
                progress::read(rows, batch.end_byte - self.end_byte);
            }
            self.end_byte = batch.end_byte;
            self.records += rows;
            let encoded = encode_batch(&batch, &matched.mapping, &matched.targets, &plan.format);
            out.pieces.push(Piece { part: self.part, batch, encoded, matched: matched.clone() });
            if out.records >= plan.max_rows || out.bytes >= plan.max_bytes {
                // Full. If this was the file's very end as well, the next look finds no more records and closes it.
                return Ok(true);
            }
        }
    }
}

/// The header of a file that is gone on with in the middle.
async fn header_of(mut reader: Reader, plan: &Plan, planned: &Planned) -> Result<Vec<String>> {
    let mut stream = reading::blocks(&plan.directory, &planned.file, 0).await?;
    while let Some(block) = stream.try_next().await? {
        reader.push(&block);
        reader.next_batch(1)?;
        if let Some(header) = reader.header() {
            return Ok(header.to_vec());
        }
    }
    Err(Error::new(Code::Changed, "the file's header is gone").detail(format!("File {}.", planned.file.path)))
}
