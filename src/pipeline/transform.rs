//! Rows made of a chunk's records by the pipeline's transform, on their way into the table that takes them.
//!
//! Promises: a record is one whole: where one of its rows is rejected or can't be made, none of them is there and the record is a reject;
//! one record's error never touches another. The transform runs as the owner, and sees the records of this chunk alone.

use std::collections::{BTreeMap, HashSet};

use pgrx::pg_sys::Oid;

use crate::catalog::transform::{self as sql, Statements};
use crate::catalog::{pipelines, staging};
use crate::model::expectation::{OnViolation, Rules};
use crate::model::options::{OnChange, OnNewColumn, Options};
use crate::model::pipeline::Pipeline;
use crate::model::transform::Transform;
use crate::model::{Code, Error, Result};
use crate::pg::copy::{self, Filter, Violation};
use crate::pg::relation::{self, Relation};
use crate::pg::transform as parser;
use crate::pg::{interrupts, spi, subtransaction};
use crate::pipeline::load::{By, Refused, is_about_a_row};
use crate::pipeline::{judge, scope};

/// Records of one chunk for which a condition may raise an error.
const MOST_RAISED: usize = 1_000;

/// What became of the records.
#[derive(Default)]
pub struct Outcome {
    /// The records of which rows are there, with how many, in order.
    pub made: Vec<(i64, i64)>,
    /// Of each record the rules that its rows do not meet, a number of bits for each such row.
    pub violations: BTreeMap<i64, Vec<u64>>,
    pub refused: Vec<Refused>,
    /// Rows that rules looked at.
    pub checked: i64,
}

/// One chunk's records and what is to be made of them.
pub struct Stage<'a> {
    statements: Statements,
    input: &'a Relation,
    rules: &'a Rules,
    kept: u64,
    chunk_no: i64,
}

/// What one attempt at all records came to.
#[derive(Default)]
struct Attempt {
    made: Vec<i64>,
    violations: Vec<Violation>,
    refused: Vec<Refused>,
    raised: usize,
}

/// The table of records of a pipeline with a transform.
pub fn input(pipeline: &Pipeline) -> Result<Relation> {
    let found = pipeline.input.map(|input| relation::by_oid(Oid::from(input))).transpose()?.flatten();
    found.ok_or_else(|| {
        Error::new(Code::WrongState, "the table of records of the pipeline's transform is gone")
            .detail(format!("Pipeline \"{}\" keeps it beside its staging table: …_input.", pipeline.name))
            .hint("Restore it, or set the transform anew with millrace.alter_pipeline.")
    })
}

impl<'a> Stage<'a> {
    /// `target` takes the rows: a partition of the staging table, or what waits to be merged (`with_op`).
    pub fn new(
        pipeline: &Pipeline,
        transform: &Transform,
        (input, target): (&'a Relation, &Relation),
        rules: &'a Rules,
        filter: Option<&Filter>,
        with_op: bool,
        chunk_no: i64,
    ) -> Result<Stage<'a>> {
        let condition = filter.map(Filter::condition);
        let staging = Oid::from(pipeline.staging);
        let statements = Statements::new(target, staging, transform, condition.as_deref(), with_op)?;
        Ok(Stage { statements, input, rules, kept: filter.map_or(0, |f| f.kept), chunk_no })
    }

    /// Makes the rows of these records, which are in the table of records, ascending.
    pub fn load(&self, mut records: Vec<i64>) -> Result<Outcome> {
        let _settings = scope::for_rows_on_their_way()?;
        let mut outcome = Outcome::default();
        loop {
            let mut attempt = Attempt::default();
            let mut torn: Vec<i64> = Vec::new();
            // Rows that went in with others of a record that is rejected are taken back with everything, and their record left out.
            let result = subtransaction::run(|| {
                self.range(&records, &mut attempt)?;
                let bad = self.rejected(&attempt);
                let in_part: HashSet<i64> = attempt.made.iter().copied().filter(|n| bad.contains(n)).collect();
                if in_part.is_empty() {
                    return Ok(());
                }
                torn = in_part.into_iter().collect();
                Err(Error::new(Code::Conflict, "rows of rejected records are taken back"))
            });
            if torn.is_empty() {
                result?;
                outcome.add(attempt, None, self.kept);
                return Ok(outcome);
            }
            torn.sort_unstable();
            outcome.add(attempt, Some(&torn), self.kept);
            records.retain(|n| torn.binary_search(n).is_err());
            sql::leave_out(self.input, &torn)?;
            interrupts::check();
        }
    }

    fn rejected(&self, attempt: &Attempt) -> HashSet<i64> {
        let rejecting = self.rules.mask(OnViolation::Quarantine) | self.rules.mask(OnViolation::Fail);
        let violated = attempt.violations.iter().filter(|v| v.rules & rejecting != 0).map(|v| v.row_no);
        violated.chain(attempt.refused.iter().map(|r| r.row_no)).collect()
    }

