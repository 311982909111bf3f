//! What a landing is made of: parts of files, in the order in which their rows follow each other.
//!
//! The manifest stands in the commit info of the raw layer: it is that hop's checkpoint, and the ledger of files in Postgres
//! can be made from it.

use serde::{Deserialize, Serialize};

/// The records of one file that one landing holds; a whole file, mostly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Relative to the source's directory.
    pub path: String,
    pub etag: String,
    pub size: u64,
    /// Number of the first record in the file, from 1.
    pub first_record: u64,
    pub records: u64,
    /// Where in the (decompressed) file these records begin and end.
    pub from_byte: u64,
    pub to_byte: u64,
    /// True when the file holds no more records.
    pub done: bool,
    /// The file's own columns.
    pub columns: Vec<String>,
}

/// The key under which the manifest stands in a commit's info.
pub const MANIFEST_KEY: &str = "millrace";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub pipeline: String,
    /// The version in the commit's txn action.
    pub seq: i64,
    pub files: Vec<Part>,
}

/// Where in the raw layer the rows of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw {
    pub version: i64,
    /// Number of the landing.
    pub seq: i64,
    pub share: Share,
}

/// What of a version of the raw layer a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// What was left of it: the version is done with.
    Rest,
    /// Some of its files; others are to follow.
    Some,
    /// A file that was held back when the version was done with.
    HeldBack,
}

/// A part as a chunk's `source` shows it: leads a row of the chunk back to its file and record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub path: String,
    pub etag: String,
    pub size: u64,
    pub first_record: u64,
    pub records: u64,
    /// `_row_no` of the part's first record in the chunk.
    pub first_row_no: i64,
    /// The file's own columns, where they are not those of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
}

/// The origins of a chunk's rows; rows are numbered from 1 through all parts, rejected ones included.
pub fn origins(parts: &[Part]) -> Vec<Origin> {
    let mut next = 1;
    let mut columns: Option<&Vec<String>> = None;
    parts
        .iter()
        .map(|p| {
            let known = columns.replace(&p.columns) == Some(&p.columns);
            let origin = Origin {
                path: p.path.clone(),
                etag: p.etag.clone(),
                size: p.size,
                first_record: p.first_record,
                records: p.records,
                first_row_no: next,
                columns: (!known).then(|| p.columns.clone()),
            };
            next += p.records as i64;
            origin
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_numbers_run_through_all_parts() {
        let part = |path: &str, records| Part {
            path: path.into(),
            etag: "e".into(),
            size: 1,
            first_record: 1,
            records,
            from_byte: 0,
            to_byte: 1,
            done: true,
            columns: vec![],
        };
        let first: Vec<i64> =
            origins(&[part("a", 3), part("b", 0), part("c", 2)]).iter().map(|o| o.first_row_no).collect();
        assert_eq!(first, [1, 4, 4]);
    }

    #[test]
    fn columns_are_named_once_for_all_files_that_share_them() {
        let part = |columns: &[&str]| Part {
            path: "p".into(),
            etag: "e".into(),
            size: 1,
            first_record: 1,
            records: 1,
            from_byte: 0,
            to_byte: 1,
            done: true,
            columns: columns.iter().map(|c| c.to_string()).collect(),
        };
        let named: Vec<bool> = origins(&[part(&["a"]), part(&["a"]), part(&["b"]), part(&["a"])])
            .iter()
            .map(|o| o.columns.is_some())
            .collect();
        assert_eq!(named, [true, false, true, true]);
    }
}
