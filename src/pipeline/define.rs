//! Making, changing and dropping pipelines.
//!
//! Everything that can be wrong is found out here, before anything is changed, so that a pipeline that exists can run.

use std::collections::BTreeMap;

use pgrx::pg_sys::Oid;
use serde_json::{Value, json};

use crate::catalog::{
    aggregates as registered, dedup as registered_dedup, events, files, layers, pipelines, staging,
    transform as registered_transform,
};
use crate::lake::delta::Table;
use crate::lake::store::{Credentials, Dir};
use crate::model::location::Location;
use crate::model::names;
use crate::model::options::{Cleanup, OnNewColumn, Options};
use crate::model::pipeline::Pipeline;
use crate::model::publishing::LayerOptions;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::user::Acting;
use crate::pg::{columns_parser, input, runtime, settings, spi, user};
use crate::pipeline::columns::RESCUED;
use crate::pipeline::source::Source;
use crate::pipeline::{
    access, aggregates, dedup, delta, detect, home, infer, keyed, land, places, publish, scope, transform,
};

/// What create_pipeline is given.
pub struct Wanted<'a> {
    pub name: &'a str,
    pub source: &'a str,
    pub format: Option<&'a str>,
    pub columns: Option<&'a str>,
    pub staging: Option<&'a str>,
    pub raw: Option<&'a str>,
    pub semi_processed: Option<&'a str>,
    pub every: Option<&'a str>,
    pub options: &'a Value,
}

/// Makes a pipeline that the caller owns.
pub fn create(wanted: Wanted<'_>) -> Result<i32> {
    names::check_pipeline(wanted.name)?;
    let owner = user::current();
    check_encoding()?;
    let mut options = Options::parse(wanted.options)?;
    options.check_publishing(wanted.semi_processed.is_some())?;
    check_every(wanted.every)?;
    if scope::catalog(|| pipelines::find(wanted.name))?.is_some() {
        return Err(Error::new(Code::DuplicateObject, format!("pipeline \"{}\" already exists", wanted.name))
            .detail("A pipeline's name is unique in its database.")
            .hint("Choose another name, or drop the old one with millrace.drop_pipeline."));
    }
    access::require_readable(owner.to_u32(), wanted.source)?;
    for location in [wanted.raw, wanted.semi_processed].into_iter().flatten() {
        access::require_writable(owner.to_u32(), location)?;
    }
    let places = [
        ("source", Some(wanted.source)),
        ("raw", wanted.raw),
        (layers::SEMI_PROCESSED, wanted.semi_processed),
        ("archive", options.archive.as_deref()),
    ];
    places::require_apart(owner.to_u32(), None, &places)?;
    let table = delta::define::find(wanted.source, wanted.format)?;
    delta::define::check(&wanted, &options, table.is_some())?;
    check_cleanup(owner.to_u32(), wanted.source, table.is_some(), &options)?;
    let (existing, columns, format) = match (&table, wanted.columns) {
        (Some(table), None) => (vec![], delta::define::columns(table), "delta"),
        (Some(_), Some(text)) => (vec![], text.to_string(), "delta"),
        (None, given) => {
            let credentials = access::credentials(owner.to_u32(), &Location::parse(wanted.source)?)?;
            let source = Source::open(wanted.source, credentials)?;
            let existing = source.list(options.recursive)?;
            let format = detect::format(wanted.format, &source, &existing, &options)?;
            let columns = match given {
                Some(text) => text.to_string(),
                None => infer::columns(&source, &existing, format, &options)?,
            };
            (existing, columns, format)
        }
    };
    detect::check_options(wanted.options, format)?;
    let start = match table {
        Some(table) => Some(delta::define::start(table, &options)?),
        None => None,
    };
    let mut declared = columns_parser::parse(&columns)?;
    let mut columns = columns;
    if options.on_new_column == OnNewColumn::Rescue && !declared.iter().any(|d| d.name == RESCUED) {
        columns = format!("{columns}\n, {RESCUED} jsonb");
        declared = columns_parser::parse(&columns)?;
    }
    let settings = recorded_settings();
    let (schema, table) = staging_name(wanted.staging, wanted.name)?;
    transform::check_options(&options)?;
    let made = match &options.transform {
        None => None,
        Some(text) => {
            let input = registered_transform::create_input(&schema, &table, &columns)?;
            let found = transform::read(text, &input, |_| Ok(()))?;
            columns = registered_transform::column_list(&found.columns);
            declared = columns_parser::parse(&columns)?;
            Some((input, found))
        }
    };
    let names: Vec<String> = declared.iter().map(|d| d.name.clone()).collect();
    keyed::settle(&mut options, &names)?;
    let key = options.primary_key.clone();
    let explicit = wanted.columns.is_some() && made.is_none();
    let staging = make_staging(&schema, &table, &columns, &declared, explicit, &key)?;
    if let Some((_, found)) = &made {
        transform::attempt(found, &staging)?;
    }
    keyed::settle_condition(&mut options, Oid::from(staging.oid))?;
    let beside = if key.is_empty() { None } else { Some(keyed::create(&staging, &options)?) };
    let waiting = match options.dedup_key.as_slice() {
        [] => None,
        key => Some(registered_dedup::create(&staging, key)?),
    };
    let rejects = staging::create_rejects(&staging)?;
    let app_id = format!("pg_millrace:{}:{}", wanted.name, uuid::Uuid::new_v4());
    let id = scope::catalog(|| {
        let id = pipelines::insert(pipelines::New {
            name: wanted.name,
            owner,
            source: wanted.source,
            format,
            staging: Oid::from(staging.oid),
            rejects,
            raw: wanted.raw,
            semi_processed: wanted.semi_processed,
            every: wanted.every.filter(|e| *e != "0"),
            options: serde_json::to_value(&options).map_err(|e| Error::new(Code::Internal, e.to_string()))?,
            settings: serde_json::to_value(&settings).map_err(|e| Error::new(Code::Internal, e.to_string()))?,
            app_id: &app_id,
        })?;
        home::note(id)?;
        if let Some(start) = &start {
            pipelines::set_source(id, start)?;
        }
        if let Some(incoming) = waiting {
            pipelines::set_incoming(id, Some(incoming))?;
        }
        if let Some((input, found)) = &made {
            pipelines::set_transform(id, Some((Oid::from(input.oid), found)))?;
        }
        if let Some(beside) = beside {
            pipelines::set_keyed(id, beside.changes, beside.replaced, beside.incoming)?;
            if let Some(deleted) = beside.deleted {
                pipelines::set_deleted(id, deleted)?;
            }
        }
        if let Some(location) = wanted.semi_processed {
            layers::insert(id, layers::SEMI_PROCESSED, location, 0, &LayerOptions::default())?;
        }
        if !options.include_existing {
            let skipped: Vec<_> = existing.iter().map(|f| (f.path.clone(), f.etag.clone(), f.size as i64)).collect();
            files::record_state(
                id,
                &skipped,
                "skipped",
                Some("it was there before the pipeline (include_existing is false)"),
            )?;
        }
        events::record(wanted.name, "pipeline_created", None, None, None)?;
        Ok(id)
    })?;
    prepare_lake(&wanted, format, id)?;
    Ok(id)
}

