//! Aggregates: made once, then merged with each chunk in the transaction that loads it.

use pgrx::pg_sys::Oid;

use crate::catalog::aggregate::{self as sql, Filled, Names, Source};
use crate::catalog::aggregates::{self, Aggregate};
use crate::catalog::{chunks, layers, pipelines, staging};
use crate::lake::delta::Table;
use crate::lake::store::Credentials;
use crate::model::aggregate::{Hll, PartialKind, Plan};
use crate::model::location::Location;
use crate::model::options::Options;
use crate::model::pipeline::Pipeline;
use crate::model::publishing::{LayerOptions, PublishMode};
use crate::model::{self, Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::settings::Scope;
use crate::pg::tally::Tally;
use crate::pg::{analyze, gucs, runtime, spi};
use crate::pipeline::{access, filling, places, publish, scope, tally};

/// The aggregates to merge. An aggregate whose view is gone would be wrong from then on, so that is an error.
pub fn of(pipeline: &Pipeline) -> Result<Vec<Aggregate>> {
    let mut found = aggregates::of_pipeline(pipeline.id)?;
    if (found.len() as i64) < aggregates::count(pipeline.id)? {
        return Err(Error::new(
            Code::WrongState,
            format!("the view of an aggregate of pipeline \"{}\" is gone", pipeline.name),
        )
        .hint("Take the aggregate off the pipeline with millrace.drop_aggregate, then create it anew."));
    }
    // One that is still being filled takes no part until it has caught up; of a keyed pipeline it takes the changes of what it has.
    found.retain(|aggregate| aggregate.filled.is_none() || aggregate.part.is_some());
    Ok(found)
}

pub fn names(aggregate: &Aggregate) -> Result<Names> {
    Names::new(&aggregate.schema, &aggregate.relation, &aggregate.plan, aggregate.plan.has_changes())
}

/// Where a chunk's rows are.
pub enum Chunk<'a> {
    /// They were added to this relation, and no row of earlier chunks was touched.
    Appended(&'a Relation),
    /// They changed a table whose current rows are in `staging`: `changes` has what became of each row (`_op`: insert, update or
    /// delete; a deleted row as it was last), `replaced` the updated rows as they were before.
    Changed { staging: &'a Relation, changes: &'a Relation, replaced: &'a Relation },
}

/// Merges a chunk into each aggregate's state. `counted`: what the chunk comes to, for those that it was counted for.
pub fn merge(kept: &[Aggregate], chunk: &Chunk, mut counted: Vec<Option<Tally>>, chunk_no: i64) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    counted.resize_with(kept.len(), || None);
    match chunk {
        Chunk::Appended(table) if counted.iter().any(Option::is_none) => staging::summarize(table)?,
        Chunk::Appended(_) => {}
        Chunk::Changed { changes, replaced, .. } => {
            staging::summarize(changes)?;
            staging::summarize(replaced)?;
        }
    }
    let _settings = by_look_up()?;
    for (aggregate, tally) in kept.iter().zip(counted) {
        if aggregate.filled.is_some() {
            filling::keyed::merge(aggregate, chunk, chunk_no)?;
            continue;
        }
        let names = names(aggregate)?;
        let is_read = names.changes().is_some() && (aggregate.publishes_changes || aggregate.has_consumer);
        let tells = is_read && aggregate.told_from.is_some();
        let mut arguments: Vec<spi::Arg> = vec![chunk_no.into()];
        let statement = match (chunk, &tally) {
            (_, Some(tally)) => {
                let (gained, places) = (tally.enter_values()?, tally.places()?);
                let source = Source::Counted { placed: places.is_some() };
                arguments.extend(tally.arrays(places, gained)?);
                sql::merge_statement(&aggregate.plan, &names, &source, tells)
            }
            (Chunk::Appended(table), None) => {
                let (table, staging) = (table.qualified(), whole(table)?.qualified());
                let source = Source::Appended { table: &table, staging: &staging };
                sql::merge_statement(&aggregate.plan, &names, &source, tells)
            }
            (Chunk::Changed { staging, changes, replaced }, None) => {
                let [staging, changes, replaced] = [staging, changes, replaced].map(|r| r.qualified());
                let source = Source::Changed { staging: &staging, changes: &changes, replaced: &replaced };
                sql::merge_statement(&aggregate.plan, &names, &source, tells)
            }
        };
        let _settings = tally.as_ref().map(|_| by_hash_alone()).transpose()?;
        let touched: Option<i64> = spi::value(&statement, arguments)?;
        if let Some(tally) = tally {
            tally::remember(aggregate, tally, chunk_no);
        }
        // Whoever begins to read finds every group in the first chunk that tells, so that nothing before it is needed.
        if is_read
            && !tells
            && let Some(statement) = sql::snapshot_statement(&aggregate.plan, &names)
        {
            spi::execute(&statement, vec![chunk_no.into()])?;
        }
        if is_read != aggregate.told_from.is_some() {
            scope::catalog(|| aggregates::set_told(aggregate.id, is_read.then_some(chunk_no)))?;
        }
        // Where nothing was told there is nothing to forget.
        if is_read || aggregate.told_from.is_some() {
            forget_read(aggregate)?;
        }
        if touched.unwrap_or(0) > 0 {
            let stream = format!("{}.{}", aggregate.pipeline, aggregate.name);
            chunks::announce(&model::names::channel(&stream), chunk_no)?;
        }
    }
    Ok(())
}

/// Drops changes that everybody has read who was there to read them.
pub fn forget_read(aggregate: &Aggregate) -> Result<()> {
    let Some(changes) = names(aggregate)?.changes() else { return Ok(()) };
    if let Some(last) = scope::catalog(|| aggregates::read_by_all(aggregate.id))? {
        spi::execute(&format!("DELETE FROM {changes} WHERE _chunk_no <= $1"), vec![last.into()])?;
    }
    Ok(())
}

/// The table that a relation of rows is a partition of, or the relation itself.
fn whole(table: &Relation) -> Result<Relation> {
    let parent: Option<Oid> = spi::value(
        "SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = $1",
        vec![Oid::from(table.oid).into()],
    )?;
    let parent = parent.map(relation::by_oid).transpose()?.flatten();
    Ok(parent.unwrap_or_else(|| table.clone()))
}

/// Settings under which a touched group is looked up and no table is read whole, whatever the statistics say of tables that
/// have just begun to grow: a plan that is made once serves for long.
pub(super) fn by_look_up() -> Result<Scope> {
    let settings = [("enable_seqscan", "off"), ("jit", "off")];
    Scope::pin(&settings.map(|(name, value)| (name.to_string(), value.to_string())).into())
}

/// The same for a chunk that was counted while it was loaded, where nothing is to be found but groups and values, each by its hash.
/// A bitmap for each would cost as much again; and what the arrays hold has no bearing on the plan, which is therefore made once.
fn by_hash_alone() -> Result<Scope> {
    let settings = [("enable_bitmapscan", "off"), ("plan_cache_mode", "force_generic_plan")];
    Scope::pin(&settings.map(|(name, value)| (name.to_string(), value.to_string())).into())
}

/// Makes an aggregate: its tables and view, filled from what is loaded already, and its published layer. Where much is loaded already it
/// is filled later, step by step (`filling`), and until then the view is the query itself.
pub fn create(
    pipeline: &Pipeline,
    name: &str,
    query: &str,
    publish: Option<&str>,
    options: &LayerOptions,
) -> Result<()> {
    let staging = scope::owner(pipeline, || relation::by_oid(Oid::from(pipeline.staging)))?
        .ok_or_else(|| Error::new(Code::WrongState, "the pipeline's staging table is gone"))?;
    let (schema, relation_name) = match name.split_once('.') {
        Some((schema, name)) => (schema.to_string(), name.to_string()),
        None => (staging.schema.clone(), name.to_string()),
    };
    // Under the caller's search_path the query's names mean what the user sees; what is deparsed is qualified.
    let hll = if options.approx { Some(hll(pipeline)?) } else { None };
    let plan = analyze::analyze(query, Oid::from(pipeline.staging), pipeline.is_keyed(), hll)?;
    check_lasting(&relation_name, &plan, pipeline.is_keyed(), &pipeline.options)?;
    let names = Names::new(&schema, &relation_name, &plan, plan.has_changes())?;
    if relation_name == "rejects" {
        return Err(Error::new(Code::InvalidParameter, "an aggregate can't be named \"rejects\"")
            .detail("The pipeline's stream of rejected rows has that name.")
            .hint("Choose another name."));
    }
    if scope::catalog(|| aggregates::exists(pipeline.id, &relation_name))? {
        return Err(Error::new(Code::DuplicateObject, format!("aggregate \"{relation_name}\" already exists"))
            .detail(format!("Pipeline \"{}\" has an aggregate of that name.", pipeline.name))
            .hint("Choose another name, or take the old one off with millrace.drop_aggregate."));
    }
    if let Some(location) = publish {
        if options.publish_mode == PublishMode::Append {
            plan.check_publishable()?;
        }
        access::require_writable(pipeline.owner, location)?;
        places::require_apart(pipeline.owner, Some(pipeline.id), &[("publish", Some(location))])?;
        let columns = publish::aggregate_columns(&plan, options.publish_mode);
        let by = options.partition_by.clone();
        let location = Location::parse(location)?;
        let credentials = access::credentials(pipeline.owner, &location)?;
        runtime::wait(async move { publish::prepare(&location, &credentials, columns, &by).await })?;
    }
    // What is published whole needs no changes.
    let tells = publish.is_some() && options.publish_mode == PublishMode::Append;
    // From here to commit nobody seals a chunk: what is filled and what is merged later meet without gap or overlap.
    let position = scope::catalog(|| pipelines::lock_position(pipeline.id))?;
    let head = position.map_or(0, |p| p.head);
    let filled = if pipeline.is_keyed() {
        let much = scope::owner(pipeline, || aggregates::has_more_rows(&staging.qualified(), gucs::backfill_rows()))?;
        if much { Filled::ByKey } else { Filled::Now }
    } else {
        let much = scope::catalog(|| aggregates::rows(pipeline.id))? > gucs::backfill_rows();
        if much { Filled::ByChunk } else { Filled::Now }
    };
    let fills = filled != Filled::Now;
    let (view, state) = scope::owner(pipeline, || {
        let touched = names.touched(&staging.schema);
        let taken: Option<String> = spi::value(
            sql::taken_statement(),
            vec![schema.as_str().into(), names.relations(&plan).into(), staging.schema.as_str().into(), touched.into()],
        )?;
        if let Some(taken) = taken {
            return Err(sql::taken_error(&names, &taken));
        }
        let table = staging.qualified();
        for statement in sql::create_statements(&plan, &names, (&staging.schema, &table), filled) {
            spi::execute_once(&statement)?;
        }
        let oid = |name: String| -> Result<Oid> {
            let oid: Option<Oid> = spi::value("SELECT $1::pg_catalog.regclass::pg_catalog.oid", vec![name.into()])?;
            oid.ok_or_else(|| Error::new(Code::Internal, "the new relation is gone"))
        };
        let made = (oid(names.view())?, oid(names.state())?);
        if fills {
            return Ok(made);
        }
        let fill = sql::merge_statement(&plan, &names, &Source::All { staging: &table }, false);
        spi::execute(&fill, vec![head.into()])?;
        if tells
            && head > 0
            && let Some(statement) = sql::snapshot_statement(&plan, &names)
        {
            spi::execute(&statement, vec![head.into()])?;
        }
        Ok(made)
    })?;
    scope::catalog(|| {
        let plan = serde_json::to_value(&plan).map_err(|e| Error::new(Code::Internal, e.to_string()))?;
        aggregates::insert(aggregates::New {
            pipeline_id: pipeline.id,
            name: &relation_name,
            query,
            view,
            state,
            plan: &plan,
            publish,
            told_from: (tells && head > 0 && !fills).then_some(head),
            filled: fills.then_some(0),
            options: &serde_json::to_value(options).map_err(|e| Error::new(Code::Internal, e.to_string()))?,
        })?;
        if let Some(location) = publish.filter(|_| !fills) {
            let layer = layers::of_aggregate(&relation_name);
            layers::insert(pipeline.id, &layer, location, head.max(1) - 1, options)?;
            if head > 0 {
                layers::enqueue_one(pipeline.id, &layer, head)?;
            }
        }
        Ok(())
    })
}

/// The extension whose sketches count distinct values.
fn hll(pipeline: &Pipeline) -> Result<Hll> {
    if pipeline.is_keyed() {
        return Err(Error::new(Code::Unsupported, "option \"approx\" is not supported on a keyed pipeline")
            .detail("Rows change there, and a sketch can't give back what it has seen.")
            .hint("Leave it out: distinct values are then counted exactly, with the number of rows that hold each."));
    }
    scope::catalog(aggregates::schema_of_hll)?.map(Hll).ok_or_else(|| {
        Error::new(Code::UndefinedObject, "option \"approx\" needs the extension \"hll\"")
            .detail("Distinct values are counted by its sketches, and it is not installed in this database.")
            .hint("CREATE EXTENSION hll; (Debian's package is postgresql-15-hll), or leave the option out to count exactly.")
    })
}

/// Takes an aggregate off its pipeline and drops its tables and view. The published layer stays as it is.
pub fn drop(pipeline: &Pipeline, name: &str) -> Result<()> {
    let found = scope::catalog(|| aggregates::of_pipeline(pipeline.id))?.into_iter().find(|a| a.name == name);
    if let Some(aggregate) = &found {
        publish::before_drop(pipeline, Some(&layers::of_aggregate(name)))?;
        let staging = scope::owner(pipeline, || relation::by_oid(Oid::from(pipeline.staging)))?;
        let schema = staging.map_or_else(|| aggregate.schema.clone(), |s| s.schema);
        let statements = sql::drop_statements(&aggregate.plan, &names(aggregate)?, &schema);
        scope::owner(pipeline, || statements.iter().try_for_each(|s| spi::execute_once(s)))?;
    }
    let removed = scope::catalog(|| {
        layers::delete(pipeline.id, &layers::of_aggregate(name))?;
        aggregates::delete(pipeline.id, name)
    })?;
    if removed == 0 {
        return Err(Error::new(Code::UndefinedObject, format!("aggregate \"{name}\" does not exist"))
            .detail(format!("Pipeline \"{}\" has no aggregate of that name.", pipeline.name))
            .hint("SELECT aggregate FROM millrace.aggregates lists them."));
    }
    Ok(())
}

/// Retention takes rows away and is no delete: what has been counted stays counted. An aggregate that is computed again from the rows
/// of a group would lose them with the next chunk, so the two don't go together.
fn check_lasting(name: &str, plan: &Plan, is_keyed: bool, options: &Options) -> Result<()> {
    if options.retention.is_none() || is_keyed {
        return Ok(());
    }
    let again = plan.partials.iter().find(|p| p.kind == PartialKind::Again).and_then(|p| p.argument.as_deref());
    match again {
        None => Ok(()),
        Some(call) => Err(Error::new(
            Code::Unsupported,
            format!("{call} is not supported in an aggregate of a pipeline with option \"retention\""),
        )
        .detail(format!("Aggregate \"{name}\" is computed again from all rows of a group, of which retention would leave the latest only."))
        .hint("Use aggregates that are counted up (count, sum, avg, min, max, count(DISTINCT …), variance of integers and numerics), or leave retention out: millrace.alter_pipeline(…, options => '{\"retention\": null}').")),
    }
}

/// The same for all aggregates that a pipeline has, before its options change.
pub fn check_all_lasting(pipeline: &Pipeline, options: &Options) -> Result<()> {
    if options.retention.is_none() {
        return Ok(());
    }
    for aggregate in scope::catalog(|| aggregates::of_pipeline(pipeline.id))? {
        check_lasting(&aggregate.name, &aggregate.plan, pipeline.is_keyed(), options)?;
    }
    Ok(())
}

/// The published table of an aggregate.
pub async fn open(location: &str, credentials: &Credentials) -> Result<Option<Table>> {
    Table::open(&Location::parse(location)?, credentials).await
}
