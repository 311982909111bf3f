//! Keys of a pipeline: which columns tell its rows apart, and which of two rows with one key stays.

use serde::{Deserialize, Deserializer, Serialize};

/// Which of several rows with the same key stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The first that came.
    Ignore,
    /// The one with the greatest `order_by`, NULL being less than everything; of equal ones the later.
    Newest,
}

/// What becomes of a record: most are put in place of what is there; those of a change feed may take it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Upsert,
    Delete,
}

/// A list of column names; a single one may stand without brackets.
pub fn names<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write a column's name or a list of names, such as [\"id\"]")]
    enum Given {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Given::deserialize(d)? {
        Given::One(name) => vec![name],
        Given::Several(names) => names,
    })
}
