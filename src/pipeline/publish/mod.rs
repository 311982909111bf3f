//! The publish hop: the outbox's chunks become versions of the semi-processed and processed Delta tables.
//!
//! Promises: the commit of a layer carries `txn(app:layer, last chunk_no)`; before writing, the lake is asked how far it is, so that a
//! chunk is never written twice, whatever died between the commit and its note in Postgres. Rows are read in one short transaction,
//! of one snapshot, and written outside of any, while the next chunk is loaded.

mod layer;
mod writing;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::catalog::layers::{self, Pending};
use crate::lake::delta::Table;
use crate::lake::store::Credentials;
use crate::model::pipeline::Pipeline;
use crate::model::publishing::Publishing;
use crate::model::{Code, Error, Result};
use crate::pg::error;
use crate::pg::progress::{self, Phase};
use crate::pg::runtime;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::upkeep::{self, Upkeep};
use crate::pipeline::{access, aggregates as merging, home, scope};

pub use layer::{aggregate_columns, prepare, semi_processed_columns};
use writing::{Writing, Written};

/// Rows that one version of a table may add, unless a single chunk has more.
const MOST_ROWS: i64 = 250_000;

/// While there is more to load the outbox is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many versions a stop waits for at most.
const MOST_ROUNDS: u32 = 1_000;

/// What the pipeline is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// There is more to load: what is due is begun, and nothing is waited for.
    Busy,
    /// There is nothing else to do.
    Idle,
    /// It stops, or can't go on before the outbox is emptied: everything goes, due or not.
    Last,
}

/// Tables that are open, and what is being written to them.
#[derive(Default)]
pub struct Publisher {
    open: HashMap<String, (Credentials, Table)>,
    writing: Vec<Writing>,
    looked: Option<Instant>,
    next_due: Option<Instant>,
    /// The one layer that is meant.
    only: Option<String>,
    /// The pipeline works from here: nothing changes that while a process lives.
    pub at_home: bool,
    /// Of these tables, and of the raw layer's.
    pub upkeep: Upkeep,
}

impl Publisher {
    /// Publishes what is due. True if a publication ended. A layer that fails is noted with its error and tried again later.
    pub fn publish(&mut self, mode: Mode, pipeline: &Pipeline, moment: Moment) -> Result<bool> {
        if !self.at_home {
            match home::check(mode, pipeline) {
                // It says so where it is run; here it only means that nothing is written.
                Err(e) if e.code == Code::Stopped => return Ok(false),
                other => other?,
            }
            self.at_home = true;
        }
        let worked = self.publish_due(mode, pipeline, moment)?;
        // A worker comes by again; a call of run() may be the last for long.
        let wait = mode == Mode::Procedure && moment == Moment::Idle;
        self.upkeep.note(mode, pipeline, wait)?;
        Ok(worked)
    }

