//! The load hop: one chunk's rows into staging and rejects, its aggregates, the ledger, the outbox and the position, in one transaction.
//!
//! Promises: all of it or nothing; no network while the transaction is open; what can't be a row is a reject with its raw text
//! and its reasons, and never stops the others.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use pgrx::pg_sys::Oid;
use serde_json::json;

use crate::catalog::aggregates::Aggregate;
use crate::catalog::keyed::OP;
use crate::catalog::{backfills, chunks, events, expectations, files, held_back, layers, pipelines, staging};
use crate::format::Format;
use crate::model::expectation::Rules;
use crate::model::landing::{Origin, Raw, Share, origins};
use crate::model::offset::Offset;
use crate::model::options::Cleanup;
use crate::model::pipeline::{Pipeline, Position};
use crate::model::{Code, Error, Result, names};
use crate::pg::copy::{self, Filter, Violation};
use crate::pg::progress::{self, Phase};
use crate::pg::relation::{self, Relation};
use crate::pg::spi;
use crate::pg::subtransaction;
use crate::pg::tally::{Tallies, Tally};
use crate::pg::transaction::{self, Mode};
use crate::pipeline::aggregates::{self, Chunk};
use crate::pipeline::columns::StagingColumn;
use crate::pipeline::gather::gather;
use crate::pipeline::judge::{self, Verdict};
use crate::pipeline::keyed::{self, Keyed, Manner};
use crate::pipeline::left_out::LeftOut;
use crate::pipeline::read::Read;
use crate::pipeline::rejects::{self, Reject, Why, locate, reason_of};
use crate::pipeline::rows::{ChunkRows, RowRef};
use crate::pipeline::{dedup, scope, tally, transform};

/// What is loaded, and on top of what.
pub struct Landing {
    pub read: Read,
    /// The position that the plan was made on.
    pub planned_on: Position,
    /// Where in the raw layer these rows are.
    pub raw: Option<Raw>,
    /// How far a Delta source is read with these rows.
    pub source: Option<Offset>,
    /// What brings these rows beside the source's own.
    pub backfill: Option<Backfilled>,
    pub started: Instant,
}

/// Of rows that a backfill brings: its generation, and of a Delta source where they were read and how far it is then.
#[derive(Debug, Clone, Default)]
pub struct Backfilled {
    pub generation: u32,
    pub at: Option<Offset>,
    pub next: Option<Offset>,
}

/// A sealed chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub chunk_no: i64,
    pub rows: i64,
    pub rejects: i64,
    pub dropped: i64,
    pub duplicates: i64,
    pub filtered: i64,
    pub derived: i64,
}

