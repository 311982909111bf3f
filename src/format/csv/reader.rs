//! Takes a file's bytes as they come and gives batches of records.
//!
//! Holds no more than the bytes pushed since the last batch and one unfinished record. The same file gives the same records
//! however it is cut into blocks, and whether it is read in one go or resumed at some batch's `end_byte`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BinaryBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::split::{Form, Record, Span, Splitter, Step};
use super::{Dialect, columns, header};
use crate::format::RawBatch;
use crate::model::{Code, Error, Result};

/// A file with a longer line than this is not taken for CSV.
pub const MAX_LINE: usize = 16 << 20;

/// What one batch looks at; offsets within it stay far below what 32 bits hold.
const WINDOW: usize = 256 << 20;

/// A record longer than this is not tried again at each push, but when the bytes have grown by half.
const PATIENCE: usize = 64 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";
const NOTHING: Span = Span { start: 0, len: 0, form: Form::Missing };

pub struct Reader {
    dialect: Dialect,
    schema: Option<(Vec<String>, SchemaRef)>,
    /// At the very beginning of the file, where a byte order mark may stand.
    at_start: bool,
    buffer: Vec<u8>,
    /// Where in `buffer` the next record starts.
    at: usize,
    /// Where in `buffer` the record that was split last ends.
    behind: usize,
    /// Where in the file `buffer` starts.
    offset: u64,
    next_record: u64,
    /// No record is complete before `buffer` is this long.
    wait_for: usize,
    complete: bool,
    spans: Vec<Span>,
    bounds: Vec<(usize, usize)>,
    marked: Vec<Marked>,
}

/// A row that is not just its fields.
#[derive(Debug, Clone, Copy)]
struct Marked {
    row: usize,
    corrupt: bool,
}

impl Reader {
    /// Reads a file from its beginning. Where the dialect has no header, names the columns as given, else `_c1`, `_c2` and so on,
    /// as many as the first record has fields.
    pub fn new(dialect: Dialect, columns_without_header: Option<Vec<String>>) -> Result<Self> {
        dialect.check()?;
        let given = columns_without_header.filter(|_| !dialect.header).map(header::names).transpose()?;
        Ok(Reader {
            dialect,
            schema: given.map(named),
            at_start: true,
            buffer: Vec::new(),
            at: 0,
            behind: 0,
            offset: 0,
            next_record: 1,
            wait_for: 0,
            complete: false,
            spans: Vec::new(),
            bounds: Vec::new(),
            marked: Vec::new(),
        })
    }

    /// Goes on in the middle of a file: the first byte pushed is the one at `at_byte`, where a batch ended, and the next record
    /// is number `next_record`.
    pub fn resume(dialect: Dialect, header: Vec<String>, at_byte: u64, next_record: u64) -> Result<Self> {
        let mut reader = Reader::new(dialect, None)?;
        reader.schema = Some(named(header));
        reader.at_start = at_byte == 0;
        reader.offset = at_byte;
        reader.next_record = next_record;
        Ok(reader)
    }

    /// The columns' names, once they are known.
    pub fn header(&self) -> Option<&[String]> {
        self.schema.as_ref().map(|(names, _)| names.as_slice())
    }

