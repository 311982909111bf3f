//! The ledger of landing files.

use serde::Deserialize;

use crate::lake::listing::LandingFile;
use crate::model::Result;
use crate::pg::spi;

/// Stands for the ETag of a path that was skipped without knowing a file of that name.
pub const ANY_VERSION: &str = "*";

/// What the ledger says of a listed file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Known {
    pub path: String,
    pub etag: String,
    pub size: i64,
    pub state: String,
    pub records_done: i64,
    pub bytes_done: i64,
    /// True when the file was taken away: another one of that name is new.
    pub cleaned: bool,
    /// False while a failed file waits for its next attempt.
    pub due: bool,
    /// True when records of it wait in the raw layer to be loaded from there.
    pub held_back: bool,
}

impl Known {
    /// True when the file needs no further look while it stays as it is.
    pub fn is_settled(&self) -> bool {
        matches!(self.state.as_str(), "loaded" | "skipped" | "changed" | "dead")
    }

    /// True for a path that was skipped before a file was there: whatever comes under this name is not loaded.
    pub fn is_skipped_for_good(&self) -> bool {
        self.state == "skipped" && self.etag == ANY_VERSION
    }
}

/// The ledger's rows for these paths.
pub fn known(pipeline_id: i32, paths: Vec<String>) -> Result<Vec<Known>> {
    spi::read(
        "SELECT f.path, f.etag, f.size, f.state, f.records_done, f.bytes_done,
                (f.cleanup IS NOT DISTINCT FROM 'done') AS cleaned,
                (f.retry_at IS NULL OR f.retry_at <= pg_catalog.clock_timestamp()) AS due,
                EXISTS (SELECT FROM millrace.held_back h
                         WHERE h.pipeline_id = f.pipeline_id AND h.path = f.path AND h.etag = f.etag) AS held_back
           FROM pg_catalog.unnest($2::text[]) AS listed (path)
           JOIN millrace.file f ON f.pipeline_id = $1 AND f.path = listed.path",
        vec![pipeline_id.into(), paths.into()],
    )
}

/// Records of one file that a chunk holds.
pub struct Loaded {
    pub path: String,
    pub etag: String,
    pub size: i64,
    pub modified_micros: Option<i64>,
    pub records_done: i64,
    pub bytes_done: i64,
    pub rows: i64,
    pub rejects: i64,
    pub dropped: i64,
    pub duplicates: i64,
    pub filtered: i64,
    pub derived: i64,
    pub done: bool,
    /// True where the file is to be taken away once everything is published.
    pub clean: bool,
}

/// Notes what a chunk took of these files.
pub fn record_loaded(pipeline_id: i32, chunk_no: Option<i64>, files: &[Loaded]) -> Result<()> {
    let texts = |f: fn(&Loaded) -> String| files.iter().map(|x| Some(f(x))).collect::<Vec<_>>();
    let numbers = |f: fn(&Loaded) -> Option<i64>| files.iter().map(f).collect::<Vec<_>>();
    spi::execute(
        "INSERT INTO millrace.file AS f
            (pipeline_id, path, etag, size, modified, state, chunk_no, records_done, bytes_done, rows, rejects, dropped, duplicates, filtered, derived, cleanup, updated_at)
         SELECT $1, path, etag, size, pg_catalog.to_timestamp(modified / 1000000.0), state, $2, records_done, bytes_done, rows, rejects, dropped, duplicates, filtered, derived,
                CASE WHEN $14 AND state = 'loaded' THEN 'due' END, pg_catalog.clock_timestamp()
           FROM ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::bigint[]),
                           pg_catalog.unnest($6::bigint[]), pg_catalog.unnest($7::text[]), pg_catalog.unnest($8::bigint[]),
                           pg_catalog.unnest($9::bigint[]), pg_catalog.unnest($10::bigint[]), pg_catalog.unnest($11::bigint[]),
                           pg_catalog.unnest($12::bigint[]), pg_catalog.unnest($13::bigint[]), pg_catalog.unnest($15::bigint[]),
                           pg_catalog.unnest($16::bigint[]))
             AS new (path, etag, size, modified, state, records_done, bytes_done, rows, rejects, dropped, duplicates, filtered, derived)
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET etag = EXCLUDED.etag, size = EXCLUDED.size, modified = COALESCE(EXCLUDED.modified, f.modified),
                state = EXCLUDED.state, chunk_no = COALESCE(EXCLUDED.chunk_no, f.chunk_no),
                records_done = EXCLUDED.records_done, bytes_done = EXCLUDED.bytes_done,
                rows = f.rows + EXCLUDED.rows, rejects = f.rejects + EXCLUDED.rejects,
                dropped = f.dropped + EXCLUDED.dropped, duplicates = f.duplicates + EXCLUDED.duplicates,
                filtered = f.filtered + EXCLUDED.filtered, derived = f.derived + EXCLUDED.derived, cleanup = EXCLUDED.cleanup,
                error = NULL, retry_at = NULL, updated_at = EXCLUDED.updated_at",
        vec![
            pipeline_id.into(),
            chunk_no.into(),
            texts(|f| f.path.clone()).into(),
            texts(|f| f.etag.clone()).into(),
            numbers(|f| Some(f.size)).into(),
            numbers(|f| f.modified_micros).into(),
            texts(|f| if f.done { "loaded" } else { "waiting" }.to_string()).into(),
            numbers(|f| Some(f.records_done)).into(),
            numbers(|f| Some(f.bytes_done)).into(),
            numbers(|f| Some(f.rows)).into(),
            numbers(|f| Some(f.rejects)).into(),
            numbers(|f| Some(f.dropped)).into(),
            numbers(|f| Some(f.duplicates)).into(),
            files.iter().any(|f| f.clean).into(),
            numbers(|f| Some(f.filtered)).into(),
            numbers(|f| Some(f.derived)).into(),
        ],
    )?;
    Ok(())
}