/// Loads what was read. `None`: there were no records, so that there is no chunk; the ledger is up to date all the same.
pub fn load(
    mode: Mode,
    pipeline: &Pipeline,
    columns: &[StagingColumn],
    format: &Format,
    mut landing: Landing,
) -> Result<Option<Sealed>> {
    progress::phase(Phase::Loading);
    transaction::run(mode, || {
        let (position, current) = scope::catalog(|| {
            let position = pipelines::lock_position(pipeline.id)?;
            // Asked for behind the lock, which pause and alter take too: once they have returned, nothing is loaded as before.
            Ok((position, pipelines::by_id_now(pipeline.id)?))
        })?;
        if current.as_ref() != Some(pipeline) {
            return Err(Error::new(Code::Conflict, "the pipeline was changed or paused meanwhile")
                .hint("Nothing is lost; the work is planned again."));
        }
        if position.as_ref() != Some(&landing.planned_on) {
            return Err(Error::new(Code::Conflict, "another process sealed a chunk of this pipeline meanwhile")
                .hint("Nothing is lost; the work is planned again."));
        }
        let mut next = landing.planned_on.clone();
        if let Some(raw) = landing.raw.filter(|raw| raw.share == Share::Rest) {
            next.raw_version = raw.version;
            next.land_seq = raw.seq;
        }
        if landing.source.is_some() {
            next.source = landing.source.clone();
        }
        let origins = origins(&landing.read.parts);
        let mut sealed = None;
        let mut left_out = LeftOut::none(origins.len());
        let mut outcomes = Vec::new();
        if landing.read.records > 0 {
            next.head += 1;
            let chunk_no = next.head;
            let kept = scope::catalog(|| aggregates::of(pipeline))?;
            let rules = Rules(scope::catalog(|| expectations::of_pipeline(pipeline.id))?);
            let accepted = scope::catalog(|| pipelines::is_accepted(pipeline.id, chunk_no))?;
            let inserted = scope::owner(pipeline, || {
                let mut inserted = insert(pipeline, columns, &rules, &kept, &mut landing.read, &origins, chunk_no)?;
                let Inserted { rejects, verdict, .. } = &inserted;
                if !accepted {
                    judge::gate(pipeline, &rules, verdict, rejects, landing.read.records, chunk_no)?;
                }
                rejects::insert(pipeline, (&rules, format), (&landing.read, &origins), chunk_no, rejects)?;
                inserted.merge_into(&kept, chunk_no)?;
                Ok(inserted)
            })?;
            left_out = inserted.left_out(&origins);
            let sum = |counts: &[i64]| counts.iter().sum::<i64>();
            sealed = Some(Sealed {
                chunk_no,
                rows: origins.iter().enumerate().map(|(i, o)| left_out.rows(i, o.records)).sum(),
                rejects: sum(&left_out.rejected),
                dropped: sum(&left_out.dropped),
                duplicates: sum(&left_out.duplicates),
                filtered: sum(&left_out.filtered),
                derived: sum(&left_out.derived),
            });
            outcomes = inserted.verdict.outcomes(&rules);
        }
        scope::catalog(|| {
            record(pipeline, &landing, &origins, &left_out, sealed, &next)?;
            expectations::record(pipeline.id, next.head, &outcomes)
        })?;
        Ok(sealed)
    })
}

fn record(
    pipeline: &Pipeline,
    landing: &Landing,
    origins: &[Origin],
    left_out: &LeftOut,
    sealed: Option<Sealed>,
    next: &Position,
) -> Result<()> {
    let files: Vec<files::Loaded> = landing
        .read
        .parts
        .iter()
        .enumerate()
        .map(|(i, p)| files::Loaded {
            path: p.path.clone(),
            etag: p.etag.clone(),
            size: p.size as i64,
            modified_micros: landing.read.modified.get(i).copied().flatten(),
            records_done: (p.first_record + p.records - 1) as i64,
            bytes_done: p.to_byte as i64,
            rows: left_out.rows(i, p.records),
            rejects: left_out.rejected[i],
            dropped: left_out.dropped[i],
            duplicates: left_out.duplicates[i],
            filtered: left_out.filtered[i],
            derived: left_out.derived[i],
            done: p.done,
            clean: pipeline.options.cleanup != Cleanup::None && landing.backfill.is_none(),
        })
        .collect();
    let files = by_path(files);
    files::record_loaded(pipeline.id, sealed.map(|s| s.chunk_no), &files)?;
    if let Some(raw) = landing.raw.filter(|raw| raw.share == Share::HeldBack) {
        held_back::release(pipeline.id, files.iter().map(|f| f.path.clone()).collect(), raw.version)?;
    }
    if let Some(sealed) = sealed {
        let mut source = json!({ "raw_version": landing.raw.map(|raw| raw.version), "files": origins });
        let at = match &landing.backfill {
            Some(backfill) => backfill.at.as_ref(),
            None => landing.planned_on.source.as_ref(),
        };
        let next = match &landing.backfill {
            Some(backfill) => backfill.next.as_ref(),
            None => landing.source.as_ref(),
        };
        if let Some(at) = at {
            source["delta"] = json!({
                "version": at.version,
                "to_version": next.map_or(at.version, |next| next.last_version(at)),
                "snapshot": at.snapshot,
                "generation": at.generation,
            });
        }
        chunks::seal(chunks::Sealed {
            pipeline_id: pipeline.id,
            chunk_no: sealed.chunk_no,
            rows: sealed.rows,
            rejects: sealed.rejects,
            dropped: sealed.dropped,
            generation: match &landing.backfill {
                Some(backfill) => backfill.generation,
                None => at.filter(|at| at.snapshot).map_or(0, |at| at.generation),
            },
            requeued: 0,
            duplicates: sealed.duplicates,
            filtered: sealed.filtered,
            derived: sealed.derived,
            bytes: landing.read.bytes as i64,
            duration_ms: landing.started.elapsed().as_millis() as i64,
            source: &source,
            timings: &timings(landing),
        })?;
        layers::enqueue(pipeline.id, sealed.chunk_no)?;
        chunks::announce(&names::channel(&pipeline.name), sealed.chunk_no)?;
    }
    for (file, error) in &landing.read.failed {
        record_failed(pipeline, file, error)?;
    }
    if let Some(backfill) = &landing.backfill {
        let (chunks, rows) = sealed.map_or((0, 0), |s| (1, s.rows));
        backfills::advance(pipeline.id, backfill.generation as i32, chunks, rows, backfill.next.as_ref())?;
    }
    if *next != landing.planned_on || sealed.is_some() {
        pipelines::advance(pipeline.id, next)?;
    } else {
        pipelines::clear_failures(pipeline.id)?;
    }
    Ok(())
}

