//! Records that are not loaded: as landed, from where, and why.

use std::borrow::Cow;

use pgrx::pg_sys::Oid;

use crate::catalog::staging;
use crate::convert::{Reason, jsonb};
use crate::format::Format;
use crate::model::expectation::Rules;
use crate::model::landing::Origin;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::copy::Rows;
use crate::pg::datum::STORED_JSONB;
use crate::pg::tally::Tallies;
use crate::pg::{copy, relation};
use crate::pipeline::judge::Words;
use crate::pipeline::read::{Piece, Read};
use crate::pipeline::rows::{GULP, append_field, append_null};

/// A record that is not loaded. What it says is made when it is written.
pub struct Reject {
    pub row_no: i64,
    pub part: usize,
    pub place: Place,
    pub why: Why,
}

/// Which batch of a chunk holds a record, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub piece: usize,
    pub row: usize,
}

pub enum Why {
    Reasons(Vec<Reason>),
    /// Rules that it breaks, a bit each.
    Rules(u64),
}

/// A reason on its way into the table.
pub struct Said<'a> {
    pub column: Option<&'a str>,
    pub rule: Option<&'a str>,
    pub sqlstate: &'a str,
    pub message: Cow<'a, str>,
    pub value: Option<Cow<'a, str>>,
}

impl Said<'_> {
    pub fn to_reason(&self) -> Reason {
        Reason {
            column: self.column.map(str::to_string),
            rule: self.rule.map(str::to_string),
            sqlstate: self.sqlstate.into(),
            message: self.message.to_string(),
            value: self.value.as_deref().map(str::to_string),
        }
    }

    /// As jsonb stores them: shorter keys first.
    fn pairs(&self) -> [(&str, Option<&str>); 5] {
        [
            ("rule", self.rule),
            ("value", self.value.as_deref()),
            ("column", self.column),
            ("message", Some(&self.message)),
            ("sqlstate", Some(self.sqlstate)),
        ]
    }

    /// jsonb can't hold NUL: it is shown as the replacement character, and `raw_bytes` keeps what was landed.
    fn show_nul(&mut self) {
        for text in self.value.iter_mut().chain([&mut self.message]) {
            if memchr::memchr(0, text.as_bytes()).is_some() {
                *text = text.replace('\0', "\u{fffd}").into();
            }
        }
    }
}

impl<'a> From<&'a Reason> for Said<'a> {
    fn from(reason: &'a Reason) -> Said<'a> {
        Said {
            column: reason.column.as_deref(),
            rule: reason.rule.as_deref(),
            sqlstate: &reason.sqlstate,
            message: reason.message.as_str().into(),
            value: reason.value.as_deref().map(Cow::Borrowed),
        }
    }
}

impl Reject {
    /// Its reasons by themselves.
    pub fn reasons(&self, words: &Words, read: &Read) -> Vec<Reason> {
        match &self.why {
            Why::Reasons(reasons) => reasons.clone(),
            Why::Rules(broken) => {
                let said = words.of(*broken, &read.pieces[self.place.piece], self.place.row);
                said.map(|said| said.to_reason()).collect()
            }
        }
    }
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

/// Where a row's record is.
pub fn locate(row_no: i64, read: &Read, origins: &[Origin]) -> Result<Place> {
    let behind = read.pieces.partition_point(|piece| first_row_no(piece, origins) <= row_no);
    let piece = behind.checked_sub(1).map(|i| (i, &read.pieces[i]));
    let place = piece.map(|(i, piece)| (i, (row_no - first_row_no(piece, origins)) as usize, piece.encoded.rows.len()));
    match place {
        Some((piece, row, rows)) if row < rows => Ok(Place { piece, row }),
        _ => Err(Error::new(Code::Internal, format!("row {row_no} belongs to no batch"))),
    }
}

/// Writes the rejects of a chunk into their table.
pub fn insert(
    pipeline: &Pipeline,
    (rules, format): (&Rules, &Format),
    (read, origins): (&Read, &[Origin]),
    chunk_no: i64,
    rejects: &[Reject],
) -> Result<()> {
    if rejects.is_empty() {
        return Ok(());
    }
    let table = relation::by_oid(Oid::from(pipeline.rejects))?.ok_or_else(|| {
        Error::new(Code::WrongState, format!("the rejects table of pipeline \"{}\" is gone", pipeline.name))
            .hint("Drop the pipeline with millrace.drop_pipeline and create it anew.")
    })?;
    let target = staging::target(&table, chunk_no, pipeline.options.partition_chunks())?;
    let words = Words::new(rules);
    let now = (chrono::Utc::now().timestamp_micros() - EPOCH).to_be_bytes();
    let rows = RejectRows { left: rejects, words: &words, format, read, origins, chunk_no, now, stored: false };
    copy::load(Oid::from(target.oid), &COLUMNS.map(str::to_string), Box::new(rows), None, &mut Tallies::default())?;
    Ok(())
}

/// All columns: with a DEFAULT left to the server, rows would go in one by one.
const COLUMNS: [&str; 9] =
    ["chunk_no", "_row_no", "file", "row_no", "raw", "raw_bytes", "reasons", "status", "rejected_at"];

/// Rejects as they are loaded, each made when its turn comes.
struct RejectRows<'a> {
    left: &'a [Reject],
    words: &'a Words<'a>,
    format: &'a Format,
    read: &'a Read,
    origins: &'a [Origin],
    chunk_no: i64,
    now: [u8; 8],
    /// jsonb is given as it is stored.
    stored: bool,
}

