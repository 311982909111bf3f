//! Functions on pipelines.

use pgrx::datum::{Interval, Range};
use pgrx::prelude::*;
use pgrx::{JsonB, pg_sys};
use serde_json::Value;

use crate::api::{Answer, answer, interval_text, json};
use crate::catalog::pipelines;
use crate::model::{Code, Error, Result};
use crate::pg::error::required;
use crate::pg::transaction::{self, Mode};
use crate::pg::{procedure, shmem, user};
use crate::pipeline::{backfill, define, delta, files, home, run as running, scope};
use crate::worker;

const ADMIN: &std::ffi::CStr = c"millrace_admin";

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn create_pipeline(
    name: Option<&str>,
    source: Option<&str>,
    format: Option<&str>,
    columns: Option<&str>,
    staging: Option<&str>,
    raw: Option<&str>,
    semi_processed: Option<&str>,
    every: Option<Interval>,
    options: Option<JsonB>,
    transform: Option<&str>,
) -> Answer<String> {
    answer((|| {
        let name = required(name, "name")?;
        user::require_role(user::current(), ADMIN, "create a pipeline")?;
        let every = every.map(interval_text);
        let options = with_transform(json(options), transform)?;
        define::create(define::Wanted {
            name,
            source: required(source, "source")?,
            format,
            columns,
            staging,
            raw,
            semi_processed,
            every: every.as_deref(),
            options: &options,
        })?;
        worker::wake();
        Ok(name.to_string())
    })())
}

#[pg_extern(sql = false)]
fn alter_pipeline(
    pipeline: Option<&str>,
    every: Option<Interval>,
    options: Option<JsonB>,
    transform: Option<&str>,
) -> Answer<()> {
    let every = every.map(interval_text);
    change(pipeline, |name| {
        let options = match (options, transform) {
            (None, None) => None,
            (given, transform) => Some(with_transform(json(given), transform)?),
        };
        define::alter(name, every.as_deref(), options.as_ref())
    })
}

/// The argument is another way to write the option of that name.
fn with_transform(mut options: Value, transform: Option<&str>) -> Result<Value> {
    let (Some(text), Some(given)) = (transform, options.as_object_mut()) else { return Ok(options) };
    if given.contains_key("transform") {
        return Err(Error::new(Code::InvalidParameter, "transform is given twice")
            .detail("It is an argument, and also a key of options.")
            .hint("Leave one of them out."));
    }
    given.insert("transform".into(), text.into());
    Ok(options)
}

#[pg_extern(sql = false)]
fn pause(pipeline: Option<&str>) -> Answer<()> {
    change(pipeline, define::pause)
}

#[pg_extern(sql = false)]
fn resume(pipeline: Option<&str>) -> Answer<()> {
    change(pipeline, define::resume)
}

#[pg_extern(sql = false)]
fn take_over(pipeline: Option<&str>) -> Answer<()> {
    change(pipeline, home::take_over)
}

#[pg_extern(sql = false)]
fn accept_chunk(pipeline: Option<&str>) -> Answer<()> {
    change(pipeline, define::accept_chunk)
}

#[pg_extern(sql = false)]
fn resnapshot(pipeline: Option<&str>, load_existing: Option<bool>) -> Answer<()> {
    change(pipeline, |name| delta::define::resnapshot(name, load_existing.unwrap_or(true)))
}

#[pg_extern(sql = false)]
fn drop_pipeline(pipeline: Option<&str>, drop_tables: Option<bool>) -> Answer<()> {
    change(pipeline, |name| define::drop(name, drop_tables.unwrap_or(false)))
}

fn change(pipeline: Option<&str>, f: impl FnOnce(&str) -> Result<()>) -> Answer<()> {
    answer((|| {
        f(required(pipeline, "pipeline")?)?;
        worker::wake();
        Ok(())
    })())
}

#[pg_extern(sql = false)]
fn retry_file(pipeline: Option<&str>, path: Option<&str>) -> Answer<()> {
    change(pipeline, |name| files::retry(name, required(path, "path")?))
}

#[pg_extern(sql = false)]
fn skip_file(pipeline: Option<&str>, path: Option<&str>, reason: Option<&str>) -> Answer<()> {
    change(pipeline, |name| files::skip(name, required(path, "path")?, reason))
}

/// A procedure: it commits after each chunk.
#[pg_extern(sql = false)]
fn run(pipeline: Option<&str>, fcinfo: pg_sys::FunctionCallInfo) -> Answer<()> {
    answer((|| {
        let name = required(pipeline, "pipeline")?.to_string();
        let pipeline = scope::catalog(|| pipelines::by_name(&name))?;
        define::require_owner(&pipeline, "run")?;
        let _procedure = procedure::enter(fcinfo, "millrace.run")?;
        running::run(&pipeline)
    })())
}

/// A procedure: it commits as it goes, and waits without a snapshot.
#[pg_extern(sql = false)]
fn backfill(
    pipeline: Option<&str>,
    location: Option<&str>,
    versions: Option<Range<i64>>,
    chunks: Option<Range<i64>>,
    rate: Option<i64>,
    consumers: Option<Vec<Option<String>>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<()> {
    answer((|| {
        let name = required(pipeline, "pipeline")?.to_string();
        let location = location.map(str::to_string);
        let wanted = backfill::Wanted { location, versions: span(versions)?, chunks: span(chunks)?, rate, consumers };
        let _procedure = procedure::enter(fcinfo, "millrace.backfill")?;
        let (pipeline, generation) = transaction::run(Mode::Procedure, || backfill::begin(&name, &wanted))?;
        worker::wake();
        backfill::attend(&pipeline, generation)
    })())
}

/// The ends of a range, which Postgres keeps without its last number.
fn span(range: Option<Range<i64>>) -> Result<Option<backfill::Span>> {
    let Some(range) = range else { return Ok(None) };
    let empty = || {
        Error::new(Code::InvalidParameter, "the range is empty")
            .detail("It names nothing.")
            .hint("Write both ends as in '[3,7]'.")
    };
    let (lower, upper) = range.into_inner().ok_or_else(empty)?;
    Ok(Some(backfill::Span { first: lower.get().copied(), last: upper.get().map(|last| last - 1) }))
}

#[pg_extern(sql = false)]
fn stop_backfill(pipeline: Option<&str>) -> Answer<()> {
    change(pipeline, backfill::stop)
}

/// True where the server preloaded the library, so that workers can run.
#[pg_extern(sql = false)]
fn preloaded() -> bool {
    shmem::is_ready()
}

/// The version of the library that is loaded.
#[pg_extern(sql = false)]
fn library_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// For the extension's script: lets the launcher look at this database soon.
#[pg_extern(sql = false)]
fn wake_workers() -> Answer<()> {
    worker::wake();
    Ok::<(), Error>(()).map_err(Into::into)
}
