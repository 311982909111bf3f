//! Aggregates that come late, to a pipeline with much behind it: filled in steps between chunks, each in a transaction of its own.
//!
//! Promises: no lock is held longer than a step takes, and none that readers of rows wait for, nor writers, but for those of a partition
//! that is getting the index by which touched groups are found; a step that dies is done again; loading goes on, and until the aggregate
//! has caught up its view computes the query itself. The last step is taken under the lock of the position: the view is switched over
//! between two chunks, and from the next on the aggregate is merged like any other. `keyed` does the same where rows change.

pub mod keyed;

use pgrx::pg_sys::Oid;

use crate::catalog::aggregate::{self as sql, Source};
use crate::catalog::aggregates::{self, Aggregate};
use crate::catalog::{layers, pipelines};
use crate::model::pipeline::Pipeline;
use crate::model::publishing::LayerOptions;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::transaction::{self, Mode};
use crate::pg::{gucs, spi};
use crate::pipeline::aggregates::{by_look_up, names};
use crate::pipeline::scope;

/// Whether there is something to fill.
pub fn is_due(mode: Mode, pipeline: &Pipeline) -> Result<bool> {
    transaction::run(mode, || scope::catalog(|| aggregates::is_filling(pipeline.id)))
}

/// Takes one step; false if there is nothing left to fill.
pub fn step(mode: Mode, pipeline: &Pipeline) -> Result<bool> {
    let done = transaction::run(mode, || {
        let Some(id) = scope::catalog(|| aggregates::lock_filling(pipeline.id))? else { return Ok(false) };
        let all = scope::catalog(|| aggregates::of_pipeline(pipeline.id))?;
        // Its view is gone: loading says so.
        let Some(aggregate) = all.into_iter().find(|a| a.id == id) else { return Ok(false) };
        let Some(filled) = aggregate.filled else { return Ok(false) };
        if pipeline.is_keyed() {
            return keyed::step(pipeline, &aggregate).map(|()| true);
        }
        if aggregate.plan.recomputes() && scope::owner(pipeline, || index_next(pipeline, &aggregate))? {
            return Ok(true);
        }
        let next = || scope::catalog(|| aggregates::chunks_of(pipeline.id, filled, gucs::backfill_rows()));
        let mut to = next()?.unwrap_or(filled);
        let head = scope::catalog(|| pipelines::position(pipeline.id))?.map_or(0, |p| p.head);
        let mut last = to >= head;
        if last {
            spi::execute_once("SET LOCAL lock_timeout = '500ms'")?;
            let head = scope::catalog(|| pipelines::lock_position(pipeline.id))?.map_or(0, |p| p.head);
            to = next()?.unwrap_or(filled);
            last = to >= head;
        }
        scope::owner(pipeline, || merge(pipeline, &aggregate, filled, to))?;
        if last {
            switch(pipeline, &aggregate, to)?;
        } else {
            scope::catalog(|| aggregates::set_filled(id, Some(to)))?;
        }
        Ok(true)
    });
    match done {
        // A reader of the view is in the way (55P03): tried again later.
        Err(e) if e.code == Code::Postgres(*b"55P03") => Ok(true),
        done => done,
    }
}

/// Indexes the next partition; false where all are.
fn index_next(pipeline: &Pipeline, aggregate: &Aggregate) -> Result<bool> {
    let (plan, names) = (&aggregate.plan, names(aggregate)?);
    if plan.keys.is_empty() {
        return Ok(false);
    }
    let staging = staging(pipeline)?;
    let touched = format!("{}.{}", spi::ident(&staging.schema), spi::ident(&names.touched(&staging.schema)));
    let partition: Option<Oid> =
        spi::value(sql::unindexed_statement(), vec![Oid::from(staging.oid).into(), touched.into()])?;
    let Some(partition) = partition.map(relation::by_oid).transpose()?.flatten() else { return Ok(false) };
    let suffix = format!("_{}", partition.oid);
    let statements = sql::index_statements(plan, &names, &staging.schema, &partition.qualified(), &suffix);
    statements.iter().try_for_each(|statement| spi::execute_once(statement))?;
    Ok(true)
}

fn staging(pipeline: &Pipeline) -> Result<Relation> {
    relation::by_oid(Oid::from(pipeline.staging))?
        .ok_or_else(|| Error::new(Code::WrongState, "the pipeline's staging table is gone"))
}

fn merge(pipeline: &Pipeline, aggregate: &Aggregate, after: i64, to: i64) -> Result<()> {
    let table = staging(pipeline)?.qualified();
    let _settings = by_look_up()?;
    let statement =
        sql::merge_statement(&aggregate.plan, &names(aggregate)?, &Source::Range { staging: &table }, false);
    spi::execute(&statement, vec![to.into(), after.into(), to.into()])?;
    Ok(())
}

/// From the next chunk on it is an aggregate like any other.
fn switch(pipeline: &Pipeline, aggregate: &Aggregate, head: i64) -> Result<()> {
    let names = names(aggregate)?;
    let layer = layers::of_aggregate(&aggregate.name);
    let options: LayerOptions = serde_json::from_value(aggregate.options.clone())
        .map_err(|e| Error::new(Code::Internal, format!("the options of an aggregate can't be read: {e}")))?;
    let tells = aggregate.publish.is_some() && options.publish_mode == crate::model::publishing::PublishMode::Append;
    scope::owner(pipeline, || {
        spi::execute_once(&sql::switch_statement(&aggregate.plan, &names))?;
        match sql::snapshot_statement(&aggregate.plan, &names).filter(|_| tells) {
            Some(statement) => spi::execute(&statement, vec![head.into()]).map(|_| ()),
            None => Ok(()),
        }
    })?;
    scope::catalog(|| {
        if tells {
            aggregates::set_told(aggregate.id, Some(head))?;
        }
        if let Some(location) = &aggregate.publish {
            layers::insert(pipeline.id, &layer, location, head.max(1) - 1, &options)?;
            layers::enqueue_one(pipeline.id, &layer, head)?;
        }
        aggregates::set_filled(aggregate.id, None)
    })
}
