//! The next step of a backfill, between ticks of live traffic.
//!
//! Promises: live traffic comes first, but never for longer than a second at a time; no more rows a second than asked for; each step is one
//! transaction that also says how far the backfill is, so that it goes on there whoever dies. What fails here never stops the pipeline.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::catalog::backfills::{self, Backfill, Kind};
use crate::catalog::files as ledger;
use crate::lake::settling::Settling;
use crate::lake::store::Dir;
use crate::model::options::{Options, Order};
use crate::pipeline::discover::{Verdict, verdict};

/// How long live traffic may keep a backfill from its next step.
const TURN: Duration = Duration::from_secs(1);
/// How long until it is looked again for what somebody else has to do first.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Rows that are handed out again at a time where no rate is asked for.
const HANDED_OUT: i64 = 1_000_000;
/// Files that the ledger is asked for at once.
const ASKED: usize = 4_096;

/// What is kept of a backfill between its steps; nothing that could not be found out again.
#[derive(Default)]
pub struct Backfilling {
    generation: Option<i32>,
    stepped: Option<Instant>,
    /// No step before this.
    not_before: Option<Instant>,
    place: Option<Place>,
    delta: Option<delta::Source>,
    /// Versions that need not be read.
    loaded: Option<HashSet<i64>>,
}

/// The place that files are taken from.
struct Place {
    source: Source,
    settling: Settling,
    backlog: VecDeque<Planned>,
    /// True where the newest look showed files that can't be read yet: they have not settled, or wait after a failure.
    waits: bool,
    /// Most files of a chunk, while a batch that could not be loaded is taken apart.
    most_files: usize,
}

/// What a step came to.
enum Step {
    Did(Tick),
    /// Nothing can be done for so long.
    Wait(Duration),
    Done,
}

impl Runner {
    /// How long a process that has nothing else to do may rest.
    pub fn rest(&self, every: Duration) -> Duration {
        let step = self.backfill.not_before.map(|at| at.saturating_duration_since(Instant::now()));
        every.min(step.unwrap_or(every)).min(self.due_in().unwrap_or(every))
    }

    /// Does the next thing there is to do of a backfill alone.
    pub fn tick_backfill(&mut self) -> Result<Tick> {
        let Some((pipeline, position)) = self.look()? else { return Ok(Tick::Off("it was dropped".into())) };
        if !pipeline.is_active() {
            return Ok(Tick::Off(format!("it is {}", pipeline.state)));
        }
        if let Some(reason) = throttle::throttled_by(self.mode, &pipeline)? {
            return Ok(Tick::Held(reason));
        }
        let did = self.backfill(&pipeline, &position)?;
        let moment = if did.is_some() { Moment::Busy } else { Moment::Idle };
        let published = self.publish(&pipeline, moment)?;
        Ok(did.unwrap_or(if published { Tick::Worked } else { Tick::Idle }))
    }

    /// A step, if live traffic has kept it waiting for long enough.
    pub(super) fn backfill_in_turn(&mut self, pipeline: &Pipeline, position: &Position) -> Result<Option<Tick>> {
        let waited = self.backfill.stepped.is_some_and(|at| at.elapsed() >= TURN);
        if pipeline.backfill.is_none() || !waited {
            return Ok(None);
        }
        self.backfill(pipeline, position)
    }