/// Notes files that are there but have to wait. What the ledger says of them otherwise stays.
pub fn record_waiting(pipeline_id: i32, files: &[(String, String, i64)]) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.file AS f (pipeline_id, path, etag, size, state)
         SELECT $1, path, etag, size, 'waiting'
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]))
             AS new (path, etag, size)
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET etag = EXCLUDED.etag, size = EXCLUDED.size, updated_at = pg_catalog.clock_timestamp()
          WHERE f.state = 'waiting' AND f.records_done = 0 AND (f.etag, f.size) IS DISTINCT FROM (EXCLUDED.etag, EXCLUDED.size)",
        vec![
            pipeline_id.into(),
            files.iter().map(|f| Some(f.0.clone())).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.1.clone())).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.2)).collect::<Vec<_>>().into(),
        ],
    )?;
    Ok(())
}

/// Notes that records of these files are in the raw layer and could not be loaded from there.
pub fn record_landed(pipeline_id: i32, files: &[(String, String, i64)], error: &str) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.file AS f (pipeline_id, path, etag, size, state, error)
         SELECT $1, path, etag, size, 'landed', $5
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]))
             AS new (path, etag, size)
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET etag = EXCLUDED.etag, size = EXCLUDED.size, state = 'landed', error = EXCLUDED.error,
                updated_at = pg_catalog.clock_timestamp()
          WHERE f.error IS DISTINCT FROM EXCLUDED.error OR f.state <> 'landed'",
        vec![
            pipeline_id.into(),
            files.iter().map(|f| Some(f.0.clone())).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.1.clone())).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.2)).collect::<Vec<_>>().into(),
            error.into(),
        ],
    )?;
    Ok(())
}

/// Files that may be taken away: loaded, and every chunk up to their last one published.
pub fn due_for_cleanup(pipeline_id: i32, most: i64) -> Result<Vec<LandingFile>> {
    #[derive(Deserialize)]
    struct Due {
        path: String,
        etag: String,
        size: i64,
    }
    let due: Vec<Due> = spi::read(
        "SELECT f.path, f.etag, f.size
           FROM millrace.file f
          WHERE f.pipeline_id = $1 AND f.cleanup = 'due' AND f.state = 'loaded'
            AND NOT EXISTS (SELECT FROM millrace.publication o
                             WHERE o.pipeline_id = $1 AND o.state = 'pending' AND o.chunk_no <= f.chunk_no)
          LIMIT $2",
        vec![pipeline_id.into(), most.into()],
    )?;
    let file = |d: Due| LandingFile { path: d.path, etag: d.etag, size: d.size as u64, modified: Default::default() };
    Ok(due.into_iter().map(file).collect())
}

/// Notes files that were taken away; `None`: others have their names, and stay.
pub fn record_cleaned(pipeline_id: i32, paths: Vec<String>, cleanup: Option<&str>) -> Result<()> {
    spi::execute(
        "UPDATE millrace.file SET cleanup = $3, error = NULL, updated_at = pg_catalog.clock_timestamp()
          WHERE pipeline_id = $1 AND path = ANY ($2::text[]) AND cleanup = 'due' AND state = 'loaded'",
        vec![pipeline_id.into(), paths.into(), cleanup.into()],
    )?;
    Ok(())
}

