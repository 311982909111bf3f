//! Late aggregates of keyed pipelines: filled by ranges of the key, while the rows of all keys go on changing.
//!
//! Promises: between any two transactions the aggregate's state is the query's over the rows up to a key, as they are then. A step adds the
//! next rows, and each chunk the changes of the keys that are in already; both under the lock of the position, so that no change is between
//! them, lost, or counted twice. What is computed again from rows looks at those keys alone. Readers wait for neither.

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::catalog::aggregate::{self as sql, Part, Source};
use crate::catalog::aggregates::{self, Aggregate};
use crate::catalog::pipelines;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::relation::Relation;
use crate::pg::settings::Scope;
use crate::pg::{gucs, spi};
use crate::pipeline::aggregates::{Chunk, by_look_up, names};
use crate::pipeline::filling::{staging, switch};
use crate::pipeline::scope;

/// Takes one step, within a transaction that holds the aggregate's row.
pub fn step(pipeline: &Pipeline, aggregate: &Aggregate) -> Result<()> {
    spi::execute_once("SET LOCAL lock_timeout = '500ms'")?;
    let staging = staging(pipeline)?;
    if scope::owner(pipeline, || index(aggregate, &staging))? {
        return Ok(());
    }
    let head = scope::catalog(|| pipelines::lock_position(pipeline.id))?.map_or(0, |p| p.head);
    // As it is behind that lock.
    let all = scope::catalog(|| aggregates::of_pipeline(pipeline.id))?;
    let Some(aggregate) = all.into_iter().find(|a| a.id == aggregate.id) else { return Ok(()) };
    let beginning = beginning(pipeline, &staging)?;
    let part = match &aggregate.part {
        // Keys of another type may be in another order.
        Some(part) if part.columns == beginning.columns && part.types == beginning.types => Some(part),
        Some(_) => {
            let statements = sql::empty_statements(&aggregate.plan, &names(&aggregate)?);
            scope::owner(pipeline, || statements.iter().try_for_each(|s| spi::execute_once(s)))?;
            None
        }
        None => None,
    };
    if part.is_some_and(|part| part.key.is_none()) {
        return switch(pipeline, &aggregate, head);
    }
    let part = part.unwrap_or(&beginning);
    let next = scope::owner(pipeline, || add(&aggregate, part, &staging, head))?;
    scope::catalog(|| aggregates::set_part(aggregate.id, &next, head))
}

/// Merges what a chunk changed of the rows that the aggregate is filled with.
pub fn merge(aggregate: &Aggregate, chunk: &Chunk, chunk_no: i64) -> Result<()> {
    let (Some(part), Chunk::Changed { staging, changes, replaced }) = (&aggregate.part, chunk) else { return Ok(()) };
    let [staging, changes, replaced] = [staging, changes, replaced].map(|r| r.qualified());
    let mut arguments: Vec<spi::Arg> = vec![chunk_no.into()];
    let [staging, changes, replaced] = match &part.key {
        None => [staging, changes, replaced],
        Some(key) => {
            arguments.push(key.clone().into());
            let up_to = |table: &str| part.up_to(table, "$2");
            [up_to(&staging), format!("{} AS changes", up_to(&changes)), format!("{} AS replaced", up_to(&replaced))]
        }
    };
    let source = Source::Changed { staging: &staging, changes: &changes, replaced: &replaced };
    spi::execute(&sql::merge_statement(&aggregate.plan, &names(aggregate)?, &source, false), arguments)?;
    Ok(())
}

/// Adds the rows behind a part; gives the part that there is then.
fn add(aggregate: &Aggregate, part: &Part, staging: &Relation, head: i64) -> Result<Part> {
    let table = staging.qualified();
    let after = part.key.clone();
    let to = next_key(part, &table)?;
    let _settings = by_look_up()?;
    let rows = part.between(&table, after.as_ref().map(|_| "$2"), to.as_ref().map(|_| "$3"));
    let rows = format!("{rows} AS part");
    let until = match &to {
        Some(_) => part.up_to(&table, "$3"),
        None => table,
    };
    let source = Source::Part { rows: &rows, staging: &until };
    let statement = sql::merge_statement(&aggregate.plan, &names(aggregate)?, &source, false);
    let keys = [after, to.clone()].map(|key| key.unwrap_or_default());
    let [after, until] = keys;
    spi::execute(&statement, vec![head.into(), after.into(), until.into()])?;
    Ok(Part { key: to, ..part.clone() })
}

/// The key up to which the next step goes; `None`: to the end.
fn next_key(part: &Part, table: &str) -> Result<Option<Vec<String>>> {
    #[derive(Deserialize)]
    struct Found {
        key: Vec<String>,
    }
    // Every digit of a float.
    let pinned = [("extra_float_digits", "1"), ("enable_seqscan", "off"), ("enable_sort", "off"), ("jit", "off")];
    let _settings = Scope::pin(&pinned.map(|(name, value)| (name.to_string(), value.to_string())).into())?;
    let after = part.key.clone().unwrap_or_default();
    let found: Vec<Found> = spi::query(&part.next_statement(table), vec![after.into(), gucs::backfill_rows().into()])?;
    Ok(found.into_iter().next().map(|f| f.key))
}

/// Makes the index by which the rows of touched groups are found, where it is needed and not there; true if it was made.
fn index(aggregate: &Aggregate, staging: &Relation) -> Result<bool> {
    let names = names(aggregate)?;
    let made = sql::touched_index(&aggregate.plan, &names, &staging.schema, &staging.qualified());
    let Some(statement) = made else { return Ok(false) };
    let touched = format!("{}.{}", spi::ident(&staging.schema), spi::ident(&names.touched(&staging.schema)));
    let there: Option<bool> = spi::value("SELECT pg_catalog.to_regclass($1) IS NOT NULL", vec![touched.into()])?;
    if there == Some(true) {
        return Ok(false);
    }
    spi::execute_once(&statement)?;
    Ok(true)
}

/// The part that has no row yet; its key is that of no row.
fn beginning(pipeline: &Pipeline, staging: &Relation) -> Result<Part> {
    #[derive(Deserialize)]
    struct Key {
        columns: Vec<String>,
        types: Vec<String>,
    }
    let found: Vec<Key> = spi::query(
        sql::key_statement(),
        vec![Oid::from(staging.oid).into(), pipeline.options.primary_key.clone().into()],
    )?;
    let Some(Key { columns, types }) = found.into_iter().next() else {
        return Err(Error::new(Code::WrongState, "the staging table has no unique index on its primary_key any more")
            .hint("ALTER TABLE … ADD PRIMARY KEY with the columns of option \"primary_key\"."));
    };
    Ok(Part { columns, types, key: None })
}
