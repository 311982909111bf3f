//! The ledger of files, as people and failures change it.

use crate::catalog::{events, files};
use crate::model::landing::Part;
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::transaction::{self, Mode};
use crate::pipeline::{define, load, scope};

/// True for errors of a load that may be one file's fault. What would meet every file alike (a missing table or right, storage or
/// memory that gave out) is not among them, nor what passes by itself.
pub fn may_be_to_blame(error: &Error) -> bool {
    match error.code {
        Code::Postgres(state) => !matches!(
            &state[..2],
            b"08" | b"0A" | b"25" | b"28" | b"3D" | b"3F" | b"40" | b"42" | b"53" | b"55" | b"57" | b"58" | b"F0"
        ),
        Code::Corrupt | Code::Limit => true,
        _ => false,
    }
}

/// Notes a file that was read but could not be loaded, even alone.
pub fn failed(mode: Mode, pipeline: &Pipeline, part: &Part, error: &Error) -> Result<()> {
    transaction::run(mode, || {
        scope::catalog(|| load::note_failed(pipeline, (&part.path, &part.etag, part.size), error, true))
    })
}

/// Notes files whose records are in the raw layer and could not be loaded from there.
pub fn landed(mode: Mode, pipeline: &Pipeline, parts: &[Part], error: &Error) -> Result<()> {
    let noted: Vec<_> = parts.iter().map(|p| (p.path.clone(), p.etag.clone(), p.size as i64)).collect();
    transaction::run(mode, || scope::catalog(|| files::record_landed(pipeline.id, &noted, &error.to_string())))
}

/// Lets a file that failed, was skipped or was replaced be tried again at once.
pub fn retry(pipeline: &str, path: &str) -> Result<()> {
    let pipeline = define::lock_own(pipeline, "retry a file of")?;
    scope::catalog(|| {
        let Some(known) = files::state(pipeline.id, path)? else {
            return Err(Error::new(
                Code::UndefinedObject,
                format!("pipeline \"{}\" knows no file \"{path}\"", pipeline.name),
            )
            .detail("Paths are relative to the source.")
            .hint("SELECT path, state FROM millrace.files lists them. A file that is new needs no retry."));
        };
        match known.state.as_str() {
            "failed" | "dead" | "skipped" | "waiting" | "changed" => {}
            state => {
                return Err(Error::new(
                    Code::WrongState,
                    format!("file \"{path}\" is {state}: there is nothing to retry"),
                )
                .detail("Only files that failed, were skipped or were replaced can be tried again.")
                .hint("Land its records under another name to load them once more."));
            }
        }
        match known.etag == files::ANY_VERSION {
            true => files::forget(pipeline.id, path)?,
            false => files::retry(pipeline.id, path)?,
        }
        files::touch(pipeline.id)?;
        events::record(&pipeline.name, "file_retried", Some(path), Some(&format!("it was {}", known.state)), None)
    })
}

/// Leaves a file out. What was loaded of it stays.
pub fn skip(pipeline: &str, path: &str, reason: Option<&str>) -> Result<()> {
    if path.is_empty() {
        return Err(Error::new(Code::InvalidParameter, "path is empty")
            .detail("Paths are relative to the source.")
            .hint("SELECT path, state FROM millrace.files lists those that are known."));
    }
    let pipeline = define::lock_own(pipeline, "skip a file of")?;
    scope::catalog(|| {
        let known = files::state(pipeline.id, path)?;
        if let Some(state) = known.as_ref().map(|k| k.state.as_str()).filter(|s| matches!(*s, "loaded" | "landed")) {
            return Err(Error::new(
                Code::WrongState,
                format!("file \"{path}\" is {state}: it can't be skipped any more"),
            )
            .detail("Its records are in the raw layer or the staging table.")
            .hint("Delete its rows yourself if they are not wanted; millrace.lineage leads from rows to files."));
        }
        files::skip(pipeline.id, path, reason)?;
        files::touch(pipeline.id)?;
        let was = known.map_or_else(
            || "it was not known yet".into(),
            |k| format!("it was {}, {} records loaded", k.state, k.records_done),
        );
        events::record(&pipeline.name, "file_skipped", Some(path), reason.or(Some(&was)), None)
    })
}
