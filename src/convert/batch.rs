//! A batch of records, row by row, into the bytes that COPY BINARY reads.
//!
//! A row comes out ready, rejected for a reason that no input function could change, or undecided; never partly written.

use std::borrow::Cow;

use arrow::array::Array;
use serde::{Deserialize, Serialize};

use super::kind::{Field, Kind, Target, encode_field};
use super::typed::{self, Refusal, text_of};
use crate::format::typed::Values;
use crate::format::{Format, RawBatch};

/// Rejects quote no more characters of a value than this; the whole record is kept beside them.
const MAX_QUOTED_VALUE: usize = 200;

const NULL_LENGTH: [u8; 4] = (-1i32).to_be_bytes();

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub buf: Vec<u8>,
    /// One per record of the batch.
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The row's fields in the buffer, each a length and its data, without the count of fields that goes before them.
    Ready {
        start: usize,
        end: usize,
    },
    /// Some field needs Postgres' own input function.
    Undecided,
    Rejected(Vec<Reason>),
}

/// Why a row is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub sqlstate: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Where a target's values come from.
struct Source<'a> {
    target: &'a Target,
    /// `None`: the file has no such column.
    values: Option<Values<'a>>,
    /// Some value of the column, known by a look at all of them, holds a NUL byte.
    holds_nul: bool,
}

/// `mapping` gives for each target the column of the batch that fills it; where there is none the target is NULL.
pub fn encode_batch(batch: &RawBatch, mapping: &[Option<usize>], targets: &[Target], format: &Format) -> Encoded {
    let rows = batch.rows();
    let sources: Vec<Source> =
        targets.iter().enumerate().map(|(i, target)| source(batch, mapping, i, target)).collect();
    let text: usize = sources.iter().filter_map(|source| source.values).map(|values| values.size()).sum();
    let mut encoded =
        Encoded { buf: Vec::with_capacity(text + rows * targets.len() * 8), rows: Vec::with_capacity(rows) };
    let any_corrupt = batch.corrupt.null_count() < rows;
    for row in 0..rows {
        let row = if any_corrupt && batch.corrupt.is_valid(row) {
            Row::Rejected(vec![corrupt(batch, row, format)])
        } else {
            encode_row(&sources, row, &mut encoded.buf)
        };
        encoded.rows.push(row);
    }
    encoded
}

fn source<'a>(batch: &'a RawBatch, mapping: &[Option<usize>], i: usize, target: &'a Target) -> Source<'a> {
    let values = mapping.get(i).copied().flatten().and_then(|column| batch.values(column));
    let holds_nul = matches!(values, Some(Values::Text(text)) if memchr::memchr(0, text.value_data()).is_some());
    Source { target, values, holds_nul }
}

#[inline]
fn encode_row(sources: &[Source], row: usize, buf: &mut Vec<u8>) -> Row {
    let start = buf.len();
    let mut undecided = false;
    for source in sources {
        let Some(values) = source.values.filter(|values| values.is_valid(row)) else {
            if source.target.not_null {
                return reject(sources, row, buf, start);
            }
            buf.extend_from_slice(&NULL_LENGTH);
            continue;
        };
        if source.holds_nul && values.text(row).contains('\0') {
            return reject(sources, row, buf, start);
        }
        // Once a field is undecided, the others only matter for reasons to reject.
        if !undecided {
            undecided = append(&source.target.kind, &values, row, buf) == Field::Undecided;
        }
    }
    if undecided {
        buf.truncate(start);
        return Row::Undecided;
    }
    Row::Ready { start, end: buf.len() }
}

/// Appends the length and data of a value that is not NULL; nothing when it is undecided.
pub fn append_value(kind: &Kind, values: &Values<'_>, row: usize, buf: &mut Vec<u8>) -> Field {
    let start = buf.len();
    let field = append(kind, values, row, buf);
    if field == Field::Undecided {
        buf.truncate(start);
    }
    field
}

#[inline]
fn append(kind: &Kind, values: &Values<'_>, row: usize, buf: &mut Vec<u8>) -> Field {
    let length_at = buf.len();
    buf.extend_from_slice(&NULL_LENGTH);
    let field = match values {
        Values::Text(text) => encode_field(kind, text.value(row), buf),
        values => typed::encode(kind, values, row, buf),
    };
    // A field comes from a record that is far below 2 GiB, and no cast lengthens it by much.
    let length = (buf.len() - length_at - NULL_LENGTH.len()) as i32;
    buf[length_at..length_at + NULL_LENGTH.len()].copy_from_slice(&length.to_be_bytes());
    field
}

/// Every reason that is certain, in the order of the columns.
#[cold]
fn reject(sources: &[Source], row: usize, buf: &mut Vec<u8>, start: usize) -> Row {
    buf.truncate(start);
    let mut reasons = Vec::new();
    for source in sources {
        let name = &source.target.name;
        let reason = |sqlstate: &str, message: String, value| Reason {
            column: Some(name.clone()),
            rule: None,
            sqlstate: sqlstate.to_string(),
            message,
            value,
        };
        match source.values.filter(|values| values.is_valid(row)).map(|values| readable(&values, row)) {
            None if source.target.not_null => {
                let message = format!("null value in column \"{name}\" violates not-null constraint");
                reasons.push(reason("23502", message, None));
            }
            Some(text) if text.contains('\0') => {
                // Neither text nor jsonb of Postgres can show a NUL.
                let shown =
                    text.chars().take(MAX_QUOTED_VALUE).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
                let message = "invalid byte sequence for encoding \"UTF8\": 0x00".to_string();
                reasons.push(reason("22021", message, Some(shown)));
            }
            _ => {}
        }
    }
    Row::Rejected(reasons)
}

