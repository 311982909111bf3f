//! Keyed pipelines: staging holds the present state of each key, and a chunk is what changed.
//!
//! The good rows of a chunk are copied into the incoming table, with the casts, constraints and expectations of any load, and then
//! merged: one statement that works on all of them at once. Rows may also take a key away ([`Op::Delete`](crate::model::keyed::Op)):
//! whoever reads a change feed says so per row in `Piece::ops`.

use pgrx::pg_sys::Oid;

use crate::catalog::keyed::{self as sql, Merged, Places, Rule, Shape};
use crate::catalog::{pipelines, staging};
use crate::convert::identifier;
use crate::model::options::{OnChange, Options};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::relation::{self, Relation};
use crate::pg::settings::{self, Scope};
use crate::pg::{condition, spi, subtransaction};
use crate::pipeline::aggregates::Chunk;
use crate::pipeline::load::{By, Refused, is_about_a_row};
use crate::pipeline::scope;
use crate::pipeline::verify::{Check, count};

/// The columns of the options that name some, as the staging table has them.
pub fn settle(options: &mut Options, columns: &[String]) -> Result<()> {
    options.primary_key = identifier::find("primary_key", &options.primary_key, columns)?;
    options.order_by = identifier::find("order_by", &options.order_by, columns)?;
    options.dedup_key = identifier::find("dedup_key", &options.dedup_key, columns)?;
    Ok(())
}

/// The condition of option `delete_when` with its names qualified, so that it means the same in every session.
pub fn settle_condition(options: &mut Options, staging: Oid) -> Result<()> {
    if let Some(text) = &options.delete_when {
        let found = condition::analyze(text, staging)?;
        condition::check(&found.sql, staging)?;
        options.delete_when = Some(found.sql);
    }
    Ok(())
}

/// Makes the tables beside a staging table, and merges nothing into them: what can't be compared is found out now.
pub fn create(staging: &Relation, options: &Options) -> Result<sql::Beside> {
    let _settings = Scope::pin(&Default::default())?;
    sql::check_staging(staging, &options.primary_key)?;
    let mut beside = sql::create_beside(staging, options.partition_chunks())?;
    if keeps_deleted(options) {
        beside.deleted = Some(sql::create_deleted(staging, &options.primary_key, &options.order_by)?);
    }
    let keyed = Keyed::open(options, Oid::from(staging.oid), &beside, 1)?;
    sql::merge(&keyed.statement(Manner { deletes: true, every_row: true }, false), 1, &[1], None)?;
    Ok(beside)
}

/// Whether rows can be older than the deletion of their key.
fn keeps_deleted(options: &Options) -> bool {
    !options.primary_key.is_empty() && !options.order_by.is_empty() && options.delete_when.is_some()
}

/// Makes the table of deleted keys anew where other columns order the rows by now, or it is needed for the first time.
pub fn change(pipeline: &Pipeline, options: &Options) -> Result<()> {
    let same = options.order_by == pipeline.options.order_by && pipeline.deleted.is_some();
    if same || !keeps_deleted(options) {
        return Ok(());
    }
    let made = scope::owner(pipeline, || {
        if let Some(old) = pipeline.deleted.map(|oid| relation::by_oid(Oid::from(oid))).transpose()?.flatten() {
            spi::execute_once(&format!("DROP TABLE {}", old.qualified()))?;
        }
        sql::create_deleted(&find(Oid::from(pipeline.staging))?, &options.primary_key, &options.order_by)
    })?;
    scope::catalog(|| pipelines::set_deleted(pipeline.id, made))
}

/// The tables of a keyed pipeline, ready for one chunk.
pub struct Keyed {
    places: Places,
    options: Options,
    columns: Vec<Shape>,
}

/// How the rows of a chunk are merged.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Some of them may take a key away.
    pub deletes: bool,
    /// A row that is there as it is counts as a change all the same.
    pub every_row: bool,
}

/// What merging a chunk came to.
pub struct Outcome {
    /// Changes by part of the chunk.
    pub changes: Vec<i64>,
    /// Rows that could not be written after all.
    pub refused: Vec<Refused>,
}

/// The tables that a chunk of this pipeline goes through; `None` for one without a key.
pub fn of(pipeline: &Pipeline, chunk_no: i64) -> Result<Option<Keyed>> {
    let (Some(changes), Some(replaced), Some(incoming)) = (pipeline.changes, pipeline.replaced, pipeline.incoming)
    else {
        return Ok(None);
    };
    let oid = Oid::from;
    let deleted = pipeline.deleted.filter(|_| keeps_deleted(&pipeline.options)).map(oid);
    let beside = sql::Beside { changes: oid(changes), replaced: oid(replaced), incoming: oid(incoming), deleted };
    Keyed::open(&pipeline.options, oid(pipeline.staging), &beside, chunk_no).map(Some)
}

fn find(table: Oid) -> Result<Relation> {
    relation::by_oid(table)?.ok_or_else(|| {
        Error::new(Code::WrongState, "a table of the keyed pipeline is gone")
            .detail("Beside its staging table there are three: …_changes, …_replaced and …_incoming.")
            .hint("Restore it, or drop the pipeline with millrace.drop_pipeline and create it anew.")
    })
}

