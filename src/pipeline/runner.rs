//! One pipeline at work: `tick` does the next thing there is to do. Called by the worker and by run() alike.
//!
//! Promises: at most one chunk a tick; what a tick finds out about the lake it keeps for the next, and nothing that it keeps
//! is needed for correctness. Postgres and the lake decide, by the locked position and by the raw layer's txn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::{events, pipelines};
use crate::format::Format;
use crate::lake::delta::{Prepared, Table};
use crate::lake::store::Credentials;
use crate::model::dedup::Identity;
use crate::model::landing::{Part, Raw, Share};
use crate::model::location::Location;
use crate::model::offset::Offset;
use crate::model::pipeline::{Pipeline, Position};
use crate::model::{Code, Error, Result};
use crate::pg::progress::{self, Phase};
use crate::pg::transaction::{self, Mode};
use crate::pg::{gucs, interrupts, runtime};
use crate::pipeline::ahead::{self, Ahead, Ready, left_over};
use crate::pipeline::bookmark::Bookmark;
use crate::pipeline::clean::Cleaner;
use crate::pipeline::columns::staging_columns;
use crate::pipeline::discover::Discovery;
use crate::pipeline::load::{Backfilled, Landing, Sealed, load};
use crate::pipeline::open::Files;
use crate::pipeline::publish::{Moment, Publisher};
use crate::pipeline::read::{self, Plan, Planned, Read};
use crate::pipeline::source::Source;
use crate::pipeline::{access, delta, evolve, files, filling, home, identity, retain, scope, throttle, transform};

mod back;
mod backfill;
mod raw;

use back::HeldBack;

/// What a tick came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    Sealed(Sealed),
    /// Something was done that seals no chunk: empty files, a publication, a lost race.
    Worked,
    Idle,
    /// There may be something to load, but consumers, the outbox, the disk or the rate hold it back.
    Held(String),
    /// The pipeline is not to run: paused, stopped or gone.
    Off(String),
}

pub struct Runner {
    mode: Mode,
    id: i32,
    /// What the source and the raw layer were opened with.
    shown: [Credentials; 2],
    source: Option<(String, Source)>,
    delta: Option<delta::Source>,
    raw: Option<Table>,
    /// A version of it that can't be loaded whole, and how many of its files are loaded at once.
    apart: Option<(i64, usize)>,
    held_back: HeldBack,
    discovery: Discovery,
    cleaner: Cleaner,
    publisher: Publisher,
    /// Files that could not be read, with why, since they were last asked for.
    failed: Vec<(String, Error)>,
    /// Lost races in a row.
    conflicts: u32,
    ahead: Option<Ahead>,
    bookmark: Bookmark,
    delta_ahead: Option<delta::Ahead>,
    retained: Option<Instant>,
    /// An aggregate that came late is not complete yet.
    filling: bool,
    backfill: backfill::Backfilling,
}

/// How long between two looks at what retention may drop.
const RETAIN_EVERY: Duration = Duration::from_secs(5);

/// A lost race means that somebody else got on, so that it is tried again at once; so many in a row mean something else, which a
/// person should see and which is no reason to spin.
const MOST_CONFLICTS: u32 = 100;

impl Drop for Runner {
    fn drop(&mut self) {
        progress::end();
    }
}

impl Runner {
    pub fn new(mode: Mode, id: i32) -> Runner {
        progress::begin(id);
        Runner {
            mode,
            id,
            shown: Default::default(),
            source: None,
            delta: None,
            raw: None,
            apart: None,
            held_back: HeldBack::default(),
            discovery: Discovery::default(),
            cleaner: Cleaner::default(),
            publisher: Publisher::default(),
            failed: vec![],
            conflicts: 0,
            ahead: None,
            bookmark: Bookmark::default(),
            delta_ahead: None,
            retained: None,
            filling: false,
            backfill: backfill::Backfilling::default(),
        }
    }

    /// The files that could not be read since the last call.
    pub fn take_failed(&mut self) -> Vec<(String, Error)> {
        std::mem::take(&mut self.failed)
    }

    /// How long until files that are there have settled, if some have not.
    pub fn unsettled(&self) -> Option<Duration> {
        self.discovery.unsettled()
    }

