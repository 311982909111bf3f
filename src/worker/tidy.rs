//! Vacuums what consumers leave behind, sooner than autovacuum comes by: a consumer may work a thousand chunks a second.
//!
//! Promise: the tables stay as small as what is in use, and dead rows that somebody's old snapshot still needs are not gone after in vain
//! again and again. Never fails: autovacuum does the same, only later.

use std::collections::HashMap;

use crate::catalog::churn::Churn;
use crate::pg::vacuum;

/// Dead rows that are worth a vacuum.
const MANY: i64 = 2_000;

#[derive(Default)]
pub struct Tidy {
    /// Dead rows that the last vacuum could not remove; `None` where it has only just been.
    left: HashMap<String, Option<i64>>,
}

impl Tidy {
    pub fn step(&mut self, tables: Vec<Churn>) {
        for Churn { table, dead } in tables {
            let left = self.left.entry(table.clone()).or_insert(Some(0));
            let before = left.unwrap_or(dead).min(dead);
            *left = Some(before);
            if dead - before < MANY {
                continue;
            }
            *left = None;
            if let Err(e) = vacuum::table(&table) {
                pgrx::log!("pg_millrace: step=vacuum table={table} error={:?}", e.to_string());
            }
        }
    }
}
