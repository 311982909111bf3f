//! Beginning, awaiting and ending backfills. What they do is in `runner::backfill`.
//!
//! Promises: whatever can be seen to be wrong is found out before anything is noted. A call like the one that is running waits for that one.

use std::time::Duration;

use crate::catalog::backfills::{self, Backfill, Kind, New};
use crate::catalog::{events, limits, pipelines};
use crate::lake::delta::is_delta_table;
use crate::lake::store::segments_of;
use crate::model::location::Location;
use crate::model::offset::Offset;
use crate::model::options::OnChange;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::transaction::{self, Mode};
use crate::pg::wait_event::Wait;
use crate::pg::{error, latch, runtime};
use crate::pipeline::define::{lock_own, require_owner};
use crate::pipeline::runner::{Runner, Tick};
use crate::pipeline::source::Source;
use crate::pipeline::{access, scope};

/// How long between two looks at what somebody else works on.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A range of versions or chunks, both ends included where they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub first: Option<i64>,
    pub last: Option<i64>,
}

/// What the call is given.
pub struct Wanted {
    pub location: Option<String>,
    pub versions: Option<Span>,
    pub chunks: Option<Span>,
    pub rate: Option<i64>,
    pub consumers: Option<Vec<Option<String>>>,
}

impl Wanted {
    fn kind(&self) -> Result<Kind> {
        match (self.location.is_some(), self.versions.is_some(), self.chunks.is_some()) {
            (true, false, false) => Ok(Kind::Location),
            (false, true, false) => Ok(Kind::Versions),
            (false, false, true) => Ok(Kind::Chunks),
            _ => Err(Error::new(Code::InvalidParameter, "a backfill is of a location, of versions or of chunks")
                .detail("Exactly one of these arguments says what it brings.")
                .hint("CALL millrace.backfill('transactions', location => 'file:///older/*.csv');")),
        }
    }

    fn span(&self) -> Span {
        self.versions.or(self.chunks).unwrap_or(Span { first: None, last: None })
    }

    fn is_of(&self, running: &Backfill, kind: Kind) -> bool {
        let span = self.span();
        (running.kind, &running.location, running.first, running.last) == (kind, &self.location, span.first, span.last)
    }

    fn check(&self) -> Result<()> {
        if self.rate.is_some_and(|rate| rate <= 0) {
            return Err(Error::new(Code::InvalidParameter, "rate must be above 0")
                .detail("It is rows a second.")
                .hint("Leave it out to go as fast as live traffic leaves room."));
        }
        if self.consumers.is_some() && self.chunks.is_none() {
            return Err(Error::new(Code::InvalidParameter, "consumers is for backfills of chunks")
                .detail("What a location or versions bring is new chunks, which are for all who want backfills.")
                .hint("Create consumers that do not want them with backfills => false."));
        }
        match self.span() {
            Span { first: Some(first), last: Some(last) } if first > last => {
                Err(Error::new(Code::InvalidParameter, "the range is empty").detail("It names nothing."))
            }
            _ => Ok(()),
        }
    }
}

/// Begins a backfill, or finds the one like it that is running; gives its pipeline and generation.
pub fn begin(name: &str, wanted: &Wanted) -> Result<(Pipeline, i32)> {
    let kind = wanted.kind()?;
    wanted.check()?;
    let seen = scope::catalog(|| pipelines::by_name(name))?;
    require_owner(&seen, "backfill")?;
    // Storage is asked before anything is locked.
    if let Some(location) = &wanted.location {
        check_location(&seen, location)?;
    }
    let pipeline = lock_own(name, "backfill")?;
    let generation = scope::catalog(|| {
        if let Some(running) = backfills::running(pipeline.id)? {
            if !wanted.is_of(&running, kind) {
                return Err(Error::new(Code::WrongState, format!("a backfill of pipeline \"{name}\" is running"))
                    .detail(format!("It is of {}; one runs at a time.", running.kind.name()))
                    .hint("Wait for it, see millrace.backfills, or end it with millrace.stop_backfill."));
            }
            backfills::set_rate(pipeline.id, running.generation, wanted.rate)?;
            return Ok(running.generation);
        }
        let generation = backfills::new_generation(pipeline.id)?;
        let span = wanted.span();
        let mut new = New {
            kind,
            location: wanted.location.as_deref(),
            first: span.first,
            last: span.last,
            through: None,
            rate: wanted.rate,
            source_offset: None,
        };
        let offset = match kind {
            Kind::Versions => Some(first_version(&pipeline, span, generation)?),
            Kind::Location | Kind::Chunks => None,
        };
        if let Some((offset, through)) = &offset {
            (new.source_offset, new.through) = (Some(offset), Some(*through));
        }
        let chunks = match kind {
            Kind::Chunks => Some(chunks_of(&pipeline, span)?),
            Kind::Location | Kind::Versions => None,
        };
        if let Some((_, through)) = chunks {
            new.through = Some(through);
        }
        backfills::insert(pipeline.id, generation, &new)?;
        if let Some((from, _)) = chunks {
            backfills::begin_handing_out(pipeline.id, generation, from, wanted.consumers.clone())?;
        }
        events::record(name, "backfill_started", Some(&format!("generation {generation}")), Some(kind.name()), None)?;
        Ok(generation)
    })?;
    Ok((pipeline, generation))
}

