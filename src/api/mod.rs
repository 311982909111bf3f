//! The functions that SQL calls: arguments in, a call down, results out. Their SQL declarations, with defaults and comments,
//! stand in sql/schema/30_functions.sql.
//!
//! All take NULLs and refuse them by name where they make no sense.

mod aggregate;
mod consumer;
mod expectation;
mod look;
mod pipeline;
mod schema;
mod seeing;
mod servers;
mod tools;

use pgrx::JsonB;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;

use crate::model::Error;

type Answer<T> = Result<T, ErrorReport>;

/// Lets `?` turn our errors into Postgres' reports in one step.
fn answer<T>(result: Result<T, Error>) -> Answer<T> {
    result.map_err(ErrorReport::from)
}

/// An interval as text that the interval type reads back; zero as "0".
fn interval_text(interval: Interval) -> String {
    let (months, days, micros) = (interval.months(), interval.days(), interval.micros());
    if (months, days, micros) == (0, 0, 0) {
        return "0".into();
    }
    format!("{months} months {days} days {micros} microseconds")
}

fn json(value: Option<JsonB>) -> serde_json::Value {
    value.map_or_else(|| serde_json::Value::Object(Default::default()), |v| v.0)
}
