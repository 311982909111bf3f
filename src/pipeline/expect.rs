//! Making, changing and dropping expectations.
//!
//! Everything that can be wrong with a condition is found out here. A change is in force from the next chunk on: it holds the
//! lock under which chunks are sealed.

use pgrx::pg_sys::Oid;

use crate::catalog::{events, expectations};
use crate::model::expectation::{Expectation, MOST, OnViolation};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::{condition, relation};
use crate::pipeline::scope;

const MOST_NAME_BYTES: usize = 200;

pub fn add(pipeline: &Pipeline, name: &str, text: &str, on_violation: &str, null_passes: bool) -> Result<()> {
    check_name(name)?;
    let on_violation = OnViolation::parse(on_violation)?;
    let known = scope::catalog(|| expectations::of_pipeline(pipeline.id))?;
    if known.iter().any(|e| e.name == name) {
        return Err(Error::new(Code::DuplicateObject, format!("expectation \"{name}\" already exists"))
            .detail(format!("Pipeline \"{}\" has one of that name.", pipeline.name))
            .hint("Choose another name, or change it with millrace.alter_expectation."));
    }
    if known.len() >= MOST {
        return Err(Error::new(Code::Limit, format!("a pipeline can have at most {MOST} expectations"))
            .detail(format!("Pipeline \"{}\" has as many.", pipeline.name))
            .hint("Join some of them with AND."));
    }
    let (plan, columns) = read(pipeline, text)?;
    let new =
        Expectation { name: name.into(), condition: text.trim().into(), plan, columns, on_violation, null_passes };
    scope::catalog(|| {
        expectations::insert(pipeline.id, &new)?;
        events::record(&pipeline.name, "expectation_added", Some(name), Some(&new.condition), None)
    })
}

/// Changes what is given; the rest stays.
pub fn alter(
    pipeline: &Pipeline,
    name: &str,
    text: Option<&str>,
    on_violation: Option<&str>,
    null_passes: Option<bool>,
) -> Result<()> {
    let known = scope::catalog(|| expectations::of_pipeline(pipeline.id))?;
    let mut changed =
        known.into_iter().find(|e| e.name == name).ok_or_else(|| expectations::unknown(&pipeline.name, name))?;
    if let Some(text) = text {
        (changed.plan, changed.columns) = read(pipeline, text)?;
        changed.condition = text.trim().into();
    }
    if let Some(action) = on_violation {
        changed.on_violation = OnViolation::parse(action)?;
    }
    changed.null_passes = null_passes.unwrap_or(changed.null_passes);
    scope::catalog(|| {
        expectations::update(pipeline.id, &changed)?;
        events::record(&pipeline.name, "expectation_altered", Some(name), Some(&changed.condition), None)
    })
}

pub fn drop(pipeline: &Pipeline, name: &str) -> Result<()> {
    scope::catalog(|| {
        if expectations::delete(pipeline.id, name)? == 0 {
            return Err(expectations::unknown(&pipeline.name, name));
        }
        events::record(&pipeline.name, "expectation_dropped", Some(name), None, None)
    })
}

/// Names are read under the caller's search path; what is constant is computed as the owner, who will run the rest.
fn read(pipeline: &Pipeline, text: &str) -> Result<(String, Vec<String>)> {
    let staging = Oid::from(pipeline.staging);
    let found = condition::analyze(text, staging)?;
    scope::owner(pipeline, || {
        let generated =
            relation::columns(staging)?.into_iter().find(|c| c.generated && found.columns.contains(&c.name));
        if let Some(column) = generated {
            return Err(Error::new(
                Code::Unsupported,
                format!("the generated column \"{}\" is not supported in an expectation", column.name),
            )
            .detail("It is computed after the row has been judged.")
            .hint("Write out what it is generated from."));
        }
        condition::check(&found.sql, staging)
    })?;
    Ok((found.sql, found.columns))
}

fn check_name(name: &str) -> Result<()> {
    if !name.trim().is_empty() && name.len() <= MOST_NAME_BYTES && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidParameter, "this can't be the name of an expectation")
        .detail(format!("It is {name:?}."))
        .hint(format!("Use 1 to {MOST_NAME_BYTES} bytes without control characters: 'positive amount'.")))
}
