//! Takes a file's bytes as they come and gives batches of records, one a line.
//!
//! Holds no more than the bytes pushed since the last batch and one unfinished line. Columns are the members that the records had so
//! far, in the order in which they came; a record without one has NULL there. The line is kept beside the fields, for they say less:
//! whether a text was a string or a number.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Malformed, Verbatim, members};
use crate::format::RawBatch;
use crate::format::encoding::Encoding;
use crate::model::{Code, Error, Result};

/// A file with a longer line than this is not taken for JSON lines.
pub const MAX_LINE: usize = 16 << 20;
/// Records with more different members than this are not taken for rows.
const MAX_COLUMNS: usize = 5_000;
/// Bytes of lines that one batch takes, about: offsets stay far below what 32 bits hold.
const BATCH_BYTES: usize = 64 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

pub struct Reader {
    verbatim: Verbatim,
    encoding: Encoding,
    names: Vec<String>,
    places: HashMap<String, usize>,
    at_start: bool,
    buffer: Vec<u8>,
    /// Where in `buffer` the next line starts.
    at: usize,
    /// Up to here `buffer` is known to hold no line end behind `at`.
    searched: usize,
    /// Where in the file `buffer` starts.
    offset: u64,
    next_record: u64,
    complete: bool,
}

impl Reader {
    pub fn new(verbatim: Verbatim, encoding: Encoding) -> Reader {
        Reader::resume(verbatim, encoding, vec![], 0, 1)
    }

    /// Goes on in the middle of a file: the first byte pushed is the one at `at_byte`, where a batch ended, and the next record
    /// is number `next_record`. The columns given come first.
    pub fn resume(
        verbatim: Verbatim,
        encoding: Encoding,
        names: Vec<String>,
        at_byte: u64,
        next_record: u64,
    ) -> Reader {
        let places = names.iter().cloned().enumerate().map(|(i, name)| (name, i)).collect();
        Reader {
            verbatim,
            encoding,
            names,
            places,
            at_start: at_byte == 0,
            buffer: Vec::new(),
            at: 0,
            searched: 0,
            offset: at_byte,
            next_record,
            complete: false,
        }
    }

    /// The columns so far.
    pub fn header(&self) -> &[String] {
        &self.names
    }

    pub fn push(&mut self, block: &[u8]) {
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.searched -= self.at;
        self.at = 0;
        self.buffer.extend_from_slice(block);
    }

    /// Says that no more bytes will come.
    pub fn finish(&mut self) {
        self.complete = true;
    }

    /// At most `max_rows` of the complete records that are there. `None` means: push more, or after `finish`: that was all.
    pub fn next_batch(&mut self, max_rows: usize) -> Result<Option<RawBatch>> {
        if self.at_start {
            if !self.complete && self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
                return Ok(None);
            }
            self.at_start = false;
            if self.buffer.starts_with(BOM) {
                (self.at, self.searched) = (BOM.len(), BOM.len());
            }
        }
        let mut columns = Columns::default();
        let (mut corrupt, mut raw) = (StringBuilder::new(), BinaryBuilder::new());
        let (mut rows, mut bytes, mut behind) = (0, 0, self.at);
        while rows < max_rows.max(1) && bytes < BATCH_BYTES {
            let Some((start, end)) = self.next_line()? else { break };
            let line = &self.buffer[start..end];
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match members(line, &self.verbatim, &self.names) {
                Ok(members) => {
                    for (i, (name, text)) in members.into_iter().enumerate() {
                        let known = self.names.get(i).is_some_and(|own| *own == name);
                        let place = if known { Some(i) } else { self.places.get(name.as_ref()).copied() };
                        let place = match place {
                            Some(place) => place,
                            None => {
                                if self.names.len() >= MAX_COLUMNS {
                                    return Err(too_many());
                                }
                                let name = name.into_owned();
                                self.places.insert(name.clone(), self.names.len());
                                self.names.push(name);
                                self.names.len() - 1
                            }
                        };
                        columns.put(place, rows, text.as_deref());
                    }
                    corrupt.append_null();
                    raw.append_value(line);
                }
                Err(Malformed::NotUtf8 { .. }) => {
                    corrupt.append_value(String::from_utf8_lossy(line));
                    raw.append_value(self.encoding.original(line));
                }
                Err(_) => {
                    corrupt.append_value(String::from_utf8_lossy(line));
                    raw.append_value(line);
                }
            }
            bytes += line.len();
            rows += 1;
            behind = self.at;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = columns.finish(self.names.len(), rows);
        let fields: Vec<Field> = self.names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let fields = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|e| Error::new(Code::Internal, format!("a batch of JSON records could not be built: {e}")))?;
        let first_record = self.next_record;
        self.next_record += rows as u64;
        let end_byte = self.offset + behind as u64;
        Ok(Some(RawBatch { fields, corrupt: corrupt.finish(), raw: raw.finish(), first_record, end_byte }))
    }

    /// Bounds of the next line without its end.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>> {
        let start = self.at;
        let found = memchr::memchr(b'\n', &self.buffer[self.searched.max(start)..]);
        let (mut end, next) = match found {
            Some(i) => (self.searched.max(start) + i, self.searched.max(start) + i + 1),
            None if self.complete && start < self.buffer.len() => (self.buffer.len(), self.buffer.len()),
            None => {
                self.searched = self.buffer.len();
                if self.buffer.len() - start > MAX_LINE {
                    return Err(self.too_long(start));
                }
                return Ok(None);
            }
        };
        if end - start > MAX_LINE {
            return Err(self.too_long(start));
        }
        (self.at, self.searched) = (next, next);
        if end > start && self.buffer[end - 1] == b'\r' {
            end -= 1;
        }
        Ok(Some((start, end)))
    }

    fn too_long(&self, start: usize) -> Error {
        Error::new(Code::Limit, format!("a line of the JSON file is longer than {} MiB", MAX_LINE >> 20))
            .detail(format!("It starts at byte {}.", self.offset + start as u64))
            .hint("Each record must be one line; a file that is one JSON list can't be read.")
    }
}

