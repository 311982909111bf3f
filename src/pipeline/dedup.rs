//! Append pipelines that leave out rows which came before: `dedup_key` tells rows apart, `dedup_window` says how far back is looked.
//!
//! Promises: of rows with one key that come within the window the first is loaded, and the others are counted as duplicates; neither
//! aggregates nor consumers ever see them. What retention has removed is not known any more.

use pgrx::pg_sys::Oid;

use crate::catalog::{dedup as sql, keyed as tables, pipelines};
use crate::model::options::Options;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::{spi, subtransaction};
use crate::pipeline::load::{By, Refused, is_about_a_row};
use crate::pipeline::scope;

/// What comparing a chunk's rows came to.
pub struct Outcome {
    /// Rows that went in, by part of the chunk.
    pub fresh: Vec<i64>,
    pub refused: Vec<Refused>,
}

/// Where rows of a pipeline with a `dedup_key` wait to be compared.
pub fn incoming(pipeline: &Pipeline) -> Result<Option<Relation>> {
    let Some(oid) = pipeline.incoming.filter(|_| !pipeline.options.dedup_key.is_empty()) else { return Ok(None) };
    let found = relation::by_oid(Oid::from(oid))?;
    found.map(Some).ok_or_else(|| {
        Error::new(Code::WrongState, "the table …_incoming of the pipeline is gone")
            .detail("Rows wait there to be compared with those of earlier chunks.")
            .hint("Restore it, or drop the pipeline with millrace.drop_pipeline and create it anew.")
    })
}

/// Puts the rows that wait into `target`, but for duplicates. `first_rows`: the number of the first row of each part, `last`: that of
/// the last row of all.
pub fn merge(
    pipeline: &Pipeline,
    (incoming, target): (&Relation, &Relation),
    first_rows: &[i64],
    last: i64,
    chunk_no: i64,
) -> Result<Outcome> {
    let window = pipeline.options.dedup_window.unwrap_or_default();
    let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    let from = scope::catalog(|| sql::first_within(pipeline.id, window, chunk_no))?;
    let staging = relation::by_oid(Oid::from(pipeline.staging))?
        .ok_or_else(|| Error::new(Code::WrongState, "the staging table of the pipeline is gone"))?;
    let columns = tables::shape(Oid::from(staging.oid))?;
    let statement = sql::statement(target, &staging, incoming, &pipeline.options.dedup_key, &columns);
    let _settings = scope::for_rows_on_their_way()?;
    let mut outcome = Outcome { fresh: vec![0; first_rows.len()], refused: vec![] };
    range(&statement, from, (1, last), first_rows, &mut outcome)?;
    tables::empty(incoming)?;
    Ok(outcome)
}

/// A row that the table refuses makes it halve the range until it stands alone.
fn range(statement: &str, from: i64, rows: (i64, i64), first_rows: &[i64], outcome: &mut Outcome) -> Result<()> {
    let attempt = subtransaction::run(|| {
        let went_in: Option<Vec<Option<i64>>> = spi::value(statement, vec![from.into(), rows.0.into(), rows.1.into()])?;
        Ok(went_in.unwrap_or_default())
    });
    match attempt {
        Ok(went_in) => {
            for row_no in went_in.into_iter().flatten() {
                let part = first_rows.partition_point(|first| *first <= row_no).saturating_sub(1);
                outcome.fresh[part] += 1;
            }
        }
        Err(e) if !is_about_a_row(&e) => return Err(e),
        Err(error) if rows.0 == rows.1 => {
            outcome.refused.push(Refused { row_no: rows.0, error, by: By::Constraint });
        }
        Err(_) => {
            let middle = rows.0 + (rows.1 - rows.0) / 2;
            range(statement, from, (rows.0, middle), first_rows, outcome)?;
            range(statement, from, (middle + 1, rows.1), first_rows, outcome)?;
        }
    }
    Ok(())
}

/// Gives a pipeline that is there another key, its first, or none.
pub fn change(pipeline: &Pipeline, options: &Options) -> Result<()> {
    if options.dedup_key == pipeline.options.dedup_key {
        return Ok(());
    }
    if let Some(old) = pipeline.incoming.map(|oid| relation::by_oid(Oid::from(oid))).transpose()?.flatten() {
        scope::owner(pipeline, || spi::execute_once(&format!("DROP TABLE {}", old.qualified())))?;
    }
    let mut incoming = None;
    if !options.dedup_key.is_empty() {
        let staging = relation::by_oid(Oid::from(pipeline.staging))?
            .ok_or_else(|| Error::new(Code::WrongState, "the staging table of the pipeline is gone"))?;
        incoming = Some(scope::owner(pipeline, || sql::create(&staging, &options.dedup_key))?);
    }
    scope::catalog(|| pipelines::set_incoming(pipeline.id, incoming))
}
