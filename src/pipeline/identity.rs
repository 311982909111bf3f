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

/// The planned files without those that are duplicates.
pub fn sift(mode: Mode, pipeline: &Pipeline, source: &Source, planned: Vec<Planned>) -> Result<Vec<Planned>> {
    if pipeline.options.identity != Identity::Content {
        return Ok(planned);
    }
    // One that is loaded in part already goes on.
    let new: Vec<&LandingFile> = planned
        .iter()
        .filter(|p| p.records_done == 0 && p.from_byte == 0 && p.file.size > 0)
        .map(|p| &p.file)
        .collect();
    let contents = contents(mode, pipeline, source, &new)?;
    let wanted: Vec<String> = contents.iter().map(|c| c.content.clone()).collect();
    let loaded = transaction::run(mode, || scope::catalog(|| files::with_content(pipeline.id, wanted)))?;
    let loaded: HashMap<&str, &str> = loaded.iter().map(|c| (c.content.as_str(), c.path.as_str())).collect();
    let of: HashMap<&str, &str> = contents.iter().map(|c| (c.path.as_str(), c.content.as_str())).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut duplicates = Vec::new();
    let mut left = Vec::new();
    for plan in &planned {
        let content = of.get(plan.file.path.as_str()).copied();
        match content.and_then(|content| loaded.get(content)).filter(|path| **path != plan.file.path) {
            Some(original) => duplicates.push((plan.file.clone(), original.to_string())),
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
    for (file, original) in duplicates {
        let what = format!("duplicate of {original}");
        let noted = [(file.path.clone(), file.etag.clone(), file.size as i64)];
        files::record_state(pipeline.id, &noted, "skipped", Some(&what))?;
        events::record(&pipeline.name, "file_duplicate", Some(&file.path), Some(&what), None)?;
    }
    Ok(())
}

/// Of files that were replaced after they were loaded, those that are not what they were.
pub fn replaced(mode: Mode, pipeline: &Pipeline, source: &Source, files: Vec<LandingFile>) -> Result<Vec<LandingFile>> {
    if pipeline.options.identity != Identity::Content || files.is_empty() {
        return Ok(files);
    }
    let paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
    let before = transaction::run(mode, || scope::catalog(|| files::contents(pipeline.id, paths)))?;
    let mut changed = Vec::new();
    for file in files {
        let known = before.iter().find(|c| c.path == file.path).map(|c| c.content.as_str());
        let same = known.is_some() && hash(source, &file)?.as_deref() == known;
        if same {
            transaction::run(mode, || scope::catalog(|| files::renew(pipeline.id, &file.path, &file.etag)))?;
        } else {
            changed.push(file);
        }
    }
    Ok(changed)
}

/// What is in each file: noted in the ledger, or found out and noted now.
fn contents(mode: Mode, pipeline: &Pipeline, source: &Source, files: &[&LandingFile]) -> Result<Vec<Content>> {
    let paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
    let known = transaction::run(mode, || scope::catalog(|| files::contents(pipeline.id, paths)))?;
    let mut found = Vec::new();
    let mut new = Vec::new();
    for file in files {
        match known.iter().find(|c| c.path == file.path && c.etag == file.etag) {
            Some(content) => found.push(content.clone()),
            None => {
                // What can't be read is found out, and noted, when it is its turn.
                let Some(content) = hash(source, file)? else { continue };
                let (path, etag, size) = (file.path.clone(), file.etag.clone(), file.size as i64);
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