impl Rows for RejectRows<'_> {
    fn fill(&mut self, out: &mut Vec<u8>) -> bool {
        if self.left.is_empty() {
            return false;
        }
        while let Some((reject, left)) = self.left.split_first().filter(|_| out.len() < GULP) {
            self.write(reject, out);
            self.left = left;
        }
        true
    }

    fn size(&self) -> usize {
        let of_one = self.read.bytes / self.read.records.max(1) + 300;
        self.left.len() * of_one as usize
    }

    fn store_jsonb(&mut self) {
        self.stored = true;
    }
}

impl RejectRows<'_> {
    fn write(&self, reject: &Reject, out: &mut Vec<u8>) {
        let Place { piece, row } = reject.place;
        let piece = &self.read.pieces[piece];
        out.extend_from_slice(&(COLUMNS.len() as i16).to_be_bytes());
        append_field(out, &self.chunk_no.to_be_bytes());
        append_field(out, &reject.row_no.to_be_bytes());
        append_field(out, self.origins[reject.part].path.as_bytes());
        append_field(out, &(piece.batch.first_record as i64 + row as i64).to_be_bytes());
        let raw = out.len();
        field(out, |out| self.format.append_record(&piece.batch, row, out));
        let bytes = &out[raw + 4..];
        if std::str::from_utf8(bytes).is_ok() && memchr::memchr(0, bytes).is_none() {
            append_null(out);
        } else {
            // No text: it goes into the next column.
            drop(out.splice(raw..raw, (-1i32).to_be_bytes()));
        }
        match &reject.why {
            Why::Reasons(reasons) => self.write_reasons(reasons.iter().map(Said::from).collect(), out),
            Why::Rules(broken) => self.write_reasons(self.words.of(*broken, piece, row).collect(), out),
        }
        append_field(out, b"rejected");
        append_field(out, &self.now);
    }

    fn write_reasons(&self, mut reasons: Vec<Said>, out: &mut Vec<u8>) {
        reasons.iter_mut().for_each(Said::show_nul);
        field(out, |out| {
            let at = out.len();
            if self.stored {
                out.push(STORED_JSONB);
                let pairs: Vec<_> = reasons.iter().map(Said::pairs).collect();
                if jsonb::append_objects(&pairs, out).is_some() {
                    return;
                }
                out.truncate(at);
            }
            out.push(1);
            out.extend_from_slice(json(&reasons).as_bytes());
        });
    }
}

/// Appends a field that `write` writes.
fn field(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn json(reasons: &[Said]) -> String {
    let object = |said: &Said| {
        let pairs = said.pairs().into_iter().filter_map(|(key, value)| Some((key.to_string(), value?.into())));
        serde_json::Value::Object(pairs.collect())
    };
    serde_json::Value::Array(reasons.iter().map(object).collect()).to_string()
}

pub fn reasons_json(reasons: &[Reason]) -> String {
    let mut reasons: Vec<Said> = reasons.iter().map(Said::from).collect();
    reasons.iter_mut().for_each(Said::show_nul);
    json(&reasons)
}

/// Postgres counts microseconds from 2000 on.
const EPOCH: i64 = 946_684_800_000_000;