    /// The next step of the backfill that is running; `None`: there is none to take now.
    pub fn backfill(&mut self, pipeline: &Pipeline, position: &Position) -> Result<Option<Tick>> {
        if pipeline.backfill != self.backfill.generation {
            self.backfill = Backfilling { generation: pipeline.backfill, ..Backfilling::default() };
        }
        let Some(generation) = pipeline.backfill else { return Ok(None) };
        if self.backfill.not_before.is_some_and(|at| at > Instant::now()) {
            return Ok(None);
        }
        let found = transaction::run(self.mode, || scope::catalog(|| backfills::of(pipeline.id, generation)))?;
        let Some(job) = found.filter(|job| job.state == "running" && job.due) else {
            self.backfill.not_before = Some(Instant::now() + LOOK_AGAIN);
            return Ok(None);
        };
        let began = Instant::now();
        let step = match job.kind {
            Kind::Location => self.backfill_files(pipeline, position, &job),
            Kind::Versions => self.backfill_version(pipeline, position, &job),
            Kind::Chunks => self.hand_out_again(pipeline, &job),
        };
        self.backfill.stepped = Some(Instant::now());
        self.backfill.not_before = None;
        match step {
            Ok(Step::Did(tick)) => {
                if let (Tick::Sealed(sealed), Some(rate)) = (&tick, job.rate) {
                    let rows = (sealed.rows + sealed.rejects + sealed.dropped + sealed.duplicates) as f64;
                    self.backfill.not_before = Some(began + Duration::from_secs_f64(rows / rate as f64));
                }
                Ok(Some(tick))
            }
            Ok(Step::Wait(time)) => {
                self.backfill.not_before = Some(Instant::now() + time);
                Ok(None)
            }
            Ok(Step::Done) => self.end_backfill(pipeline, &job, None).map(|()| Some(Tick::Worked)),
            Err(e) if e.code == Code::Conflict => {
                self.forget();
                self.backfill.place = None;
                Ok(Some(Tick::Worked))
            }
            Err(e) if e.code.is_cancel() => Err(e),
            Err(e) => self.backfill_failed(pipeline, &job, e).map(|()| Some(Tick::Worked)),
        }
    }

    fn end_backfill(&mut self, pipeline: &Pipeline, job: &Backfill, error: Option<&Error>) -> Result<()> {
        let (state, kind) = if error.is_some() { ("failed", "backfill_failed") } else { ("done", "backfill_done") };
        self.backfill.place = None;
        transaction::run(self.mode, || {
            scope::catalog(|| {
                if backfills::end(pipeline.id, job.generation, state, error)? {
                    let subject = format!("generation {}", job.generation);
                    let message = error.map(Error::to_string);
                    events::record(&pipeline.name, kind, Some(&subject), message.as_deref(), None)?;
                }
                Ok(())
            })
        })
    }

    /// What may pass is tried again after a while; anything else ends the backfill.
    fn backfill_failed(&mut self, pipeline: &Pipeline, job: &Backfill, error: Error) -> Result<()> {
        self.forget();
        (self.backfill.place, self.backfill.delta) = (None, None);
        if !error.is_temporary() {
            return self.end_backfill(pipeline, job, Some(&error));
        }
        let wait = pipeline.options.backoff.as_millis() as i64;
        transaction::run(self.mode, || {
            scope::catalog(|| backfills::retry_later(pipeline.id, job.generation, &error, wait))
        })
    }

    /// What a step may read: no more than the rate lets through in a second.
    fn plan_for(&mut self, pipeline: &Pipeline, job: &Backfill) -> Result<Plan> {
        let plan = self.plan(pipeline)?;
        let most = job.rate.map_or(u64::MAX, |rate| rate.max(1) as u64);
        Ok(Plan { max_rows: plan.max_rows.min(most), shown: false, ..plan })
    }

