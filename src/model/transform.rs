//! A pipeline's transform: the SELECT that makes rows for staging out of the records that were read.

use serde::{Deserialize, Serialize};

/// A transform that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// The SELECT with its names qualified: SQL that means the same in every session. `$1` and `$2` are the first and the last number of
    /// the records that it sees. Behind the user's columns each row has `_row_no`, the number of the record it was made of, and `_op`.
    pub sql: String,
    pub columns: Vec<Made>,
}

/// A column that the transform makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub name: String,
    /// As in CREATE TABLE.
    pub type_name: String,
    pub type_oid: u32,
    /// Of a type that has one, if it is not the type's own.
    pub collation: Option<String>,
}
