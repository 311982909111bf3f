//! Whether this database is the one that a pipeline works from, or a copy of it.
//!
//! Promises: a copy beside its original (made from a template, or from a base backup that was started as it is) reads and writes nothing of the
//! lake. What takes the original's place (a restored dump, a promoted standby, a recovery to a point in time, an upgraded server) goes on where it
//! is, unless the lake has moved on: then the pipeline stops and says so.

use crate::catalog::{events, homes, layers, pipelines};
use crate::lake::delta::Table;
use crate::model::location::Location;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::home::{self, Home};
use crate::pg::runtime;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::{access, define, land, scope};

/// What a change of place means.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Move {
    None,
    /// Recovered, to where its log ended or to a point before: what is in the raw layer already is loaded from there.
    Recovered,
    /// Restored from a dump, or upgraded.
    Restored,
    Copied,
}

/// Raises `Stopped` where a pipeline must not go on from here; notes the place where it may.
pub fn check(mode: Mode, pipeline: &Pipeline) -> Result<()> {
    let (was, now, kind) = transaction::run(mode, || {
        scope::catalog(|| {
            let now = home::here()?;
            let Some(was) = homes::of(pipeline.id)? else {
                homes::note(pipeline.id, &now)?;
                return Ok((now.clone(), now, Move::None));
            };
            let kind = compare(&was, &now, homes::has_database(was.database)?);
            Ok((was, now, kind))
        })
    })?;
    match kind {
        Move::None => return Ok(()),
        Move::Copied => return Err(is_copy(&was, &now)),
        Move::Recovered | Move::Restored => require_still(mode, pipeline, kind)?,
    }
    transaction::run(mode, || {
        scope::catalog(|| {
            homes::note(pipeline.id, &now)?;
            let message = format!("it goes on from another place than before: {}", differences(&was, &now));
            events::record(&pipeline.name, "moved", None, Some(&message), None)
        })
    })
}

fn compare(was: &Home, now: &Home, has_original: bool) -> Move {
    if was.system_identifier != now.system_identifier {
        Move::Restored
    } else if was.database != now.database {
        if has_original { Move::Copied } else { Move::Restored }
    } else if was.timeline != now.timeline {
        Move::Recovered
    } else if was.mark != now.mark {
        Move::Copied
    } else {
        Move::None
    }
}

fn differences(was: &Home, now: &Home) -> String {
    let pairs = [
        ("system identifier", was.system_identifier.clone(), now.system_identifier.clone()),
        ("database", was.database.to_string(), now.database.to_string()),
        ("timeline", was.timeline.to_string(), now.timeline.to_string()),
        ("data directory", was.mark.clone(), now.mark.clone()),
    ];
    let differ = pairs.into_iter().filter(|(_, was, now)| was != now);
    differ.map(|(what, was, now)| format!("{what} {was}, now {now}")).collect::<Vec<_>>().join("; ")
}

const TAKE_OVER: &str = "If the original is gone: SELECT millrace.take_over('…'); else drop the pipeline here.";

fn is_copy(was: &Home, now: &Home) -> Error {
    Error::new(Code::Stopped, "this database is a copy of the one that writes into the pipeline's lake")
        .detail(format!("What differs: {}.", differences(was, now)))
        .hint(TAKE_OVER)
}

/// Raises where somebody has written into the lake, as this pipeline, what is not known here.
fn require_still(mode: Mode, pipeline: &Pipeline, kind: Move) -> Result<()> {
    let (position, published) = transaction::run(mode, || {
        scope::catalog(|| Ok((pipelines::position(pipeline.id)?, layers::of_pipeline(pipeline.id)?)))
    })?;
    let Some(position) = position else { return Ok(()) };
    let mut places: Vec<(String, String, i64)> =
        published.into_iter().map(|layer| (layer.layer, layer.location, position.head)).collect();
    if let (Some(raw), Move::Restored) = (&pipeline.raw, kind) {
        places.push((land::LAYER.to_owned(), raw.clone(), position.land_seq));
    }
    for (layer, url, known) in places {
        let credentials = access::credentials_of(mode, pipeline, &url)?;
        let (location, app) = (Location::parse(&url)?, pipeline.writer(&layer));
        let reached = runtime::wait(async move {
            match Table::open(&location, &credentials).await? {
                Some(table) => table.txn_version(&app).await,
                None => Ok(None),
            }
        })?;
        if let Some(reached) = reached.filter(|reached| *reached > known) {
            return Err(Error::new(Code::Stopped, "the lake has moved on since this database was saved")
                .detail(format!("Layer \"{layer}\" is at {reached}; what was restored knows of {known}."))
                .hint(TAKE_OVER));
        }
    }
    Ok(())
}

/// Says that from now on this database writes into the pipeline's lake, and lets it go on.
pub fn take_over(name: &str) -> Result<()> {
    let pipeline = define::lock_own(name, "take over")?;
    scope::catalog(|| {
        homes::note(pipeline.id, &home::here()?)?;
        events::record(name, "taken_over", None, None, None)
    })?;
    define::resume(name)
}

/// Notes where a new pipeline works from.
pub fn note(pipeline_id: i32) -> Result<()> {
    scope::catalog(|| homes::note(pipeline_id, &home::here()?))
}
