//! The part of a keyed staging table that an aggregate which comes late has been filled with: the rows up to a key.
//!
//! A key is kept as the text of its columns, in the order of the index that the steps follow. What a step takes and what a chunk changes
//! are told apart by comparing with that very text, so that each row is on one side or the other, whatever its text may lose.

use serde::{Deserialize, Serialize};

use super::keys::list;
use super::quoted;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub columns: Vec<String>,
    pub types: Vec<String>,
    /// The last key; `None`: all rows are in.
    pub key: Option<Vec<String>>,
}

impl Part {
    fn key(&self) -> String {
        format!("({})", list(self.columns.iter().map(|c| quoted(c))))
    }

    /// The key in a parameter that is an array of texts.
    fn bound(&self, parameter: &str) -> String {
        let values = self.types.iter().enumerate().map(|(i, t)| format!("(({parameter}::text[])[{}])::{t}", i + 1));
        format!("({})", list(values))
    }

    /// The rows of a table with the columns of staging whose keys are in the part up to `parameter`.
    pub fn up_to(&self, table: &str, parameter: &str) -> String {
        format!("(SELECT * FROM {table} WHERE {} <= {})", self.key(), self.bound(parameter))
    }

    /// The rows behind one key, and up to another; without, from the beginning, or to the end.
    pub fn between(&self, table: &str, after: Option<&str>, to: Option<&str>) -> String {
        let ends = [(">", after), ("<=", to)];
        let conditions: Vec<String> = ends
            .into_iter()
            .filter_map(|(operator, end)| Some(format!("{} {operator} {}", self.key(), self.bound(end?))))
            .collect();
        let conditions =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("(SELECT * FROM {table}{conditions})")
    }

    /// The key of the row that is `$2` rows behind the key `$1`; no row where there are fewer.
    pub fn next_statement(&self, table: &str) -> String {
        let after = self.key.as_ref().map(|_| "$1");
        let texts = list(self.columns.iter().map(|c| format!("{}::text", quoted(c))));
        let order = list(self.columns.iter().map(|c| quoted(c)));
        format!(
            "SELECT ARRAY[{texts}] AS key FROM {} AS part ORDER BY {order} OFFSET $2::bigint - 1 LIMIT 1",
            self.between(table, after, None)
        )
    }
}

/// `$1` the staging table, `$2` the names of its key's columns: those columns as the index by which rows are looked up has them.
pub fn key_statement() -> &'static str {
    "SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n) AS columns,
            pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY k.n) AS types
       FROM (SELECT i.indrelid, i.indkey[0:i.indnkeyatts - 1]::smallint[] AS attributes FROM pg_catalog.pg_index i
              WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
                AND ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                           WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) ORDER BY 1)
                  = ARRAY(SELECT k FROM pg_catalog.unnest($2::text[]) AS k ORDER BY 1)
              ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) AS x
      CROSS JOIN LATERAL pg_catalog.unnest(x.attributes) WITH ORDINALITY AS k (attnum, n)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
     HAVING pg_catalog.count(*) > 0"
}
