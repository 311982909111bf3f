//! Which server and database this is, so that a copy can be told from the original.
//!
//! Promise: a base backup, a restored dump and a database made from a template each differ from what they were made of; a restart, a crash and
//! a change of name do not.

use std::ffi::CStr;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use pgrx::pg_sys;
use serde::Deserialize;

use crate::model::{Code, Error, Result};

/// Base backups leave out what begins like the server's temporary files, so that this one stays with its directory.
const MARK: &str = "pgsql_tmp_millrace";

/// What a pipeline's lake is written from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Home {
    /// As text: it does not fit into what SQL has for integers.
    pub system_identifier: String,
    pub database: i64,
    pub timeline: i64,
    /// What the data directory's mark says.
    pub mark: String,
}

/// Where we are. Not on a standby: nothing is written there.
pub fn here() -> Result<Home> {
    // SAFETY: plain reads of values that are fixed, or kept under locks of their own, once recovery is over.
    let (system, database, timeline) =
        unsafe { (pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId, pg_sys::GetWALInsertionTimeLine()) };
    let mark = mark().map_err(|e| {
        Error::new(Code::Io, "cannot mark the data directory as the one that pipelines work from")
            .detail(format!("File {MARK}: {e}"))
            .hint("The server must be able to write into its data directory.")
    })?;
    Ok(Home {
        system_identifier: system.to_string(),
        database: i64::from(database.to_u32()),
        timeline: i64::from(timeline),
        mark,
    })
}

/// The data directory's mark; made where there is none.
fn mark() -> io::Result<String> {
    // SAFETY: DataDir is set before anything of ours runs and is NUL-terminated.
    let directory = PathBuf::from(unsafe { CStr::from_ptr(pg_sys::DataDir) }.to_string_lossy().into_owned());
    let path = directory.join(MARK);
    match fs::read_to_string(&path) {
        Ok(mark) => return Ok(mark),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mark = uuid::Uuid::new_v4().to_string();
    let temporary = directory.join(format!("{MARK}.{mark}"));
    let mut file = fs::File::create_new(&temporary)?;
    file.write_all(mark.as_bytes())?;
    file.sync_all()?;
    // Unlike a rename, a link fails where another process was faster.
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(&path),
        Err(e) => Err(e),
        Ok(()) => fs::File::open(&directory).and_then(|directory| directory.sync_all()).map(|()| mark),
    }
}