/// Makes the tables in the lake last: nothing in Postgres can fail behind it but the commit, which would leave empty tables there.
fn prepare_lake(wanted: &Wanted<'_>, format: &str, id: i32) -> Result<()> {
    let owner = user::current().to_u32();
    if let Some(raw) = wanted.raw {
        let location = Location::parse(raw)?;
        let credentials = access::credentials(owner, &location)?;
        let typed = format == "parquet";
        runtime::wait(async move { prepare_raw(&location, &credentials, typed).await })?;
    }
    if let Some(semi) = wanted.semi_processed {
        let pipeline = scope::catalog(|| pipelines::by_name(wanted.name))?;
        debug_assert_eq!(pipeline.id, id);
        let columns = publish::semi_processed_columns(&pipeline, pipeline.options.publish_mode)?;
        let by = pipeline.options.partition_by.clone();
        let location = Location::parse(semi)?;
        let credentials = access::credentials(owner, &location)?;
        runtime::wait(async move { publish::prepare(&location, &credentials, columns, &by).await })?;
    }
    Ok(())
}

/// `typed`: files bring columns of any type.
async fn prepare_raw(location: &Location, credentials: &Credentials, typed: bool) -> Result<()> {
    let misfit = |detail: String| {
        Error::new(Code::Mismatch, "the raw location holds something else")
            .detail(format!("Location {}: {detail}", location.display()))
            .hint("Name an empty location for the raw layer; each pipeline has its own.")
    };
    let Some(table) = Table::open(location, credentials).await? else {
        let (schema, what) = (land::first_schema(), "raw layer of pg_millrace");
        match typed {
            true => Table::create_open(location, credentials, schema, what).await?,
            false => Table::create(location, credentials, schema, &[], what).await?,
        };
        return Ok(());
    };
    land::check_schema(&table.schema()).map_err(&misfit)?;
    match table.count_rows().await? {
        0 => Ok(()),
        rows => Err(misfit(format!("A raw layer with {rows} rows, which are not this pipeline's."))),
    }
}

