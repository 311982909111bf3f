//! From which server and database each pipeline works.

use crate::model::Result;
use crate::pg::home::Home;
use crate::pg::spi;

/// Where a pipeline works from; `None` where nothing is noted.
pub fn of(pipeline_id: i32) -> Result<Option<Home>> {
    let found = spi::read(
        "SELECT h.system_identifier, h.database, h.timeline, h.mark FROM millrace.home AS h WHERE h.pipeline_id = $1",
        vec![pipeline_id.into()],
    )?;
    Ok(found.into_iter().next())
}

pub fn note(pipeline_id: i32, home: &Home) -> Result<()> {
    spi::execute(
        "INSERT INTO millrace.home (pipeline_id, system_identifier, database, timeline, mark) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (pipeline_id) DO UPDATE SET system_identifier = $2, database = $3, timeline = $4, mark = $5, since = pg_catalog.clock_timestamp()",
        vec![
            pipeline_id.into(),
            home.system_identifier.as_str().into(),
            home.database.into(),
            home.timeline.into(),
            home.mark.as_str().into(),
        ],
    )?;
    Ok(())
}

/// True where this server has a database of that number.
pub fn has_database(oid: i64) -> Result<bool> {
    let found =
        spi::read_value("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE oid::bigint = $1)", vec![oid.into()])?;
    Ok(found.unwrap_or(false))
}
