//! Files whose columns are not those of the staging table: what option `on_new_column` says.
//!
//! Promises: the schema is changed before a chunk that needs it is loaded or landed, in a transaction of its own, on all tables of the
//! pipeline at once; the chunk is then read again. A column that can't be added stops the pipeline, with both schemas in its reason.

use std::sync::Arc;

use pgrx::pg_sys::Oid;

use crate::catalog::staging::{CHUNK_NO, ROW_NO};
use crate::catalog::{events, keyed, pipelines};
use crate::convert::identifier::folded;
use crate::convert::typed::column_type;
use crate::model::options::OnNewColumn;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::settings::{self, Scope};
use crate::pg::transaction::{self, Mode};
use crate::pg::{relation, spi};
use crate::pipeline::columns::{Match, RESCUED, StagingColumn};
use crate::pipeline::read::Read;
use crate::pipeline::{retype, scope};

/// How long adding a column waits for those who use the table; who reads it waits as long behind us. It is tried again later.
const PATIENCE: &str = "3s";

/// Names that every table has, or that are ours.
const TAKEN: [&str; 10] = [CHUNK_NO, ROW_NO, keyed::OP, RESCUED, "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// A column that the staging table has not.
struct New {
    name: String,
    type_name: String,
    file: String,
}

/// Looks whether all columns of what was read have their place. True: some were given one just now, so that it is to be read again.
pub fn settle(mode: Mode, pipeline: &Pipeline, columns: &[StagingColumn], read: &Read) -> Result<bool> {
    if retype::settle(mode, pipeline, columns, read)? {
        return Ok(true);
    }
    let wanted = pipeline.options.on_new_column;
    if !matches!(wanted, OnNewColumn::Add | OnNewColumn::Fail) {
        return Ok(false);
    }
    let new = new_columns(columns, read);
    let Some(first) = new.first() else { return Ok(false) };
    let unusable = new.iter().find(|n| TAKEN.contains(&n.name.as_str()));
    if wanted == OnNewColumn::Fail || unusable.is_some() {
        let names: Vec<&str> = new.iter().map(|n| n.name.as_str()).collect();
        let message = match unusable {
            Some(n) => format!("column \"{}\" of file {} can't be added: the name is taken", n.name, n.file),
            None => format!("file {} has columns that the staging table has not: {}", first.file, names.join(", ")),
        };
        return Err(Error::new(Code::Stopped, message)
            .detail(format!("The file's columns are {}; those of the table are {}.", of_file(read, &first.file), of_table(columns)))
            .hint("Set option \"on_new_column\" to add, rescue or ignore with millrace.alter_pipeline, or mend the file; then millrace.resume."));
    }
    transaction::run(mode, || {
        // Behind the lock under which chunks are sealed.
        scope::catalog(|| pipelines::lock_position(pipeline.id))?;
        scope::owner(pipeline, || add(pipeline, &new))?;
        scope::catalog(|| {
            new.iter().try_for_each(|n| {
                let what = format!("{} {}, first seen in file {}", n.name, n.type_name, n.file);
                events::record(&pipeline.name, "column_added", Some(&n.name), Some(&what), None)
            })
        })
    })?;
    Ok(true)
}

/// Each once, in the order in which they were seen.
fn new_columns(columns: &[StagingColumn], read: &Read) -> Vec<New> {
    let mut found: Vec<New> = Vec::new();
    let mut seen: Option<&Arc<Match>> = None;
    for piece in &read.pieces {
        if seen.is_some_and(|seen| Arc::ptr_eq(seen, &piece.matched)) {
            continue;
        }
        seen = Some(&piece.matched);
        for field in piece.matched.extra.iter().filter_map(|i| piece.batch.fields.schema_ref().fields().get(*i)) {
            let known =
                |name: &str| columns.iter().any(|c| c.column.name == name) || found.iter().any(|f| f.name == name);
            // Two columns of a file that differ by case alone: the second keeps its own spelling.
            let twin = piece
                .batch
                .fields
                .schema_ref()
                .fields()
                .iter()
                .filter(|f| folded(f.name()) == folded(field.name()))
                .count()
                > 1;
            let name = folded(field.name());
            let name = if twin && known(&name) { field.name().clone() } else { name };
            if !known(&name) {
                let file = read.parts.get(piece.part).map(|p| p.path.clone()).unwrap_or_default();
                found.push(New { name, type_name: column_type(field), file });
            }
        }
    }
    found
}

fn of_file(read: &Read, path: &str) -> String {
    read.parts.iter().find(|p| p.path == path).map(|p| p.columns.join(", ")).unwrap_or_default()
}

/// The staging table's columns, for a message.
pub(super) fn of_table(columns: &[StagingColumn]) -> String {
    columns.iter().map(|c| format!("{} {}", c.column.name, c.column.type_name)).collect::<Vec<_>>().join(", ")
}

fn add(pipeline: &Pipeline, new: &[New]) -> Result<()> {
    let _settings = Scope::nested();
    settings::set_local("lock_timeout", PATIENCE)?;
    let tables = [Some(pipeline.staging), pipeline.changes, pipeline.replaced, pipeline.incoming];
    for table in tables.into_iter().flatten() {
        let table = relation::by_oid(Oid::from(table))?.ok_or_else(|| {
            Error::new(Code::WrongState, "a table of the pipeline is gone").hint("Restore it, or drop the pipeline.")
        })?;
        for column in new {
            // Somebody else may have been quicker.
            spi::execute_once(&format!(
                "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}",
                table.qualified(),
                spi::ident(&column.name),
                column.type_name
            ))?;
        }
    }
    Ok(())
}