/// Notes why a file could not be taken away; true where that is new.
pub fn record_cleanup_error(pipeline_id: i32, path: &str, error: &str) -> Result<bool> {
    let noted = spi::execute(
        "UPDATE millrace.file SET error = $3, updated_at = pg_catalog.clock_timestamp()
          WHERE pipeline_id = $1 AND path = $2 AND cleanup = 'due' AND error IS DISTINCT FROM $3",
        vec![pipeline_id.into(), path.into(), error.into()],
    )?;
    Ok(noted > 0)
}

/// The state of one file.
#[derive(Debug, Deserialize)]
pub struct State {
    pub state: String,
    pub etag: String,
    pub records_done: i64,
}

pub fn state(pipeline_id: i32, path: &str) -> Result<Option<State>> {
    Ok(spi::query(
        "SELECT state, etag, records_done FROM millrace.file WHERE pipeline_id = $1 AND path = $2 FOR UPDATE",
        vec![pipeline_id.into(), path.into()],
    )?
    .pop())
}

/// Lets a file be tried as if it had never failed. One whose records are in the raw layer is not landed again, but loaded from there.
pub fn retry(pipeline_id: i32, path: &str) -> Result<()> {
    spi::execute(
        "UPDATE millrace.file AS f
            SET state = CASE WHEN EXISTS (SELECT FROM millrace.held_back h
                                           WHERE h.pipeline_id = f.pipeline_id AND h.path = f.path AND h.etag = f.etag)
                             THEN 'failed' ELSE 'waiting' END,
                records_done = CASE f.state WHEN 'changed' THEN 0 ELSE f.records_done END,
                bytes_done = CASE f.state WHEN 'changed' THEN 0 ELSE f.bytes_done END,
                attempts = 0, error = NULL, retry_at = NULL, updated_at = pg_catalog.clock_timestamp()
          WHERE pipeline_id = $1 AND path = $2",
        vec![pipeline_id.into(), path.into()],
    )?;
    Ok(())
}

/// Leaves a file out, for good where the ledger does not know it.
pub fn skip(pipeline_id: i32, path: &str, reason: Option<&str>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.file AS f (pipeline_id, path, etag, size, state, error) VALUES ($1, $2, $4, 0, 'skipped', $3)
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET state = 'skipped', error = EXCLUDED.error, retry_at = NULL, updated_at = pg_catalog.clock_timestamp()",
        vec![pipeline_id.into(), path.into(), reason.into(), ANY_VERSION.into()],
    )?;
    Ok(())
}

/// Forgets a path that was skipped before a file was there.
pub fn forget(pipeline_id: i32, path: &str) -> Result<()> {
    spi::execute(
        "DELETE FROM millrace.file WHERE pipeline_id = $1 AND path = $2",
        vec![pipeline_id.into(), path.into()],
    )?;
    Ok(())
}

/// Lets processes that keep what they know of the ledger read it again.
pub fn touch(pipeline_id: i32) -> Result<()> {
    spi::execute(
        "UPDATE millrace.pipeline SET ledger_epoch = ledger_epoch + 1 WHERE id = $1",
        vec![pipeline_id.into()],
    )?;
    Ok(())
}

/// Notes files with a state and a word of explanation, without touching what was loaded of them.
pub fn record_state(pipeline_id: i32, files: &[(String, String, i64)], state: &str, error: Option<&str>) -> Result<()> {
    record_states(pipeline_id, files, state, vec![error.map(str::to_owned); files.len()])
}

/// The same with a word for each.
pub fn record_states(
    pipeline_id: i32,
    files: &[(String, String, i64)],
    state: &str,
    errors: Vec<Option<String>>,
) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.file AS f (pipeline_id, path, etag, size, state, error)
         SELECT $1, path, etag, size, $5, error
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]), pg_catalog.unnest($6::text[]))
             AS new (path, etag, size, error)
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET etag = EXCLUDED.etag, size = EXCLUDED.size, state = EXCLUDED.state, error = EXCLUDED.error,
                retry_at = NULL, updated_at = pg_catalog.clock_timestamp()",
        vec![
            pipeline_id.into(),
            files.iter().map(|f| Some(f.0.clone())).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.1.clone())).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.2)).collect::<Vec<_>>().into(),
            state.into(),
            errors.into(),
        ],
    )?;
    Ok(())
}

/// Notes files that are to be loaded from their first record, whatever was loaded of them.
pub fn begin_again(pipeline_id: i32, files: &[(String, String, i64)]) -> Result<()> {
    spi::execute(
        "UPDATE millrace.file AS f
            SET etag = new.etag, size = new.size, state = 'waiting', records_done = 0, bytes_done = 0, attempts = 0, error = NULL,
                retry_at = NULL, updated_at = pg_catalog.clock_timestamp()
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]))
             AS new (path, etag, size)
          WHERE f.pipeline_id = $1 AND f.path = new.path",
        vec![
            pipeline_id.into(),
            files.iter().map(|f| f.0.clone()).collect::<Vec<_>>().into(),
            files.iter().map(|f| f.1.clone()).collect::<Vec<_>>().into(),
            files.iter().map(|f| f.2).collect::<Vec<_>>().into(),
        ],
    )?;
    Ok(())
}