    /// The pipeline and its position as they are now; `None` when it, or the whole extension, is gone, and on a standby.
    pub fn look(&self) -> Result<Option<(Pipeline, Position)>> {
        interrupts::check();
        transaction::run(self.mode, || {
            if transaction::in_recovery() || !scope::installed()? {
                return Ok(None);
            }
            scope::catalog(|| {
                let Some(pipeline) = pipelines::by_id(self.id)? else { return Ok(None) };
                Ok(pipelines::position(self.id)?.map(|position| (pipeline, position)))
            })
        })
    }

    /// Looks, and does the next thing there is to do.
    pub fn tick(&mut self) -> Result<Tick> {
        match self.look()? {
            Some((pipeline, position)) => self.tick_at(&pipeline, &position),
            None => Ok(Tick::Off("it was dropped".into())),
        }
    }

    /// Does the next thing there is to do for a pipeline that was just looked at.
    pub fn tick_at(&mut self, pipeline: &Pipeline, position: &Position) -> Result<Tick> {
        if !pipeline.is_active() {
            self.leave(pipeline)?;
            let reason = pipeline.state_reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            return Ok(Tick::Off(format!("it is {}{reason}", pipeline.state)));
        }
        if !self.publisher.at_home {
            if let Err(e) = home::check(self.mode, pipeline) {
                if e.code == Code::Stopped {
                    self.stop(pipeline, position, &e)?;
                }
                return Err(e);
            }
            self.publisher.at_home = true;
        }
        if self.retained.is_none_or(|last| last.elapsed() > RETAIN_EVERY) {
            self.filling = filling::is_due(self.mode, pipeline)?;
            self.retain(pipeline)?;
        }
        // A step for each chunk that is loaded: neither keeps the other from getting on.
        self.filling = self.filling && filling::step(self.mode, pipeline)?;
        if let Some(reason) = throttle::throttled_by(self.mode, pipeline)? {
            let moment = if reason.starts_with(throttle::BY_OUTBOX) { Moment::Last } else { Moment::Idle };
            let published = self.publish(pipeline, moment)?;
            return Ok(if published { Tick::Worked } else { Tick::Held(reason) });
        }
        progress::phase(Phase::Listing);
        progress::next_chunk();
        let pulled = match self.backfill_in_turn(pipeline, position)? {
            Some(tick) => Ok(tick),
            None => self.pull(pipeline, position),
        };
        match pulled {
            Ok(Tick::Idle) => {
                self.conflicts = 0;
                if let Some(tick) = self.backfill(pipeline, position)? {
                    self.publish(pipeline, Moment::Busy)?;
                    return Ok(tick);
                }
            }
            Ok(tick) => {
                self.conflicts = 0;
                // A publication that fails is noted in the outbox; it never holds the next chunk back.
                let busy = self.ahead.is_some() || self.delta_ahead.is_some();
                self.publish(pipeline, if busy { Moment::Busy } else { Moment::Idle })?;
                self.clean(pipeline)?;
                return Ok(tick);
            }
            Err(e) if e.code == Code::Conflict && self.conflicts < MOST_CONFLICTS => {
                self.conflicts += 1;
                self.forget();
                return Ok(Tick::Worked);
            }
            Err(e) => {
                self.conflicts = 0;
                self.forget();
                // A chunk that fails does not hold back those before it.
                self.publish(pipeline, Moment::Idle)?;
                if e.code == Code::Stopped || (e.code == Code::Gap && position.source.is_some()) {
                    self.stop(pipeline, position, &e)?;
                }
                return Err(e);
            }
        }
        let published = self.publish(pipeline, Moment::Idle)?;
        Ok(if self.clean(pipeline)? || published || self.filling { Tick::Worked } else { Tick::Idle })
    }

    fn publish(&mut self, pipeline: &Pipeline, moment: Moment) -> Result<bool> {
        self.publisher.publish(self.mode, pipeline, moment)
    }

    /// Publishes everything that was sealed, and lets go of what was kept: the pipeline is not to run.
    pub fn leave(&mut self, pipeline: &Pipeline) -> Result<()> {
        self.publish(pipeline, Moment::Last)?;
        self.forget();
        Ok(())
    }

