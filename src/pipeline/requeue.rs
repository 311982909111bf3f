//! Rejects that come back: repaired, read again, judged again, and loaded as a chunk of their own.
//!
//! Promises: the same casts, rules and constraints as for a landing, in the caller's transaction; a reject is either loaded and
//! marked so, or stays with the reasons that it has now; nothing is dropped. However many there are, memory holds a part of them: each
//! part is a chunk.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use pgrx::pg_sys::Oid;
use serde::Deserialize;
use serde_json::json;

use crate::catalog::{chunks, events, expectations, layers, pipelines};
use crate::convert::Reason;
use crate::format::encoding::Encoding;
use crate::format::{Format, RawBatch};
use crate::model::expectation::{OnViolation, Rules};
use crate::model::landing::{Origin, Part, origins};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result, names};
use crate::pg::relation::{self, Relation};
use crate::pg::{condition, gucs, interrupts, spi, subtransaction};
use crate::pipeline::aggregates;
use crate::pipeline::columns::{StagingColumn, match_header, staging_columns};
use crate::pipeline::judge::Words;
use crate::pipeline::read::{self, Piece, Read};
use crate::pipeline::rejects::reasons_json;
use crate::pipeline::{load, rescue, scope, transform};

/// What a record that is a part by itself takes while it is on its way, and how few are worth a chunk.
const MEMORY_OF_ONE: u64 = 8 * 1024;
const LEAST_OF_A_PART: u64 = 500;

/// A reject as it is kept.
#[derive(Deserialize)]
struct Kept {
    chunk_no: i64,
    row_no: i64,
    file: String,
    raw: Option<String>,
    /// In hexadecimal, where that is no valid text.
    raw_bytes: Option<String>,
}

impl Kept {
    /// The record as text, in the encoding that the pipeline's files have by now, and its bytes.
    fn record(&self, encoding: Encoding) -> (Option<String>, Vec<u8>) {
        match (&self.raw, &self.raw_bytes) {
            (Some(text), _) => (Some(text.clone()), text.clone().into_bytes()),
            (None, hex) => {
                let digits = hex.as_deref().unwrap_or_default().as_bytes().chunks_exact(2);
                let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16).ok();
                let bytes: Vec<u8> = digits.filter_map(byte).collect();
                (encoding.text(&bytes).filter(|text| !text.contains('\0')), bytes)
            }
        }
    }
}

/// A reject with what it came to: `None`, it is among the rows to load.
struct Tried {
    kept: Kept,
    reasons: Option<Vec<Reason>>,
}

/// Loads again what `where_clause` says; gives the number of rows loaded. The pipeline is locked.
pub fn requeue(pipeline: &Pipeline, where_clause: &str, fix: Option<&str>) -> Result<i64> {
    let table = relation::by_oid(Oid::from(pipeline.rejects))?.ok_or_else(|| gone("rejects"))?;
    let chosen = condition::analyze(where_clause, Oid::from(pipeline.rejects))?.sql;
    let columns = scope::owner(pipeline, || transform::record_columns(pipeline))?;
    let columns = staging_columns(columns, &pipeline.settings);
    let fix = fix.map(|text| Fix::read(text, pipeline, &columns)).transpose()?;
    let format = read::format(pipeline, &columns);
    let encoding = Encoding::named(&pipeline.options.encoding);
    let most =
        (gucs::work_mem_bytes() / MEMORY_OF_ONE).max(LEAST_OF_A_PART).min(pipeline.options.max_rows_per_chunk.max(1));
    let mut chosen = Chosen { pipeline, table: &table, condition: chosen, after: (0, i64::MAX) };
    let (mut loaded, mut count) = (0, 0);
    loop {
        let kept = chosen.next(most)?;
        if kept.is_empty() {
            break;
        }
        count += kept.len();
        loaded += part(pipeline, &table, kept, &columns, (&format, encoding), fix.as_ref())?;
    }
    scope::catalog(|| {
        events::record(&pipeline.name, "rejects_requeued", None, Some(&format!("{loaded} of {count}")), None)
    })?;
    Ok(loaded)
}