    /// Takes bytes of any number. Smaller blocks give smaller batches.
    pub fn push(&mut self, block: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.offset += self.at as u64;
            self.wait_for = self.wait_for.saturating_sub(self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(block);
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        self.complete = true;
        self.wait_for = 0;
    }

    /// At most `max_rows` of the complete records that are there. `None` means: push more, or after `finish`: that was all.
    pub fn next_batch(&mut self, max_rows: usize) -> Result<Option<RawBatch>> {
        if self.buffer.len() < self.wait_for || !self.skip_bom() {
            return Ok(None);
        }
        if self.schema.is_none() && !self.read_names()? {
            return Ok(None);
        }
        let Some((names, schema)) = &self.schema else { return Ok(None) };
        let (columns, schema) = (names.len(), schema.clone());
        let start = self.at;
        self.split(columns, max_rows)?;
        let rows = self.bounds.len();
        if rows == 0 {
            return Ok(None);
        }
        self.mark_what_is_not_utf8(start, columns);
        let bytes = &self.buffer[start..self.at];
        let arrays: Vec<ArrayRef> = (0..columns)
            .map(|column| columns::column(bytes, &self.spans, columns, column, &self.dialect))
            .collect::<Result<_>>()?;
        let fields = RecordBatch::try_new(schema, arrays)
            .map_err(|e| Error::new(Code::Internal, format!("a batch of CSV records could not be built: {e}")))?;
        let (corrupt, raw) = self.exceptions(rows);
        let first_record = self.next_record;
        self.next_record += rows as u64;
        // Behind the last record, not behind empty lines that may follow: those depend on how the file was cut.
        let end_byte = self.offset + self.behind as u64;
        Ok(Some(RawBatch { fields, corrupt, raw, first_record, end_byte }))
    }

    /// False while it can't be told yet.
    fn skip_bom(&mut self) -> bool {
        if self.at_start {
            if !self.complete && self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return false;
            }
            self.at_start = false;
            if self.buffer.starts_with(BOM) {
                self.at = BOM.len();
            }
        }
        true
    }

    /// Learns the names from the header, or the number of columns from the first record that is whole.
    fn read_names(&mut self) -> Result<bool> {
        let mut start = self.at;
        let mut spans = Vec::new();
        let fields = loop {
            spans.clear();
            let record = match self.record_at(start, &mut spans)? {
                Some(record) => record,
                // Not one record is whole, so any number of columns is as good as any other.
                None if self.complete && start > self.at => break vec![String::new()],
                None => return Ok(false),
            };
            if record.end == start {
                start = record.next;
            } else if let Some(malformed) = record.malformed {
                if self.dialect.header {
                    return Err(Error::new(Code::Corrupt, "the CSV header can't be read")
                        .detail(format!("In the header, {malformed}."))
                        .hint("Check delimiter and quote in the pipeline's options."));
                }
                start = record.next;
            } else if self.dialect.header {
                self.at = record.next;
                break self.texts(start, &spans)?;
            } else {
                break vec![String::new(); spans.len()];
            }
        };
        self.schema = Some(named(header::names(fields)?));
        Ok(true)
    }

    fn record_at(&self, start: usize, spans: &mut Vec<Span>) -> Result<Option<Record>> {
        if start >= self.buffer.len() {
            return Ok(None);
        }
        let end = self.buffer.len().min(start + WINDOW);
        let complete = self.complete && end == self.buffer.len();
        match Splitter::new(&self.buffer[..end], &self.dialect, start, complete).record(start, spans) {
            Step::Record(record) if record.end - start > MAX_LINE => Err(self.line_too_long(start)),
            Step::Record(record) => Ok(Some(record)),
            Step::More if end - start > MAX_LINE => Err(self.line_too_long(start)),
            Step::More => Ok(None),
        }
    }

    /// The header's fields: text as it is, the null string having no meaning there.
    fn texts(&self, start: usize, spans: &[Span]) -> Result<Vec<String>> {
        let bytes = &self.buffer[start..];
        let not_utf8 = || {
            Error::new(Code::Corrupt, "the CSV header is not valid UTF-8")
                .hint("Set option \"encoding\" to the one that the file is written in.")
        };
        spans
            .iter()
            .map(|span| {
                let field = &bytes[span.start as usize..][..span.len as usize];
                let field = match span.form {
                    Form::Escaped => columns::unescaped(field, &self.dialect),
                    _ => field.to_vec(),
                };
                String::from_utf8(field).map_err(|_| not_utf8())
            })
            .collect()
    }