/// Files of a place that the pipeline reads or writes anyway would come twice.
fn check_location(pipeline: &Pipeline, location: &str) -> Result<()> {
    if pipeline.format == "delta" {
        return Err(Error::new(Code::InvalidParameter, "the source of the pipeline is a Delta table")
            .detail("A location holds landing files, which such a pipeline does not read.")
            .hint("Name versions of the table: versions => '[3,7]'."));
    }
    access::require_readable(pipeline.owner, location)?;
    let (directory, _) = Location::parse(location)?.split_glob();
    let credentials = access::credentials(pipeline.owner, &directory)?;
    let at = segments_of(&directory, &credentials)?;
    for (what, place) in places_of(pipeline) {
        let (other, _) = Location::parse(&place)?.split_glob();
        let other_at = segments_of(&other, &access::credentials(pipeline.owner, &other)?)?;
        let (inside, around) = (at.starts_with(&other_at), other_at.starts_with(&at));
        // Directories below one that is read without them are places of their own.
        let apart = what == "source" && !pipeline.options.recursive && at != other_at;
        if (inside || around) && !apart {
            return Err(Error::new(
                Code::InvalidParameter,
                format!("the location is not apart from the pipeline's {what}"),
            )
            .detail(format!("{} and {} overlap: files would be loaded twice.", directory.display(), other.display()))
            .hint("Name a place that the pipeline does not know."));
        }
    }
    let (table, shown) = (directory.clone(), credentials.clone());
    if runtime::wait(async move { is_delta_table(&table, &shown).await })? {
        return Err(Error::new(Code::InvalidParameter, "the location is a Delta table")
            .detail(format!("{}: its files are not all of them part of it.", directory.display()))
            .hint("Create a pipeline over it, or export what is wanted as files."));
    }
    Source::open(location, credentials).map(|_| ())
}

fn places_of(pipeline: &Pipeline) -> Vec<(&'static str, String)> {
    let mut places = vec![("source", pipeline.source.clone())];
    places.extend(pipeline.raw.clone().map(|place| ("raw layer", place)));
    places.extend(pipeline.semi_processed.clone().map(|place| ("semi-processed layer", place)));
    places.extend(pipeline.options.archive.clone().map(|place| ("archive", place)));
    places
}

/// Where reading begins, and the last version of it: those that live traffic is still to come to are left to it.
fn first_version(pipeline: &Pipeline, span: Span, generation: i32) -> Result<(Offset, i64)> {
    let Some(live) = pipelines::position(pipeline.id)?.and_then(|p| p.source) else {
        return Err(Error::new(Code::InvalidParameter, "the source of the pipeline is no Delta table")
            .detail("Landing files have no versions.")
            .hint("Name a place with older files: location => 'file:///older/*.csv'."));
    };
    if pipeline.options.on_change == OnChange::Apply {
        return Err(Error::new(Code::WrongState, "older versions can't be applied to what newer ones have made")
            .detail("With \"on_change\": \"apply\" staging is what the table is, version by version.")
            .hint("CALL millrace.resnapshot(…) reads the table anew."));
    }
    let first = span.first.unwrap_or(0).max(0);
    let newest = i64::try_from(live.version).unwrap_or(i64::MAX) - i64::from(!live.snapshot);
    let offset = Offset { generation: generation as u32, ..Offset::new(&live.table, first as u64, false) };
    Ok((offset, span.last.unwrap_or(newest).min(newest)))
}

