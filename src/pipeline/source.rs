//! Which landing files are new: the listing less what the ledger knows.

use std::collections::HashMap;
use std::time::Duration;

use crate::catalog::{events, files, pipelines};
use crate::lake::listing::{self, LandingFile};
use crate::lake::store::{Credentials, Dir};
use crate::model::location::Location;
use crate::model::options::{OnReplaced, Order};
use crate::model::pipeline::Pipeline;
use crate::model::{Code, Error, Result};
use crate::pg::transaction::{self, Mode};
use crate::pg::{gucs, progress, runtime};
use crate::pipeline::read::Planned;
use crate::pipeline::scope;

/// A pipeline's source directory.
#[derive(Clone)]
pub struct Source {
    pub directory: Dir,
    pub pattern: Option<String>,
}

impl Source {
    pub fn open(source: &str, credentials: Credentials) -> Result<Source> {
        let location = Location::parse(source)?;
        let (directory, pattern) = runtime::wait(async move { Dir::resolve(&location, &credentials).await })?;
        Ok(Source { directory, pattern })
    }

    pub fn list(&self, recursive: bool, settle: Duration) -> Result<Vec<LandingFile>> {
        let (directory, pattern) = (self.directory.clone(), self.pattern.clone());
        let limit = gucs::network_timeout();
        let place = directory.place();
        runtime::wait(async move {
            tokio::time::timeout(limit, listing::list(&directory, pattern.as_deref(), recursive, settle))
                .await
                .unwrap_or_else(|_| {
                    Err(Error::new(Code::Unavailable, "listing took too long")
                        .detail(format!("Location {place}."))
                        .hint("Raise millrace.network_timeout, or look at the storage."))
                })
        })
    }
}

/// Files that need no further look while they stay as they are, so that an idle look asks Postgres nothing.
pub type Settled = HashMap<String, (String, u64)>;

/// The next files to load, in order, as many as one chunk may hold.
pub fn new_files(mode: Mode, pipeline: &Pipeline, source: &Source, settled: &mut Settled) -> Result<Vec<Planned>> {
    let options = &pipeline.options;
    let mut listed = source.list(options.recursive, options.settle)?;
    if options.order == Order::Modified {
        listed.sort_by(|a, b| a.modified.cmp(&b.modified).then_with(|| a.path.cmp(&b.path)));
    }
    listed.retain(|f| settled.get(&f.path).is_none_or(|(etag, size)| *etag != f.etag || *size != f.size));
    if listed.is_empty() {
        progress::backlog(0, 0);
        return Ok(vec![]);
    }
    let paths = listed.iter().map(|f| f.path.clone()).collect();
    let known = transaction::run(mode, || scope::catalog(|| files::known(pipeline.id, paths)))?;
    let known: HashMap<&str, &files::Known> = known.iter().map(|k| (k.path.as_str(), k)).collect();
    let waiting = listed.iter().filter(|file| {
        let same = |k: &&files::Known| k.etag == file.etag && k.size == file.size as i64 && k.is_settled();
        !known.get(file.path.as_str()).is_some_and(same)
    });
    let (count, size) = waiting.fold((0, 0), |(count, size), file| (count + 1, size + file.size));
    progress::backlog(count, size);
    let mut planned = Vec::new();
    let mut replaced = Vec::new();
    let mut bytes = 0;
    for file in listed {
        let mut next = Planned { file, from_byte: 0, records_done: 0 };
        let file = &next.file;
        match known.get(file.path.as_str()) {
            Some(k) if k.etag == file.etag && k.size == file.size as i64 => {
                if k.is_settled() {
                    settled.insert(file.path.clone(), (file.etag.clone(), file.size));
                    continue;
                }
                if !k.due {
                    continue;
                }
                next.from_byte = k.bytes_done as u64;
                next.records_done = k.records_done as u64;
            }
            // A file that was never loaded, not even in part, may be replaced as its producer likes.
            Some(k) if k.records_done > 0 || matches!(k.state.as_str(), "loaded" | "changed") => {
                replaced.push((file.path.clone(), file.etag.clone(), file.size as i64));
                settled.insert(file.path.clone(), (file.etag.clone(), file.size));
                continue;
            }
            _ => {}
        }
        if planned.len() as u32 >= options.max_files_per_chunk
            || (bytes > 0 && bytes + next.file.size > options.max_bytes_per_chunk)
        {
            break;
        }
        bytes += next.file.size;
        planned.push(next);
    }
    if !replaced.is_empty() {
        note_replaced(mode, pipeline, &replaced)?;
    }
    Ok(planned)
}

fn note_replaced(mode: Mode, pipeline: &Pipeline, replaced: &[(String, String, i64)]) -> Result<()> {
    let fail = pipeline.options.on_replaced == OnReplaced::Fail;
    let first = replaced.first().map(|r| r.0.clone()).unwrap_or_default();
    let message = "the file was replaced after it was loaded; its rows are those of the first version";
    transaction::run(mode, || {
        scope::catalog(|| {
            files::record_state(pipeline.id, replaced, "changed", Some(message))?;
            for (path, _, _) in replaced {
                events::record(&pipeline.name, "file_replaced", Some(path), Some(message), None)?;
            }
            if fail {
                let reason = format!("file {first} was replaced after it was loaded");
                pipelines::set_state(pipeline.id, "stopped", Some(&reason))?;
            }
            Ok(())
        })
    })
}