fn check_encoding() -> Result<()> {
    let encoding = input::server_encoding();
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::new(Code::Unsupported, format!("database encoding {encoding} is not supported"))
        .detail("Rows are loaded as UTF-8.")
        .hint("CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;"))
}

fn check_every(every: Option<&str>) -> Result<()> {
    let Some(text) = every else { return Ok(()) };
    let millis: Option<i64> =
        spi::value("SELECT (EXTRACT(epoch FROM $1::interval) * 1000)::bigint", vec![text.into()])?;
    match millis {
        Some(ms) if ms == 0 || (50..=86_400_000).contains(&ms) => Ok(()),
        _ => Err(Error::new(Code::InvalidParameter, "\"every\" must be from 50 ms to one day")
            .detail(format!("It is {text}."))
            .hint("NULL makes a pipeline that works only when millrace.run is called.")),
    }
}

/// Whoever has files taken away needs the right to, and an archive that can be opened.
fn check_cleanup(owner: u32, source: &str, is_table: bool, options: &Options) -> Result<()> {
    if options.cleanup == Cleanup::None {
        return Ok(());
    }
    if is_table {
        return Err(Error::new(Code::InvalidParameter, "option \"cleanup\" is for landing files")
            .detail("The source is a Delta table, whose files are its own.")
            .hint("Leave it out."));
    }
    access::require_writable(owner, source)?;
    if let Some(archive) = &options.archive {
        access::require_writable(owner, archive)?;
        let location = Location::parse(archive)?;
        Dir::at(&location, &access::credentials(owner, &location)?)?;
    }
    Ok(())
}

fn recorded_settings() -> BTreeMap<String, String> {
    settings::RECORDED.iter().filter_map(|name| Some((name.to_string(), settings::current(name)?))).collect()
}

fn staging_name(wanted: Option<&str>, pipeline: &str) -> Result<(String, String)> {
    let Some(text) = wanted else { return Ok(("staging".into(), names::with_suffix(pipeline, ""))) };
    let parts: Option<Vec<String>> = spi::value("SELECT pg_catalog.parse_ident($1)", vec![text.into()])?;
    match parts.unwrap_or_default().as_slice() {
        [table] => Ok(("staging".into(), table.clone())),
        [schema, table] => Ok((schema.clone(), table.clone())),
        _ => Err(Error::new(Code::InvalidParameter, format!("\"{}\" can't be the staging table", text.escape_debug()))
            .detail("A name has a table, or a schema and a table.")
            .hint("Write staging => 'staging.transactions'.")),
    }
}

fn make_staging(
    schema: &str,
    table: &str,
    columns: &str,
    declared: &[columns_parser::Declared],
    explicit: bool,
    key: &[String],
) -> Result<Relation> {
    if let Some(existing) = relation::by_name(schema, table)? {
        let wanted: Option<Vec<(String, String)>> =
            explicit.then(|| declared.iter().map(|d| (d.name.clone(), d.type_name.clone())).collect());
        staging::check_existing(&existing, wanted.as_deref())?;
        require_rights(&existing, if key.is_empty() { "INSERT, SELECT" } else { "INSERT, SELECT, UPDATE, DELETE" })?;
        return Ok(existing);
    }
    let created = match key {
        [] => staging::create(schema, table, columns)?,
        key => staging::create_keyed(schema, table, columns, key)?,
    };
    for column in staging::source_columns(Oid::from(created.oid))? {
        if !column.can_send {
            return Err(Error::new(Code::Unsupported, format!("type {} can't be loaded", column.type_name))
                .detail(format!("Column {}: the type has no binary send and receive functions.", column.name))
                .hint("Declare the column as text."));
        }
    }
    Ok(created)
}

fn require_rights(table: &Relation, needed: &str) -> Result<()> {
    for right in needed.split(", ") {
        let may: Option<bool> = spi::value(
            "SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, $2)",
            vec![Oid::from(table.oid).into(), right.into()],
        )?;
        if may != Some(true) {
            return Err(Error::new(Code::Forbidden, format!("permission denied for table {}", table.qualified()))
                .detail(format!("The owner of a pipeline needs {needed} on its staging table."))
                .hint(format!("GRANT {needed} ON {} TO \"{}\";", table.qualified(), user::name(user::current()))));
        }
    }
    Ok(())
}

