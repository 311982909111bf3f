//! Files that are told apart by what is in them (`identity => content`) and not by their names.
//!
//! Promises: a file whose bytes are those of one that was loaded, in part or whole, is not loaded again: the ledger says of which it is
//! the duplicate. Of several that come at once the first is loaded. A file costs one more reading; nothing is asked of Postgres for each.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::catalog::events;
use crate::catalog::files::{self, Content};
use crate::lake::listing::LandingFile;
use crate::lake::reading;
use crate::lake::store::Dir;
use crate::model::Result;
use crate::model::dedup::Identity;
use crate::model::pipeline::Pipeline;
use crate::pg::runtime;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::read::Planned;
use crate::pipeline::scope;
use crate::pipeline::source::Source;

/// The planned files without those that are duplicates. `named`: how the ledger calls a file of this source.
pub fn sift(
    mode: Mode,
    pipeline: &Pipeline,
    source: &Source,
    named: &dyn Fn(&str) -> String,
    planned: Vec<Planned>,
) -> Result<Vec<Planned>> {
    if pipeline.options.identity != Identity::Content {
        return Ok(planned);
    }
    // One that is loaded in part already goes on.
    let new: Vec<&LandingFile> = planned
        .iter()
        .filter(|p| p.records_done == 0 && p.from_byte == 0 && p.file.size > 0)
        .map(|p| &p.file)
        .collect();
    let contents = contents(mode, pipeline, source, named, &new)?;
    let wanted: Vec<String> = contents.iter().map(|c| c.content.clone()).collect();
    let loaded = transaction::run(mode, || scope::catalog(|| files::with_content(pipeline.id, wanted)))?;
    let loaded: HashMap<&str, &str> = loaded.iter().map(|c| (c.content.as_str(), c.path.as_str())).collect();
    let of: HashMap<&str, &str> = contents.iter().map(|c| (c.path.as_str(), c.content.as_str())).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut duplicates = Vec::new();
    let mut left = Vec::new();
    for plan in &planned {
        let path = named(&plan.file.path);
        let content = of.get(path.as_str()).copied();
        match content.and_then(|content| loaded.get(content)).filter(|loaded| **loaded != path) {
            Some(original) => duplicates.push((LandingFile { path, ..plan.file.clone() }, original.to_string())),
            // The second of two alike has its turn once it is known what became of the first.
            None if content.is_some_and(|content| !seen.insert(content)) => {}
            None => left.push(plan.clone()),
        }
    }
    if !duplicates.is_empty() {
        transaction::run(mode, || scope::catalog(|| note(pipeline, &duplicates)))?;
    }
    Ok(left)
}

fn note(pipeline: &Pipeline, duplicates: &[(LandingFile, String)]) -> Result<()> {
    let files: Vec<_> = duplicates.iter().map(|(f, _)| (f.path.clone(), f.etag.clone(), f.size as i64)).collect();
    let paths = files.iter().map(|f| f.0.clone()).collect();
    let words: Vec<String> = duplicates.iter().map(|(_, original)| format!("duplicate of {original}")).collect();
    files::record_states(pipeline.id, &files, "skipped", words.iter().cloned().map(Some).collect())?;
    events::record_each(&pipeline.name, "file_duplicate", paths, words)
}

/// Of files that were replaced after they were loaded, those that are not what they were.
pub fn replaced(mode: Mode, pipeline: &Pipeline, source: &Source, files: Vec<LandingFile>) -> Result<Vec<LandingFile>> {
    if pipeline.options.identity != Identity::Content || files.is_empty() {
        return Ok(files);
    }
    let paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
    let before = transaction::run(mode, || scope::catalog(|| files::contents(pipeline.id, paths)))?;
    let before: HashMap<&str, &str> = before.iter().map(|c| (c.path.as_str(), c.content.as_str())).collect();
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for file in files {
        let known = before.get(file.path.as_str()).copied();
        match known.is_some() && hash(source, &file)?.as_deref() == known {
            true => same.push((file.path, file.etag)),
            false => changed.push(file),
        }
    }
    if !same.is_empty() {
        transaction::run(mode, || scope::catalog(|| files::renew(pipeline.id, same)))?;
    }
    Ok(changed)
}

/// What is in each file: noted in the ledger, or found out and noted now.
fn contents(
    mode: Mode,
    pipeline: &Pipeline,
    source: &Source,
    named: &dyn Fn(&str) -> String,
    files: &[&LandingFile],
) -> Result<Vec<Content>> {
    let paths: Vec<String> = files.iter().map(|f| named(&f.path)).collect();
    let known = transaction::run(mode, || scope::catalog(|| files::contents(pipeline.id, paths.clone())))?;
    let known: HashMap<(&str, &str), &Content> =
        known.iter().map(|c| ((c.path.as_str(), c.etag.as_str()), c)).collect();
    let mut found = Vec::new();
    let mut new = Vec::new();
    for (file, path) in files.iter().zip(paths) {
        match known.get(&(path.as_str(), file.etag.as_str())) {
            Some(content) => found.push((*content).clone()),
            None => {
                // What can't be read is found out, and noted, when it is its turn.
                let Some(content) = hash(source, file)? else { continue };
                let (etag, size) = (file.etag.clone(), file.size as i64);
                new.push(Content { path, etag, size, content });
            }
        }
    }
    if !new.is_empty() {
        transaction::run(mode, || scope::catalog(|| files::note_contents(pipeline.id, &new)))?;
    }
    found.extend(new);
    Ok(found)
}

fn hash(source: &Source, file: &LandingFile) -> Result<Option<String>> {
    let (directory, file) = (source.directory.clone(), file.clone());
    runtime::wait(async move { Ok(digest(&directory, &file).await.ok()) })
}

async fn digest(directory: &Dir, file: &LandingFile) -> Result<String> {
    let mut blocks = reading::blocks(directory, file, 0).await?;
    let mut digest = Sha256::new();
    while let Some(block) = blocks.try_next().await? {
        digest.update(&block);
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
