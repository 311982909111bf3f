//! Columns whose type changes in the source: the staging column is widened where that is safe, else the pipeline stops.
//!
//! Promises: a column is only ever given a type that holds every value that it has and every value that comes; the change is made before
//! the chunk that needs it, in a transaction of its own, on all tables of the pipeline. What is computed from a column keeps it as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgrx::pg_sys::Oid;

use crate::catalog::{aggregates, events, pipelines};
use crate::convert::typed::column_type;
use crate::convert::{Kind, Row};
use crate::model::options::OnNewColumn;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::settings::{self, Scope};
use crate::pg::transaction::{self, Mode};
use crate::pg::{relation, spi};
use crate::pipeline::columns::{Match, StagingColumn};
use crate::pipeline::delta::NO_FILE;
use crate::pipeline::read::{Piece, Read};
use crate::pipeline::scope;

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
            if *old == new || held || holds(column, &new) {
                continue;
            }
            // There values that do not fit are kept beside the others.
            let rescues = piece.matched.rescued.is_some();
            match widened(column, &new).filter(|_| pipeline.options.on_new_column != OnNewColumn::Fail) {
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
            let Some(most) = most_of(&target.kind) else { continue };
            let needed = doubtful().filter_map(|(row, _)| needed(piece.batch.text(source, row)?.trim(), most)).max();
            if let (Some(needed), Some(column)) = (needed, columns.iter().find(|c| c.column.name == target.name)) {
                let to = ["", "integer", "bigint", "numeric"][needed];
                push(wider, column, to.into(), file_of(piece, read));
            }
        }
    }
}

/// The greatest value of a type of whole numbers.
fn most_of(kind: &Kind) -> Option<i128> {
    match kind {
        Kind::Int2 => Some(i128::from(i16::MAX)),
        Kind::Int4 => Some(i128::from(i32::MAX)),
        Kind::Int8 => Some(i128::from(i64::MAX)),
        _ => None,
    }
}

/// Which type a number needs that one up to `most` does not hold: 1 integer, 2 bigint, 3 numeric.
fn needed(text: &str, most: i128) -> Option<usize> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits.contains('.') {
        return Some(3);
    }
    let value = text.parse::<i128>().unwrap_or(i128::MAX);
    if (-most - 1..=most).contains(&value) {
        return None;
    }
    let within = |most: i128| (-most - 1..=most).contains(&value);
    Some(if within(i128::from(i32::MAX)) {
        1
    } else if within(i128::from(i64::MAX)) {
        2
    } else {
        3
    })
}

fn push(wider: &mut Vec<Wider>, column: &StagingColumn, to: String, file: String) {
    let rank = |type_name: &str| ["smallint", "integer", "bigint", "numeric"].iter().position(|t| *t == type_name);
    match wider.iter_mut().find(|w| w.name == column.column.name) {
        // The widest of all that are asked for.
        Some(known) if rank(&to) > rank(&known.to) => known.to = to,
        Some(_) => {}
        None => wider.push(Wider { name: column.column.name.clone(), from: column.column.type_name.clone(), to, file }),
    }
}

fn file_of(piece: &Piece, read: &Read) -> String {
    read.parts.get(piece.part).map(|p| p.path.clone()).unwrap_or_default()
}

fn decimal(type_name: &str) -> Option<(i32, i32)> {
    let (p, s) = type_name.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    Some((p.parse().ok()?, s.parse().ok()?))
}

/// Digits before the point that a type of whole numbers may need.
fn digits(type_name: &str) -> Option<i32> {
    Some(match type_name {
        "smallint" => 5,
        "integer" => 10,
        "bigint" => 19,
        _ => return None,
    })
}

/// True where the column holds every value of a type as it is.
fn holds(column: &StagingColumn, new: &str) -> bool {
    if column.column.type_name == new {
        return true;
    }
    match column.kind {
        Kind::Text { max_chars: None } | Kind::Json | Kind::Jsonb => true,
        Kind::Int4 => new == "smallint",
        Kind::Int8 => matches!(new, "smallint" | "integer"),
        Kind::Numeric { precision: None, .. } => digits(new).is_some() || decimal(new).is_some(),
        Kind::Numeric { precision: Some(p), scale } => {
            let (p, s) = (i32::from(p), i32::from(scale));
            digits(new).is_some_and(|n| n <= p - s) || decimal(new).is_some_and(|(p2, s2)| s2 <= s && p2 - s2 <= p - s)
        }
        Kind::Float8 => matches!(new, "smallint" | "integer" | "real"),
        Kind::Float4 => new == "smallint",
        Kind::Timestamp => new == "date",
        _ => false,
    }
}

/// The type that holds what the column has and what comes, if there is one.
fn widened(column: &StagingColumn, new: &str) -> Option<String> {
    Some(match column.kind {
        Kind::Int2 | Kind::Int4 | Kind::Int8 if digits(new).is_some() => new.into(),
        Kind::Int2 | Kind::Int4 | Kind::Int8 if decimal(new).is_some() => "numeric".into(),
        Kind::Int2 | Kind::Int4 if new == "double precision" => new.into(),
        Kind::Float4 if new == "double precision" => new.into(),
        Kind::Date if new == "timestamp without time zone" => new.into(),
        Kind::Numeric { precision: Some(p), scale } => {
            let (p, s) = (i32::from(p), i32::from(scale));
            let (before, behind) = digits(new).map(|n| (n, 0)).or(decimal(new).map(|(p2, s2)| (p2 - s2, s2)))?;
            let (before, behind) = (before.max(p - s), behind.max(s));
            format!("numeric({},{behind})", before + behind)
        }
        _ => return None,
    })
}

fn incompatible(columns: &[StagingColumn], piece: &Piece, read: &Read, name: &str, old: &str, new: &str) -> Error {
    let of_table: Vec<String> = columns.iter().map(|c| format!("{} {}", c.column.name, c.column.type_name)).collect();
    let fields = piece.batch.fields.schema_ref().fields();
    let of_file: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name(), column_type(f))).collect();
    let file = file_of(piece, read);
    Error::new(
        Code::Stopped,
        format!("column \"{name}\" of file {file} is {new} and was {old}: the staging column can't hold that"),
    )
    .detail(format!("The file's columns are {}; those of the table are {}.", of_file.join(", "), of_table.join(", ")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_the_smallest_type_that_holds_it() {
        let most = i128::from(i32::MAX);
        for (text, type_no) in [
            ("2147483647", None),
            ("2147483648", Some(2)),
            ("-2147483649", Some(2)),
            ("9223372036854775808", Some(3)),
            ("1.5", Some(3)),
            ("abc", None),
            ("1e3", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(needed(text, most), type_no, "{text}");
        }
        assert_eq!(needed("32768", i128::from(i16::MAX)), Some(1));
    }
}