/// A file that a chunk holds several parts of, rows that went and rows that came, has one row in the ledger.
fn by_path(files: Vec<files::Loaded>) -> Vec<files::Loaded> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut merged: Vec<files::Loaded> = Vec::with_capacity(files.len());
    for mut file in files {
        match places.get(&file.path).and_then(|place| merged.get_mut(*place)) {
            Some(known) => {
                file.rows += known.rows;
                file.rejects += known.rejects;
                file.dropped += known.dropped;
                file.duplicates += known.duplicates;
                file.filtered += known.filtered;
                file.derived += known.derived;
                *known = file;
            }
            None => {
                places.insert(file.path.clone(), merged.len());
                merged.push(file);
            }
        }
    }
    merged
}

/// Milliseconds of each hop, and how long the oldest of the files had waited: `lag`.
fn timings(landing: &Landing) -> serde_json::Value {
    let mut timings: serde_json::Map<String, serde_json::Value> =
        progress::spent().into_iter().map(|(phase, ms)| (phase.to_string(), json!(ms))).collect();
    // What a backfill brings is old by nature.
    let oldest = landing.read.modified.iter().flatten().min().filter(|_| landing.backfill.is_none());
    if let Some(oldest) = oldest {
        let lag = chrono::Utc::now().timestamp_micros().saturating_sub(*oldest);
        timings.insert("lag".into(), json!(lag.max(0) as f64 / 1_000.0));
    }
    timings.into()
}

/// Notes a file that could not be read.
pub fn record_failed(pipeline: &Pipeline, file: &crate::lake::listing::LandingFile, error: &Error) -> Result<()> {
    // What is temporary by nature, and what may be mended by an administrator without the file itself changing.
    let can_help = error.is_temporary() || matches!(error.code, Code::Forbidden | Code::NotFound);
    note_failed(pipeline, (&file.path, &file.etag, file.size), error, can_help)
}

/// Notes a failure of a file: `dead` at once where another try can't help.
pub fn note_failed(pipeline: &Pipeline, file: (&str, &str, u64), error: &Error, can_help: bool) -> Result<()> {
    let options = &pipeline.options;
    // Storage that is out of reach is no fault of the file, and says nothing of how often to try.
    let most = if error.code == Code::Unavailable { i32::MAX } else { options.max_attempts as i32 };
    files::record_failed(
        pipeline.id,
        (file.0, file.1, file.2 as i64),
        &error.to_string(),
        can_help,
        most,
        options.backoff.as_millis() as i64,
    )?;
    events::record(&pipeline.name, "file_failed", Some(file.0), Some(&error.to_string()), None)
}

/// Where the rows of a chunk went.
enum Into {
    /// Into the staging table, or the partition of it that this is.
    Appended {
        target: Relation,
        /// By part of the chunk, those that had not come before, where that is asked.
        fresh: Option<Vec<i64>>,
    },
    Merged {
        keyed: Box<Keyed>,
        changes: Vec<i64>,
    },
}