impl Keyed {
    fn open(options: &Options, staging: Oid, beside: &sql::Beside, chunk_no: i64) -> Result<Keyed> {
        let places = Places {
            staging: find(staging)?,
            incoming: find(beside.incoming)?,
            deleted: beside.deleted.map(find).transpose()?,
            changes: staging::target(&find(beside.changes)?, chunk_no, options.partition_chunks())?,
            replaced: staging::target(&find(beside.replaced)?, chunk_no, options.partition_chunks())?,
        };
        Ok(Keyed { places, options: options.clone(), columns: sql::shape(staging)? })
    }

    /// Where the chunk's rows are copied to.
    pub fn incoming(&self) -> &Relation {
        &self.places.incoming
    }

    /// Where the chunk's changes are, and the old images of those that are updates.
    pub fn changed(&self) -> Chunk<'_> {
        let Places { staging, changes, replaced, .. } = &self.places;
        Chunk::Changed { staging, changes, replaced }
    }

    fn statement(&self, manner: Manner, ranged: bool) -> String {
        let rule = Rule {
            // A table that is followed rewrites rows that nobody changed.
            only_changed: self.options.on_change == OnChange::Apply && !manner.every_row,
            key: &self.options.primary_key,
            order_by: &self.options.order_by,
            on_conflict: self.options.conflict(),
            delete_when: self.options.delete_when.as_deref(),
        };
        let deletes = manner.deletes || rule.delete_when.is_some();
        sql::merge_statement(&self.places, &rule, &self.columns, deletes, ranged)
    }

    /// Merges what was copied; `first_rows`: the number of the first row of each part, `last`: that of the last row of all.
    pub fn merge(&self, chunk_no: i64, first_rows: &[i64], last: i64, manner: Manner) -> Result<Outcome> {
        let _settings = scope::for_rows_on_their_way()?;
        // Each row's key is looked up: joined in any other way the table would be read whole for every chunk.
        for joining in ["enable_hashjoin", "enable_mergejoin", "enable_bitmapscan"] {
            settings::set_local(joining, "off")?;
        }
        let mut outcome = Outcome { changes: vec![0; first_rows.len()], refused: vec![] };
        let whole = self.statement(manner, false);
        match subtransaction::run(|| checked(sql::merge(&whole, chunk_no, first_rows, None)?)) {
            Ok(merged) => outcome.add(merged),
            Err(e) if is_about_a_row(&e) => {
                let ranged = self.statement(manner, true);
                self.range(&ranged, chunk_no, first_rows, (1, last), &mut outcome)?;
            }
            Err(e) => return Err(e),
        }
        sql::empty(&self.places.incoming)?;
        Ok(outcome)
    }

    /// Merges the winners of a range. What staging refuses (a trigger, a constraint that the incoming table has not) makes it
    /// halve the range until the refused rows stand alone.
    fn range(
        &self,
        statement: &str,
        chunk_no: i64,
        first_rows: &[i64],
        range: (i64, i64),
        outcome: &mut Outcome,
    ) -> Result<()> {
        match subtransaction::run(|| checked(sql::merge(statement, chunk_no, first_rows, Some(range))?)) {
            Ok(merged) => outcome.add(merged),
            Err(e) if !is_about_a_row(&e) => return Err(e),
            Err(error) if range.0 == range.1 => {
                outcome.refused.push(Refused { row_no: range.0, error, by: By::Constraint })
            }
            Err(_) => {
                let middle = range.0 + (range.1 - range.0) / 2;
                self.range(statement, chunk_no, first_rows, (range.0, middle), outcome)?;
                self.range(statement, chunk_no, first_rows, (middle + 1, range.1), outcome)?;
            }
        }
        Ok(())
    }
}

impl Outcome {
    fn add(&mut self, merged: Merged) {
        for (part, n) in merged.parts {
            if let Some(changes) = usize::try_from(part - 1).ok().and_then(|part| self.changes.get_mut(part)) {
                *changes += n;
            }
        }
    }
}

/// Every change must have reached the staging table.
fn checked(merged: Merged) -> Result<Merged> {
    if merged.changes == merged.done {
        return Ok(merged);
    }
    Err(Error::new(Code::Conflict, "rows of the staging table were changed by somebody else while a chunk was merged")
        .detail(format!("{} of {} changes could be made.", merged.done, merged.changes))
        .hint("The staging table of a keyed pipeline is written by the pipeline alone; a trigger must not leave rows out."))
}

/// Recounts what is beside staging. What changed in chunks before `kept_from` is gone, and with it what the number of keys follows from.
pub fn verify(pipeline: &Pipeline, kept_from: i64) -> Result<Vec<Check>> {
    let (Some(changes), Some(replaced)) = (pipeline.changes, pipeline.replaced) else { return Ok(vec![]) };
    let found = scope::owner(pipeline, || {
        let (changes, replaced) = (find(Oid::from(changes))?, find(Oid::from(replaced))?);
        sql::recount(&find(Oid::from(pipeline.staging))?, &changes, &replaced, kept_from)
    })?;
    let Some(found) = found else { return Ok(vec![]) };
    let mut checks = vec![
        count("staging", "rows that are not the last change of their key", 0, found.unexplained, None),
        count("replaced", "old images = updates", found.updates, found.replaced, None),
    ];
    if kept_from <= 1 {
        checks.push(count("staging", "keys = inserts less deletes", found.keys_by_changes, found.keys, None));
    }
    Ok(checks)
}
