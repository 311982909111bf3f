//! The pipeline's tables in the lake are kept in order: small files, checkpoints, old entries of the log, removed files.
//!
//! Promises: it runs on other threads while the pipeline goes on, one table at a time, and holds nothing back; what fails is noted in
//! millrace.events once in a series, and tried again later. Whatever dies in between, the next time goes on from there.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::catalog::events;
use crate::lake::delta::{Kept, Table};
use crate::lake::store::Credentials;
use crate::model::location::Location;
use crate::model::pipeline::Pipeline;
use crate::model::{Error, Result};
use crate::pg::memory;
use crate::pg::runtime::{self, Task};
use crate::pg::transaction::{self, Mode};
use crate::pipeline::scope;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// What is younger is never removed: a landing that is loaded at this moment may be needed once more, should the load be cut off.
pub const LEAST: Duration = Duration::from_secs(3_600);

/// The same while records wait in the raw layer: nothing of it goes.
pub const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Files that no version names are left by processes that died: looked for when a process has begun, and then once in so long.
const SWEEP_EVERY: Duration = Duration::from_secs(86_400);

/// A table that is due.
struct Due {
    layer: String,
    location: String,
    credentials: Credentials,
    every: u64,
    least: Duration,
    sweeps: bool,
}

#[derive(Default)]
pub struct Upkeep {
    running: Option<(Due, Task<Kept>)>,
    waiting: VecDeque<Due>,
    /// Checkpoints that were written, by location.
    checkpoints: HashMap<String, u64>,
    failed: HashMap<String, Instant>,
    swept: HashMap<String, Instant>,
}

impl Upkeep {
    /// Sees to it that a table which was just written to gets its turn, where it is due: once in `every` versions. Nothing goes that is
    /// younger than `least`. Costs nothing where it is not due.
    pub fn consider(
        &mut self,
        layer: &str,
        location: &str,
        credentials: &Credentials,
        (every, least): (u64, Duration),
        table: &mut Table,
    ) -> Result<()> {
        if let Some(version) = self.checkpoints.get(location) {
            table.note_checkpoint(*version);
        }
        let rests = self.failed.get(location).is_some_and(|at| at.elapsed() < RETRY);
        let known = self.running.iter().map(|(due, _)| due).chain(&self.waiting).any(|due| due.location == location);
        if rests || known || !table.is_upkeep_due(every) {
            return Ok(());
        }
        let (layer, location) = (layer.to_owned(), location.to_owned());
        let sweeps = self.swept.get(&location).is_none_or(|at| at.elapsed() > SWEEP_EVERY);
        self.waiting.push_back(Due { layer, location, credentials: credentials.clone(), every, least, sweeps });
        self.begin()
    }

    fn begin(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let Some(due) = self.waiting.pop_front() else { return Ok(()) };
        let (place, credentials) = (Location::parse(&due.location)?, due.credentials.clone());
        let (every, least, sweeps) = (due.every, due.least, due.sweeps);
        let task = runtime::start(async move {
            let Some(mut table) = Table::open(&place, &credentials).await? else { return Ok(Kept::default()) };
            let mut kept = table.upkeep(every, least).await?;
            if sweeps {
                kept.data_files_removed += table.remove_orphans(least).await?;
            }
            // A checkpoint takes memory for each file of the table.
            drop(table);
            memory::give_back();
            Ok(kept)
        })?;
        self.running = Some((due, task));
        Ok(())
    }

    /// Notes what has ended, and goes on with what is due; `wait`: until nothing is.
    pub fn note(&mut self, mode: Mode, pipeline: &Pipeline, wait: bool) -> Result<()> {
        while let Some((due, task)) = self.running.take() {
            let ended = match wait {
                true => task.wait(),
                false => match task.poll() {
                    Ok(ended) => ended,
                    Err(task) => {
                        self.running = Some((due, task));
                        return Ok(());
                    }
                },
            };
            match ended {
                Ok(kept) => {
                    self.failed.remove(&due.location);
                    if due.sweeps {
                        self.swept.insert(due.location.clone(), Instant::now());
                    }
                    self.checkpoints.insert(due.location, kept.checkpoint);
                }
                Err(e) if e.code.is_cancel() => return Err(e),
                Err(e) => self.failed(mode, pipeline, &due.layer, due.location, &e)?,
            }
            self.begin()?;
        }
        Ok(())
    }

    fn failed(&mut self, mode: Mode, pipeline: &Pipeline, layer: &str, location: String, error: &Error) -> Result<()> {
        if self.failed.insert(location, Instant::now()).is_some() {
            return Ok(());
        }
        transaction::run(mode, || {
            scope::catalog(|| {
                events::record(&pipeline.name, "upkeep_failed", Some(layer), Some(&error.to_string()), None)
            })
        })
    }
}