/// A chunk's rows in their tables, and what is no row.
pub struct Inserted {
    into: Into,
    /// What the rows come to, for each aggregate that they were counted for.
    counted: Vec<Option<Tally>>,
    pub rejects: Vec<Reject>,
    pub verdict: Verdict,
    /// Of a pipeline with a transform, the records of which it made rows that went in, with how many.
    made: Option<Vec<(i64, i64)>>,
}

impl Inserted {
    /// What of each part of the chunk did not become a row, or several.
    pub fn left_out(&self, origins: &[Origin]) -> LeftOut {
        let stayed = match &self.into {
            Into::Merged { changes, .. } => Some(changes),
            Into::Appended { fresh, .. } => fresh.as_ref(),
        };
        let made = self.made.as_deref();
        LeftOut::count(origins, &self.rejects, &self.verdict.dropped, made, stayed.map(Vec::as_slice))
    }

    /// Merges the chunk into aggregates.
    pub fn merge_into(&mut self, kept: &[Aggregate], chunk_no: i64) -> Result<()> {
        let counted = std::mem::take(&mut self.counted);
        match &self.into {
            Into::Appended { target, .. } => aggregates::merge(kept, &Chunk::Appended(target), counted, chunk_no),
            Into::Merged { keyed, .. } => aggregates::merge(kept, &keyed.changed(), counted, chunk_no),
        }
    }
}