    /// How long until chunks that wait to be published together are due, if there are some.
    pub fn due_in(&self) -> Option<Duration> {
        self.publisher.due_in()
    }

    fn clean(&mut self, pipeline: &Pipeline) -> Result<bool> {
        self.cleaner.clean(self.mode, pipeline, self.source.as_ref().map(|(_, source)| source))
    }

    /// Drops what retention does not keep.
    pub fn retain(&mut self, pipeline: &Pipeline) -> Result<()> {
        self.retained = Some(Instant::now());
        // What is filled from may not go before it was.
        if self.filling { Ok(()) } else { retain::retain(self.mode, pipeline).map(|_| ()) }
    }

    /// Takes the pipeline out of service until somebody resumes it; nothing of the chunk that it stopped at is there.
    fn stop(&self, pipeline: &Pipeline, position: &Position, why: &Error) -> Result<()> {
        transaction::run(self.mode, || {
            scope::catalog(|| {
                let unchanged = pipelines::lock_position(pipeline.id)?.is_some_and(|now| now.head == position.head);
                if unchanged && pipelines::by_id_now(pipeline.id)?.is_some_and(|p| p.is_active()) {
                    pipelines::set_state(pipeline.id, "stopped", Some(&why.to_string()))?;
                    events::record(&pipeline.name, "pipeline_stopped", None, Some(&why.to_string()), None)?;
                }
                Ok(())
            })
        })
    }

