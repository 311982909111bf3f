//! Functions on expectations.

use pgrx::prelude::*;

use crate::api::{Answer, answer};
use crate::pg::copy::{self, Violation};
use crate::pg::error::required;
use crate::pipeline::{define, expect, requeue};

#[pg_extern(sql = false)]
fn add_expectation(
    pipeline: Option<&str>,
    name: Option<&str>,
    condition: Option<&str>,
    on_violation: Option<&str>,
    null_passes: Option<bool>,
) -> Answer<()> {
    answer((|| {
        let name = required(name, "name")?;
        let condition = required(condition, "condition")?;
        let on_violation = required(on_violation, "on_violation")?;
        let null_passes = required(null_passes, "null_passes")?;
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "change")?;
        expect::add(&pipeline, name, condition, on_violation, null_passes)
    })())
}

#[pg_extern(sql = false)]
fn alter_expectation(
    pipeline: Option<&str>,
    name: Option<&str>,
    condition: Option<&str>,
    on_violation: Option<&str>,
    null_passes: Option<bool>,
) -> Answer<()> {
    answer((|| {
        let name = required(name, "name")?;
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "change")?;
        expect::alter(&pipeline, name, condition, on_violation, null_passes)
    })())
}

#[pg_extern(sql = false)]
fn drop_expectation(pipeline: Option<&str>, name: Option<&str>) -> Answer<()> {
    answer((|| {
        let name = required(name, "name")?;
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "change")?;
        expect::drop(&pipeline, name)
    })())
}

#[pg_extern(sql = false)]
fn requeue_rejects(pipeline: Option<&str>, where_clause: Option<&str>, fix: Option<&str>) -> Answer<i64> {
    answer((|| {
        let where_clause = required(where_clause, "where_clause")?;
        let pipeline = define::lock_own(required(pipeline, "pipeline")?, "requeue rejects of")?;
        requeue::requeue(&pipeline, where_clause, fix)
    })())
}

/// Called by the condition of a load for each row that does not meet all rules; true: the row is kept. Outside a load it does nothing.
#[pg_extern(sql = false)]
fn violated(row_no: Option<i64>, met: Option<Array<bool>>) -> bool {
    let (Some(row_no), Some(met)) = (row_no, met) else { return true };
    let broken = met.iter().take(64).enumerate().filter(|(_, met)| *met != Some(true));
    let rules = broken.fold(0u64, |mask, (i, _)| mask | 1 << i);
    copy::note_violation(Violation { row_no, rules })
}