/// Loads some rejects as one chunk; gives the number of rows loaded.
fn part(
    pipeline: &Pipeline,
    table: &Relation,
    kept: Vec<Kept>,
    columns: &[StagingColumn],
    (format, encoding): (&Format, Encoding),
    fix: Option<&Fix>,
) -> Result<i64> {
    let started = Instant::now();
    let headers = headers(pipeline, &kept)?;
    let mut tried: Vec<Tried> = Vec::with_capacity(kept.len());
    let mut again = Read::default();
    let mut places = Vec::new();
    for kept in kept {
        interrupts::check();
        let header = headers.get(&(kept.chunk_no, kept.file.clone())).ok_or_else(|| unknown_columns(&kept))?;
        let (text, bytes) = kept.record(encoding);
        let length = bytes.len();
        let found = scope::owner(pipeline, || fields(text, bytes, header, format, fix, columns))?;
        let reasons = match found {
            Ok((header, batch)) => {
                places.push(tried.len());
                add(&mut again, length, &header, batch, columns, format)?;
                None
            }
            Err(reason) => Some(vec![reason]),
        };
        tried.push(Tried { kept, reasons });
    }
    let loaded = seal(pipeline, columns, again, &places, &mut tried, started)?;
    scope::owner(pipeline, || mark(table, &tried))?;
    Ok(loaded)
}

fn gone(what: &str) -> Error {
    Error::new(Code::WrongState, format!("the pipeline's {what} table is gone"))
        .hint("Drop the pipeline with millrace.drop_pipeline and create it anew.")
}

fn unknown_columns(kept: &Kept) -> Error {
    Error::new(Code::WrongState, "the columns of a rejected record's file are not known")
        .detail(format!("File {}, chunk {}.", kept.file, kept.chunk_no))
        .hint("Leave its chunk out with where_clause, and load the record by hand.")
}

/// The rejects that are meant, in the order of their chunks and rows.
struct Chosen<'a> {
    pipeline: &'a Pipeline,
    table: &'a Relation,
    condition: String,
    /// The chunk and the row behind which the next ones are.
    after: (i64, i64),
}

impl Chosen<'_> {
    /// At most so many of them; none: that was all.
    fn next(&mut self, most: u64) -> Result<Vec<Kept>> {
        let mut all = Vec::new();
        while (all.len() as u64) < most {
            let Some(through) = self.next_chunks(most)? else { break };
            let left = most - all.len() as u64;
            let found = scope::owner(self.pipeline, || self.read(through, left))?;
            self.after = match found.last() {
                Some(last) if found.len() as u64 == left => (last.chunk_no, last.row_no),
                _ => (through, i64::MAX),
            };
            all.extend(found);
        }
        Ok(all)
    }

    /// The last of the next chunks whose rejects are about so many: the table has no order, and is read by ranges of chunks.
    fn next_chunks(&self, most: u64) -> Result<Option<i64>> {
        let (chunk_no, row_no) = self.after;
        let first = if row_no == i64::MAX { chunk_no + 1 } else { chunk_no };
        scope::catalog(|| {
            spi::value(
                "SELECT pg_catalog.max(chunk_no) FROM (
                     SELECT chunk_no, pg_catalog.sum(reject_count) OVER (ORDER BY chunk_no) - reject_count AS before
                       FROM (SELECT chunk_no, reject_count FROM millrace.chunk
                              WHERE pipeline_id = $1 AND chunk_no >= $2 AND reject_count > 0 ORDER BY chunk_no LIMIT $3) AS behind) AS sums
                  WHERE before < $3",
                vec![self.pipeline.id.into(), first.into(), (most as i64).into()],
            )
        })
    }

    /// Locked, so that nobody deletes or changes them meanwhile.
    fn read(&self, through: i64, most: u64) -> Result<Vec<Kept>> {
        let rejects = self.table.qualified();
        let condition = &self.condition;
        spi::query(
            &format!(
                "SELECT chunk_no, _row_no AS row_no, file, raw, pg_catalog.encode(raw_bytes, 'hex') AS raw_bytes FROM {rejects} AS rejects
                  WHERE chunk_no >= $1 AND chunk_no <= $3 AND (chunk_no > $1 OR _row_no > $2) AND status = 'rejected' AND ({condition})
                  ORDER BY chunk_no, _row_no LIMIT {most} FOR UPDATE"
            ),
            vec![self.after.0.into(), self.after.1.into(), through.into()],
        )
    }
}

