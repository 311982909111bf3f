//! A consumer that copies each chunk into a table of its own and acks in the same transaction: exactly once.
//!
//! It keeps a log with no constraint on it, so that a chunk that came twice would show.

use crate::sql::{Session, quote};

/// One name over all reconnects: the same worker gets its chunk back at once, without waiting for the lease to run out.
const WORKER: &str = "copier";

pub fn create(session: &mut Session) {
    session.execute(
        "CREATE SCHEMA copier;
         CREATE TABLE copier.invoices AS SELECT * FROM staging.invoices WHERE false;
         CREATE TABLE copier.log (chunk_no bigint, row_count bigint, attempt int);
         SELECT millrace.create_consumer('invoices', 'copier', start_at => 'earliest')",
    );
}

/// Handles one chunk. False if there was none.
pub fn step(session: &mut Session) -> Result<bool, postgres::Error> {
    let chunk = session.try_rows(&format!(
        "SELECT chunk_no, token, attempt, row_count FROM millrace.next_chunk('invoices', 'copier', worker => {})",
        quote(WORKER)
    ))?;
    let Some(chunk) = chunk.into_iter().next() else { return Ok(false) };
    let field = |i: usize| chunk[i].clone().unwrap_or_default();
    let (number, token, attempt, row_count) = (field(0), field(1), field(2), field(3));
    session.try_execute(&format!(
        "BEGIN;
         INSERT INTO copier.invoices SELECT * FROM millrace.chunk_rows(NULL::staging.invoices, {number});
         INSERT INTO copier.log VALUES ({number}, {row_count}, {attempt});
         SELECT millrace.ack('invoices', 'copier', {number}, {});
         COMMIT",
        quote(&token)
    ))?;
    Ok(true)
}

/// Handles what is there.
pub fn drain(session: &mut Session) {
    while step(session).unwrap_or_else(|e| panic!("{}", crate::sql::explain(&e))) {}
}

/// Every chunk came once, in order of its number, and nothing is missing.
pub fn assert_exactly_once(session: &mut Session) {
    assert_eq!(crate::retail::totals(session, "copier.invoices"), crate::retail::TOTALS);
    assert_eq!(
        session.lines("SELECT chunk_no, row_count FROM copier.log ORDER BY chunk_no"),
        session.lines("SELECT chunk_no, row_count FROM millrace.chunks WHERE pipeline = 'invoices' ORDER BY chunk_no")
    );
}
