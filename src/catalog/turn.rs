//! The turn that nearly every chunk takes: the next one of an ordered consumer, leased for the first time, and its ack.
//!
//! Promises: does exactly what the statements of sql/schema/43 and 44 would do, or nothing at all and says so; those are asked then, so they
//! alone know what is not usual. Never checks rights: who calls has that done, by `may_consume`.

use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::{JsonB, Uuid};

use crate::model::{Code, Error, Result};
use crate::pg::direct::{self, Access, Key, Seen, Table};
use crate::pg::{builtin, session, spi};

/// Acked and skipped deliveries that are kept before the oldest are purged: millrace._closed (sql/schema/44) does that with the next one.
const KEPT: i32 = 163;

/// A chunk that was never handed out before, and is now.
pub struct Lease {
    pub pipeline_id: i32,
    pub chunk_no: i64,
    pub token: Uuid,
    pub epoch: i64,
    pub row_count: i64,
    pub sealed_at: TimestampWithTimeZone,
    pub lease_until: TimestampWithTimeZone,
    pub generation: i32,
}

/// Leases the next chunk, if it can be had at once.
pub fn lease_next(
    stream: &str,
    consumer: &str,
    worker: Option<&str>,
    lease: Option<Interval>,
) -> Result<Option<Lease>> {
    let mut cursor = Table::open(c"consumer", c"consumer_name", Access::Write)?;
    // The index holds no dropped consumers and no slots.
    let usual = cursor.find([Key::Text(stream), Key::Text(consumer)], Seen::Statement)?
        && cursor.given::<String>("state")? == "active"
        && cursor.given::<String>("mode")? == "ordered"
        && cursor.given::<String>("layer")? != "rejects"
        && cursor.given::<i32>("redriven")? == 0;
    if !usual {
        return Ok(None);
    }
    let chunk_no = cursor.given::<i64>("acked_through")? + 1;
    if cursor.value::<i64>("until_chunk")?.is_some_and(|last| chunk_no > last) {
        return Ok(None);
    }
    let mut chunk = Table::open(c"chunk", c"chunk_pkey", Access::Read)?;
    let pipeline_id = cursor.given::<i32>("pipeline_id")?;
    let there = chunk.find([Key::Int4(pipeline_id), Key::Int8(chunk_no)], Seen::Statement)?
        && chunk.given::<i64>("row_count")? > 0
        && (cursor.given::<bool>("backfills")? || chunk.given::<i32>("generation")? == 0);
    if !there {
        return Ok(None);
    }
    let mut delivery = Table::open(c"delivery", c"delivery_pkey", Access::Write)?;
    let id = cursor.given::<i32>("id")?;
    let place = [Key::Int4(id), Key::Int8(chunk_no)];
    // Before the lock, for a look at what somebody else has must stay a read.
    if delivery.find(place, Seen::Statement)? {
        return Ok(None);
    }
    direct::about_to_write(c"next_chunk()");
    // Under the lock once more: another first lease leaves the consumer's row as it was.
    if !cursor.lock_or_skip() || delivery.find(place, Seen::Now)? {
        return Ok(None);
    }
    let begun = builtin::clock_timestamp()?;
    let lease = match lease {
        Some(lease) => lease,
        None => cursor.given::<Interval>("lease")?,
    };
    let me = session::id();
    let leased = Lease {
        pipeline_id,
        chunk_no,
        token: builtin::gen_random_uuid()?,
        epoch: cursor.given("epoch")?,
        row_count: chunk.given("row_count")?,
        sealed_at: chunk.given("sealed_at")?,
        lease_until: builtin::later(begun, lease)?,
        generation: chunk.given("generation")?,
    };
    delivery.insert([
        ("consumer_id", id.into()),
        ("chunk_no", chunk_no.into()),
        ("state", "leased".into()),
        ("token", leased.token.into()),
        ("worker", worker.unwrap_or(&me).into()),
        ("session", me.as_str().into()),
        ("epoch", leased.epoch.into()),
        ("attempt", 1i32.into()),
        ("replay_no", cursor.given::<i32>("replay_no")?.into()),
        ("takeovers", 0i32.into()),
        ("handed_out", 1i32.into()),
        ("lease", lease.into()),
        ("leased_at", begun.into()),
        ("lease_until", leased.lease_until.into()),
        ("history", JsonB(serde_json::Value::Array(vec![])).into()),
        ("generation", leased.generation.into()),
        ("row_count", leased.row_count.into()),
        ("sealed_at", leased.sealed_at.into()),
    ])?;
    Ok(Some(leased))
}

/// Raises unless the session's role may consume the stream.
pub fn may_consume(pipeline_id: i32, stream: &str) -> Result<()> {
    spi::execute("SELECT millrace._may_consume($1, $2)", vec![pipeline_id.into(), stream.into()])?;
    Ok(())
}

/// Acks the chunk that is next, if it is leased by this token, or without one by this session: the pipeline of the consumer.
pub fn ack_leased(stream: &str, consumer: &str, chunk_no: i64, token: Option<Uuid>) -> Result<Option<i32>> {
    let mut cursor = Table::open(c"consumer", c"consumer_name", Access::Write)?;
    let usual = cursor.find([Key::Text(stream), Key::Text(consumer)], Seen::Statement)?
        && cursor.given::<String>("mode")? == "ordered"
        && cursor.given::<i64>("acked_through")? == chunk_no - 1
        && cursor.given::<i32>("closed_kept")? < KEPT;
    if !usual {
        return Ok(None);
    }
    let mut delivery = Table::open(c"delivery", c"delivery_pkey", Access::Write)?;
    let id = cursor.given::<i32>("id")?;
    let leased = delivery.find([Key::Int4(id), Key::Int8(chunk_no)], Seen::Statement)?
        && delivery.given::<String>("state")? == "leased"
        && delivery.value::<i64>("rows_end")?.is_none()
        && match token {
            Some(token) => delivery.given::<Uuid>("token")? == token,
            None => delivery.value::<String>("session")? == Some(session::id()),
        };
    if !leased {
        return Ok(None);
    }
    direct::about_to_write(c"ack()");
    let now = builtin::clock_timestamp()?;
    // A delivery that is there changes only together with its consumer's row. Where that is still as it was seen, so is the delivery.
    let moved = cursor.update([
        ("acked_through", chunk_no.into()),
        ("closed_kept", (cursor.given::<i32>("closed_kept")? + 1).into()),
        ("last_seen", now.into()),
    ])?;
    if !moved {
        return Ok(None);
    }
    if !delivery.update([("state", "acked".into()), ("closed_at", now.into())])? {
        let message =
            format!("chunk {chunk_no} of stream \"{stream}\" was changed by another session in the same moment");
        return Err(Error::new(Code::Internal, message).hint("Roll back and call ack again."));
    }
    cursor.value("pipeline_id")
}