    /// What raises an error makes it halve the range until the record stands alone.
    fn range(&self, records: &[i64], attempt: &mut Attempt) -> Result<()> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        interrupts::check();
        match subtransaction::run(|| self.insert(*first, *last)) {
            Ok((made, violations)) => {
                attempt.made.extend(made);
                attempt.violations.extend(violations);
                Ok(())
            }
            Err(e) if !is_about_a_row(&e) => Err(e),
            Err(error) if first == last => {
                let by = self.blame(*first);
                if let By::Rule(rule) = by {
                    attempt.raised += 1;
                    if attempt.raised > MOST_RAISED {
                        return Err(judge::mostly_raises(&self.rules.0[rule], &error, MOST_RAISED));
                    }
                }
                attempt.refused.push(Refused { row_no: *first, error, by });
                Ok(())
            }
            Err(_) => {
                let (before, behind) = records.split_at(records.len() / 2);
                self.range(before, attempt)?;
                self.range(behind, attempt)
            }
        }
    }

    fn insert(&self, first: i64, last: i64) -> Result<(Vec<i64>, Vec<Violation>)> {
        copy::noting(self.kept, || {
            let made: Option<Vec<Option<i64>>> = spi::value(&self.statements.insert, self.arguments(first, last))?;
            Ok(made.unwrap_or_default().into_iter().flatten().collect())
        })
    }

    fn arguments(&self, first: i64, last: i64) -> Vec<spi::Arg> {
        vec![first.into(), last.into(), self.chunk_no.into()]
    }

    /// What raises an error for this record.
    fn blame(&self, record: i64) -> By {
        let raises =
            |statement: &str| subtransaction::run(|| spi::execute(statement, self.arguments(record, record))).is_err();
        if raises(&self.statements.make) {
            return By::Transform;
        }
        let rule = (0..self.rules.0.len()).find(|rule| raises(&self.statements.probe(&self.rules.0[*rule].plan)));
        rule.map_or(By::Constraint, By::Rule)
    }
}

impl Outcome {
    /// `only`: of these records alone, whose rows are not there.
    fn add(&mut self, attempt: Attempt, only: Option<&[i64]>, kept: u64) {
        let meant = |row_no: &i64| only.is_none_or(|only| only.binary_search(row_no).is_ok());
        let refused: HashSet<i64> = attempt.refused.iter().map(|r| r.row_no).collect();
        for violation in attempt.violations.iter().filter(|v| meant(&v.row_no) && !refused.contains(&v.row_no)) {
            self.violations.entry(violation.row_no).or_default().push(violation.rules);
            // Rows that are kept all the same are counted with those that are there.
            self.checked += i64::from(violation.rules & !kept != 0);
        }
        self.refused.extend(attempt.refused.into_iter().filter(|r| meant(&r.row_no)));
        if only.is_some() {
            return;
        }
        let mut made = attempt.made;
        made.sort_unstable();
        for row_no in made {
            match self.made.last_mut() {
                Some((last, n)) if *last == row_no => *n += 1,
                _ => self.made.push((row_no, 1)),
            }
        }
    }
}

/// Reads a transform, as its author, and tries it, as the owner, on no records: what can't be run at all is found out now.
pub fn read(text: &str, input: &Relation, owner: impl FnOnce(&Transform) -> Result<()>) -> Result<Transform> {
    let found = parser::analyze(text, Oid::from(input.oid), &input.qualified())?;
    owner(&found)?;
    Ok(found)
}

/// Runs the transform on no records and looks whether staging takes what it makes. With the owner's rights.
pub fn attempt(transform: &Transform, staging: &Relation) -> Result<()> {
    sql::check_fits(staging, transform)?;
    let statements = Statements::new(staging, Oid::from(staging.oid), transform, None, false)?;
    subtransaction::run(|| spi::execute(&statements.make, vec![1i64.into(), 0i64.into(), 0i64.into()]))?;
    Ok(())
}

/// Refuses options that a transform leaves without a meaning.
pub fn check_options(options: &Options) -> Result<()> {
    if options.transform.is_none() {
        return Ok(());
    }
    let refused = |name: &str, why: &str, hint: &str| {
        Err(Error::new(Code::Unsupported, format!("{name} is not supported with a transform")).detail(why).hint(hint))
    };
    if options.on_new_column == OnNewColumn::Add {
        let why = "The transform says which columns there are.";
        return refused("\"on_new_column\": \"add\"", why, "Use rescue, and take what you need out of _rescued.");
    }
    if options.on_change == OnChange::Apply {
        let why = "Staging is what the Delta table is.";
        return refused("\"on_change\": \"apply\"", why, "Make a view over the staging table instead.");
    }
    Ok(())
}

/// Gives a pipeline another transform, or none. Its tables are there, and the pipeline is locked.
pub fn change(pipeline: &Pipeline, text: Option<&str>) -> Result<()> {
    let old = pipeline.input.map(|input| relation::by_oid(Oid::from(input))).transpose()?.flatten();
    let table = relation::by_oid(Oid::from(pipeline.staging))?
        .ok_or_else(|| Error::new(Code::WrongState, "the staging table of the pipeline is gone"))?;
    let Some(text) = text else {
        scope::catalog(|| pipelines::set_transform(pipeline.id, None))?;
        return scope::owner(pipeline, || match &old {
            Some(old) => spi::execute_once(&format!("DROP TABLE {}", old.qualified())),
            None => Ok(()),
        });
    };
    let input = match old {
        Some(input) => input,
        None => scope::owner(pipeline, || sql::create_input_like(&table))?,
    };
    let found = read(text, &input, |found| scope::owner(pipeline, || attempt(found, &table)))?;
    scope::catalog(|| pipelines::set_transform(pipeline.id, Some((Oid::from(input.oid), &found))))
}

/// The columns that a pipeline's records are read into.
pub fn record_columns(pipeline: &Pipeline) -> Result<Vec<relation::Column>> {
    let mut columns = staging::source_columns(Oid::from(pipeline.records_table()))?;
    if pipeline.input.is_some() {
        columns.retain(|c| c.name != crate::catalog::keyed::OP);
    }
    Ok(columns)
}
