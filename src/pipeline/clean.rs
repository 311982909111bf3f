//! Taking landing files away once everything that they are for is committed.
//!
//! Promises: a file goes only when it is loaded whole, and every chunk up to its last one is published wherever the pipeline
//! publishes. What died in between is done again, with the same end. A failure is noted and holds nothing else back.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use crate::catalog::{events, files};
use crate::lake::cleaning::{self, Outcome};
use crate::lake::store::Dir;
use crate::model::Result;
use crate::model::location::Location;
use crate::model::options::Cleanup;
use crate::model::pipeline::Pipeline;
use crate::pg::runtime;
use crate::pg::transaction::{self, Mode};
use crate::pipeline::source::Source;
use crate::pipeline::{access, scope};

/// Files of one round, and how many of them are under way at once.
const ROUND: usize = 256;
const AT_ONCE: usize = 4;
/// How long a round is put off behind one that failed.
const WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Cleaner {
    archive: Option<(String, Dir)>,
    not_before: Option<Instant>,
}

impl Cleaner {
    /// Takes away what is due; true where more may be.
    pub fn clean(&mut self, mode: Mode, pipeline: &Pipeline, source: Option<&Source>) -> Result<bool> {
        let Some(source) = source.filter(|_| pipeline.options.cleanup != Cleanup::None) else { return Ok(false) };
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(false);
        }
        let due = transaction::run(mode, || scope::catalog(|| files::due_for_cleanup(pipeline.id, ROUND as i64)))?;
        if due.is_empty() {
            return Ok(false);
        }
        let more = due.len() == ROUND;
        let archive = self.archive(mode, pipeline)?;
        let directory = source.directory.clone();
        let done = runtime::wait(async move {
            let work = stream::iter(due).map(|file| {
                let (directory, archive) = (&directory, archive.as_ref());
                async move {
                    let outcome = cleaning::clean(directory, &file, archive).await;
                    (file.path, outcome)
                }
            });
            Ok(work.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await)
        })?;
        let failed = done.iter().any(|(_, outcome)| outcome.is_err());
        self.not_before = failed.then(|| Instant::now() + WAIT);
        transaction::run(mode, || {
            scope::catalog(|| {
                let of = |wanted: Outcome| {
                    let these = done.iter().filter(|(_, outcome)| outcome.as_ref() == Ok(&wanted));
                    these.map(|(path, _)| path.clone()).collect::<Vec<_>>()
                };
                files::record_cleaned(pipeline.id, of(Outcome::Cleaned), Some("done"))?;
                files::record_cleaned(pipeline.id, of(Outcome::Replaced), None)?;
                for (path, outcome) in &done {
                    if let Err(e) = outcome
                        && files::record_cleanup_error(pipeline.id, path, &e.to_string())?
                    {
                        events::record(&pipeline.name, "cleanup_failed", Some(path), Some(&e.to_string()), None)?;
                    }
                }
                Ok(())
            })
        })?;
        Ok(more && !failed)
    }

    fn archive(&mut self, mode: Mode, pipeline: &Pipeline) -> Result<Option<Dir>> {
        let Some(url) = pipeline.options.archive.as_ref().filter(|_| pipeline.options.cleanup == Cleanup::Archive)
        else {
            return Ok(None);
        };
        if let Some((_, dir)) = self.archive.as_ref().filter(|(known, _)| known == url) {
            return Ok(Some(dir.clone()));
        }
        let credentials = access::credentials_of(mode, pipeline, url)?;
        let dir = Dir::at(&Location::parse(url)?, &credentials)?;
        self.archive = Some((url.clone(), dir.clone()));
        Ok(Some(dir))
    }

    /// Opens the archive anew next time.
    pub fn forget(&mut self) {
        self.archive = None;
    }
}
