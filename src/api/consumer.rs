//! What the consumers' SQL needs of the server itself.

use std::time::{Duration, Instant};

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::api::{Answer, answer, interval_text};
use crate::catalog::turn;
use crate::model::{Code, Error};
use crate::pg::direct::Value;
use crate::pg::error::required;
use crate::pg::transaction::{self, Mode};
use crate::pg::usual::{self, Call, Returned};
use crate::pg::{procedure, session, spi, user, waiters};
use crate::pipeline::scope;

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

/// Whether the arguments can be those of the usual call; all else is judged, and refused, by the statements.
fn is_usual(worker: Option<&str>, lease: Option<&Interval>, wait: Option<&Interval>) -> bool {
    let parts = |i: &Interval| [i64::from(i.months()), i64::from(i.days()), i.micros()];
    let lasts = |i: &Interval| parts(i).iter().all(|part| *part >= 0) && parts(i) != [0; 3];
    let waits = |i: &Interval| parts(i)[..2] == [0; 2] && (0..=60_000_000).contains(&i.micros());
    worker.is_none_or(|w| !w.trim_matches(' ').is_empty()) && lease.is_none_or(lasts) && wait.is_none_or(waits)
}

/// Raises unless the caller may consume the stream. What superusers are asked need not be looked up.
fn may_consume(pipeline_id: i32, stream: &str) -> Result<(), Error> {
    if user::is_superuser_undisguised() {
        return Ok(());
    }
    scope::catalog(|| turn::may_consume(pipeline_id, stream))
}

fn usual_next_chunk(call: &Call) -> Result<Option<Returned>, Error> {
    let (Some(stream), Some(consumer)) = (call.argument::<&str>(0), call.argument::<&str>(1)) else {
        return Ok(None);
    };
    let (worker, lease, wait) = (call.argument::<&str>(2), call.argument(3), call.argument(4));
    if !call.takes_a_row() || !is_usual(worker, lease.as_ref(), wait.as_ref()) {
        return Ok(None);
    }
    let Some(leased) = turn::lease_next(stream, consumer, worker, lease)? else { return Ok(None) };
    may_consume(leased.pipeline_id, stream)?;
    let nothing = || Value::from(None::<i64>);
    let row = call.row([
        leased.chunk_no.into(),
        leased.token.into(),
        leased.epoch.into(),
        1i32.into(),
        false.into(),
        leased.row_count.into(),
        leased.sealed_at.into(),
        leased.lease_until.into(),
        nothing(),
        nothing(),
        nothing(),
        leased.generation.into(),
    ])?;
    Ok(Some(row))
}
usual::function!(next_chunk_wrapper, pg_finfo_next_chunk_wrapper, usual_next_chunk);

fn usual_ack(call: &Call) -> Result<Option<Returned>, Error> {
    let (Some(stream), Some(consumer), Some(chunk_no)) =
        (call.argument::<&str>(0), call.argument::<&str>(1), call.argument(2))
    else {
        return Ok(None);
    };
    let Some(pipeline_id) = turn::ack_leased(stream, consumer, chunk_no, call.argument(3))? else { return Ok(None) };
    may_consume(pipeline_id, stream)?;
    Ok(Some(call.value("acked")?))
}
usual::function!(ack_wrapper, pg_finfo_ack_wrapper, usual_ack);