/// Text that may hold a NUL; nothing else can.
fn readable<'a>(values: &Values<'a>, row: usize) -> Cow<'a, str> {
    match values {
        Values::Text(_) => values.text(row),
        _ => Cow::Borrowed(""),
    }
}

/// The text that Postgres is to be asked about, or the reason why there is none.
pub fn asked<'a>(target: &Target, values: &Values<'a>, row: usize) -> Result<Cow<'a, str>, Reason> {
    text_of(&target.kind, values, row).map_err(|Refusal { sqlstate, message }| Reason {
        column: Some(target.name.clone()),
        rule: None,
        sqlstate: sqlstate.to_string(),
        message,
        value: Some(values.text(row).chars().take(MAX_QUOTED_VALUE).collect()),
    })
}

#[cold]
fn corrupt(batch: &RawBatch, row: usize, format: &Format) -> Reason {
    let message = format.explain(batch, row);
    Reason { column: None, rule: None, sqlstate: "22P04".to_string(), message, value: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::csv::{Dialect, Reader};

    fn read(file: &str) -> RawBatch {
        let mut reader = Reader::new(Dialect::default(), None).unwrap();
        reader.push(file.as_bytes());
        reader.finish();
        reader.next_batch(1000).unwrap().unwrap()
    }

    fn target(name: &str, kind: Kind, not_null: bool) -> Target {
        Target { name: name.to_string(), kind, not_null }
    }

    fn encode(file: &str, mapping: &[Option<usize>], targets: &[Target]) -> Encoded {
        encode_batch(&read(file), mapping, targets, &Format::Csv(Dialect::default()))
    }

    #[test]
    fn a_row_is_its_fields_with_their_lengths_in_the_order_of_the_targets() {
        let targets = [
            target("t", Kind::Text { max_chars: None }, false),
            target("i", Kind::Int4, true),
            target("n", Kind::Int2, false),
        ];
        let encoded = encode("i,t,x\n7,héé,1\n-1,,2\n", &[Some(1), Some(0), None], &targets);
        let Row::Ready { start, end } = encoded.rows[0] else { panic!() };
        assert_eq!(encoded.buf[start..end], *b"\0\0\0\x05h\xc3\xa9\xc3\xa9\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff");
        let Row::Ready { start, end } = encoded.rows[1] else { panic!() };
        assert_eq!(encoded.buf[start..end], *b"\xff\xff\xff\xff\0\0\0\x04\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(end, encoded.buf.len());
    }

    #[test]
    fn what_is_not_certain_is_undecided_and_leaves_no_bytes() {
        let targets = [target("a", Kind::Int4, false), target("b", Kind::Int4, false)];
        let encoded = encode("a,b\n1,17850.0\n17850.0,1\n1,2\n", &[Some(0), Some(1)], &targets);
        assert_eq!(encoded.rows, [Row::Undecided, Row::Undecided, Row::Ready { start: 0, end: 16 }]);
        assert_eq!(encoded.buf.len(), 16);
    }

    #[test]
    fn a_certain_reject_wins_over_an_undecided_field_and_names_every_reason() {
        let targets = [
            target("a", Kind::Int4, false),
            target("b", Kind::Text { max_chars: None }, false),
            target("c", Kind::Date, true),
        ];
        let encoded = encode("a,b,c\n1.5,x\0y,\n1,ok,2020-01-01\n", &[Some(0), Some(1), Some(2)], &targets);
        let Row::Rejected(reasons) = &encoded.rows[0] else { panic!() };
        let told: Vec<_> = reasons.iter().map(|r| (r.column.as_deref().unwrap(), r.sqlstate.as_str())).collect();
        assert_eq!(told, [("b", "22021"), ("c", "23502")]);
        assert_eq!(reasons[0].value.as_deref(), Some("x\u{fffd}y"));
        assert!(matches!(encoded.rows[1], Row::Ready { start: 0, .. }));
    }

    #[test]
    fn a_nul_byte_is_refused_for_every_type() {
        let encoded = encode("a,b\n1\0,2\n", &[Some(0), Some(1)], &[target("a", Kind::Int4, false)]);
        assert!(matches!(&encoded.rows[0], Row::Rejected(reasons) if reasons[0].sqlstate == "22021"));
    }

    #[test]
    fn corrupt_records_say_what_is_wrong_with_them() {
        let encoded = encode("a,b\n1\n", &[Some(0), Some(1)], &[target("a", Kind::Int4, false)]);
        let Row::Rejected(reasons) = &encoded.rows[0] else { panic!() };
        assert_eq!(
            serde_json::to_value(reasons).unwrap(),
            serde_json::json!([{"sqlstate": "22P04", "message": "missing data: the record has 1 field, 2 expected"}])
        );
    }

    #[test]
    fn a_column_that_the_file_lacks_is_null_and_may_not_be_required() {
        let encoded = encode("a\n1\n", &[None], &[target("b", Kind::Int4, true)]);
        assert!(matches!(&encoded.rows[0], Row::Rejected(reasons) if reasons[0].sqlstate == "23502"));
    }
}