fn too_many() -> Error {
    Error::new(Code::Limit, format!("the file's JSON records have more than {MAX_COLUMNS} different members"))
        .hint("Have the producer put what has names of its own into one member, as an object.")
}

/// Columns in the making: each is filled up with NULL when it gets its next value.
#[derive(Default)]
struct Columns(Vec<(StringBuilder, usize)>);

impl Columns {
    fn put(&mut self, place: usize, row: usize, text: Option<&str>) {
        while self.0.len() <= place {
            self.0.push((StringBuilder::new(), 0));
        }
        let (builder, filled) = &mut self.0[place];
        builder.append_nulls(row - *filled);
        builder.append_option(text);
        *filled = row + 1;
    }

    fn finish(mut self, columns: usize, rows: usize) -> Vec<ArrayRef> {
        self.0.resize_with(columns, || (StringBuilder::new(), 0));
        let finish = |(mut builder, filled): (StringBuilder, usize)| {
            builder.append_nulls(rows - filled);
            Arc::new(builder.finish()) as ArrayRef
        };
        self.0.into_iter().map(finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    fn read(file: &[u8], cut: usize) -> Vec<RawBatch> {
        let mut reader = Reader::new(Verbatim::default(), Encoding::default());
        let mut batches = Vec::new();
        for block in file.chunks(cut) {
            reader.push(block);
            while let Some(batch) = reader.next_batch(3).unwrap() {
                batches.push(batch);
            }
        }
        reader.finish();
        while let Some(batch) = reader.next_batch(3).unwrap() {
            batches.push(batch);
        }
        batches
    }

    /// Each record as `name=text` for its fields that are not NULL, or `!` and the bytes of a corrupt one.
    fn shown(batches: &[RawBatch]) -> Vec<String> {
        let mut out = Vec::new();
        for batch in batches {
            for row in 0..batch.rows() {
                if !batch.corrupt.is_null(row) {
                    out.push(format!("!{}", batch.raw.value(row).escape_ascii()));
                    continue;
                }
                let schema = batch.fields.schema();
                let field =
                    |(i, f): (usize, &Arc<Field>)| batch.text(i, row).map(|text| format!("{}={text}", f.name()));
                out.push(schema.fields().iter().enumerate().filter_map(field).collect::<Vec<_>>().join(" "));
            }
        }
        out
    }

    use arrow::array::Array;

    #[test]
    fn records_come_out_the_same_however_the_file_is_cut() {
        let file = b"\xef\xbb\xbf{\"a\":1,\"b\":\"x\"}\r\n\n  \n{\"b\":null,\"c\":[1, 2],\"a\":1.50}\n[]\n{\"a\":\n{\"z\":\"\xff\"}\n{\"c\":\"last\"}";
        let expected = ["a=1 b=x", "a=1.50 c=[1, 2]", "![]", "!{\\\"a\\\":", "!{\\\"z\\\":\\\"\\xff\\\"}", "c=last"];
        for cut in [1, 2, 5, 16, 1000] {
            let batches = read(file, cut);
            assert_eq!(shown(&batches), expected, "{cut}");
            let mut next = 1;
            for batch in &batches {
                assert_eq!(batch.first_record, next);
                next += batch.rows() as u64;
            }
            assert_eq!(batches.last().unwrap().end_byte, file.len() as u64);
        }
    }

    #[test]
    fn reading_goes_on_where_a_batch_ended() {
        let file: Vec<u8> = (0..10).flat_map(|i| format!("{{\"i\":{i}}}\r\n\r\n").into_bytes()).collect();
        let whole = read(&file, 7);
        let (end, next) = (whole[1].end_byte, whole[2].first_record);
        let mut reader = Reader::resume(Verbatim::default(), Encoding::default(), vec![], end, next);
        reader.push(&file[end as usize..]);
        reader.finish();
        let batch = reader.next_batch(100).unwrap().unwrap();
        assert_eq!(batch.first_record, next);
        assert_eq!(shown(&[batch]), shown(&whole[2..]));
    }

    #[test]
    fn a_record_is_kept_as_it_landed_and_says_why_it_is_none() {
        let format = Format::Json { verbatim: Verbatim::default(), encoding: Encoding::default() };
        let batches = read(b"{\"a\": 1.0}\n{\"a\":1,\"a\":2}\n", 100);
        assert_eq!(&*format.record(&batches[0], 0), b"{\"a\": 1.0}");
        assert_eq!(format.explain(&batches[0], 1), "the record has two members \"a\"");
    }
}