    fn backfill_files(&mut self, pipeline: &Pipeline, position: &Position, job: &Backfill) -> Result<Step> {
        let started = Instant::now();
        self.renew(pipeline)?;
        if let Some(raw) = &pipeline.raw {
            self.give_up_ahead();
            self.refresh_raw(raw)?;
            if let Some(version) = self.pending_version(position) {
                return self.load_back(pipeline, position, version, started).map(Step::Did);
            }
        }
        let mut place = match self.backfill.place.take() {
            Some(place) => place,
            None => Place::open(self.mode, pipeline, job)?,
        };
        if place.backlog.is_empty() && !place.look(self.mode, pipeline)? {
            let waits = place.waits;
            self.backfill.place = Some(place);
            return Ok(if waits { Step::Wait(TURN) } else { Step::Done });
        }
        let chunk = place.chunk(&pipeline.options);
        let directory = place.source.directory.clone();
        let named = |path: &str| directory.place_of(path);
        let chunk = identity::sift(self.mode, pipeline, &place.source, &named, chunk)?;
        if chunk.is_empty() {
            self.backfill.place = Some(place);
            return Ok(Step::Did(Tick::Worked));
        }
        let mut plan = self.plan_for(pipeline, job)?;
        plan.files.directory = place.source.directory.clone();
        let (columns, format) = (plan.columns.clone(), plan.files.format.clone());
        let (planned, directory, table) = (chunk.clone(), place.source.directory.clone(), self.raw.clone());
        progress::phase(Phase::Reading);
        let (ready, left) = runtime::wait(async move {
            let mut read = read::read(plan, planned.clone()).await?;
            let left = left_over(planned, &read);
            under_whole_urls(&mut read, &directory);
            Ok((ahead::ready(table, read).await?, left))
        })?;
        match evolve::settle(self.mode, pipeline, &columns, &ready.read) {
            Ok(false) => {}
            changed => {
                discard(ready)?;
                self.raw = None;
                return changed.map(|_| Step::Did(Tick::Worked));
            }
        }
        let Ready { read, prepared, misfit, .. } = ready;
        let parts = read.parts.clone();
        if let Some(error) = misfit {
            return self.set_file_aside(pipeline, place, &parts, error);
        }
        let generation = job.generation as u32;
        let (read, raw) = match prepared {
            Some(prepared) => {
                let (read, landed) = self.land(pipeline, position, read, prepared, generation)?;
                (read, Some(landed))
            }
            None => (read, None),
        };
        self.failed.extend(read.failed.iter().map(|(file, e)| (file.path.clone(), e.clone())));
        let backfill = Some(Backfilled { generation, ..Backfilled::default() });
        let landing = Landing { read, planned_on: position.clone(), raw, source: None, backfill, started };
        match load(self.mode, pipeline, &columns, &format, landing) {
            Ok(sealed) => {
                left.into_iter().rev().for_each(|file| place.backlog.push_front(file));
                place.most_files = place.most_files.saturating_mul(2);
                self.backfill.place = Some(place);
                Ok(Step::Did(sealed.map_or(Tick::Worked, Tick::Sealed)))
            }
            Err(e) if raw.is_none() && files::may_be_to_blame(&e) => self.set_file_aside(pipeline, place, &parts, e),
            Err(e) => Err(e),
        }
    }

    /// A batch that can't be loaded is halved until the file that may be why is alone; that one waits for another try.
    fn set_file_aside(&mut self, pipeline: &Pipeline, mut place: Place, parts: &[Part], error: Error) -> Result<Step> {
        place.backlog.clear();
        if parts.len() > 1 {
            place.most_files = parts.len() / 2;
        } else if let Some(part) = parts.first() {
            files::failed(self.mode, pipeline, part, &error)?;
            self.failed.push((part.path.clone(), error));
        }
        self.backfill.place = Some(place);
        Ok(Step::Did(Tick::Worked))
    }

    fn backfill_version(&mut self, pipeline: &Pipeline, position: &Position, job: &Backfill) -> Result<Step> {
        let started = Instant::now();
        self.renew(pipeline)?;
        let (Some(offset), Some(through)) = (&job.source_offset, job.through) else { return Ok(Step::Done) };
        let mut at = offset.clone();
        let loaded = match self.backfill.loaded.take() {
            Some(loaded) => loaded,
            None => transaction::run(self.mode, || {
                scope::catalog(|| backfills::versions_loaded(pipeline.id, job.first.unwrap_or(0), through))
            })?
            .into_iter()
            .collect(),
        };
        // One that is begun is read to its end.
        while (at.files, at.row) == (0, 0) && loaded.contains(&(at.version as i64)) {
            at = at.next_version(&at.table);
        }
        self.backfill.loaded = Some(loaded);
        if at.version as i64 > through {
            return Ok(Step::Done);
        }
        let mut source = match self.backfill.delta.take() {
            Some(source) => source,
            None => delta::Source::new(&pipeline.source, &self.shown[0])?,
        };
        let (manner, from) = (delta::Manner::of(pipeline, gucs::network_timeout()), at.clone());
        let (mut source, from, ready) = runtime::wait(async move {
            let mut from = from;
            let ready = source.prepare_within(&mut from, &manner).await?;
            Ok((source, from, ready))
        })?;
        if !ready {
            return Ok(Step::Wait(TURN));
        }
        if let Some(version) = source.skipped(&from) {
            delta::note_skipped(self.mode, pipeline, version)?;
        }
        // One version at a time: what comes behind it may be there already.
        let plan = Plan { max_files: 1, ..self.plan_for(pipeline, job)? };
        let (columns, begun, memory) = (plan.columns.clone(), from.clone(), delta_memory());
        progress::phase(Phase::Reading);
        let (source, (read, next)) = runtime::wait(async move {
            let found = delta::read(&mut source, &from, &plan, memory, &manner).await?;
            Ok((source, found))
        })?;
        if evolve::settle(self.mode, pipeline, &columns, &read)? {
            return Ok(Step::Did(Tick::Worked));
        }
        self.backfill.delta = Some(source);
        let backfill = Backfilled { generation: job.generation as u32, at: Some(begun), next: Some(next) };
        let (planned_on, backfill) = (position.clone(), Some(backfill));
        let landing = Landing { read, planned_on, raw: None, source: None, backfill, started };
        let sealed = load(self.mode, pipeline, &columns, &Format::Typed, landing)?;
        Ok(Step::Did(sealed.map_or(Tick::Worked, Tick::Sealed)))
    }

