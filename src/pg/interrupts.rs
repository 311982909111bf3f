//! Answering Ctrl-C, statement_timeout, pg_terminate_backend and shutdown.

/// Lets Postgres act on pending signals. Raises (and so unwinds) when the query is cancelled.
pub fn check() {
    pgrx::check_for_interrupts!();
}
