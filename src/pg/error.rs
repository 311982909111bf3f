//! Errors across the seam: ours into Postgres' reports, Postgres' (and panics) into ours.
//!
//! Promise: SQLSTATE, message, detail and hint survive both ways for every SQLSTATE that Postgres itself defines.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel, ErrorReportable};
use pgrx::prelude::*;

use crate::model::{Code, Error, Result};

impl From<Error> for ErrorReport {
    #[track_caller]
    fn from(e: Error) -> ErrorReport {
        let mut report = ErrorReport::new(encode(e.code.sqlstate()), e.message, "pg_millrace");
        if let Some(detail) = e.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = e.hint {
            report = report.set_hint(hint);
        }
        report
    }
}

/// Runs `f`, and turns an error that Postgres raises (or a panic) into an [`Error`].
///
/// The caller must be at the outermost level of a transaction or subtransaction that it rolls back on `Err`:
/// after an error the state inside is undefined until then.
pub fn catch<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    PgTryBuilder::new(AssertUnwindSafe(f))
        .catch_others(|caught| Err(from_caught(caught)))
        .catch_rust_panic(|caught| Err(from_caught(caught)))
        .execute()
}

/// Runs `f`; where it fails because something is missing in the catalog, the error leaves with this hint. All else leaves as it was raised.
pub fn hint_where_missing<R>(hint: &str, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let is_missing = |e: &Error| {
        // A table, a column, a function, a type, a schema.
        let states = [*b"42P01", *b"42703", *b"42883", *b"42704", *b"3F000"];
        matches!(e.code, Code::Postgres(state) if states.contains(&state))
    };
    let raised = |report: ErrorReportWithLevel| {
        let e = from_report(&report);
        if is_missing(&e) {
            return Err(ErrorReport::from(e.hint(hint))).unwrap_or_report();
        }
        CaughtError::PostgresError(report).rethrow()
    };
    let result = PgTryBuilder::new(AssertUnwindSafe(f))
        .catch_others(|caught| match caught {
            CaughtError::PostgresError(report) => raised(report),
            other => other.rethrow(),
        })
        .execute();
    result.map_err(|e| if is_missing(&e) { e.hint(hint) } else { e })
}

fn from_caught(caught: CaughtError) -> Error {
    match caught {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => from_report(&report),
        CaughtError::RustPanic { ereport, .. } => {
            Error::new(Code::Internal, format!("internal error: {}", ereport.message()))
                .hint("This is a bug in pg_millrace; please report it with the server log.")
        }
    }
}

fn from_report(report: &ErrorReportWithLevel) -> Error {
    Error {
        code: Code::Postgres(decode(report.sql_error_code() as i32)),
        message: report.message().to_string(),
        detail: report.detail().map(str::to_string),
        hint: report.hint().map(str::to_string),
    }
}

/// Postgres packs the five characters of a SQLSTATE into an integer, six bits each (utils/elog.h, MAKE_SQLSTATE).
fn decode(packed: i32) -> [u8; 5] {
    std::array::from_fn(|i| ((packed >> (6 * i)) & 0x3f) as u8 + b'0')
}

fn encode(state: [u8; 5]) -> PgSqlErrorCode {
    let packed = state.iter().enumerate().fold(0i32, |acc, (i, c)| acc | (i32::from((c - b'0') & 0x3f) << (6 * i)));
    PgSqlErrorCode::from(packed)
}

/// Keeps Rust backtraces out of errors: where the server's environment asks for them, pgrx puts them into DETAIL, for every client to read.
///
/// To be called when the library is loaded.
pub fn keep_backtraces_out() {
    if ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"].iter().all(|name| std::env::var_os(name).is_none()) {
        return;
    }
    // SAFETY: the postmaster has one thread when it preloads libraries. A session that loads this one by itself has none of ours and none of
    // Postgres' beside its own: only a thread that another extension has begun there could read the environment at this moment.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
}

/// Keeps a panic out of the log that is none: where a data file can't be finished, the Delta library gives up its upload, the store's
/// writer panics, and the library catches that. Everything else is said as before.
///
/// To be called when the library is loaded.
pub fn keep_expected_panics_out() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let by_store = panic.location().is_some_and(|at| at.file().contains("/object_store-"));
        if !(by_store && panic.payload_as_str() == Some("Already shut down")) {
            say(panic);
        }
    }));
}

/// Says something to the client without failing.
pub fn warn(e: Error) {
    ErrorReport::from(e).report(PgLogLevel::WARNING);
}

/// An argument that must not be NULL. Functions are not STRICT: a NULL is an error, not a silent nothing.
pub fn required<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| {
        Error::new(Code::NullArgument, format!("{name} must not be NULL"))
            .hint(format!("Give a value for the argument {name}."))
    })
}
