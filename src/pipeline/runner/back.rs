//! Loading from the raw layer: what a process that died had landed, and files that could not be loaded with the others of their landing.
//!
//! Promises: a landing that can't be loaded whole is halved until the file that is to blame is alone; that one is held back, in the
//! ledger as `failed` and later `dead`, and is loaded from the raw layer, never landed again, when its next try comes.

use std::time::{Duration, Instant};

use super::{Runner, Tick};
use crate::catalog::{events, held_back, pipelines};
use crate::lake::delta::Table;
use crate::model::landing::{Part, Raw, Share};
use crate::model::pipeline::{Pipeline, Position};
use crate::model::{Code, Error, Result};
use crate::pg::progress::{self, Phase};
use crate::pg::runtime;
use crate::pg::transaction;
use crate::pipeline::load::{self, Backfilled, Landing};
use crate::pipeline::read::{Plan, Read};
use crate::pipeline::{evolve, files, land, scope};

/// How long what the ledger said of files held back is good for, whatever other processes do.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What a version of the raw layer holds, the number of its landing, and the backfill that landed it.
type Landed = (Read, i64, Option<Backfilled>);

/// When to ask for files that are held back.
#[derive(Default)]
pub struct HeldBack {
    not_before: Option<Instant>,
    ledger_epoch: i32,
}

impl HeldBack {
    pub fn is_due(&self, pipeline: &Pipeline) -> bool {
        pipeline.raw.is_some()
            && (self.ledger_epoch != pipeline.ledger_epoch || self.not_before.is_none_or(|at| at <= Instant::now()))
    }

    fn wait(&mut self, pipeline: &Pipeline, wait: Duration) {
        self.ledger_epoch = pipeline.ledger_epoch;
        self.not_before = Some(Instant::now() + wait.min(LOOK_EVERY));
    }

    fn ask_again(&mut self) {
        self.not_before = None;
    }
}

impl Runner {
    /// What has just landed, or was loaded back, could not be loaded. Where a file may be the reason, it is tried with half as many.
    pub(super) fn take_apart(
        &mut self,
        pipeline: &Pipeline,
        parts: &[Part],
        version: i64,
        error: Error,
    ) -> Result<Tick> {
        if error.code != Code::Conflict {
            files::landed(self.mode, pipeline, parts, &error)?;
        }
        if !files::may_be_to_blame(&error) {
            return Err(error);
        }
        self.apart = Some((version, (parts.len() / 2).max(1)));
        Ok(Tick::Worked)
    }

    /// Loads a version of the raw layer that was committed but not loaded, or not all of it.
    pub(super) fn load_back(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        version: u64,
        started: Instant,
    ) -> Result<Tick> {
        let plan = self.plan(pipeline)?;
        let Some((read, seq, backfill)) = self.read_back(pipeline, version, &plan)? else {
            return self.step_over(pipeline, position, version);
        };
        let version = version as i64;
        let mut left = transaction::run(self.mode, || {
            scope::catalog(|| held_back::not_loaded(pipeline.id, version, &read.parts))
        })?;
        let most = self.apart.filter(|(of, _)| *of == version).map_or(usize::MAX, |(_, most)| most);
        let share = if left.len() > most { Share::Some } else { Share::Rest };
        left.truncate(most);
        let read = only(read, &left);
        if evolve::settle(self.mode, pipeline, &plan.columns, &read)? {
            return Ok(Tick::Worked);
        }
        let parts = read.parts.clone();
        let raw = Some(Raw { version, seq, share });
        let landing = Landing { read, planned_on: position.clone(), raw, source: None, backfill, started };
        match load::load(self.mode, pipeline, &plan.columns, &plan.files.format, landing) {
            Ok(sealed) => {
                self.apart = match share {
                    Share::Some => Some((version, most.saturating_mul(2))),
                    _ => None,
                };
                Ok(sealed.map_or(Tick::Worked, Tick::Sealed))
            }
            Err(e) if parts.len() == 1 && files::may_be_to_blame(&e) => {
                self.hold_back(pipeline, position, &parts[0], version, e)
            }
            Err(e) => self.take_apart(pipeline, &parts, version, e),
        }
    }

