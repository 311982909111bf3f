//! Definitions and positions of pipelines.

use std::collections::BTreeMap;

use pgrx::pg_sys::Oid;
use serde::Deserialize;
use serde_json::Value;

use crate::model::offset::Offset;
use crate::model::pipeline::{Pipeline, Position};
use crate::model::transform::Transform;
use crate::model::{Code, Error, Result};
use crate::pg::spi;

const DEFINITION: &str =
    "SELECT id, name, owner::oid::bigint AS owner, source, format, staging::oid::bigint AS staging,
        rejects::oid::bigint AS rejects, changes::oid::bigint AS changes, replaced::oid::bigint AS replaced,
        incoming::oid::bigint AS incoming, deleted::oid::bigint AS deleted, input::oid::bigint AS input, transform, raw, semi_processed, (EXTRACT(epoch FROM every) * 1000)::bigint AS every_ms,
        options, settings, app_id, state, state_reason, ledger_epoch,
        (SELECT b.generation FROM millrace.backfill b WHERE b.pipeline_id = pipeline.id AND b.state = 'running') AS backfill
   FROM millrace.pipeline";

fn unknown(name: &str) -> Error {
    Error::new(Code::UndefinedObject, format!("pipeline \"{name}\" does not exist"))
        .detail("There is no pipeline of that name in this database.")
        .hint("SELECT pipeline FROM millrace.pipelines lists them.")
}

pub fn by_name(name: &str) -> Result<Pipeline> {
    find(name)?.ok_or_else(|| unknown(name))
}

pub fn find(name: &str) -> Result<Option<Pipeline>> {
    Ok(spi::query(&format!("{DEFINITION} WHERE name = $1"), vec![name.into()])?.pop())
}

/// Reads under the caller's snapshot: an idle look costs no transaction id.
pub fn by_id(id: i32) -> Result<Option<Pipeline>> {
    Ok(spi::read(&format!("{DEFINITION} WHERE id = $1"), vec![id.into()])?.pop())
}

/// Locks position and definition, in the loader's order, until the transaction ends: nobody seals a chunk meanwhile. Not against those who
/// only refer to the pipeline: a publisher that notes how long it took, and holds what a drop is about to note, would wait for the drop.
pub fn lock(name: &str) -> Result<Pipeline> {
    spi::execute(
        "SELECT FROM millrace.position WHERE pipeline_id = (SELECT id FROM millrace.pipeline WHERE name = $1) FOR UPDATE",
        vec![name.into()],
    )?;
    let found: Option<Pipeline> =
        spi::query(&format!("{DEFINITION} WHERE name = $1 FOR NO KEY UPDATE"), vec![name.into()])?.pop();
    found.ok_or_else(|| unknown(name))
}

/// As of now, whatever an earlier look saw.
pub fn by_id_now(id: i32) -> Result<Option<Pipeline>> {
    Ok(spi::query(&format!("{DEFINITION} WHERE id = $1"), vec![id.into()])?.pop())
}

/// The ids of pipelines that the worker should be running.
pub fn active_ids() -> Result<Vec<i32>> {
    #[derive(Deserialize)]
    struct Id {
        id: i32,
    }
    let rows: Vec<Id> =
        spi::read("SELECT id FROM millrace.pipeline WHERE state = 'active' AND every IS NOT NULL ORDER BY id", vec![])?;
    Ok(rows.into_iter().map(|r| r.id).collect())
}

/// A place that a pipeline reads or writes.
#[derive(Debug, Deserialize)]
pub struct Place {
    pub pipeline_id: i32,
    pub owner: u32,
    pub what: String,
    pub location: String,
}

/// The places of all pipelines.
pub fn places() -> Result<Vec<Place>> {
    spi::query(
        "SELECT p.id AS pipeline_id, p.owner::oid::bigint AS owner, v.what, v.location
           FROM millrace.pipeline p
          CROSS JOIN LATERAL (VALUES ('source', p.source), ('raw', p.raw), ('archive', p.options ->> 'archive')) AS v (what, location)
          WHERE v.location IS NOT NULL
          UNION ALL
         SELECT p.id, p.owner::oid::bigint, l.layer, l.location
           FROM millrace.layer l JOIN millrace.pipeline p ON p.id = l.pipeline_id",
        vec![],
    )
}

