//! With whose rights and under which settings our SQL runs.
//!
//! The catalog is written as the extension's owner, pipelines' own tables as the pipeline's owner and restricted, so that what
//! users put there (triggers, defaults, constraints) never runs with more rights than theirs.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::settings::{self, Scope};
use crate::pg::unchanged::{self, Kept};
use crate::pg::user::Acting;
use crate::pg::{error, gucs, spi};

#[derive(Clone)]
struct Extension {
    owner: Oid,
    /// Where tables and library are of two versions.
    to_update: Option<String>,
}

fn extension() -> Result<Extension> {
    thread_local! {
        static FOUND: RefCell<Kept<(), Extension>> = RefCell::default();
    }
    // Nobody can change its owner, to drop it drops its tables, and an update changes functions and views.
    let ask = |_: &()| {
        #[derive(Deserialize)]
        struct Row {
            owner: u32,
            version: String,
        }
        let sql = "SELECT extowner::bigint AS owner, extversion AS version FROM pg_catalog.pg_extension WHERE extname = 'pg_millrace'";
        let found: Option<Row> = spi::read(sql, vec![])?.pop();
        Ok(found.map(|row| Extension { owner: Oid::from(row.owner), to_update: what_to_update(&row.version) }))
    };
    unchanged::or_ask(&FOUND, (), ask)?.ok_or_else(|| {
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
    let Extension { owner, to_update } = extension()?;
    let _acting = Acting::r#as(owner, false);
    match to_update {
        None => f(),
        Some(hint) => error::hint_where_missing(&hint, f),
    }
}

/// What to do where tables and library are of two versions, as between an installation and the update: something that one knows may be missing
/// in the other.
fn what_to_update(extension: &str) -> Option<String> {
    let library = env!("CARGO_PKG_VERSION");
    let parts = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    match parts(extension).cmp(&parts(library)) {
        Ordering::Equal => None,
        Ordering::Less => Some(format!(
            "Version {library} of pg_millrace is installed, and this database still has {extension}: ALTER EXTENSION pg_millrace UPDATE;"
        )),
        Ordering::Greater => Some(format!(
            "This database has pg_millrace {extension}, and the library that is loaded is still {library}: restart the server."
        )),
    }
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