/// The columns of each file of these chunks.
fn headers(pipeline: &Pipeline, kept: &[Kept]) -> Result<HashMap<(i64, String), Vec<String>>> {
    #[derive(Deserialize)]
    struct Source {
        chunk_no: i64,
        files: Vec<Origin>,
    }
    let mut numbers: Vec<i64> = kept.iter().map(|k| k.chunk_no).collect();
    numbers.dedup();
    let sources: Vec<Source> = scope::catalog(|| {
        spi::query(
            "SELECT chunk_no, source -> 'files' AS files FROM millrace.chunk WHERE pipeline_id = $1 AND chunk_no = ANY ($2::bigint[])",
            vec![pipeline.id.into(), numbers.into()],
        )
    })?;
    let mut headers = HashMap::new();
    for source in sources {
        let mut columns = None;
        for file in source.files {
            columns = file.columns.or(columns);
            if let Some(columns) = &columns {
                headers.insert((source.chunk_no, file.path), columns.clone());
            }
        }
    }
    Ok(headers)
}

/// A record's fields after the fix, or why they are none.
fn fields(
    text: Option<String>,
    bytes: Vec<u8>,
    header: &[String],
    format: &Format,
    fix: Option<&Fix>,
    columns: &[StagingColumn],
) -> Result<std::result::Result<(Vec<String>, RawBatch), Reason>> {
    let found = match &text {
        Some(text) => format.reread(text, header)?,
        None => None,
    };
    let is_whole = |batch: &RawBatch| batch.corrupt.iter().flatten().next().is_none();
    let (batch, fix) = match (found, fix) {
        (Some(batch), Some(fix)) if is_whole(&batch) => (batch, fix),
        // A record that is none has no fields; a fix that makes do without them begins with all of them NULL.
        (_, Some(fix)) if fix.of_the_record => (RawBatch::of_texts(header, vec![None; header.len()])?, fix),
        (Some(batch), _) => return Ok(Ok((header.to_vec(), batch))),
        (None, _) if text.is_none() => {
            return Ok(Err(reason(
                "22021",
                "the record is no valid text in the encoding of the pipeline's files".into(),
            )));
        }
        (None, _) => return Ok(Err(reason("22P04", "the record is malformed".into()))),
    };
    let matched = match_header(header, columns);
    let source = |name: &str| {
        let target = matched.targets.iter().position(|t| t.name == name)?;
        matched.mapping[target]
    };
    let values: Vec<Option<String>> =
        columns.iter().map(|c| source(&c.column.name).and_then(|i| batch.text(i, 0)).map(Cow::into_owned)).collect();
    let raw = (0..header.len()).map(|i| (header[i].clone(), batch.text(i, 0).map(Cow::into_owned).into()));
    let raw = serde_json::Value::Object(raw.collect());
    let fixed = match subtransaction::run(|| fix.apply(values, raw, text, bytes)) {
        Ok(fixed) => fixed,
        Err(e) if load::is_about_a_row(&e) => {
            let sqlstate = String::from_utf8_lossy(&e.code.sqlstate()).into_owned();
            return Ok(Err(reason(&sqlstate, format!("the fix failed: {}", e.message))));
        }
        Err(e) => return Err(e),
    };
    let mut names = header.to_vec();
    let mut texts: Vec<Option<String>> = (0..header.len()).map(|i| batch.text(i, 0).map(Cow::into_owned)).collect();
    for (name, value) in fix.columns.iter().zip(fixed) {
        match source(name) {
            Some(i) => texts[i] = value,
            None => {
                names.push(name.clone());
                texts.push(value);
            }
        }
    }
    let batch = RawBatch::of_texts(&names, texts)?;
    Ok(Ok((names, batch)))
}

fn reason(sqlstate: &str, message: String) -> Reason {
    Reason { column: None, rule: None, sqlstate: sqlstate.into(), message, value: None }
}

