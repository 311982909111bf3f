//! Vacuums what consumers leave behind, sooner than autovacuum comes by: a consumer may work a thousand chunks a second.
//!
//! Promise: the tables stay as small as what is in use, and dead rows that somebody's old snapshot still needs are not gone after in vain
//! again and again. Never fails: autovacuum does the same, only later.

use std::collections::HashMap;

use crate::catalog::churn::{self, Churn};
use crate::pg::transaction::{self, Mode};
use crate::pg::vacuum;
use crate::pipeline::scope;

/// Dead rows that are worth a vacuum.
const MANY: i64 = 2_000;

#[derive(Default)]
pub struct Tidy {
    /// Dead rows that the last vacuum could not remove.
    left: HashMap<String, i64>,
}

impl Tidy {
    /// Where no transaction is open. `tables`: as they were just read.
    pub fn step(&mut self, tables: Vec<Churn>) {
        let mut vacuumed = false;
        for Churn { table, dead } in tables {
            let left = self.left.entry(table.clone()).or_default();
            *left = dead.min(*left);
            if dead - *left < MANY {
                continue;
            }
            vacuumed = true;
            if let Err(e) = vacuum::table(&table) {
                pgrx::log!("pg_millrace: step=vacuum table={table} error={:?}", e.to_string());
            }
        }
        if vacuumed && let Ok(tables) = transaction::run(Mode::Worker, || scope::catalog(churn::read)) {
            self.left = tables.into_iter().map(|t| (t.table, t.dead)).collect();
        }
    }
}