    /// Drops what was kept from earlier ticks.
    fn forget(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.discard();
        }
        self.source = None;
        self.delta = None;
        self.delta_ahead = None;
        self.raw = None;
        self.discovery.forget();
        self.cleaner.forget();
        self.publisher.forget();
    }

    fn pull(&mut self, pipeline: &Pipeline, position: &Position) -> Result<Tick> {
        let started = Instant::now();
        self.renew(pipeline)?;
        if let Some(offset) = &position.source {
            return self.pull_delta(pipeline, position, offset, started);
        }
        if let Some(ahead) = self.ahead.take() {
            let plan = self.plan(pipeline)?;
            if ahead.suits(pipeline, position, &plan) && !self.held_back.is_due(pipeline) {
                begin_reading(ahead.chunk());
                let (ready, chunk) = ahead.wait()?;
                return self.finish(pipeline, position, plan, ready, chunk, started);
            }
            ahead.discard();
            self.discovery.forget();
        }
        if let Some(raw) = &pipeline.raw {
            self.refresh_raw(raw)?;
            if let Some(version) = self.pending_version(position) {
                return self.load_back(pipeline, position, version, started);
            }
            if let Some(tick) = self.load_held_back(pipeline, position, started)? {
                return Ok(tick);
            }
        }
        let source = self.source(pipeline)?;
        let chunk = self.discovery.next(self.mode, pipeline, &source)?;
        if chunk.is_empty() {
            return Ok(Tick::Idle);
        }
        let chunk = identity::sift(self.mode, pipeline, &source, &str::to_owned, chunk)?;
        if chunk.is_empty() {
            return Ok(Tick::Worked);
        }
        let plan = self.plan(pipeline)?;
        begin_reading(&chunk);
        let first = Plan { max_bytes: first_of(plan.max_bytes), ..plan.clone() };
        let ready = runtime::wait(ahead::prepare(first, chunk.clone(), self.raw.clone()))?;
        self.finish(pipeline, position, plan, ready, chunk, started)
    }

    /// Reads and loads the next rows of a Delta table. While there are none that is one request for a version that is not there.
    fn pull_delta(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        offset: &Offset,
        started: Instant,
    ) -> Result<Tick> {
        if let Some(ahead) = self.delta_ahead.take() {
            let plan = self.plan(pipeline)?;
            if ahead.suits(pipeline, position, &plan) {
                progress::phase(Phase::Reading);
                let (source, found) = ahead.wait().map_err(|e| delta::way_on(e, pipeline))?;
                if let Some(found) = found {
                    return self.load_delta(pipeline, position, source, plan, found, started);
                }
                self.delta = Some(source);
            }
        }
        let mut source = match self.delta.take() {
            Some(source) => source,
            None => delta::Source::new(&pipeline.source, &self.shown[0])?,
        };
        progress::phase(Phase::Listing);
        let (mut at, manner) = (offset.clone(), delta::Manner::of(pipeline, gucs::network_timeout()));
        let (mut source, at, ready) = runtime::wait(async move {
            let ready = source.prepare_within(&mut at, &manner).await?;
            Ok((source, at, ready))
        })
        .map_err(|e| delta::way_on(e, pipeline))?;
        if !ready {
            self.delta = Some(source);
            return Ok(Tick::Idle);
        }
        let plan = self.plan(pipeline)?;
        progress::phase(Phase::Reading);
        if delta::is_due(&source, &at) {
            let found = delta::sweep(self.mode, pipeline, &at, &plan)?;
            return self.load_delta(pipeline, position, source, plan, found, started);
        }
        let (files, bytes) = source.left(&at);
        progress::plan(files, bytes);
        let (memory, reading) = (delta_memory(), Plan { max_bytes: first_of(plan.max_bytes), ..plan.clone() });
        let (source, found) = runtime::wait(async move {
            let found = delta::read(&mut source, &at, &reading, memory, &manner).await?;
            Ok((source, found))
        })
        .map_err(|e| delta::way_on(e, pipeline))?;
        self.load_delta(pipeline, position, source, plan, found, started)
    }

    /// Loads what was read of a Delta table, while what comes after it is read.
    fn load_delta(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        source: delta::Source,
        plan: Plan,
        (read, next): (Read, Offset),
        started: Instant,
    ) -> Result<Tick> {
        if let Some(version) = position.source.as_ref().and_then(|at| source.skipped(at)) {
            delta::note_skipped(self.mode, pipeline, version)?;
        }
        if evolve::settle(self.mode, pipeline, &plan.columns, &read)? {
            self.forget();
            return Ok(Tick::Worked);
        }
        let head = position.head + i64::from(read.records > 0);
        let expected = Position { head, source: Some(next.clone()), ..position.clone() };
        let manner = delta::Manner::of(pipeline, gucs::network_timeout());
        self.delta_ahead = delta::Ahead::start(pipeline, expected, &plan, source, delta_memory(), manner)?;
        let landing =
            Landing { read, planned_on: position.clone(), raw: None, source: Some(next), backfill: None, started };
        Ok(match load(self.mode, pipeline, &plan.columns, &Format::Typed, landing)? {
            Some(sealed) => Tick::Sealed(sealed),
            None => Tick::Worked,
        })
    }

    /// Lands and loads what was read, while what comes after it is read.
    fn finish(
        &mut self,
        pipeline: &Pipeline,
        position: &Position,
        plan: Plan,
        ready: Ready,
        chunk: Vec<Planned>,
        started: Instant,
    ) -> Result<Tick> {
        // A file that the raw layer can't hold is set aside alone; it is no reason to change a column or to stop.
        let settled = match &ready.misfit {
            Some(_) => Ok(false),
            None => evolve::settle(self.mode, pipeline, &plan.columns, &ready.read),
        };
        if !matches!(settled, Ok(false)) {
            discard(ready)?;
            // The tables have other columns now: everything is read anew.
            settled?;
            self.forget();
            return Ok(Tick::Worked);
        }
        if let Some(error) = ready.misfit {
            return self.set_aside(pipeline, &ready.read.parts, error);
        }
        let left = left_over(chunk, &ready.read);
        // Whether a file is the duplicate of one that is on its way is known when that has come.
        let following = match pipeline.options.identity {
            Identity::Path => self.discovery.more(self.mode, pipeline, left),
            Identity::Content => Ok(left),
        };
        let following = match following {
            Ok(following) => following,
            Err(e) => {
                discard(ready)?;
                return Err(e);
            }
        };
        let Ready { mut read, prepared, .. } = ready;
        if !following.is_empty() {
            self.ahead = Some(Ahead::start(pipeline, &plan, following, self.raw.clone())?);
        }
        let mut next = position.clone();
        let mut raw = None;
        if let Some(prepared) = prepared {
            let landed;
            (read, landed) = self.land(pipeline, position, read, prepared, 0)?;
            raw = Some(landed);
            (next.raw_version, next.land_seq) = (landed.version, landed.seq);
        }
        next.head += i64::from(read.records > 0);
        if let Some(ahead) = &mut self.ahead {
            ahead.expect(next);
        }
        self.failed.extend(read.failed.iter().map(|(file, e)| (file.path.clone(), e.clone())));
        let parts = read.parts.clone();
        let landing = Landing { read, planned_on: position.clone(), raw, source: None, backfill: None, started };
        match load(self.mode, pipeline, &plan.columns, &plan.files.format, landing) {
            Ok(sealed) => {
                self.discovery.grow();
                Ok(sealed.map_or(Tick::Worked, Tick::Sealed))
            }
            Err(e) => match raw {
                Some(raw) => self.take_apart(pipeline, &parts, raw.version, e),
                None if files::may_be_to_blame(&e) => self.set_aside(pipeline, &parts, e),
                None => Err(e),
            },
        }
    }

    fn set_aside(&mut self, pipeline: &Pipeline, parts: &[Part], error: Error) -> Result<Tick> {
        if !self.discovery.halve(parts.len())
            && let Some(part) = parts.first()
        {
            files::failed(self.mode, pipeline, part, &error)?;
            self.failed.push((part.path.clone(), error));
        }
        Ok(Tick::Worked)
    }

    /// Looks up with whose rights the lake is entered; what was opened with others is closed.
    fn renew(&mut self, pipeline: &Pipeline) -> Result<()> {
        let of = |url: &str| access::credentials_of(self.mode, pipeline, url);
        let shown = [of(&pipeline.source)?, pipeline.raw.as_deref().map(of).transpose()?.unwrap_or_default()];
        if shown != self.shown {
            self.forget();
            self.shown = shown;
        }
        Ok(())
    }

    fn source(&mut self, pipeline: &Pipeline) -> Result<Source> {
        if let Some((url, source)) = &self.source
            && *url == pipeline.source
        {
            return Ok(source.clone());
        }
        let source = Source::open(&pipeline.source, self.shown[0].clone())?;
        self.source = Some((pipeline.source.clone(), source.clone()));
        Ok(source)
    }

    fn plan(&mut self, pipeline: &Pipeline) -> Result<Plan> {
        let found = transaction::run(self.mode, || scope::owner(pipeline, || transform::record_columns(pipeline)))?;
        let columns = Arc::new(staging_columns(found, &pipeline.settings));
        let options = &pipeline.options;
        let directory = self.source(pipeline)?.directory;
        Ok(Plan {
            files: Files {
                directory,
                format: read::format(pipeline, &columns),
                compression: options.compression,
                columns: columns.iter().map(|c| c.column.name.clone()).collect(),
                memory: gucs::work_mem_bytes() / 8,
                bookmark: self.bookmark.clone(),
            },
            columns,
            max_rows: options.max_rows_per_chunk,
            max_files: options.max_files_per_chunk,
            // Text as Arrow, rows for the table, Parquet for the raw layer: several times the bytes read, of two chunks at a time.
            max_bytes: options.max_bytes_per_chunk.min(gucs::work_mem_bytes() / 12),
            shown: true,
        })
    }
}

/// Of two chunks at a time: one that is read, one that is loaded.
fn delta_memory() -> u64 {
    gucs::work_mem_bytes() / 6
}

/// How much of a backlog is read before anything is loaded: nothing is beside it, as it is beside what is read afterwards.
fn first_of(bytes: u64) -> u64 {
    const WORTHWHILE: u64 = 4 * 1024 * 1024;
    bytes.min((bytes / 4).max(WORTHWHILE))
}

/// Waits until the files that were written for it are gone.
fn discard(ready: Ready) -> Result<()> {
    runtime::wait(async move {
        ready.discard().await;
        Ok(())
    })
}

fn begin_reading(chunk: &[Planned]) {
    progress::phase(Phase::Reading);
    progress::plan(chunk.len(), chunk.iter().map(|f| f.file.size.saturating_sub(f.from_byte)).sum());
}

pub fn slow(what: &str) -> Error {
    Error::new(Code::Unavailable, format!("{what} took too long"))
        .hint("Raise millrace.network_timeout, or look at the storage.")
}