/// Each record is a part of its own: its place is its number.
fn add(
    again: &mut Read,
    bytes: usize,
    header: &[String],
    batch: RawBatch,
    columns: &[StagingColumn],
    format: &Format,
) -> Result<()> {
    let same = again.pieces.last().filter(|_| again.parts.last().is_some_and(|p| p.columns == header));
    let matched = match same {
        Some(piece) => piece.matched.clone(),
        None => Arc::new(match_header(header, columns)),
    };
    let encoded = rescue::encode(&batch, &matched, format)?;
    again.parts.push(Part {
        path: String::new(),
        etag: String::new(),
        size: 0,
        first_record: batch.first_record,
        records: 1,
        from_byte: 0,
        to_byte: 0,
        done: true,
        columns: header.to_vec(),
    });
    again.records += 1;
    again.bytes += bytes as u64;
    again.pieces.push(Piece { part: again.parts.len() - 1, batch, encoded, matched, ops: None });
    Ok(())
}

/// Loads the records, notes what was refused in `tried`, and seals a chunk if there are rows for one.
fn seal(
    pipeline: &Pipeline,
    columns: &[StagingColumn],
    mut again: Read,
    places: &[usize],
    tried: &mut [Tried],
    started: Instant,
) -> Result<i64> {
    if again.records == 0 {
        return Ok(0);
    }
    let mut position = scope::catalog(|| pipelines::lock_position(pipeline.id))?
        .ok_or_else(|| Error::new(Code::Internal, "the pipeline has no position"))?;
    position.head += 1;
    let chunk_no = position.head;
    let mut rules = Rules(scope::catalog(|| expectations::of_pipeline(pipeline.id))?);
    // A reject that is no good after all stays what it is: it is neither lost nor a reason to stop.
    for rule in rules.0.iter_mut().filter(|r| r.on_violation != OnViolation::Warn) {
        rule.on_violation = OnViolation::Quarantine;
    }
    let kept = scope::catalog(|| aggregates::of(pipeline))?;
    let origins = origins(&again.parts);
    let (loaded, left_out, inserted) = scope::owner(pipeline, || {
        let mut inserted = load::insert(pipeline, columns, &rules, &kept, &mut again, &origins, chunk_no)?;
        let left_out = inserted.left_out(&origins);
        let loaded = again.records as i64 - inserted.rejects.len() as i64;
        let words = Words::new(&rules);
        for reject in &inserted.rejects {
            tried[places[reject.part]].reasons = Some(reject.reasons(&words, &again));
        }
        if loaded > 0 {
            inserted.merge_into(&kept, chunk_no)?;
        }
        Ok((loaded, left_out, inserted))
    })?;
    if loaded == 0 {
        return Ok(0);
    }
    // A row whose key has a newer one by now is brought back all the same: it is in its place, which is none.
    let sum = |counts: &[i64]| counts.iter().sum::<i64>();
    let rows = origins.iter().enumerate().map(|(i, o)| left_out.rows(i, o.records)).sum();
    scope::catalog(|| {
        chunks::seal(chunks::Sealed {
            pipeline_id: pipeline.id,
            chunk_no,
            rows,
            duplicates: sum(&left_out.duplicates),
            filtered: sum(&left_out.filtered),
            derived: sum(&left_out.derived),
            generation: 0,
            rejects: 0,
            dropped: 0,
            requeued: loaded,
            bytes: again.bytes as i64,
            duration_ms: started.elapsed().as_millis() as i64,
            source: &json!({ "files": [], "requeued": loaded, "from": runs(tried, places) }),
            timings: &json!({}),
        })?;
        expectations::record(pipeline.id, chunk_no, &inserted.verdict.outcomes(&rules))?;
        layers::enqueue(pipeline.id, chunk_no)?;
        chunks::announce(&names::channel(&pipeline.name), chunk_no)?;
        pipelines::advance(pipeline.id, &position)
    })?;
    Ok(loaded)
}

