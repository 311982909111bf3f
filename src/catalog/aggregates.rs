//! The aggregates of pipelines, as registered.

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::model::Result;
use crate::model::aggregate::Plan;
use crate::pg::spi;

#[derive(Debug, Clone, Deserialize)]
pub struct Aggregate {
    pub name: String,
    /// Schema and name of the view; the other relations are named after it.
    pub schema: String,
    pub relation: String,
    pub plan: Plan,
    pub publish: Option<String>,
}

const AGGREGATE: &str = "SELECT a.name, n.nspname AS schema, c.relname AS relation, a.plan, a.publish
   FROM millrace.aggregate a
   JOIN pg_catalog.pg_class c ON c.oid = a.view_name
   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

pub fn of_pipeline(pipeline_id: i32) -> Result<Vec<Aggregate>> {
    spi::query(&format!("{AGGREGATE} WHERE a.pipeline_id = $1 ORDER BY a.id"), vec![pipeline_id.into()])
}

/// The same under the caller's snapshot.
pub fn read_of_pipeline(pipeline_id: i32) -> Result<Vec<Aggregate>> {
    spi::read(&format!("{AGGREGATE} WHERE a.pipeline_id = $1 ORDER BY a.id"), vec![pipeline_id.into()])
}

/// How many are registered, also those whose view is gone.
pub fn count(pipeline_id: i32) -> Result<i64> {
    let n: Option<i64> = spi::value(
        "SELECT pg_catalog.count(*) FROM millrace.aggregate WHERE pipeline_id = $1",
        vec![pipeline_id.into()],
    )?;
    Ok(n.unwrap_or(0))
}

pub fn exists(pipeline_id: i32, name: &str) -> Result<bool> {
    let found: Option<bool> = spi::value(
        "SELECT EXISTS (SELECT FROM millrace.aggregate WHERE pipeline_id = $1 AND name = $2)",
        vec![pipeline_id.into(), name.into()],
    )?;
    Ok(found == Some(true))
}

pub struct New<'a> {
    pub pipeline_id: i32,
    pub name: &'a str,
    pub query: &'a str,
    pub view: Oid,
    pub state: Oid,
    pub plan: &'a serde_json::Value,
    pub publish: Option<&'a str>,
}

pub fn insert(new: New<'_>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.aggregate (pipeline_id, name, query, view_name, state_table, plan, publish)
         VALUES ($1, $2, $3, $4::regclass, $5::regclass, $6::jsonb, $7)",
        vec![
            new.pipeline_id.into(),
            new.name.into(),
            new.query.into(),
            new.view.into(),
            new.state.into(),
            new.plan.to_string().into(),
            new.publish.into(),
        ],
    )?;
    Ok(())
}

pub fn delete(pipeline_id: i32, name: &str) -> Result<u64> {
    spi::execute(
        "DELETE FROM millrace.aggregate WHERE pipeline_id = $1 AND name = $2",
        vec![pipeline_id.into(), name.into()],
    )
}