/// Inserts the rows, counts them for the aggregates that are `kept`, and merges them if the pipeline is keyed.
#[allow(clippy::too_many_arguments)]
pub fn insert(
    pipeline: &Pipeline,
    columns: &[StagingColumn],
    rules: &Rules,
    kept: &[Aggregate],
    read: &mut Read,
    origins: &[Origin],
    chunk_no: i64,
) -> Result<Inserted> {
    let staging = relation::by_oid(Oid::from(pipeline.staging))?.ok_or_else(|| gone(pipeline))?;
    let keyed = keyed::of(pipeline, chunk_no)?;
    let compared = dedup::incoming(pipeline)?;
    let target = match (&keyed, &compared) {
        (Some(keyed), _) => keyed.incoming().clone(),
        (None, Some(incoming)) => incoming.clone(),
        (None, None) => staging::target(&staging, chunk_no, pipeline.options.partition_chunks())?,
    };
    let with_op = read.pieces.iter().any(|piece| piece.ops.is_some());
    // A deferred constraint would find its row at commit, too late to reject it alone, and can't run with the owner's rights there.
    spi::execute_once("SET CONSTRAINTS ALL IMMEDIATE")?;
    let mut gathered = gather(columns, read, origins)?;
    let buffers = Arc::new(std::mem::take(&mut gathered.buffers));
    let filter = judge::filter(rules, with_op, pipeline.options.delete_when.as_deref());
    let mut verdict = Verdict::new(rules);
    // Records that are to be transformed go where they wait for it; what is asked of rows is asked of those that are made of them.
    let input = pipeline.transform.as_ref().map(|_| transform::input(pipeline)).transpose()?;
    let no_rules = Rules(vec![]);
    let (records_filter, records_rules) = if input.is_some() { (None, &no_rules) } else { (filter.as_ref(), rules) };
    let mut waiting: Vec<i64> = Vec::new();
    // What a keyed pipeline loads, or one with a transform, is not yet what comes of it.
    let (places, tallies) = if keyed.is_none() && input.is_none() && compared.is_none() {
        tally::begin(kept, chunk_no)
    } else {
        Default::default()
    };
    let tallies = RefCell::new(tallies);
    for group in gathered.groups {
        let names: Vec<String> = [staging::CHUNK_NO, staging::ROW_NO]
            .into_iter()
            .map(str::to_string)
            .chain(group.matched.targets.iter().map(|t| t.name.clone()))
            .chain(with_op.then(|| OP.to_string()))
            .collect();
        let load = GroupLoad {
            target: Oid::from(input.as_ref().unwrap_or(&target).oid),
            names: &names,
            buffers: buffers.clone(),
            rows: Arc::new(group.rows),
            chunk_no,
            fields: group.matched.targets.len(),
            with_op,
            rules: records_rules,
            filter: records_filter,
            tallies: &tallies,
        };
        let mut faults = Faults::default();
        load.range(0, load.rows.len(), &mut faults)?;
        if input.is_some() {
            let refused: HashSet<i64> = faults.refused.iter().map(|r| r.row_no).collect();
            waiting.extend(load.rows.iter().map(|row| row.row_no).filter(|row_no| !refused.contains(row_no)));
        } else {
            verdict.checked += load.rows.len() as i64;
        }
        for violation in &faults.violations {
            let (row_no, place) = (violation.row_no, locate(violation.row_no, read, origins)?);
            let part = read.pieces[place.piece].part;
            if let Some(broken) = verdict.add(rules, &[violation.rules], row_no, part) {
                gathered.rejects.push(Reject { row_no, part, place, why: Why::Rules(broken) });
            }
        }
        for refused in faults.refused {
            gathered.rejects.push(refused.into_reject(rules, &mut verdict, read, origins)?);
        }
    }
    let mut made = None;
    if let (Some(input), Some(plan)) = (&input, &pipeline.transform) {
        let places = (input, &target);
        let stage = transform::Stage::new(pipeline, plan, places, rules, filter.as_ref(), with_op, chunk_no)?;
        let outcome = stage.load(waiting)?;
        verdict.checked += outcome.checked + outcome.made.iter().map(|(_, rows)| rows).sum::<i64>();
        for (row_no, violated) in outcome.violations {
            let place = locate(row_no, read, origins)?;
            let part = read.pieces[place.piece].part;
            if let Some(broken) = verdict.add(rules, &violated, row_no, part) {
                gathered.rejects.push(Reject { row_no, part, place, why: Why::Rules(broken) });
            }
        }
        for refused in outcome.refused {
            gathered.rejects.push(refused.into_reject(rules, &mut verdict, read, origins)?);
        }
        crate::catalog::keyed::empty(input)?;
        made = Some(outcome.made);
    }
    let counted = tally::end(kept, places, tallies.into_inner());
    let into = match (keyed, compared) {
        (None, None) => Into::Appended { target, fresh: None },
        (None, Some(incoming)) => {
            let target = staging::target(&staging, chunk_no, pipeline.options.partition_chunks())?;
            let first_rows: Vec<i64> = origins.iter().map(|o| o.first_row_no).collect();
            let outcome = dedup::merge(pipeline, (&incoming, &target), &first_rows, read.records as i64, chunk_no)?;
            for refused in outcome.refused {
                gathered.rejects.push(refused.into_reject(rules, &mut verdict, read, origins)?);
            }
            Into::Appended { target, fresh: Some(outcome.fresh) }
        }
        (Some(keyed), _) => {
            let first_rows: Vec<i64> = origins.iter().map(|o| o.first_row_no).collect();
            let outcome = keyed.merge(
                chunk_no,
                &first_rows,
                read.records as i64,
                Manner { deletes: with_op, every_row: read.every_row },
            )?;
            for refused in outcome.refused {
                gathered.rejects.push(refused.into_reject(rules, &mut verdict, read, origins)?);
            }
            Into::Merged { keyed: Box::new(keyed), changes: outcome.changes }
        }
    };
    gathered.rejects.sort_by_key(|r| r.row_no);
    Ok(Inserted { into, counted, rejects: gathered.rejects, verdict, made })
}

fn gone(pipeline: &Pipeline) -> Error {
    Error::new(Code::WrongState, format!("the staging table of pipeline \"{}\" is gone", pipeline.name))
        .hint("Drop the pipeline with millrace.drop_pipeline and create it anew.")
}

