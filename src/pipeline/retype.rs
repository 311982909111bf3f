//! Columns whose type changes in the source: the staging column is widened where that is safe, else the pipeline stops.
//!
//! Promises: a column is only ever given a type that holds every value that it has and every value that comes; the change is made before
//! the chunk that needs it, in a transaction of its own, on all tables of the pipeline. What is computed from a column keeps it as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgrx::pg_sys::Oid;

use crate::catalog::{aggregates, events, pipelines};
use crate::convert::typed::column_type;
use crate::convert::{Row, widening};
use crate::model::options::OnNewColumn;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::settings::{self, Scope};
use crate::pg::transaction::{self, Mode};
use crate::pg::{relation, spi};
use crate::pipeline::columns::{Match, StagingColumn};
use crate::pipeline::delta::NO_FILE;
use crate::pipeline::read::{Piece, Read};
use crate::pipeline::{evolve, scope};

/// As long as for a column that is added; the tables are written anew meanwhile.
const PATIENCE: &str = "3s";

/// A column and the type that it is to have.
struct Wider {
    name: String,
    from: String,
    to: String,
    file: String,
}

/// Looks whether the columns can hold what was read. True: some were widened just now, so that it is to be read again.
pub fn settle(mode: Mode, pipeline: &Pipeline, columns: &[StagingColumn], read: &Read) -> Result<bool> {
    let mut wider = Vec::new();
    let mut types = None;
    if matches!(pipeline.format.as_str(), "parquet" | "delta") && !read.pieces.is_empty() {
        let known = transaction::run(mode, || scope::catalog(|| pipelines::source_types(pipeline.id)))?;
        let mut now = known.clone();
        by_type(mode, pipeline, columns, read, &mut now, &mut wider)?;
        types = (now != known).then_some(now);
    } else if pipeline.options.on_new_column == OnNewColumn::Add {
        by_value(columns, read, &mut wider);
    }
    if wider.is_empty() && types.is_none() {
        return Ok(false);
    }
    if let Some(first) = wider.first() {
        require_free(mode, pipeline, first, &wider)?;
    }
    transaction::run(mode, || {
        // Behind the lock under which chunks are sealed.
        scope::catalog(|| pipelines::lock_position(pipeline.id))?;
        scope::owner(pipeline, || wider.iter().try_for_each(|w| widen(pipeline, w)))?;
        scope::catalog(|| {
            if let Some(types) = &types {
                pipelines::set_source_types(pipeline.id, types)?;
            }
            wider.iter().try_for_each(|w| {
                let what = format!("{} from {} to {}, for file {}", w.name, w.from, w.to, w.file);
                events::record(&pipeline.name, "column_widened", Some(&w.name), Some(&what), None)
            })
        })
    })?;
    Ok(!wider.is_empty())
}

/// Of files that say what type a column has: what is another than before.
fn by_type(
    mode: Mode,
    pipeline: &Pipeline,
    columns: &[StagingColumn],
    read: &Read,
    known: &mut BTreeMap<String, String>,
    wider: &mut Vec<Wider>,
) -> Result<()> {
    let mut seen: Option<&Arc<Match>> = None;
    for piece in &read.pieces {
        if seen.is_some_and(|seen| Arc::ptr_eq(seen, &piece.matched)) {
            continue;
        }
        seen = Some(&piece.matched);
        if file_of(piece, read) == NO_FILE {
            // Rows of staging itself, as text.
            continue;
        }
        for (t, target) in piece.matched.targets.iter().enumerate() {
            let schema = piece.batch.fields.schema_ref();
            let field = piece.matched.mapping[t].and_then(|source| schema.fields().get(source));
            let (Some(field), Some(column)) = (field, columns.iter().find(|c| c.column.name == target.name)) else {
                continue;
            };
            let new = column_type(field);
            let Some(old) = known.get(&target.name) else {
                known.insert(target.name.clone(), new);
                continue;
            };
            let held = wider.iter().any(|w| w.name == target.name && w.to == new);
            if *old == new || held || widening::holds(&column.kind, &column.column.type_name, &new) {
                continue;
            }
            // There values that do not fit are kept beside the others.
            let rescues = piece.matched.rescued.is_some();
            match widening::widened(&column.kind, &new).filter(|_| pipeline.options.on_new_column != OnNewColumn::Fail)
            {
                Some(to) => push(wider, column, to, file_of(piece, read)),
                None if rescues => {}
                None if is_accepted(mode, pipeline)? => {}
                None => return Err(incompatible(columns, piece, read, &target.name, old, &new)),
            }
            known.insert(target.name.clone(), new);
        }
    }
    Ok(())
}

fn is_accepted(mode: Mode, pipeline: &Pipeline) -> Result<bool> {
    transaction::run(mode, || {
        scope::catalog(|| {
            let head = pipelines::position(pipeline.id)?.map_or(0, |position| position.head);
            pipelines::is_accepted(pipeline.id, head + 1)
        })
    })
}

