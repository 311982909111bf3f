//! The rows of a chunk on their way into COPY.

use std::sync::Arc;

use crate::model::keyed::Op;
use crate::pg::copy::Rows;

/// Where a row's fields stand: `start..end` of buffer `buffer`.
#[derive(Debug, Clone, Copy)]
pub struct RowRef {
    pub buffer: u32,
    pub start: usize,
    pub end: usize,
    pub row_no: i64,
    pub op: Op,
}

/// Bytes that one call of [`Rows::fill`] gives, about.
pub const GULP: usize = 256 * 1024;

/// Rows that all have the same columns; `_chunk_no` and `_row_no` go before each row's own fields.
pub struct ChunkRows {
    pub buffers: Arc<Vec<Vec<u8>>>,
    pub rows: Arc<Vec<RowRef>>,
    pub from: usize,
    pub to: usize,
    pub chunk_no: i64,
    /// Of the row's own fields.
    pub fields: usize,
    /// Whether a last field says what each row does: NULL, or delete.
    pub with_op: bool,
}

impl Rows for ChunkRows {
    fn fill(&mut self, out: &mut Vec<u8>) -> bool {
        if self.from >= self.to {
            return false;
        }
        let count = (self.fields as i16 + 2 + i16::from(self.with_op)).to_be_bytes();
        let chunk_no = self.chunk_no.to_be_bytes();
        while self.from < self.to && out.len() < GULP {
            let row = self.rows[self.from];
            out.extend_from_slice(&count);
            append_field(out, &chunk_no);
            append_field(out, &row.row_no.to_be_bytes());
            out.extend_from_slice(&self.buffers[row.buffer as usize][row.start..row.end]);
            match row.op {
                _ if !self.with_op => {}
                Op::Upsert => append_null(out),
                Op::Delete => append_field(out, b"delete"),
            }
            self.from += 1;
        }
        true
    }

    fn size(&self) -> usize {
        self.rows.get(self.from..self.to).unwrap_or_default().iter().map(|row| row.end - row.start).sum()
    }
}

pub fn append_field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub fn append_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i32).to_be_bytes());
}
