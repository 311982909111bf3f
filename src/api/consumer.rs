//! What the consumers' SQL needs of the server itself.

use std::time::{Duration, Instant};

use pgrx::datum::Interval;
use pgrx::prelude::*;
use pgrx::{AnyElement, Uuid, pg_sys};

use crate::api::{Answer, answer, interval_text};
use crate::catalog::turn;
use crate::model::{Code, Error};
use crate::pg::error::required;
use crate::pg::transaction::{self, Mode};
use crate::pg::{procedure, session, spi, waiters};

/// How long a waiter that can be woken sleeps before it looks again: what no commit of a chunk announces, such as a retry that is due.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The calling session, told from all others that this server has had.
#[pg_extern(sql = false)]
fn this_session() -> String {
    session::id()
}

/// Sleeps until a chunk is committed in this database, at most so many milliseconds.
#[pg_extern(sql = false)]
fn nap(most: i32) {
    waiters::sleep(Duration::from_millis(most.max(1) as u64));
}

/// A procedure: between two looks no transaction's snapshot is held.
#[pg_extern(sql = false)]
fn wait_for_chunk(
    stream: Option<&str>,
    consumer: Option<&str>,
    wait: Option<Interval>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<()> {
    answer((|| {
        let (stream, consumer) = (required(stream, "stream")?.to_string(), required(consumer, "consumer")?.to_string());
        let wait =
            interval_text(wait.ok_or_else(|| Error::new(Code::NullArgument, "argument \"wait\" must not be null"))?);
        let millis: Option<i64> =
            spi::value("SELECT (EXTRACT(epoch FROM $1::interval) * 1000)::bigint", vec![wait.as_str().into()])?;
        let until = Instant::now() + Duration::from_millis(millis.unwrap_or(0).max(0) as u64);
        let _procedure = procedure::enter(fcinfo, "millrace.wait_for_chunk")?;
        loop {
            let ready: Option<bool> = transaction::run(Mode::Procedure, || {
                spi::value("SELECT millrace.has_chunk($1, $2)", vec![stream.as_str().into(), consumer.as_str().into()])
            })?;
            let left = until.saturating_duration_since(Instant::now());
            if ready == Some(true) || left.is_zero() {
                return Ok(());
            }
            waiters::sleep(left.min(LOOK_AGAIN));
        }
    })())
}

/// The usual way of next_chunk; NULL where it is not the usual one.
#[pg_extern(sql = false)]
fn lease_next(
    stream: Option<&str>,
    consumer: Option<&str>,
    worker: Option<&str>,
    lease: Option<Interval>,
) -> Answer<Option<AnyElement>> {
    let (Some(stream), Some(consumer)) = (stream, consumer) else {
        return Ok(None);
    };
    answer(turn::lease_next(stream, consumer, worker, lease))
}

/// The usual way of ack; NULL where it is not the usual one.
#[pg_extern(sql = false)]
fn ack_leased(
    stream: Option<&str>,
    consumer: Option<&str>,
    chunk_no: Option<i64>,
    token: Option<Uuid>,
) -> Answer<Option<i32>> {
    let (Some(stream), Some(consumer), Some(chunk_no)) = (stream, consumer, chunk_no) else {
        return Ok(None);
    };
    answer(turn::ack_leased(stream, consumer, chunk_no, token))
}