/// What a new pipeline is made of.
pub struct New<'a> {
    pub name: &'a str,
    pub owner: Oid,
    pub source: &'a str,
    pub format: &'a str,
    pub staging: Oid,
    pub rejects: Oid,
    pub raw: Option<&'a str>,
    pub semi_processed: Option<&'a str>,
    pub every: Option<&'a str>,
    pub options: Value,
    pub settings: Value,
    pub app_id: &'a str,
}

pub fn insert(new: New<'_>) -> Result<i32> {
    let id: Option<i32> = spi::value(
        "INSERT INTO millrace.pipeline
            (name, owner, source, format, staging, rejects, raw, semi_processed, every, options, settings, app_id)
         VALUES ($1, $2::regrole, $3, $4, $5::regclass, $6::regclass, $7, $8, $9::interval, $10::jsonb, $11::jsonb, $12)
         RETURNING id",
        vec![
            new.name.into(),
            new.owner.into(),
            new.source.into(),
            new.format.into(),
            new.staging.into(),
            new.rejects.into(),
            new.raw.into(),
            new.semi_processed.into(),
            new.every.into(),
            new.options.to_string().into(),
            new.settings.to_string().into(),
            new.app_id.into(),
        ],
    )?;
    let id = id.ok_or_else(|| Error::new(Code::Internal, "the new pipeline has no id"))?;
    spi::execute("INSERT INTO millrace.position (pipeline_id) VALUES ($1)", vec![id.into()])?;
    Ok(id)
}

/// Notes the tables beside the staging table of a keyed pipeline.
pub fn set_keyed(id: i32, changes: Oid, replaced: Oid, incoming: Oid) -> Result<()> {
    spi::execute(
        "UPDATE millrace.pipeline SET changes = $2::regclass, replaced = $3::regclass, incoming = $4::regclass WHERE id = $1",
        vec![id.into(), changes.into(), replaced.into(), incoming.into()],
    )?;
    Ok(())
}

pub fn set_deleted(id: i32, deleted: Oid) -> Result<()> {
    spi::execute("UPDATE millrace.pipeline SET deleted = $2::regclass WHERE id = $1", vec![id.into(), deleted.into()])?;
    Ok(())
}

/// The types that the columns of a typed source had when they were last seen.
pub fn source_types(id: i32) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Known {
        types: Option<BTreeMap<String, String>>,
    }
    let found: Vec<Known> =
        spi::read("SELECT source_types AS types FROM millrace.pipeline WHERE id = $1", vec![id.into()])?;
    Ok(found.into_iter().next().and_then(|known| known.types).unwrap_or_default())
}

pub fn set_source_types(id: i32, types: &BTreeMap<String, String>) -> Result<()> {
    let types = serde_json::to_value(types).unwrap_or_default().to_string();
    spi::execute("UPDATE millrace.pipeline SET source_types = $2::jsonb WHERE id = $1", vec![id.into(), types.into()])?;
    Ok(())
}

/// Notes where rows of a pipeline wait to be compared with those of earlier chunks.
pub fn set_incoming(id: i32, incoming: Option<Oid>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.pipeline SET incoming = NULLIF($2, 0::pg_catalog.oid)::regclass WHERE id = $1",
        vec![id.into(), incoming.unwrap_or(Oid::INVALID).into()],
    )?;
    Ok(())
}

/// Notes what a pipeline's records become, and the table that holds them until then; `None`: they are its rows.
pub fn set_transform(id: i32, transform: Option<(Oid, &Transform)>) -> Result<()> {
    let plan = transform.map(|(_, plan)| serde_json::to_value(plan).unwrap_or_default().to_string());
    spi::execute(
        "UPDATE millrace.pipeline SET input = NULLIF($2, 0::pg_catalog.oid)::regclass, transform = $3::jsonb WHERE id = $1",
        vec![id.into(), transform.map_or(Oid::INVALID, |(input, _)| input).into(), plan.into()],
    )?;
    Ok(())
}

pub fn delete(id: i32) -> Result<()> {
    spi::execute("DELETE FROM millrace.pipeline WHERE id = $1", vec![id.into()])?;
    Ok(())
}

pub fn set_every(id: i32, every: Option<&str>) -> Result<()> {
    spi::execute("UPDATE millrace.pipeline SET every = $2::interval WHERE id = $1", vec![id.into(), every.into()])?;
    Ok(())
}

