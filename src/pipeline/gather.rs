//! A chunk's rows numbered and encoded for the table: what the reading threads were sure of as it is, all else as Postgres reads it.
//!
//! Promise: each record becomes one row or one reject with its reasons; none stops the others.

use std::sync::Arc;

use pgrx::pg_sys::Oid;

use crate::convert::{Field, Reason, Row, append_value, asked, refuse};
use crate::model::Result;
use crate::model::keyed::Op;
use crate::model::landing::Origin;
use crate::pg::input::{self, Reader};
use crate::pipeline::columns::{Match, StagingColumn};
use crate::pipeline::read::{Piece, Read};
use crate::pipeline::rejects::{Place, Reject, Why, first_row_no};
use crate::pipeline::rescue;
use crate::pipeline::rows::{RowRef, append_null};

/// Consecutive rows that fill the same columns.
pub struct Group {
    pub matched: Arc<Match>,
    pub rows: Vec<RowRef>,
}

pub struct Gathered {
    pub buffers: Vec<Vec<u8>>,
    pub groups: Vec<Group>,
    pub rejects: Vec<Reject>,
}

/// Numbers the rows, and asks Postgres about the fields that the reading threads were not sure of.
pub fn gather(columns: &[StagingColumn], read: &mut Read, origins: &[Origin]) -> Result<Gathered> {
    let mut out = Gathered { buffers: Vec::with_capacity(read.pieces.len() * 2), groups: vec![], rejects: vec![] };
    let mut readers: Vec<Option<Reader>> = columns.iter().map(|_| None).collect();
    for (number, piece) in read.pieces.iter_mut().enumerate() {
        let own = out.buffers.len() as u32;
        out.buffers.push(std::mem::take(&mut piece.encoded.buf));
        let piece = &*piece;
        let mut asked: Vec<u8> = Vec::new();
        let first = first_row_no(piece, origins);
        if out.groups.last().is_none_or(|g| g.matched.filled != piece.matched.filled) {
            out.groups.push(Group { matched: piece.matched.clone(), rows: vec![] });
        }
        for (i, row) in piece.encoded.rows.iter().enumerate() {
            let row_no = first + i as i64;
            let op = piece.ops.as_ref().and_then(|ops| ops.get(i)).copied().unwrap_or(Op::Upsert);
            let reasons = match row {
                Row::Ready { start, end } => {
                    push_row(&mut out, RowRef { buffer: own, start: *start, end: *end, row_no, op });
                    continue;
                }
                Row::Rejected(reasons) => reasons.clone(),
                Row::Undecided => {
                    let start = asked.len();
                    let reasons = ask(piece, i, columns, &mut readers, &mut asked, &[])?;
                    if reasons.is_empty() {
                        let end = asked.len();
                        push_row(&mut out, RowRef { buffer: own + 1, start, end, row_no, op });
                        continue;
                    }
                    asked.truncate(start);
                    reasons
                }
            };
            let start = asked.len();
            if rescued(piece, i, columns, &mut readers, &mut asked, &reasons)? {
                let end = asked.len();
                push_row(&mut out, RowRef { buffer: own + 1, start, end, row_no, op });
                continue;
            }
            let (place, why) = (Place { piece: number, row: i }, Why::Reasons(reasons));
            out.rejects.push(Reject { row_no, part: piece.part, place, why });
        }
        out.buffers.push(asked);
    }
    Ok(out)
}

fn push_row(out: &mut Gathered, row: RowRef) {
    if let Some(group) = out.groups.last_mut() {
        group.rows.push(row);
    }
}

/// Encodes a row without the values that do not fit, which are rescued, if it can do without them.
fn rescued(
    piece: &Piece,
    row: usize,
    columns: &[StagingColumn],
    readers: &mut [Option<Reader>],
    out: &mut Vec<u8>,
    reasons: &[Reason],
) -> Result<bool> {
    let start = out.len();
    let Some(mut misfits) = rescue::misfits(&piece.matched, reasons) else { return Ok(false) };
    loop {
        let further = ask(piece, row, columns, readers, out, &misfits)?;
        if further.is_empty() {
            return Ok(true);
        }
        out.truncate(start);
        match rescue::misfits(&piece.matched, &further) {
            Some(further) => misfits.extend(further),
            None => return Ok(false),
        }
    }
}

/// Encodes one row with Postgres' own input functions where ours was not sure; gives the reasons why it can't be a row.
fn ask(
    piece: &Piece,
    row: usize,
    columns: &[StagingColumn],
    readers: &mut [Option<Reader>],
    out: &mut Vec<u8>,
    misfits: &[usize],
) -> Result<Vec<Reason>> {
    let mut reasons = Vec::new();
    let matched = &piece.matched;
    for (t, target) in matched.targets.iter().enumerate() {
        if misfits.contains(&t) {
            append_null(out);
            continue;
        }
        if matched.rescued == Some(t) {
            match rescue::object(&piece.batch, matched, row, misfits) {
                None => append_null(out),
                Some(text) => read_by_postgres(columns, readers, matched.filled[t], &text, out, &mut reasons)?,
            }
            continue;
        }
        let values = matched.mapping[t].and_then(|column| piece.batch.values(column));
        let Some(values) = values.filter(|values| values.is_valid(row)) else {
            append_null(out);
            continue;
        };
        match append_value(&target.kind, &values, row, out) {
            Field::Value => {}
            Field::Undecided => {
                let text = match asked(target, &values, row) {
                    Ok(text) => text,
                    Err(reason) => {
                        reasons.push(reason);
                        continue;
                    }
                };
                if let Some((sqlstate, message)) = refuse(&target.kind, &text) {
                    let column = &columns[matched.filled[t]].column;
                    reasons.push(Reason {
                        column: Some(column.name.clone()),
                        rule: Some(column.type_name.clone()),
                        sqlstate: sqlstate.into(),
                        message,
                        value: Some(text.chars().take(input::SHOWN).collect()),
                    });
                    continue;
                }
                read_by_postgres(columns, readers, matched.filled[t], &text, out, &mut reasons)?;
            }
        }
    }
    Ok(reasons)
}

fn read_by_postgres(
    columns: &[StagingColumn],
    readers: &mut [Option<Reader>],
    index: usize,
    text: &str,
    out: &mut Vec<u8>,
    reasons: &mut Vec<Reason>,
) -> Result<()> {
    let column = &columns[index].column;
    let reader = readers[index]
        .get_or_insert_with(|| Reader::new(&column.name, &column.type_name, Oid::from(column.type_oid), column.typmod));
    reasons.extend(reader.read(text, out)?.err());
    Ok(())
}
