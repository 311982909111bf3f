//! Why a record is malformed.
//!
//! Works from the record's text alone, so that the reason can be given again when only the text was kept.

use std::fmt;

use super::Dialect;
use super::split::{Splitter, Step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    FewerFields { found: usize, expected: usize },
    MoreFields { found: usize, expected: usize },
    TextAfterQuote { field: usize },
    UnclosedQuote { field: usize },
    NotUtf8 { byte: usize },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |n: usize| if n == 1 { "1 field".to_string() } else { format!("{n} fields") };
        match *self {
            Malformed::FewerFields { found, expected } => {
                write!(f, "missing data: the record has {}, {expected} expected", fields(found))
            }
            Malformed::MoreFields { found, expected } => {
                write!(f, "extra data: the record has {}, {expected} expected", fields(found))
            }
            Malformed::TextAfterQuote { field } => write!(f, "text follows the closing quote of field {field}"),
            Malformed::UnclosedQuote { field } => write!(f, "the quote that opens field {field} is not closed"),
            Malformed::NotUtf8 { byte } => write!(f, "the record is not valid UTF-8 from byte {byte} on"),
        }
    }
}

impl Malformed {
    pub(super) fn field_count(found: usize, expected: usize) -> Option<Malformed> {
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Some(Malformed::FewerFields { found, expected }),
            std::cmp::Ordering::Greater => Some(Malformed::MoreFields { found, expected }),
            std::cmp::Ordering::Equal => None,
        }
    }
}

/// Why a record with this text (without its line end) is malformed where `columns` fields are expected; `None` where it is not,
/// as can be when bytes that were not UTF-8 have been replaced since.
pub fn explain(raw: &[u8], dialect: &Dialect, columns: usize) -> Option<Malformed> {
    let mut spans = Vec::new();
    let malformed = match Splitter::new(raw, dialect, 0, true).record(0, &mut spans) {
        Step::Record(record) => record.malformed.or_else(|| Malformed::field_count(spans.len(), columns)),
        Step::More => None,
    };
    malformed.or_else(|| std::str::from_utf8(raw).err().map(|e| Malformed::NotUtf8 { byte: e.valid_up_to() + 1 }))
}