    /// Fills `spans`, `bounds` and `marked` with the next records and moves `at` behind them.
    fn split(&mut self, columns: usize, max_rows: usize) -> Result<()> {
        self.spans.clear();
        self.bounds.clear();
        self.marked.clear();
        let start = self.at;
        let window = self.buffer.len().min(start + WINDOW);
        let complete = self.complete && window == self.buffer.len();
        let mut splitter = Splitter::new(&self.buffer[..window], &self.dialect, start, complete);
        while self.bounds.len() < max_rows.max(1) && self.at < window {
            let first = self.spans.len();
            let Step::Record(record) = splitter.record(self.at, &mut self.spans) else {
                self.spans.truncate(first);
                let pending = window - self.at;
                if pending > PATIENCE && window == self.buffer.len() {
                    self.wait_for = (self.buffer.len() + pending / 2).min(self.at + MAX_LINE + 1);
                }
                // A full window ends a batch; only what is too long for a batch of its own is too long.
                if pending > MAX_LINE && self.bounds.is_empty() {
                    return Err(self.line_too_long(self.at));
                }
                break;
            };
            let length = record.end - self.at;
            if length > MAX_LINE {
                if self.bounds.is_empty() {
                    return Err(self.line_too_long(self.at));
                }
                self.spans.truncate(first);
                break;
            }
            if length == 0 && columns > 1 {
                self.spans.truncate(first);
                self.at = record.next;
                continue;
            }
            let row = self.bounds.len();
            let found = self.spans.len() - first;
            if record.malformed.is_some() || found != columns {
                self.spans.truncate(first);
                self.spans.resize(first + columns, NOTHING);
                self.marked.push(Marked { row, corrupt: true });
            } else if !record.canonical {
                self.marked.push(Marked { row, corrupt: false });
            }
            self.bounds.push((self.at, record.end));
            self.at = record.next;
            self.behind = record.next;
        }
        Ok(())
    }

    /// Makes corrupt what is not text. One look at all bytes tells whether there is any.
    fn mark_what_is_not_utf8(&mut self, start: usize, columns: usize) {
        if std::str::from_utf8(&self.buffer[start..self.at]).is_ok() {
            return;
        }
        for (row, &(from, to)) in self.bounds.iter().enumerate() {
            if std::str::from_utf8(&self.buffer[from..to]).is_err() {
                self.spans[row * columns..(row + 1) * columns].fill(NOTHING);
                self.marked.push(Marked { row, corrupt: true });
            }
        }
        // Corrupt wins where a row was marked before for another reason.
        self.marked.sort_by_key(|marked| (marked.row, !marked.corrupt));
        self.marked.dedup_by_key(|marked| marked.row);
    }

    fn exceptions(&self, rows: usize) -> (StringArray, BinaryArray) {
        if self.marked.is_empty() {
            return (StringArray::new_null(rows), BinaryArray::new_null(rows));
        }
        let mut corrupt = StringBuilder::new();
        let mut raw = BinaryBuilder::new();
        let mut marked = self.marked.iter().peekable();
        for (row, &(from, to)) in self.bounds.iter().enumerate() {
            let bytes = &self.buffer[from..to];
            let mark = marked.next_if(|marked| marked.row == row);
            if !mark.is_some_and(|mark| mark.corrupt) {
                corrupt.append_null();
                raw.append_option(mark.map(|_| bytes));
                continue;
            }
            let text = String::from_utf8_lossy(bytes);
            raw.append_option((text.as_bytes() != bytes).then(|| self.dialect.encoding.original(bytes)));
            corrupt.append_value(text);
        }
        (corrupt.finish(), raw.finish())
    }

    fn line_too_long(&self, start: usize) -> Error {
        Error::new(Code::Limit, format!("a line of the CSV file is longer than {} MiB", MAX_LINE >> 20))
            .detail(format!("It starts at byte {}.", self.offset + start as u64))
            .hint("Check that the file is CSV text whose lines end in LF or CR LF.")
    }
}

fn named(names: Vec<String>) -> (Vec<String>, SchemaRef) {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
    (names, Arc::new(Schema::new(fields)))
}