/// Of text: whole numbers that are too big for their column, and numbers with a fraction.
fn by_value(columns: &[StagingColumn], read: &Read, wider: &mut Vec<Wider>) {
    for piece in &read.pieces {
        let doubtful = || piece.encoded.rows.iter().enumerate().filter(|(_, row)| !matches!(row, Row::Ready { .. }));
        for (t, target) in piece.matched.targets.iter().enumerate() {
            let Some(source) = piece.matched.mapping[t] else { continue };
            let Some(most) = widening::most_of(&target.kind) else { continue };
            let values = doubtful().filter_map(|(row, _)| piece.batch.text(source, row));
            let needed = widening::needed(values, most);
            if let (Some(to), Some(column)) = (needed, columns.iter().find(|c| c.column.name == target.name)) {
                push(wider, column, to.into(), file_of(piece, read));
            }
        }
    }
}

/// Asks for a type; of several for one column that which holds all of them. Where none does, the first: the next look, at the column as it
/// is then, finds what the others can't be.
fn push(wider: &mut Vec<Wider>, column: &StagingColumn, to: String, file: String) {
    match wider.iter_mut().find(|w| w.name == column.column.name) {
        Some(known) => {
            if let Some(both) = widening::of_both(&known.to, &to) {
                known.to = both;
            }
        }
        None => wider.push(Wider { name: column.column.name.clone(), from: column.column.type_name.clone(), to, file }),
    }
}

fn file_of(piece: &Piece, read: &Read) -> String {
    read.parts.get(piece.part).map(|p| p.path.clone()).unwrap_or_default()
}

fn incompatible(columns: &[StagingColumn], piece: &Piece, read: &Read, name: &str, old: &str, new: &str) -> Error {
    let fields = piece.batch.fields.schema_ref().fields();
    let of_file: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name(), column_type(f))).collect();
    let file = file_of(piece, read);
    Error::new(
        Code::Stopped,
        format!("column \"{name}\" of file {file} is {new} and was {old}: the staging column can't hold that"),
    )
    .detail(format!("The file's columns are {}; those of the table are {}.", of_file.join(", "), evolve::of_table(columns)))
    .hint("Alter the staging column, or mend the source, then millrace.resume; millrace.accept_chunk lets values be judged one by one.")
}

/// What depends on a column's type is computed anew by whoever made it, and not changed behind their back.
fn require_free(mode: Mode, pipeline: &Pipeline, first: &Wider, wider: &[Wider]) -> Result<()> {
    let stopped = |w: &Wider, what: String| {
        Err(Error::new(Code::Stopped, format!("column \"{}\" should become {} and can't: {what}", w.name, w.to))
            .detail(format!("It is {}, and file {} has values that need the wider type.", w.from, w.file))
            .hint("Drop what depends on it, millrace.resume, and create it again; or millrace.alter_pipeline with \"on_new_column\": \"ignore\", which makes such values rejects."))
    };
    if pipeline.input.is_some() {
        return Ok(());
    }
    if pipeline.semi_processed.is_some() {
        return stopped(first, "the semi-processed layer has the column as it is".into());
    }
    let kept = transaction::run(mode, || scope::catalog(|| aggregates::of_pipeline(pipeline.id)))?;
    for w in wider {
        let uses = |query: &str| {
            let mut words = query.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
            words.any(|word| word == w.name)
                || spi::ident(&w.name).starts_with('"') && query.contains(&spi::ident(&w.name))
        };
        if let Some(aggregate) = kept.iter().find(|a| uses(&a.plan.query)) {
            return stopped(w, format!("aggregate \"{}\" is computed from it", aggregate.name));
        }
    }
    Ok(())
}

fn widen(pipeline: &Pipeline, wider: &Wider) -> Result<()> {
    let _settings = Scope::nested();
    settings::set_local("lock_timeout", PATIENCE)?;
    let beside = [pipeline.changes, pipeline.replaced, pipeline.incoming];
    let tables: Vec<u32> = match pipeline.input {
        Some(input) => vec![input],
        None => beside.into_iter().flatten().chain([pipeline.staging]).collect(),
    };
    let graves: Option<bool> = match pipeline.deleted {
        Some(deleted) => spi::value(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 AND NOT attisdropped)",
            vec![Oid::from(deleted).into(), wider.name.as_str().into()],
        )?,
        None => None,
    };
    for table in tables.into_iter().chain(pipeline.deleted.filter(|_| graves == Some(true))) {
        let table = relation::by_oid(Oid::from(table))?.ok_or_else(|| {
            Error::new(Code::WrongState, "a table of the pipeline is gone").hint("Restore it, or drop the pipeline.")
        })?;
        spi::execute_once(&format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE {}",
            table.qualified(),
            spi::ident(&wider.name),
            wider.to
        ))?;
    }
    Ok(())
}
