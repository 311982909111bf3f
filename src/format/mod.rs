//! Reading what producers write: bytes of landing files become batches of records, one column per name.
//!
//! Promises: every record of a file comes out exactly once, either split into fields or whole as a corrupt record, and what it
//! read like can always be had again. Never casts to types of Postgres (that is `convert`), never does I/O.

mod batch;
pub mod csv;
pub mod encoding;
pub mod json;
pub mod typed;

use std::borrow::Cow;

use encoding::Encoding;

pub use batch::RawBatch;

use crate::model::Result;

/// Columns that the layers add beside a file's own.
pub const OWN_COLUMNS: [&str; 4] = ["_corrupt_record", "_file", "_row", "_raw"];

/// How the records of a source are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Csv(csv::Dialect),
    Json {
        verbatim: json::Verbatim,
        encoding: Encoding,
    },
    /// Columns with types of their own, as in Parquet files and Delta tables.
    Typed,
}

impl Format {
    /// A record as it landed, without its line end. Where the format has no text of its own it is the record as a JSON object.
    pub fn record<'a>(&self, batch: &'a RawBatch, row: usize) -> Cow<'a, [u8]> {
        if let Some(kept) = batch.kept(row) {
            return Cow::Borrowed(kept);
        }
        let mut text = Vec::new();
        self.append_record(batch, row, &mut text);
        Cow::Owned(text)
    }

    /// Appends what [`Format::record`] gives.
    pub fn append_record(&self, batch: &RawBatch, row: usize, out: &mut Vec<u8>) {
        if let Some(kept) = batch.kept(row) {
            return out.extend_from_slice(kept);
        }
        match self {
            Format::Csv(dialect) => csv::append_record(batch, row, dialect, out),
            Format::Json { .. } | Format::Typed => {
                out.extend_from_slice(typed::json::record(&batch.fields, row).as_bytes())
            }
        }
    }

    /// A record from its text, as the only one of a batch with these columns; `None` where the text holds none, or more than one.
    pub fn reread(&self, text: &str, columns: &[String]) -> Result<Option<RawBatch>> {
        match self {
            Format::Csv(dialect) => {
                // A place past the beginning: what looks like a byte order mark here is data.
                let mut reader = csv::Reader::resume(dialect.clone(), columns.to_vec(), 1, 1)?;
                reader.push(text.as_bytes());
                reader.finish();
                Ok(reader.next_batch(2)?.filter(|b| b.rows() == 1))
            }
            Format::Json { verbatim, .. } => json_record(text, verbatim, columns),
            Format::Typed => json_record(text, &json::Verbatim::None, columns),
        }
    }

    /// Why a corrupt record is none.
    pub fn explain(&self, batch: &RawBatch, row: usize) -> String {
        let text = self.record(batch, row);
        let malformed = match self {
            Format::Csv(dialect) => csv::explain(&text, dialect, batch.fields.num_columns()).map(|m| m.to_string()),
            Format::Json { verbatim, .. } => json::members(&text, verbatim, &[]).err().map(|m| m.to_string()),
            Format::Typed => Some("a timestamp of the record is out of range".to_string()),
        };
        malformed.unwrap_or_else(|| "the record is malformed".to_string())
    }
}

fn json_record(text: &str, verbatim: &json::Verbatim, columns: &[String]) -> Result<Option<RawBatch>> {
    let mut reader = json::Reader::resume(verbatim.clone(), Encoding::default(), columns.to_vec(), 1, 1);
    reader.push(text.as_bytes());
    reader.finish();
    Ok(reader.next_batch(2)?.filter(|b| b.rows() == 1 && b.fields.num_columns() == columns.len()))
}

/// Reads the text of a file.
pub enum Reader {
    Csv(csv::Reader),
    Json(json::Reader),
}

impl Reader {
    pub fn push(&mut self, block: &[u8]) {
        match self {
            Reader::Csv(reader) => reader.push(block),
            Reader::Json(reader) => reader.push(block),
        }
    }

    pub fn finish(&mut self) {
        match self {
            Reader::Csv(reader) => reader.finish(),
            Reader::Json(reader) => reader.finish(),
        }
    }

    pub fn next_batch(&mut self, max_rows: usize) -> Result<Option<RawBatch>> {
        match self {
            Reader::Csv(reader) => reader.next_batch(max_rows),
            Reader::Json(reader) => reader.next_batch(max_rows),
        }
    }

    /// The columns as far as they are known.
    pub fn header(&self) -> Option<&[String]> {
        match self {
            Reader::Csv(reader) => reader.header(),
            Reader::Json(reader) => Some(reader.header()),
        }
    }
}
