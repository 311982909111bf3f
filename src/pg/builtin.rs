//! Functions that Postgres has anyway, called without a statement.

use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::{IntoDatum, Uuid, direct_function_call, pg_sys};

use crate::model::{Code, Error, Result};

pub fn clock_timestamp() -> Result<TimestampWithTimeZone> {
    // SAFETY: takes no arguments.
    given(unsafe { direct_function_call(pg_sys::clock_timestamp, &[]) })
}

pub fn later(moment: TimestampWithTimeZone, by: Interval) -> Result<TimestampWithTimeZone> {
    // SAFETY: takes these two.
    given(unsafe { direct_function_call(pg_sys::timestamptz_pl_interval, &[moment.into_datum(), by.into_datum()]) })
}

pub fn gen_random_uuid() -> Result<Uuid> {
    // SAFETY: takes no arguments.
    given(unsafe { direct_function_call(pg_sys::gen_random_uuid, &[]) })
}

fn given<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::new(Code::Internal, "a function of Postgres gave nothing"))
}
