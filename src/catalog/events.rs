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