pub fn set_options(id: i32, options: &Value) -> Result<()> {
    spi::execute(
        "UPDATE millrace.pipeline SET options = $2::jsonb WHERE id = $1",
        vec![id.into(), options.to_string().into()],
    )?;
    Ok(())
}

pub fn set_state(id: i32, state: &str, reason: Option<&str>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.pipeline SET state = $2, state_reason = $3 WHERE id = $1",
        vec![id.into(), state.into(), reason.into()],
    )?;
    Ok(())
}

/// Forgets failures, so that the next tick comes at once.
pub fn clear_failures(id: i32) -> Result<()> {
    spi::execute(
        "UPDATE millrace.position
            SET failures = 0, retry_at = NULL, last_error = NULL, last_sqlstate = NULL, last_error_at = NULL
          WHERE pipeline_id = $1 AND failures <> 0",
        vec![id.into()],
    )?;
    Ok(())
}

/// Notes a failed tick, with what to do about it; answers how many there have been in a row.
pub fn record_failure(id: i32, error: &Error, first_wait_ms: i64) -> Result<i32> {
    let sqlstate = String::from_utf8_lossy(&error.code.sqlstate()).into_owned();
    let hint = error.hint.as_ref().map(|hint| format!(" Hint: {hint}")).unwrap_or_default();
    let failures: Option<i32> = spi::value(
        "UPDATE millrace.position
            SET failures = failures + 1, last_error = $2, last_sqlstate = $3, last_error_at = pg_catalog.clock_timestamp(),
                retry_at = pg_catalog.clock_timestamp()
                    + LEAST($4 * 2.0 ^ LEAST(failures, 20), 300000) * interval '1 millisecond'
          WHERE pipeline_id = $1
      RETURNING failures",
        vec![id.into(), format!("{error}{hint}").into(), sqlstate.into(), first_wait_ms.into()],
    )?;
    Ok(failures.unwrap_or(0))
}

pub fn position(id: i32) -> Result<Option<Position>> {
    Ok(spi::read(
        "SELECT head, raw_version, land_seq, source_offset AS source FROM millrace.position WHERE pipeline_id = $1",
        vec![id.into()],
    )?
    .pop())
}

/// The position, locked to commit: whoever holds it seals the next chunk.
pub fn lock_position(id: i32) -> Result<Option<Position>> {
    Ok(spi::query(
        "SELECT head, raw_version, land_seq, source_offset AS source FROM millrace.position WHERE pipeline_id = $1 FOR UPDATE",
        vec![id.into()],
    )?
    .pop())
}

/// Lets the next chunk through, whatever share of it is rejected.
pub fn accept_next(id: i32) -> Result<()> {
    spi::execute("UPDATE millrace.position SET accepted = head + 1 WHERE pipeline_id = $1", vec![id.into()])?;
    Ok(())
}

/// True if somebody has let this chunk through.
pub fn is_accepted(id: i32, chunk_no: i64) -> Result<bool> {
    let accepted: Option<bool> = spi::value(
        "SELECT accepted = $2 FROM millrace.position WHERE pipeline_id = $1",
        vec![id.into(), chunk_no.into()],
    )?;
    Ok(accepted == Some(true))
}

/// Moves the position on, and forgets failures: something worked.
pub fn advance(id: i32, to: &Position) -> Result<()> {
    spi::execute(
        "UPDATE millrace.position
            SET head = $2, raw_version = $3, land_seq = $4, source_offset = COALESCE($5::jsonb, source_offset),
                failures = 0, retry_at = NULL, last_error = NULL, last_sqlstate = NULL, last_error_at = NULL
          WHERE pipeline_id = $1",
        vec![id.into(), to.head.into(), to.raw_version.into(), to.land_seq.into(), to.source.as_ref().map(json).into()],
    )?;
    Ok(())
}

/// Sets from where a Delta table is read on.
pub fn set_source(id: i32, offset: &Offset) -> Result<()> {
    spi::execute(
        "UPDATE millrace.position SET source_offset = $2::jsonb WHERE pipeline_id = $1",
        vec![id.into(), json(offset).into()],
    )?;
    Ok(())
}

fn json(offset: &Offset) -> String {
    serde_json::to_value(offset).unwrap_or_default().to_string()
}
