//! Records that are not loaded: as landed, from where, and why.

use pgrx::pg_sys::Oid;

use crate::catalog::staging;
use crate::convert::Reason;
use crate::format::Format;
use crate::model::landing::Origin;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::tally::Tallies;
use crate::pg::{copy, relation};
use crate::pipeline::read::{Piece, Read};
use crate::pipeline::rows::{Encoded, append_field, append_null};

pub struct Reject {
    pub row_no: i64,
    pub part: usize,
    pub record_no: u64,
    pub raw: Vec<u8>,
    pub reasons: Vec<Reason>,
}

/// The number in its chunk of a batch's first row.
pub fn first_row_no(piece: &Piece, origins: &[Origin]) -> i64 {
    let origin = &origins[piece.part];
    origin.first_row_no + (piece.batch.first_record - origin.first_record) as i64
}

/// `rule`: what raised the error.
pub fn reason_of(error: Error, rule: &str) -> Reason {
    Reason {
        column: None,
        rule: Some(rule.into()),
        sqlstate: String::from_utf8_lossy(&error.code.sqlstate()).into_owned(),
        message: error.message,
        value: error.detail,
    }
}

/// The reject for a row that was refused after it had been gathered.
pub fn reject_of(piece: &Piece, i: usize, row_no: i64, format: &Format, reasons: Vec<Reason>) -> Reject {
    Reject {
        row_no,
        part: piece.part,
        record_no: piece.batch.first_record + i as u64,
        raw: format.record(&piece.batch, i).into_owned(),
        reasons,
    }
}

/// The batch that holds a row, and where in it.
pub fn locate<'a>(row_no: i64, read: &'a Read, origins: &[Origin]) -> Result<(&'a Piece, usize)> {
    let behind = read.pieces.partition_point(|piece| first_row_no(piece, origins) <= row_no);
    let holds = |piece: &&Piece| row_no < first_row_no(piece, origins) + piece.encoded.rows.len() as i64;
    let piece = read.pieces[..behind].last().filter(holds);
    let piece = piece.ok_or_else(|| Error::new(Code::Internal, format!("row {row_no} belongs to no batch")))?;
    Ok((piece, (row_no - first_row_no(piece, origins)) as usize))
}

pub fn insert(pipeline: &Pipeline, origins: &[Origin], chunk_no: i64, rejects: &[Reject]) -> Result<()> {
    if rejects.is_empty() {
        return Ok(());
    }
    // All columns: with a DEFAULT left to the server, rows would go in one by one.
    let names = ["chunk_no", "_row_no", "file", "row_no", "raw", "raw_bytes", "reasons", "status", "rejected_at"];
    let names = names.map(str::to_string);
    let now = (chrono::Utc::now().timestamp_micros() - EPOCH).to_be_bytes();
    let mut rows = Vec::new();
    for reject in rejects {
        rows.extend_from_slice(&(names.len() as i16).to_be_bytes());
        append_field(&mut rows, &chunk_no.to_be_bytes());
        append_field(&mut rows, &reject.row_no.to_be_bytes());
        append_field(&mut rows, origins[reject.part].path.as_bytes());
        append_field(&mut rows, &(reject.record_no as i64).to_be_bytes());
        match std::str::from_utf8(&reject.raw) {
            Ok(text) if !text.contains('\0') => {
                append_field(&mut rows, text.as_bytes());
                append_null(&mut rows);
            }
            _ => {
                append_null(&mut rows);
                append_field(&mut rows, &reject.raw);
            }
        }
        let at = rows.len();
        // The field's length, and the version of jsonb's binary form.
        rows.extend_from_slice(&[0, 0, 0, 0, 1]);
        write_reasons(&mut rows, &reject.reasons)?;
        let length = (rows.len() - at - 4) as i32;
        rows[at..at + 4].copy_from_slice(&length.to_be_bytes());
        append_field(&mut rows, b"rejected");
        append_field(&mut rows, &now);
    }
    let table = relation::by_oid(Oid::from(pipeline.rejects))?.ok_or_else(|| {
        Error::new(Code::WrongState, format!("the rejects table of pipeline \"{}\" is gone", pipeline.name))
            .hint("Drop the pipeline with millrace.drop_pipeline and create it anew.")
    })?;
    let target = staging::target(&table, chunk_no, pipeline.options.partition_chunks())?;
    copy::load(Oid::from(target.oid), &names, Box::new(Encoded(rows)), None, &mut Tallies::default())?;
    Ok(())
}

/// Postgres counts microseconds from 2000 on.
const EPOCH: i64 = 946_684_800_000_000;

/// jsonb can't hold NUL: it is shown as the replacement character, and `raw_bytes` keeps what was landed.
fn write_reasons(out: &mut Vec<u8>, reasons: &[Reason]) -> Result<()> {
    let internal = |e: serde_json::Error| Error::new(Code::Internal, e.to_string());
    let has_nul = |r: &Reason| r.message.contains('\0') || r.value.as_ref().is_some_and(|v| v.contains('\0'));
    if !reasons.iter().any(has_nul) {
        return serde_json::to_writer(out, reasons).map_err(internal);
    }
    let shown = |text: &String| text.replace('\0', "\u{fffd}");
    let reasons: Vec<Reason> = reasons
        .iter()
        .map(|r| Reason { message: shown(&r.message), value: r.value.as_ref().map(shown), ..r.clone() })
        .collect();
    serde_json::to_writer(out, &reasons).map_err(internal)
}

pub fn reasons_json(reasons: &[Reason]) -> Result<String> {
    let mut out = Vec::new();
    write_reasons(&mut out, reasons)?;
    String::from_utf8(out).map_err(|e| Error::new(Code::Internal, e.to_string()))
}