/// Where the rows of the chunk had been rejects, for `millrace.lineage`: runs of [row, chunk and row of the reject, rows].
fn runs(tried: &[Tried], places: &[usize]) -> Vec<[i64; 4]> {
    let mut runs: Vec<[i64; 4]> = Vec::new();
    for (row_no, kept) in (1..).zip(places.iter().map(|place| &tried[*place].kept)) {
        match runs.last_mut() {
            Some([_, chunk_no, first, rows]) if *chunk_no == kept.chunk_no && *first + *rows == kept.row_no => {
                *rows += 1
            }
            _ => runs.push([row_no, kept.chunk_no, kept.row_no, 1]),
        }
    }
    runs
}

fn mark(table: &Relation, tried: &[Tried]) -> Result<()> {
    let (mut chunks, mut rows, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    // In the order of their chunks.
    let [Some(first), Some(last)] = [tried.first(), tried.last()].map(|t| t.map(|t| t.kept.chunk_no)) else {
        return Ok(());
    };
    for t in tried {
        chunks.push(t.kept.chunk_no);
        rows.push(t.kept.row_no);
        reasons.push(t.reasons.as_ref().map(|r| reasons_json(r)));
    }
    spi::execute(
        &format!(
            "UPDATE {} AS r
                SET status = CASE WHEN t.reasons IS NULL THEN 'requeued' ELSE r.status END,
                    reasons = COALESCE(t.reasons::pg_catalog.jsonb, r.reasons)
               FROM ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::text[]))
                 AS t (chunk_no, row_no, reasons)
              WHERE r.chunk_no = t.chunk_no AND r._row_no = t.row_no AND r.chunk_no >= $4 AND r.chunk_no <= $5",
            table.qualified()
        ),
        vec![chunks.into(), rows.into(), reasons.into(), first.into(), last.into()],
    )?;
    Ok(())
}

/// What a fix makes of a row, as a statement over the row's texts.
struct Fix {
    columns: Vec<String>,
    statement: String,
    /// It looks at the record as a whole, which needs no fields.
    of_the_record: bool,
}

impl Fix {
    fn read(text: &str, pipeline: &Pipeline, columns: &[StagingColumn]) -> Result<Fix> {
        let found = condition::assignments(text, Oid::from(pipeline.records_table()))?;
        for (i, (name, _)) in found.iter().enumerate() {
            let known = columns.iter().any(|c| &c.column.name == name);
            if !known || found[..i].iter().any(|f| &f.0 == name) {
                let what = if known { "is assigned twice" } else { "is no column that rows are loaded into" };
                return Err(Error::new(Code::InvalidParameter, format!("\"{name}\" {what}"))
                    .detail(format!("fix is {text:?}."))
                    .hint("Assign each column of the staging table at most once: 'amount = abs(amount)'."));
            }
        }
        let results: Vec<String> = found.iter().map(|f| format!("({})::pg_catalog.text", f.1)).collect();
        let mut typed = Vec::new();
        for (i, c) in columns.iter().enumerate() {
            // Without its length, so that a fix can shorten what is too long.
            let type_name: Option<String> = scope::owner(pipeline, || {
                spi::value("SELECT pg_catalog.format_type($1, -1)", vec![Oid::from(c.column.type_oid).into()])
            })?;
            let type_name = type_name.unwrap_or_else(|| c.column.type_name.clone());
            typed.push(format!("texts[{}]::{type_name} AS {}", i + 1, spi::ident(&c.column.name)));
        }
        let statement = format!(
            "SELECT ARRAY[{}] FROM (SELECT {} FROM (SELECT $1::pg_catalog.text[]) AS given (texts)) AS row",
            results.join(", "),
            typed.join(", ")
        );
        let of_the_record = condition::RAW[1..]
            .iter()
            .any(|(name, place)| text.contains(name) && found.iter().any(|(_, sql)| sql.contains(place)));
        Ok(Fix { of_the_record, columns: found.into_iter().map(|f| f.0).collect(), statement })
    }

    fn apply(
        &self,
        texts: Vec<Option<String>>,
        raw: serde_json::Value,
        record: Option<String>,
        bytes: Vec<u8>,
    ) -> Result<Vec<Option<String>>> {
        let args = vec![texts.into(), spi::Arg::Json(Some(raw)), record.into(), spi::Arg::Bytes(Some(bytes))];
        Ok(spi::value(&self.statement, args)?.unwrap_or_default())
    }
}