    /// Loads a file that was held back, when its next try has come.
    pub(super) fn load_held_back(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        started: Instant,
    ) -> Result<Option<Tick>> {
        if !self.held_back.is_due(pipeline) {
            return Ok(None);
        }
        let Some(file) = transaction::run(self.mode, || scope::catalog(|| held_back::next(pipeline.id)))? else {
            self.held_back.wait(pipeline, LOOK_EVERY);
            return Ok(None);
        };
        if file.wait_ms > 0 {
            self.held_back.wait(pipeline, Duration::from_millis(file.wait_ms as u64));
            return Ok(None);
        }
        let plan = self.plan(pipeline)?;
        let found = match self.read_back(pipeline, file.raw_version as u64, &plan) {
            Err(e) if e.is_temporary() || e.code.is_cancel() => return Err(e),
            other => other,
        };
        let this = |part: &Part| part.path == file.path && part.etag == file.etag;
        let error = match found {
            Ok(Some((read, seq, backfill))) if read.parts.iter().any(this) => {
                let place: Vec<usize> = (0..read.parts.len()).filter(|i| this(&read.parts[*i])).collect();
                let read = only(read, &place);
                if evolve::settle(self.mode, pipeline, &plan.columns, &read)? {
                    return Ok(Some(Tick::Worked));
                }
                let raw = Some(Raw { version: file.raw_version, seq, share: Share::HeldBack });
                let landing = Landing { read, planned_on: position.clone(), raw, source: None, backfill, started };
                match load::load(self.mode, pipeline, &plan.columns, &plan.files.format, landing) {
                    Ok(sealed) => return Ok(Some(sealed.map_or(Tick::Worked, Tick::Sealed))),
                    Err(e) if !files::may_be_to_blame(&e) => return Err(e),
                    Err(e) => e,
                }
            }
            Err(e) => e,
            Ok(_) => {
                Error::new(Code::Gap, format!("version {} of the raw layer no longer holds the file", file.raw_version))
                    .hint("Land its records under another name to load them.")
            }
        };
        let name = (file.path.as_str(), file.etag.as_str(), file.size as u64);
        transaction::run(self.mode, || {
            scope::catalog(|| load::note_failed(pipeline, name, &error, error.code != Code::Gap))
        })?;
        self.failed.push((file.path, error));
        Ok(Some(Tick::Worked))
    }

    /// Lets a file that can't be loaded, even alone, wait for another try while the others go on.
    fn hold_back(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        part: &Part,
        version: i64,
        error: Error,
    ) -> Result<Tick> {
        transaction::run(self.mode, || {
            scope::catalog(|| {
                if pipelines::lock_position(pipeline.id)?.as_ref() != Some(position) {
                    return Ok(());
                }
                held_back::hold_back(pipeline.id, version, part)?;
                load::note_failed(pipeline, (&part.path, &part.etag, part.size), &error, true)
            })
        })?;
        self.held_back.ask_again();
        self.failed.push((part.path.clone(), error));
        Ok(Tick::Worked)
    }

    /// The records of a version of the raw layer, the number of its landing, and what landed it; `None` where it is no landing of this pipeline.
    fn read_back(&mut self, pipeline: &Pipeline, version: u64, plan: &Plan) -> Result<Option<Landed>> {
        let table = self.raw.take().ok_or_else(|| Error::new(Code::Internal, "the raw layer is not open"))?;
        progress::phase(Phase::Reading);
        let (definition, plan) = (pipeline.clone(), plan.clone());
        let (table, found) = runtime::wait(async move {
            let found = landing_of(&table, version, &definition, plan).await;
            Ok((table, found))
        })?;
        self.raw = Some(table);
        found
    }

    /// A version that is no landing of ours (the table's creation, maintenance, another writer) holds nothing to load.
    fn step_over(&mut self, pipeline: &Pipeline, position: &Position, version: u64) -> Result<Tick> {
        let upkeep = self.is_upkeep(version)?;
        transaction::run(self.mode, || {
            scope::catalog(|| {
                if pipelines::lock_position(pipeline.id)?.as_ref() == Some(position) {
                    pipelines::advance(pipeline.id, &Position { raw_version: version as i64, ..position.clone() })?;
                    if version > 0 && !upkeep {
                        let what = format!("version {version}");
                        let message = "a commit of the raw layer that is no landing of this pipeline was passed over";
                        events::record(&pipeline.name, "foreign_commit", Some(&what), Some(message), None)?;
                    }
                }
                Ok(Tick::Worked)
            })
        })
    }

    fn is_upkeep(&mut self, version: u64) -> Result<bool> {
        let table = self.raw.take().ok_or_else(|| Error::new(Code::Internal, "the raw layer is not open"))?;
        let (table, info) = runtime::wait(async move {
            let info = table.commit_info(version).await?;
            Ok((table, info))
        })?;
        self.raw = Some(table);
        Ok(land::is_upkeep(&info))
    }
}

async fn landing_of(table: &Table, version: u64, pipeline: &Pipeline, plan: Plan) -> Result<Option<Landed>> {
    let Some(manifest) = land::manifest_of(table.commit_info(version).await?, pipeline)? else { return Ok(None) };
    let (seq, generation) = (manifest.seq, manifest.generation);
    let backfill = (generation > 0).then(|| Backfilled { generation, ..Backfilled::default() });
    Ok(Some((land::read_back(table, version, manifest, plan).await?, seq, backfill)))
}

/// The records of some of the files, by their places.
fn only(read: Read, places: &[usize]) -> Read {
    if places.len() == read.parts.len() {
        return read;
    }
    let parts: Vec<Part> = places.iter().map(|i| read.parts[*i].clone()).collect();
    let pieces = read.pieces.into_iter().filter_map(|mut piece| {
        piece.part = places.iter().position(|i| *i == piece.part)?;
        Some(piece)
    });
    Read {
        pieces: pieces.collect(),
        modified: places.iter().map(|i| read.modified.get(*i).copied().flatten()).collect(),
        bytes: parts.iter().map(|p| p.to_byte - p.from_byte).sum(),
        records: parts.iter().map(|p| p.records).sum(),
        parts,
        ..Read::default()
    }
}