    fn hand_out_again(&mut self, pipeline: &Pipeline, job: &Backfill) -> Result<Step> {
        let most = job.rate.unwrap_or(HANDED_OUT);
        let handed = transaction::run(self.mode, || {
            scope::catalog(|| backfills::hand_out_again(pipeline.id, job.generation, most))
        })?;
        match handed {
            None => Ok(Step::Done),
            Some(rows) => {
                let due = job.rate.map_or(0.0, |rate| rows as f64 / rate as f64);
                Ok(Step::Wait(LOOK_AGAIN.max(Duration::from_secs_f64(due))))
            }
        }
    }

    /// The raw layer is open for what is read ahead, if anything is: that is read again.
    fn give_up_ahead(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.discard();
            self.discovery.forget();
        }
    }
}

impl Place {
    fn open(mode: Mode, pipeline: &Pipeline, job: &Backfill) -> Result<Place> {
        let location = job.location.as_deref().unwrap_or_default();
        let credentials = access::credentials_of(mode, pipeline, location)?;
        let source = Source::open(location, credentials)?;
        let (settling, backlog) = (Settling::default(), VecDeque::new());
        Ok(Place { source, settling, backlog, waits: false, most_files: usize::MAX })
    }

    /// Lists what is there and not loaded; false where that is nothing that could be read now.
    fn look(&mut self, mode: Mode, pipeline: &Pipeline) -> Result<bool> {
        progress::phase(Phase::Listing);
        let listed = self.source.list(pipeline.options.recursive)?;
        let settle = pipeline.options.settle_at(self.source.directory.location());
        let (mut ready, waiting) = self.settling.sift(listed, settle, Instant::now(), SystemTime::now());
        self.waits = !waiting.is_empty();
        if pipeline.options.order == Order::Modified {
            ready.sort_by(|a, b| a.modified.cmp(&b.modified).then_with(|| a.path.cmp(&b.path)));
        }
        for asked in ready.chunks(ASKED) {
            let paths: Vec<String> = asked.iter().map(|f| self.source.directory.place_of(&f.path)).collect();
            let known = transaction::run(mode, || scope::catalog(|| ledger::known(pipeline.id, paths.clone())))?;
            self.waits |= known.iter().any(|k| !k.is_settled() && !k.is_skipped_for_good());
            let known: HashMap<&str, &ledger::Known> = known.iter().map(|k| (k.path.as_str(), k)).collect();
            for (file, path) in asked.iter().zip(&paths) {
                // One that was replaced after it was loaded is none of the older files any more: it stays as it was loaded.
                if let Verdict::Take(planned) = verdict(known.get(path.as_str()).copied(), file.clone()) {
                    self.backlog.push_back(planned);
                }
            }
        }
        Ok(!self.backlog.is_empty())
    }

    /// The next files, as many as one chunk may hold.
    fn chunk(&mut self, options: &Options) -> Vec<Planned> {
        let most = self.most_files.min(options.max_files_per_chunk as usize);
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self
            .backlog
            .front()
            .filter(|next| chunk.len() < most && (bytes == 0 || bytes + next.file.size <= options.max_bytes_per_chunk))
        {
            bytes += next.file.size;
            chunk.extend(self.backlog.pop_front());
        }
        chunk
    }
}

/// The source's own files have paths relative to it; those of other places are known by where they are.
fn under_whole_urls(read: &mut Read, directory: &Dir) {
    for part in &mut read.parts {
        part.path = directory.place_of(&part.path);
    }
    for (file, _) in &mut read.failed {
        file.path = directory.place_of(&file.path);
    }
}
