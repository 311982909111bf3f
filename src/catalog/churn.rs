//! The tables whose rows come and go with each chunk that a consumer works, and how many of their rows are dead.

use serde::Deserialize;

use crate::model::Result;
use crate::pg::spi;

#[derive(Debug, Deserialize)]
pub struct Churn {
    /// As it is written in SQL.
    pub table: String,
    pub dead: i64,
}

pub fn read() -> Result<Vec<Churn>> {
    spi::read(
        "SELECT t.name AS table, pg_catalog.pg_stat_get_dead_tuples(t.name::regclass) AS dead
         FROM (VALUES ('millrace.consumer'), ('millrace.delivery'), ('millrace.duration')) t (name)",
        vec![],
    )
}
