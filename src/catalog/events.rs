//! The log of what happened, for people.

use serde_json::Value;

use crate::model::Result;
use crate::pg::spi;

pub fn record(
    pipeline: &str,
    kind: &str,
    subject: Option<&str>,
    message: Option<&str>,
    detail: Option<&Value>,
) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.event (pipeline, kind, subject, message, detail) VALUES ($1, $2, $3, $4, $5::jsonb)",
        vec![pipeline.into(), kind.into(), subject.into(), message.into(), detail.map(Value::to_string).into()],
    )?;
    Ok(())
}

/// The same kind of event of many subjects, each with a message, at once.
pub fn record_each(pipeline: &str, kind: &str, subjects: Vec<String>, messages: Vec<String>) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.event (pipeline, kind, subject, message)
         SELECT $1, $2, subject, message
           FROM ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[])) AS new (subject, message)",
        vec![pipeline.into(), kind.into(), subjects.into(), messages.into()],
    )?;
    Ok(())
}
