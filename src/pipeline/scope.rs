//! With whose rights and under which settings our SQL runs.
//!
//! The catalog is written as the extension's owner, pipelines' own tables as the pipeline's owner and restricted, so that what
//! users put there (triggers, defaults, constraints) never runs with more rights than theirs.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pgrx::pg_sys::Oid;

use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::settings::{self, Scope};
use crate::pg::unchanged::{self, Kept};
use crate::pg::user::Acting;
use crate::pg::{gucs, spi};

fn extension_owner() -> Result<Oid> {
    thread_local! {
        static OWNER: RefCell<Kept<(), Oid>> = RefCell::default();
    }
    // Nobody can change it, and to drop the extension drops its tables.
    let ask =
        |_: &()| spi::read_value("SELECT extowner FROM pg_catalog.pg_extension WHERE extname = 'pg_millrace'", vec![]);
    unchanged::or_ask(&OWNER, (), ask)?.ok_or_else(|| {
        Error::new(Code::WrongState, "extension pg_millrace is not installed in this database")
            .hint("CREATE EXTENSION pg_millrace;")
    })
}

/// True where the extension is installed, so that there are tables to work on.
pub fn installed() -> Result<bool> {
    let found: Option<bool> =
        spi::read_value("SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_millrace')", vec![])?;
    Ok(found == Some(true))
}

/// Works on the tables of schema millrace.
pub fn catalog<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    let _settings = Scope::pin(&BTreeMap::new())?;
    let _acting = Acting::r#as(extension_owner()?, false);
    f()
}

/// Works on a pipeline's own tables.
pub fn owner<R>(pipeline: &Pipeline, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let _settings = Scope::pin(&pipeline.settings)?;
    let _acting = Acting::r#as(Oid::from(pipeline.owner), true);
    f()
}

/// For one statement over a chunk's rows, until what it gives is dropped: a part of the memory that rows on their way may take (one sort,
/// and a hash table or two), and no compiling, which such statements never make up for.
pub fn for_rows_on_their_way() -> Result<Scope> {
    let scope = Scope::nested();
    settings::set_local("work_mem", &format!("{}kB", (gucs::work_mem_bytes() / 1024 / 8).max(4_096)))?;
    settings::set_local("jit", "off")?;
    Ok(scope)
}
