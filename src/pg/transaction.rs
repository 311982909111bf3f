//! Whole transactions, for code that runs outside of any: in a worker, or in a procedure called outside a block.
//!
//! Promise: `run` commits on `Ok` and leaves nothing behind on `Err`, whatever raised it. Between two calls no snapshot is
//! held, so the network may be waited on.

use std::cell::Cell;
use std::ffi::CString;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use pgrx::{PgSubXactCallbackEvent, PgXactCallbackEvent, pg_sys, register_subxact_callback, register_xact_callback};

use crate::model::Result;
use crate::pg::error::catch;
use crate::pg::subtransaction;

/// Who owns the transaction boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A background worker: no transaction is open between calls.
    Worker,
    /// A procedure under CALL: Postgres keeps a bare transaction open between calls; see [`crate::pg::procedure`].
    Procedure,
    /// A function: what is done is part of the caller's transaction, which stays open between calls. For what comes once.
    Within,
}

/// Runs `f` in a transaction of its own.
pub fn run<R>(mode: Mode, f: impl FnOnce() -> Result<R>) -> Result<R> {
    match mode {
        Mode::Worker => in_worker(f),
        Mode::Procedure => in_procedure(f),
        Mode::Within => with_snapshot(f),
    }
}

fn in_worker<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: no transaction is open. Whatever fails inside is aborted here, before anything else runs.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        let result = catch(|| {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let value = f()?;
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
            Ok(value)
        });
        if result.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
        // Workers have no client loop that would send these for them; without it autovacuum never sees the rows.
        pg_sys::pgstat_report_stat(true);
        result
    }
}

fn with_snapshot<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    subtransaction::run(|| {
        // SAFETY: inside a transaction; where `f` fails, the end of the subtransaction pops the snapshot.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        let value = f()?;
        // SAFETY: pushed above, and `f` has popped what it pushed.
        unsafe { pg_sys::PopActiveSnapshot() };
        Ok(value)
    })
}

fn in_procedure<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    // SAFETY: called between procedure::enter and its end, so that a non-atomic SPI connection is the current one and no
    // subtransaction is open when SPI_commit runs.
    unsafe {
        let result = subtransaction::run(|| {
            // What is allocated goes with the transaction, not with the whole call.
            pg_sys::MemoryContextSwitchTo(pg_sys::CurTransactionContext);
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let value = f()?;
            pg_sys::PopActiveSnapshot();
            Ok(value)
        });
        pg_sys::SPI_commit();
        result
    }
}

/// Says later whether what was done until now has been committed.
#[derive(Debug, Clone)]
pub struct Fate(Rc<Cell<bool>>);

impl Fate {
    /// Of the transaction that is under way. Where any part of it is undone from here on, it counts as undone itself.
    pub fn of_this_transaction() -> Fate {
        let committed = Rc::new(Cell::new(false));
        let undone = AssertUnwindSafe(Rc::new(Cell::new(false)));
        let (told, was_undone) = (committed.clone(), undone.clone());
        register_subxact_callback(PgSubXactCallbackEvent::AbortSub, move |_, _| undone.set(true));
        let commit = AssertUnwindSafe(move || told.set(!was_undone.get()));
        register_xact_callback(PgXactCallbackEvent::Commit, commit);
        Fate(committed)
    }

    pub fn is_committed(&self) -> bool {
        self.0.get()
    }
}

/// Says in pg_stat_activity what this process is doing; `None` = idle.
pub fn report_activity(what: Option<&str>) {
    let text = what.and_then(|w| CString::new(w).ok());
    let (state, text) = match &text {
        Some(t) => (pg_sys::BackendState::STATE_RUNNING, t.as_ptr()),
        None => (pg_sys::BackendState::STATE_IDLE, std::ptr::null()),
    };
    // SAFETY: the text is copied by the call.
    unsafe { pg_sys::pgstat_report_activity(state, text) };
}

/// True on a standby, where nothing may be written.
pub fn in_recovery() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}
