//! Functions behind the views and reports that show the server at work.

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::api::answer;
use crate::catalog::pipelines;
use crate::pg::error::required;
use crate::pg::{machine, progress, shmem, wait_event};
use crate::pipeline::{define, reach, scope};

fn time(micros: i64) -> Option<TimestampWithTimeZone> {
    (micros > 0).then(|| to_timestamp(micros as f64 / 1e6))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn current_work() -> TableIterator<
    'static,
    (
        name!(pid, i32),
        name!(pipeline_id, i32),
        name!(phase, String),
        name!(phase_since, Option<TimestampWithTimeZone>),
        name!(files, i64),
        name!(files_done, i64),
        name!(bytes, i64),
        name!(bytes_done, i64),
        name!(rows_done, i64),
        name!(backlog_files, i64),
        name!(backlog_bytes, i64),
        name!(busy_since, Option<TimestampWithTimeZone>),
        name!(busy_rows, i64),
        name!(busy_bytes, i64),
    ),
> {
    TableIterator::new(progress::shown().into_iter().map(|s| {
        (
            s.pid,
            s.pipeline,
            s.phase.to_string(),
            time(s.phase_since),
            s.files,
            s.files_done,
            s.bytes,
            s.bytes_done,
            s.rows_done,
            s.backlog_files,
            s.backlog_bytes,
            time(s.busy_since),
            s.busy_rows,
            s.busy_bytes,
        )
    }))
}

/// NULL for a process that works, or that runs no pipeline of this database.
#[pg_extern(sql = false)]
fn waits_for(pid: Option<i32>) -> Option<String> {
    wait_event::of(pid?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn machine_facts() -> TableIterator<
    'static,
    (
        name!(memory_bytes, Option<i64>),
        name!(disk_bytes, Option<i64>),
        name!(disk_free_bytes, Option<i64>),
        name!(launcher_pid, Option<i32>),
    ),
> {
    let found = machine::look();
    let launcher = if shmem::is_ready() { shmem::launcher() } else { 0 };
    TableIterator::once((found.memory, found.disk, found.disk_free, (launcher != 0).then_some(launcher)))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn check_locations(
    pipeline: Option<&str>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(layer, String),
            name!(location, String),
            name!(ok, bool),
            name!(found, String),
            name!(hint, Option<String>),
            name!(newest, Option<TimestampWithTimeZone>),
        ),
    >,
    ErrorReport,
> {
    let places = answer((|| {
        let pipeline = scope::catalog(|| pipelines::by_name(required(pipeline, "pipeline")?))?;
        define::require_owner(&pipeline, "check the locations of")?;
        reach::look(&pipeline)
    })())?;
    Ok(TableIterator::new(places.into_iter().map(|p| {
        let newest = p.newest.and_then(time);
        match p.found {
            Ok(found) => (p.layer, p.location, true, found, None, newest),
            Err(e) => (p.layer, p.location, false, e.to_string(), e.hint, newest),
        }
    })))
}