/// Raises unless the current role may act for the pipeline's owner.
pub fn require_owner(pipeline: &Pipeline, what: &str) -> Result<()> {
    let may: Option<bool> = spi::value(
        "SELECT pg_catalog.pg_has_role($1::pg_catalog.oid, $2::pg_catalog.oid, 'USAGE')",
        vec![user::current().into(), Oid::from(pipeline.owner).into()],
    )?;
    if may == Some(true) {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, format!("permission denied to {what} pipeline \"{}\"", pipeline.name))
        .detail(format!("It belongs to role \"{}\".", user::name(Oid::from(pipeline.owner))))
        .hint("Act as its owner, or as a member of the owner's role."))
}

/// The pipeline of that name, locked, if the current role may change it.
pub fn lock_own(name: &str, what: &str) -> Result<Pipeline> {
    let pipeline = scope::catalog(|| pipelines::lock(name))?;
    require_owner(&pipeline, what)?;
    Ok(pipeline)
}

/// Changes the tick or single options; the others stay.
pub fn alter(name: &str, every: Option<&str>, changes: Option<&Value>) -> Result<()> {
    let pipeline = lock_own(name, "alter")?;
    check_every(every)?;
    let merged = match changes {
        Some(Value::Object(changes)) => {
            let mut all =
                serde_json::to_value(&pipeline.options).map_err(|e| Error::new(Code::Internal, e.to_string()))?;
            if let Some(all) = all.as_object_mut() {
                for (key, value) in changes {
                    // null: back to the default.
                    if value.is_null() {
                        all.remove(key)
                    } else {
                        all.insert(key.clone(), value.clone())
                    };
                }
            }
            // Checked as given as well, so that an unknown key set to null is refused too.
            let mut given: serde_json::Map<String, Value> =
                changes.iter().filter(|c| !c.1.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
            let given_keys = Value::Object(given.clone());
            // Some options have a meaning with a key alone.
            for option in ["dedup_key", "dedup_window"] {
                if let Some(value) = all.get(option).filter(|value| !value.is_null() && **value != json!([])) {
                    given.insert(option.into(), value.clone());
                }
            }
            given.entry("primary_key").or_insert_with(|| json!(pipeline.options.primary_key));
            for option in ["cleanup", "archive"] {
                if let Some(value) = all.get(option).filter(|value| !value.is_null()) {
                    given.insert(option.into(), value.clone());
                }
            }
            Options::parse(&Value::Object(given))?;
            let mut options = Options::parse(&all)?;
            check_key(&pipeline, &mut options)?;
            check_rescue(&pipeline, &options)?;
            transform::check_options(&options)?;
            dedup::change(&pipeline, &options)?;
            keyed::change(&pipeline, &options)?;
            if options.transform != pipeline.options.transform {
                transform::change(&pipeline, options.transform.as_deref())?;
            }
            delta::define::check_change(&pipeline, &given_keys, &options)?;
            check_layer(&pipeline, &options)?;
            aggregates::check_all_lasting(&pipeline, &options)?;
            detect::check_options(&given_keys, &pipeline.format)?;
            if (options.cleanup, &options.archive) != (pipeline.options.cleanup, &pipeline.options.archive) {
                check_cleanup(pipeline.owner, &pipeline.source, pipeline.format == "delta", &options)?;
            }
            if options.archive != pipeline.options.archive {
                let archive = [("archive", options.archive.as_deref())];
                places::require_apart(pipeline.owner, Some(pipeline.id), &archive)?;
            }
            Some(serde_json::to_value(&options).map_err(|e| Error::new(Code::Internal, e.to_string()))?)
        }
        Some(other) => {
            return Err(Options::parse(other)
                .err()
                .unwrap_or_else(|| Error::new(Code::InvalidParameter, "options must be a JSON object")));
        }
        None => None,
    };
    scope::catalog(|| {
        if let Some(every) = every {
            pipelines::set_every(pipeline.id, Some(every).filter(|e| *e != "0"))?;
        }
        if let Some(options) = &merged {
            pipelines::set_options(pipeline.id, options)?;
        }
        pipelines::clear_failures(pipeline.id)?;
        events::record(name, "pipeline_altered", None, None, changes)
    })
}

/// Whoever owns the table decides whether it gets the column.
fn check_rescue(pipeline: &Pipeline, options: &Options) -> Result<()> {
    let columns = scope::owner(pipeline, || transform::record_columns(pipeline))?;
    let there = columns.iter().any(|c| c.name == RESCUED && c.type_name == "jsonb");
    if options.on_new_column != OnNewColumn::Rescue || there {
        return Ok(());
    }
    Err(Error::new(
        Code::Mismatch,
        format!("\"on_new_column\": \"rescue\" needs a column {RESCUED} jsonb in the staging table"),
    )
    .detail(format!("The staging table of pipeline \"{}\" has none.", pipeline.name))
    .hint(format!(
        "ALTER TABLE … ADD COLUMN {RESCUED} jsonb; with a primary_key also …_changes, …_replaced and …_incoming."
    )))
}

/// What a version of the semi-processed layer holds, and where, is as its table was made.
fn check_layer(pipeline: &Pipeline, options: &Options) -> Result<()> {
    let old = &pipeline.options;
    let changed = [
        ("publish_mode", options.publish_mode != old.publish_mode),
        ("partition_by", options.partition_by != old.partition_by),
    ];
    match changed.iter().find(|(_, changed)| *changed) {
        Some((name, _)) => Err(Error::new(Code::Unsupported, format!("the {name} of a pipeline can't be changed"))
            .detail(format!("The table of the semi-processed layer of pipeline \"{}\" was made for it.", pipeline.name))
            .hint("Create another pipeline with a semi-processed layer of its own over the same source.")),
        None => Ok(()),
    }
}

/// A pipeline has a key from its creation on or never; how conflicts are decided may change.
fn check_key(pipeline: &Pipeline, options: &mut Options) -> Result<()> {
    let columns = scope::owner(pipeline, || staging::source_columns(Oid::from(pipeline.staging)))?;
    let names: Vec<String> = columns.into_iter().map(|c| c.name).collect();
    keyed::settle(options, &names)?;
    if options.delete_when != pipeline.options.delete_when {
        keyed::settle_condition(options, Oid::from(pipeline.staging))?;
    }
    if options.primary_key == pipeline.options.primary_key {
        return Ok(());
    }
    Err(Error::new(Code::Unsupported, "the primary_key of a pipeline can't be changed")
        .detail(format!("Pipeline \"{}\" has {:?}.", pipeline.name, pipeline.options.primary_key))
        .hint("Create another pipeline with the new key over the same source."))
}

pub fn pause(name: &str) -> Result<()> {
    let pipeline = lock_own(name, "pause")?;
    scope::catalog(|| {
        pipelines::set_state(pipeline.id, "paused", None)?;
        events::record(name, "pipeline_paused", None, None, None)
    })
}

pub fn resume(name: &str) -> Result<()> {
    let pipeline = lock_own(name, "resume")?;
    scope::catalog(|| {
        pipelines::set_state(pipeline.id, "active", None)?;
        pipelines::clear_failures(pipeline.id)?;
        events::record(name, "pipeline_resumed", None, None, None)
    })
}

/// Lets the chunk through at which a pipeline has stopped: what of it does not meet an expectation is rejected, however much it is.
pub fn accept_chunk(name: &str) -> Result<()> {
    let pipeline = lock_own(name, "accept a chunk of")?;
    if pipeline.state != "stopped" {
        return Err(Error::new(Code::WrongState, format!("pipeline \"{name}\" has not stopped at a chunk"))
            .detail(format!("It is {}.", pipeline.state))
            .hint("SELECT state, state_reason FROM millrace.pipelines shows why a pipeline has stopped."));
    }
    scope::catalog(|| {
        pipelines::accept_next(pipeline.id)?;
        pipelines::set_state(pipeline.id, "active", None)?;
        pipelines::clear_failures(pipeline.id)?;
        events::record(name, "chunk_accepted", None, pipeline.state_reason.as_deref(), None)
    })
}

/// Forgets a pipeline. Its tables stay unless `drop_tables`; what it wrote to the lake always stays.
pub fn drop(name: &str, drop_tables: bool) -> Result<()> {
    let pipeline = lock_own(name, "drop")?;
    publish::before_drop(&pipeline, None)?;
    if drop_tables {
        for aggregate in scope::catalog(|| registered::of_pipeline(pipeline.id))? {
            aggregates::drop(&pipeline, &aggregate.name)?;
        }
        let _acting = Acting::r#as(Oid::from(pipeline.owner), true);
        let beside = [pipeline.changes, pipeline.replaced, pipeline.incoming, pipeline.deleted, pipeline.input];
        let beside = beside.into_iter().flatten();
        for table in beside.chain([pipeline.staging, pipeline.rejects]) {
            if let Some(table) = relation::by_oid(Oid::from(table))? {
                spi::execute_once(&format!("DROP TABLE {}", table.qualified()))?;
            }
        }
    }
    scope::catalog(|| {
        pipelines::delete(pipeline.id)?;
        events::record(name, "pipeline_dropped", None, None, None)
    })
}