    fn publish_due(&mut self, mode: Mode, pipeline: &Pipeline, moment: Moment) -> Result<bool> {
        let mut worked = self.note_written(mode, pipeline, false)?;
        if moment == Moment::Busy && self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(worked);
        }
        for _ in 0..MOST_ROUNDS {
            let begun = self.begin_due(mode, pipeline, moment)?;
            if moment == Moment::Busy {
                return Ok(worked);
            }
            worked |= self.note_written(mode, pipeline, true)?;
            // What a stop leaves behind would wait until the pipeline is resumed.
            if moment == Moment::Idle || !begun {
                break;
            }
        }
        Ok(worked)
    }

    /// How long until chunks that wait for others are due, if there are such.
    pub fn due_in(&self) -> Option<Duration> {
        self.next_due.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Lets go of the tables. What is being written is waited for: whether it was committed would be asked anew otherwise.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    fn begin_due(&mut self, mode: Mode, pipeline: &Pipeline, moment: Moment) -> Result<bool> {
        let waiting = transaction::run(mode, || scope::catalog(|| layers::pending(pipeline.id, MOST_ROWS)))?;
        self.looked = Some(Instant::now());
        self.next_due = None;
        let under_way: HashSet<String> = self.writing.iter().map(|w| w.pending.layer.clone()).collect();
        let mut begun = false;
        let meant = |p: &Pending| self.only.as_ref().is_none_or(|only| *only == p.layer);
        let waiting: Vec<Pending> =
            waiting.into_iter().filter(|p| p.may_be_tried && meant(p) && !under_way.contains(&p.layer)).collect();
        for pending in waiting {
            let publishing = publishing_of(pipeline, &pending);
            let age = Duration::from_millis(u64::try_from(pending.age_ms).unwrap_or(0));
            if moment != Moment::Last && !publishing.is_due(age, moment == Moment::Busy) {
                let due = publishing.every.map(|every| Instant::now() + every.saturating_sub(age));
                self.next_due = self.next_due.into_iter().chain(due).min();
                continue;
            }
            progress::phase(Phase::Publishing);
            match self.begin(mode, pipeline, &pending, publishing) {
                Ok(()) => begun = true,
                Err(e) => begun |= self.failed(mode, pipeline, &pending, &e)?,
            }
        }
        Ok(begun)
    }

    fn begin(&mut self, mode: Mode, pipeline: &Pipeline, pending: &Pending, publishing: Publishing) -> Result<()> {
        let (location, app) = (pending.location.clone(), pipeline.writer(&pending.layer));
        let credentials = access::credentials_of(mode, pipeline, &location)?;
        // One that is open knows of what we have written; what others have written meanwhile is found when committing.
        let known = self.open.remove(&location).filter(|(known, _)| *known == credentials).map(|(_, table)| table);
        let shown = credentials.clone();
        let (table, reached) = runtime::wait(async move {
            let table = match known {
                Some(table) => table,
                None => merging::open(&location, &shown).await?.ok_or_else(|| gone(&location))?,
            };
            let reached = table.txn_version(&app).await?.unwrap_or(0);
            Ok((table, reached))
        })?;
        let found = transaction::run(mode, || layer::read(pipeline, pending, &publishing, reached))?;
        self.writing.push(Writing::start(pipeline, pending, publishing, credentials, table, found)?);
        Ok(())
    }

    /// Notes what has been written; `all`: waits for what has not.
    fn note_written(&mut self, mode: Mode, pipeline: &Pipeline, all: bool) -> Result<bool> {
        let mut worked = false;
        let mut left = Vec::new();
        if all && !self.writing.is_empty() {
            progress::phase(Phase::Publishing);
        }
        for writing in std::mem::take(&mut self.writing) {
            let (pending, found) = match writing.end(all) {
                Ok(ended) => ended,
                Err(writing) => {
                    left.push(writing);
                    continue;
                }
            };
            match found {
                Ok(written) => {
                    self.note(mode, pipeline, &pending, written)?;
                    worked = true;
                }
                Err(e) => worked |= self.failed(mode, pipeline, &pending, &e)?,
            }
        }
        self.writing = left;
        Ok(worked)
    }

    fn note(&mut self, mode: Mode, pipeline: &Pipeline, pending: &Pending, written: Written) -> Result<()> {
        let Written { mut table, credentials, version, found, publishing } = written;
        transaction::run(mode, || {
            scope::catalog(|| layers::record_done(pipeline.id, &pending.layer, found.last, version, &found.counts))?;
            match &found.aggregate {
                Some(aggregate) => scope::owner(pipeline, || merging::forget_read(aggregate)),
                None => Ok(()),
            }
        })?;
        if mode != Mode::Within {
            let when = (publishing.checkpoint_every, upkeep::LEAST);
            self.upkeep.consider(&pending.layer, &pending.location, &credentials, when, &mut table)?;
        }
        self.open.insert(pending.location.clone(), (credentials, table));
        Ok(())
    }

    /// Notes a failure. True where another try at once may help: somebody else has written meanwhile.
    fn failed(&mut self, mode: Mode, pipeline: &Pipeline, pending: &Pending, error: &Error) -> Result<bool> {
        self.open.remove(&pending.location);
        if error.code == Code::Conflict {
            return Ok(true);
        }
        if error.code.is_cancel() {
            return Err(error.clone());
        }
        let wait = pipeline.options.backoff.as_millis() as i64;
        transaction::run(mode, || {
            scope::catalog(|| {
                layers::record_failed(pipeline.id, &pending.layer, pending.first, pending.last, error, wait)
            })
        })?;
        Ok(false)
    }
}

/// Publishes what waits of a pipeline, or of one of its layers, that is about to be dropped, in the transaction that drops it. What
/// can't be published now is told of and let go.
pub fn before_drop(pipeline: &Pipeline, layer: Option<&str>) -> Result<()> {
    let mut publisher = Publisher { only: layer.map(str::to_owned), ..Publisher::default() };
    publisher.publish(Mode::Within, pipeline, Moment::Last)?;
    let left = scope::catalog(|| layers::waiting(pipeline.id, layer))?;
    if let Some(left) = left {
        error::warn(
            Error::new(
                Code::Unavailable,
                format!("{} chunks of pipeline \"{}\" are not published", left.chunks, pipeline.name),
            )
            .detail(format!(
                "Layer \"{}\": {}.",
                left.layer,
                left.error.unwrap_or_else(|| "it is written by others".into())
            ))
            .hint("The staging table has their rows, unless it is dropped as well."),
        );
    }
    Ok(())
}

/// How a layer is published.
fn publishing_of(pipeline: &Pipeline, pending: &Pending) -> Publishing {
    match pending.layer == layers::SEMI_PROCESSED {
        true => pipeline.options.publishing(),
        false => pending.options.beside(&pipeline.options),
    }
}

fn gone(location: &str) -> Error {
    Error::new(Code::Gap, "the published table is gone")
        .detail(format!("Location {location}."))
        .hint("Restore it, or take the layer off the pipeline.")
}