/// The first and the last chunk of the range that are there.
fn chunks_of(pipeline: &Pipeline, span: Span) -> Result<(i64, i64)> {
    let (kept, head) = (limits::kept_from(pipeline.id)?, pipelines::position(pipeline.id)?.map_or(0, |p| p.head));
    let (first, last) = (span.first.unwrap_or(kept), span.last.unwrap_or(head));
    if first < kept || last > head {
        return Err(Error::new(
            Code::InvalidParameter,
            format!("the pipeline has not all of chunks {first} to {last}"),
        )
        .detail(format!("The oldest chunk that is kept is {kept}, the newest is {head}."))
        .hint("Name chunks that are there; a range without an end, as in '[3,)', ends with the newest."));
    }
    Ok((first, last))
}

/// Works on a backfill, or waits for who does, until it has ended.
pub fn attend(pipeline: &Pipeline, generation: i32) -> Result<()> {
    let mode = Mode::Procedure;
    let mut runner = Runner::new(mode, pipeline.id);
    loop {
        let (job, elsewhere) = transaction::run(mode, || {
            scope::catalog(|| {
                Ok((backfills::of(pipeline.id, generation)?, backfills::is_worked_elsewhere(pipeline.id)?))
            })
        })?;
        let Some(job) = job else { return Err(gone(pipeline, "its pipeline was dropped")) };
        match job.state.as_str() {
            "running" => {}
            "done" => break,
            "stopped" => return Err(gone(pipeline, "it was ended with millrace.stop_backfill")),
            _ => return Err(failed(pipeline, &job)),
        }
        if elsewhere {
            latch::sleep(Wait::Tick, LOOK_AGAIN);
            continue;
        }
        match runner.tick_backfill()? {
            Tick::Sealed(_) | Tick::Worked => {}
            Tick::Idle | Tick::Held(_) => {
                latch::sleep(Wait::Tick, runner.rest(LOOK_AGAIN));
            }
            Tick::Off(reason) => {
                return Err(Error::new(Code::WrongState, format!("pipeline \"{}\" can't run", pipeline.name))
                    .detail(format!("The pipeline: {reason}. The backfill goes on with it."))
                    .hint("SELECT millrace.resume(…) lets it go on."));
            }
        }
    }
    for (path, e) in runner.take_failed() {
        error::warn(
            Error::new(e.code, format!("file \"{path}\" could not be read")).detail(e.to_string()).hint(
                "See millrace.files. The other files are loaded; call millrace.backfill again once it is mended.",
            ),
        );
    }
    Ok(())
}

fn gone(pipeline: &Pipeline, why: &str) -> Error {
    Error::new(Code::WrongState, format!("the backfill of pipeline \"{}\" was not finished", pipeline.name))
        .detail(format!("The reason: {why}."))
        .hint("What it has brought stays; call millrace.backfill again to go on.")
}

fn failed(pipeline: &Pipeline, job: &Backfill) -> Error {
    let mut code = [b'X'; 5];
    let known = job.sqlstate.as_deref().map(str::as_bytes).filter(|state| state.len() == code.len());
    code.copy_from_slice(known.unwrap_or(b"XX000"));
    Error::new(Code::Postgres(code), format!("the backfill of pipeline \"{}\" failed", pipeline.name))
        .detail(job.error.clone().unwrap_or_default())
        .hint("Mend the cause and call millrace.backfill again: it goes on where it was.")
}

/// Ends the running backfill.
pub fn stop(name: &str) -> Result<()> {
    let pipeline = lock_own(name, "stop the backfill of")?;
    scope::catalog(|| {
        let Some(running) = backfills::running(pipeline.id)? else {
            return Err(Error::new(Code::WrongState, format!("no backfill of pipeline \"{name}\" is running"))
                .detail("There is nothing to stop.")
                .hint("SELECT * FROM millrace.backfills shows those that were."));
        };
        backfills::end(pipeline.id, running.generation, "stopped", None)?;
        let subject = format!("generation {}", running.generation);
        events::record(name, "backfill_stopped", Some(&subject), None, None)
    })
}