struct GroupLoad<'a> {
    target: Oid,
    names: &'a [String],
    buffers: Arc<Vec<Vec<u8>>>,
    rows: Arc<Vec<RowRef>>,
    chunk_no: i64,
    fields: usize,
    with_op: bool,
    rules: &'a Rules,
    filter: Option<&'a Filter>,
    tallies: &'a RefCell<Tallies>,
}

/// A row that made the load raise an error.
pub struct Refused {
    pub row_no: i64,
    pub error: Error,
    pub by: By,
}

/// What raised an error for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A constraint or trigger.
    Constraint,
    /// The condition of a rule.
    Rule(usize),
    Transform,
}

impl Refused {
    fn into_reject(self, rules: &Rules, verdict: &mut Verdict, read: &Read, origins: &[Origin]) -> Result<Reject> {
        let place = locate(self.row_no, read, origins)?;
        let piece = &read.pieces[place.piece];
        let reason = match self.by {
            By::Rule(rule) => verdict.add_error(rules, rule, piece, place.row, self.error),
            By::Constraint => reason_of(self.error, "constraint"),
            By::Transform => reason_of(self.error, "transform"),
        };
        Ok(Reject { row_no: self.row_no, part: piece.part, place, why: Why::Reasons(vec![reason]) })
    }
}

#[derive(Default)]
struct Faults {
    refused: Vec<Refused>,
    violations: Vec<Violation>,
    /// How many of the refused are a rule's.
    raised: usize,
}

/// Rows of one chunk that may raise an error in a condition. Each costs several attempts, so that a condition which fails for
/// most rows is taken for what it is: wrong.
const MOST_RAISED: usize = 1_000;

impl GroupLoad<'_> {
    /// Loads rows `from..to`. A constraint, trigger or condition that raises an error makes it halve the range until the refused
    /// rows stand alone.
    fn range(&self, from: usize, to: usize, faults: &mut Faults) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        match subtransaction::run(|| self.copy(from, to, self.filter)) {
            Ok(violations) => {
                faults.violations.extend(violations);
                Ok(())
            }
            // Once they are spoilt nothing is counted.
            Err(_) if self.tallies.borrow_mut().spoil() => self.range(from, to, faults),
            Err(e) if !is_about_a_row(&e) => Err(e),
            Err(e) if to - from == 1 => {
                let rule = self.rule_that_raises(from);
                faults.raised += usize::from(rule.is_some());
                if let Some(rule) = rule.filter(|_| faults.raised > MOST_RAISED) {
                    return Err(judge::mostly_raises(&self.rules.0[rule], &e, MOST_RAISED));
                }
                let by = rule.map_or(By::Constraint, By::Rule);
                faults.refused.push(Refused { row_no: self.rows[from].row_no, error: e, by });
                Ok(())
            }
            Err(_) => {
                let middle = from + (to - from) / 2;
                self.range(from, middle, faults)?;
                self.range(middle, to, faults)
            }
        }
    }

    fn copy(&self, from: usize, to: usize, filter: Option<&Filter>) -> Result<Vec<Violation>> {
        let rows = ChunkRows {
            buffers: self.buffers.clone(),
            rows: self.rows.clone(),
            from,
            to,
            chunk_no: self.chunk_no,
            fields: self.fields,
            with_op: self.with_op,
        };
        copy::load(self.target, self.names, Box::new(rows), filter, &mut self.tallies.borrow_mut())
    }

    /// The first rule whose condition raises an error for this row.
    fn rule_that_raises(&self, row: usize) -> Option<usize> {
        (0..self.rules.0.len()).find(|rule| {
            // No row goes in.
            let rules = vec![self.rules.0[*rule].is_met(), "false".into()];
            let probe = Filter { exempt: None, rules, kept: 0 };
            subtransaction::run(|| self.copy(row, row + 1, Some(&probe))).is_err()
        })
    }
}

/// Errors that one row may be the cause of. A missing table, column, function or right (42, 0A) would meet every row alike;
/// a limit (54: an index entry too long, say) is some row's fault.
pub fn is_about_a_row(e: &Error) -> bool {
    matches!(e.code, Code::Postgres(s) if matches!(&s[..2], b"22" | b"23" | b"P0" | b"21" | b"44" | b"54"))
}
