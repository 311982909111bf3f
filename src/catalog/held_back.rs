//! Files whose records are in the raw layer and could not be loaded with the others of their landing.

use serde::Deserialize;

use crate::model::Result;
use crate::model::landing::Part;
use crate::pg::spi;

/// Which of the parts of a landing are neither loaded nor held back: their places in the list.
pub fn not_loaded(pipeline_id: i32, raw_version: i64, parts: &[Part]) -> Result<Vec<usize>> {
    #[derive(Deserialize)]
    struct Place {
        place: i64,
    }
    let places: Vec<Place> = spi::read(
        "SELECT p.place
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]), pg_catalog.unnest($5::bigint[]))
             WITH ORDINALITY AS p (path, etag, records, records_done, place)
          WHERE NOT EXISTS (SELECT FROM millrace.file f
                             WHERE f.pipeline_id = $1 AND f.path = p.path AND f.etag = p.etag AND p.records > 0 AND f.records_done >= p.records_done)
            AND NOT EXISTS (SELECT FROM millrace.held_back h
                             WHERE h.pipeline_id = $1 AND h.path = p.path AND h.etag = p.etag AND h.raw_version = $6)
          ORDER BY p.place",
        vec![
            pipeline_id.into(),
            parts.iter().map(|p| p.path.clone()).collect::<Vec<_>>().into(),
            parts.iter().map(|p| p.etag.clone()).collect::<Vec<_>>().into(),
            parts.iter().map(|p| p.records as i64).collect::<Vec<_>>().into(),
            parts.iter().map(|p| (p.first_record + p.records - 1) as i64).collect::<Vec<_>>().into(),
            raw_version.into(),
        ],
    )?;
    Ok(places.into_iter().map(|p| p.place as usize - 1).collect())
}

/// Notes that the records of a file that a version of the raw layer holds are not loaded with the others.
pub fn hold_back(pipeline_id: i32, raw_version: i64, part: &Part) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.held_back (pipeline_id, path, etag, raw_version, records) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        vec![
            pipeline_id.into(),
            part.path.as_str().into(),
            part.etag.as_str().into(),
            raw_version.into(),
            (part.records as i64).into(),
        ],
    )?;
    Ok(())
}

/// True where records wait in the raw layer, or may be asked for once more.
pub fn any(pipeline_id: i32) -> Result<bool> {
    let found: Option<bool> = spi::read_value(
        "SELECT EXISTS (SELECT FROM millrace.held_back WHERE pipeline_id = $1)",
        vec![pipeline_id.into()],
    )?;
    Ok(found == Some(true))
}

/// A file whose records wait in the raw layer.
#[derive(Debug, Deserialize)]
pub struct HeldBack {
    pub path: String,
    pub etag: String,
    pub size: i64,
    pub raw_version: i64,
    /// How long until it is to be tried again.
    pub wait_ms: i64,
}

/// The file held back that is to be tried next, and of its versions the first.
pub fn next(pipeline_id: i32) -> Result<Option<HeldBack>> {
    Ok(spi::read(
        "SELECT f.path, f.etag, f.size, h.raw_version,
                GREATEST(0, COALESCE(pg_catalog.ceil(EXTRACT(epoch FROM f.retry_at - pg_catalog.clock_timestamp()) * 1000), 0))::bigint AS wait_ms
           FROM millrace.held_back h JOIN millrace.file f USING (pipeline_id, path, etag)
          WHERE h.pipeline_id = $1 AND f.state = 'failed'
          ORDER BY f.retry_at NULLS FIRST, f.path, h.raw_version
          LIMIT 1",
        vec![pipeline_id.into()],
    )?
    .pop())
}

/// Notes that files are no longer held back in a version. One of which there is more goes on at once.
pub fn release(pipeline_id: i32, paths: Vec<String>, raw_version: i64) -> Result<()> {
    spi::execute(
        "WITH released AS (
             DELETE FROM millrace.held_back h USING millrace.file f
              WHERE h.pipeline_id = $1 AND h.path = ANY ($2::text[]) AND h.raw_version = $3
                AND f.pipeline_id = h.pipeline_id AND f.path = h.path AND f.etag = h.etag
             RETURNING h.path, h.etag)
         UPDATE millrace.file f SET state = 'failed', retry_at = NULL
           FROM released r
          WHERE f.pipeline_id = $1 AND f.path = r.path
            AND EXISTS (SELECT FROM millrace.held_back h
                         WHERE h.pipeline_id = $1 AND h.path = r.path AND h.etag = r.etag AND h.raw_version <> $3)",
        vec![pipeline_id.into(), paths.into(), raw_version.into()],
    )?;
    Ok(())
}