/// Notes a file that can't be read: tried again after a wait, `dead` after `max_attempts` or at once when trying again can't help.
pub fn record_failed(
    pipeline_id: i32,
    file: (&str, &str, i64),
    error: &str,
    can_help: bool,
    max_attempts: i32,
    first_wait_ms: i64,
) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.file AS f (pipeline_id, path, etag, size, state, attempts, error, retry_at)
         VALUES ($1, $2, $3, $4, CASE WHEN $6 AND $7 > 1 THEN 'failed' ELSE 'dead' END, 1, $5,
                 pg_catalog.clock_timestamp() + $8 * interval '1 millisecond')
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET etag = EXCLUDED.etag, size = EXCLUDED.size, error = EXCLUDED.error,
                attempts = CASE WHEN f.etag = EXCLUDED.etag THEN f.attempts + 1 ELSE 1 END,
                state = CASE WHEN $6 AND (f.etag <> EXCLUDED.etag OR f.attempts + 1 < $7) THEN 'failed' ELSE 'dead' END,
                retry_at = pg_catalog.clock_timestamp()
                    + LEAST($8 * 2.0 ^ LEAST(f.attempts, 20), 300000) * interval '1 millisecond',
                updated_at = pg_catalog.clock_timestamp()",
        vec![
            pipeline_id.into(),
            file.0.into(),
            file.1.into(),
            file.2.into(),
            error.into(),
            can_help.into(),
            max_attempts.into(),
            first_wait_ms.into(),
        ],
    )?;
    Ok(())
}

/// What is in a file.
#[derive(Debug, Clone, Deserialize)]
pub struct Content {
    pub path: String,
    pub etag: String,
    pub size: i64,
    /// Its hash.
    pub content: String,
}

/// What the ledger knows to be in these files.
pub fn contents(pipeline_id: i32, paths: Vec<String>) -> Result<Vec<Content>> {
    spi::read(
        "SELECT path, etag, size, content FROM millrace.file WHERE pipeline_id = $1 AND path = ANY ($2::text[]) AND content IS NOT NULL",
        vec![pipeline_id.into(), paths.into()],
    )
}

/// Of each of these contents the file that was loaded, in part or whole, with it.
pub fn with_content(pipeline_id: i32, contents: Vec<String>) -> Result<Vec<Content>> {
    spi::read(
        "SELECT DISTINCT ON (content) path, etag, size, content FROM millrace.file
          WHERE pipeline_id = $1 AND content = ANY ($2::text[]) AND (state IN ('loaded', 'landed') OR records_done > 0)
          ORDER BY content, updated_at",
        vec![pipeline_id.into(), contents.into()],
    )
}

/// Notes what is in files that wait.
pub fn note_contents(pipeline_id: i32, files: &[Content]) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.file AS f (pipeline_id, path, etag, size, state, content)
         SELECT $1, path, etag, size, 'waiting', content
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::bigint[]), pg_catalog.unnest($5::text[]))
             AS new (path, etag, size, content)
         ON CONFLICT (pipeline_id, path) DO UPDATE
            SET content = EXCLUDED.content, etag = EXCLUDED.etag, size = EXCLUDED.size WHERE f.records_done = 0",
        vec![
            pipeline_id.into(),
            files.iter().map(|f| f.path.clone()).collect::<Vec<_>>().into(),
            files.iter().map(|f| f.etag.clone()).collect::<Vec<_>>().into(),
            files.iter().map(|f| Some(f.size)).collect::<Vec<_>>().into(),
            files.iter().map(|f| f.content.clone()).collect::<Vec<_>>().into(),
        ],
    )?;
    Ok(())
}

/// Files that were put there again, byte for byte: path and new version of each.
pub fn renew(pipeline_id: i32, files: Vec<(String, String)>) -> Result<()> {
    let (paths, etags): (Vec<String>, Vec<String>) = files.into_iter().unzip();
    spi::execute(
        "UPDATE millrace.file AS f SET etag = new.etag, updated_at = pg_catalog.clock_timestamp()
           FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) AS new (path, etag)
          WHERE f.pipeline_id = $1 AND f.path = new.path",
        vec![pipeline_id.into(), paths.into(), etags.into()],
    )?;
    Ok(())
}
